"""Published layouts at full width run one item of every benchmark, from eight frames to a score."""

import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from afterview.model.checkpoint.loading import load_pretrained
from afterview.training.evaluation.benchmarks.asking import MemoryAsker
from afterview.training.evaluation.benchmarks.base import Options
from afterview.training.evaluation.benchmarks.features import VideoMemories
from afterview.training.evaluation.benchmarks.online import run_online
from afterview.training.evaluation.benchmarks.registry import BENCHMARKS
from afterview.training.evaluation.benchmarks.running import Work, run_offline
from afterview.training.evaluation.results import ResultsWriter, RunIdentity, read_rows
from tests.support.benchmark_data import MADE, MADE_ONLINE
from tests.support.clips import make_clip
from tests.support.full_width import hour_llava_3b, videochat_flash_7b

FRAMES = 8


@pytest.mark.thorough
@pytest.mark.timeout(900)  # takes about a minute of one free core
@pytest.mark.parametrize(
    ("make", "width"), [(hour_llava_3b, 2048), (videochat_flash_7b, 3584)], ids=["Hour-LLaVA 3B", "VideoChat-Flash 7B"]
)
def test_one_item_of_every_benchmark_at_full_width(make: Callable[[Path], Path], width: int, tmp_path: Path) -> None:
    began = time.process_time()
    model = load_pretrained(make(tmp_path), device="cpu", dtype="bfloat16")
    shutil.rmtree(tmp_path / "checkpoint")  # up to 3.3 GB
    decoder = model.video_language.language.decoder
    assert (decoder.config.hidden_size, decoder.config.num_hidden_layers) == (width, 2)
    clip = make_clip(tmp_path / "clip.mp4", frames=FRAMES * 2, rate=2)
    memories = VideoMemories(tmp_path / "memories", model.encoders, dense=False)
    asker = MemoryAsker(memories.memory(clip), model)
    print(f"loaded and recorded after {time.process_time() - began:.0f} s of CPU")
    for name, lay_out in (MADE | MADE_ONLINE).items():
        reading = BENCHMARKS[name].read(
            lay_out(tmp_path / name, footage=clip), Options(subtitles=BENCHMARKS[name].subtitles)
        )
        items = [item for item in reading.items if item.start_s is None][:1]  # not of a part: eight frames each
        work = Work(BENCHMARKS[name], items, memories.memory, lambda memory: asker, max_new_tokens=1)
        with ResultsWriter(tmp_path / f"{name}-out", RunIdentity("benchmark", name, "", "", ""), command=[]) as results:
            document = (run_online if name in MADE_ONLINE else run_offline)(work, results, reading)
        assert (document["complete"], document["answered"]) == (True, 1), (name, document["problems"])
        (row,) = read_rows(tmp_path / f"{name}-out")
        assert all(0 <= score <= 1 for score in row.scores.values()), name
        if name == "longvideobench":
            assert row.details["subtitles stand"].startswith("between" if model.preset.sees_clips else "before")
        frames = row.details["frames"] if "frames" in row.details else row.details["log"]["all"]["frames"]
        assert 1 <= frames <= FRAMES, name
        print(f"{name}: {frames} frames, {time.process_time() - began:.0f} s of CPU")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")
