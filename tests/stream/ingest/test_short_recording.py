"""Recordings shorter than 128 s are sampled as published if the preset says so. Expected indices come from the published formula."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from afterview.memory.directory import Memory
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.checkpoint.preset import find_preset
from afterview.stream.ask.context import Planner
from afterview.stream.ask.question import Question
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.ingest.short_recording import ShortRecording, ShortSampler, time_line
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.address import parse_source
from tests.support.clips import make_clip
from tests.support.presets import write_preset

START = 1e9


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> AfterviewModel:
    path = write_preset(tmp_path_factory.mktemp("preset"), short_videos="published")
    return load_pretrained(path, device="cpu", dtype="float32")


def recorded(model: AfterviewModel, memory: Path, clip: Path, **options: object) -> Memory:
    async def record() -> None:
        async with Session(memory, model.encoders) as session:
            session.add("gate", IngestConfig(parse_source(str(clip)), live=False, start=START, **options))  # type: ignore[arg-type]
            await session.run()

    run_loop(record())
    return Memory(memory)


def planned(model: AfterviewModel, memory: Memory) -> tuple[int, float]:
    """Frames and seconds that the prompt of a question about everything states."""
    planner = Planner(memory, model, lambda text: np.zeros(32, dtype=np.float32))
    context = planner.plan_snapshot(memory.camera("gate").snapshot(), Question("What is it?"), START + 1e6)
    return context.span_frames, context.seconds


@pytest.mark.parametrize(("frames", "rate"), [(300, 25), (90, 30), (1, 25)])
def test_a_short_recording_gives_many_different_frames_and_the_prompt_says_so(
    model: AfterviewModel, tmp_path: Path, frames: int, rate: int
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=frames, rate=rate, width=64, height=48)
    memory = recorded(model, tmp_path / "m", clip)
    found = np.round((memory.camera("gate").snapshot().times - START) * rate).astype(int)
    expected = np.linspace(0, frames - 1, min(frames, 128), dtype=int)  # the published reader, --min_frames 128
    assert found.tolist() == expected.tolist()
    assert not memory.camera("gate").snapshot().gaps
    assert planned(model, memory) == (len(expected), frames / rate)


def test_live_sampling_and_longer_recordings_keep_one_frame_per_second(model: AfterviewModel, tmp_path: Path) -> None:
    long = make_clip(tmp_path / "long.mp4", frames=260, rate=2, width=64, height=48)
    times = recorded(model, tmp_path / "m", long).camera("gate").snapshot().times - START
    assert times.tolist() == [float(second) for second in range(130)]
    short = make_clip(tmp_path / "short.mp4", frames=50, rate=10, width=64, height=48)
    asked = recorded(model, tmp_path / "asked", short, short_videos="per-second")
    assert (asked.camera("gate").snapshot().times - START).tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert planned(model, asked) == (5, 5.0)
    slow = replace(model, preset=model.preset.model_copy(update={"short_videos": "per-second"}))
    assert len(recorded(slow, tmp_path / "slow", short).camera("gate").snapshot().times) == 5


def test_published_checkpoints_are_sampled_as_published_and_the_small_model_as_it_was_trained(tmp_path: Path) -> None:
    assert find_preset("jylins/hourllava-qwen25-3b-s3").short_videos == "published"
    assert find_preset("hour-llava-3b").short_videos == find_preset("hour-llava-7b").short_videos == "published"
    assert find_preset("tiny").short_videos == "per-second"
    (tmp_path / "mine.yaml").write_text("name: mine\ncheckpoint: jylins/hourllava-qwen25-3b-s3\n")
    assert find_preset(tmp_path / "mine.yaml").short_videos == "published"
    saved = tmp_path / "saved"  # by an earlier version, from one frame per second
    saved.mkdir()
    (saved / "preset.yaml").write_text("name: mine\ncheckpoint: .\n")
    assert find_preset(saved).short_videos == "per-second"


def test_frames_that_are_missing_keep_their_places() -> None:
    stamps = [number / 10 for number in range(200) if not 60 <= number < 120]
    found = time_line(stamps, 7.0)
    assert found is not None
    times, rate = found
    np.testing.assert_allclose(times, np.arange(200) / 10, atol=1e-9)
    assert math.isclose(rate, 10.0)
    sampler = ShortSampler(ShortRecording(tuple(times[n] for n in np.linspace(0, 199, 128, dtype=int)), 200, 10.0))
    chosen = [one for stamp in stamps if (one := sampler.admit(stamp))]
    assert chosen[0].slot == 0
    assert chosen[-1].slot == 127
    assert len(chosen) < 128
    irregular = [0.0, 0.1, 0.3, 2.0, 2.2, 5.0, 5.05, 9.0]
    assert time_line(irregular, 1.0) == (irregular, 1.0)  # a variable rate has no holes
