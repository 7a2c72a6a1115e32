"""Make one of everything that a version writes, for later versions to open: `python -m tests.formats.make NAME.tar.gz`.

checkpoint/    a small model of random weights in the published layout; every memory below was recorded with it
memory/        cameras "front-door" (float16: a gap, forgotten, kept and downsampled frames, a mask, a journal) and "yard" (int8)
answers.json   what `ask` and `info` said of that memory
stored/        a memory whose sealed chunks lie in a bucket alone; bucket/ holds the objects by key
yard.span      an exported span          bank/    features for training          training/    a training half done
"""

import json
import os
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from afterview.cli.main import main
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.saving import save_pretrained
from tests.support.clips import make_clip
from tests.support.object_server import BUCKET, KEYS, ObjectServer
from tests.support.presets import write_preset

START = 1_700_000_000  # Unix seconds of the first frame of every recording
TOWER = {"width": 16, "layers": 1, "heads": 2, "mlp_width": 32, "image_size": 32, "patch_size": 4}
GEOMETRY = {
    "vision": TOWER,
    "language": {"width": 32, "layers": 2, "heads": 2, "key_value_heads": 1, "mlp_width": 48},
    "index_vision": TOWER,
    "index_text": {"width": 16, "layers": 1, "heads": 2, "mlp_width": 32, "positions": 32},
}
QUESTION = "What happened?"
STAGE = {
    "name": "small",
    "model": "./checkpoint",
    "trainer": {"steps": 4, "learning_rates": {"projector": 1e-3, "memaug": 1e-3}, "log_every": 1, "save_every": 2},
    "streams": [{"annotations": "annotations.json", "features": "bank"}],
    "batch": 1,
    "forgetting": {"max_frames": 8, "min_frames": 2},
    "gradient_checkpointing": False,
}


def run(*arguments: str) -> dict[str, Any]:
    """One command; its JSON document."""
    printed = StringIO()
    with redirect_stdout(printed):
        assert main([*arguments, "--json"]) == 0, arguments
    return json.loads(printed.getvalue())


def make_checkpoint() -> None:
    """checkpoint/"""
    with tempfile.TemporaryDirectory() as scratch:
        preset = write_preset(Path(scratch), name="small", geometry=GEOMETRY, memaug_depth=2)
        save_pretrained(load_pretrained(preset, device="cpu", dtype="float32"), "checkpoint")


def make_memory(clips: Path) -> None:
    """memory/ and answers.json"""
    door = ("--memory", "memory", "--camera", "Front door")
    record = ("--model", "checkpoint", "--timezone", "Europe/Berlin")
    run("replay", str(clips / "long.mp4"), *door, *record, "--start", str(START))
    run("replay", str(clips / "short.mp4"), *door, *record, "--start", str(START + 200))
    run("replay", str(clips / "middle.mp4"), "--memory", "memory", "--camera", "yard", *record, "--tokens", "int8",
        "--start", str(START))  # fmt: skip
    run("forget", *door, "--yes", "--from", str(START + 10), "--to", str(START + 14))
    run("keep", *door, "--from", str(START + 20), "--to", str(START + 30))
    run("keep", *door, "--clear")
    run("keep", *door, "--from", str(START + 100), "--to", str(START + 110))
    run("mask", *door, "--polygon", "0,0 0.3,0 0.3,1 0,1")
    run("retain", *door, "--coarse-days", "0.001")
    run("retain", "--memory", "memory", "--days", "36500")
    run("pause", "--memory", "memory", "--camera", "yard")
    asked = {name: run("ask", QUESTION, "--memory", "memory", "--camera", name, "--model", "checkpoint",
                       "--at", str(START + 220)) for name in ("front-door", "yard")}  # fmt: skip
    Path("answers.json").write_text(json.dumps({"asked": asked, "info": run("info", "memory")}, indent=1))
    run("export", "yard.span", "--memory", "memory", "--camera", "yard")


def make_store(clips: Path) -> None:
    """stored/ and bucket/"""
    with ObjectServer() as server, environment(KEYS):
        run("replay", str(clips / "middle.mp4"), "--memory", "stored", "--camera", "gate", "--model", "checkpoint",
            "--timezone", "UTC", "--start", str(START))  # fmt: skip
        run("store", "set", f"s3://{BUCKET}/house", "--memory", "stored", "--endpoint", server.endpoint,
            "--local-gb", "0")  # fmt: skip
        run("store", "flush", "--memory", "stored")
        for key in server.objects():
            path = Path("bucket") / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(server.read(key))


def make_training(clips: Path) -> None:
    """bank/ and training/: two of four steps."""
    from afterview.training.core.parts import parts_of
    from afterview.training.core.stage_data import StageData
    from afterview.training.core.stages import StageConfig, StageObjective
    from afterview.training.core.trainer import Trainer
    from afterview.training.run import keep_configuration

    run("extract", str(clips / "short.mp4"), "--out", "bank", "--model", "checkpoint")
    turns = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A thing"}]
    Path("annotations.json").write_text(json.dumps([{"id": 1, "video": "short.mp4", "conversations": turns}]))
    Path("stage.yaml").write_text(json.dumps(STAGE))  # JSON is YAML
    config, out = StageConfig.model_validate(STAGE), Path("training")
    model = load_pretrained(config.model, device="cpu", dtype="float32")
    parts = parts_of(model.video_language, model.vision.tower)
    keep_configuration(config, out)
    Trainer(StageObjective(model, config), parts, config.trainer, out, cpu=True).run(StageData(config, model), until=2)


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Environment variables, set for a while."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def make(archive: Path) -> None:
    """Make everything in a scratch directory, and pack it."""
    archive = archive.resolve()
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as scratch, chdir(directory):
        clips = Path(scratch)
        for name, seconds in (("long", 140), ("middle", 70), ("short", 20)):
            make_clip(clips / f"{name}.mp4", frames=2 * seconds, rate=2, width=64, height=48)
        make_checkpoint()
        make_memory(clips)
        make_store(clips)
        make_training(clips)
        with tarfile.open(archive, "w:gz") as packed:
            packed.add(".", filter=lambda entry: None if entry.name.endswith(("/control", "/reserve")) else entry)
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB", file=sys.stderr)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
