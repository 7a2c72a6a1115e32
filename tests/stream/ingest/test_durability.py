"""What a power cut can cost: at most the frames of the last N seconds, and none that was acknowledged. Every step is recorded, and cut."""

import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from afterview.cli.arguments import sync_interval
from afterview.configs import UsageError
from afterview.memory.base.durable import StepKind, observed
from afterview.memory.base.settings import CameraSettings
from afterview.memory.format.journal import scan
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.repository import Acknowledgement
from afterview.stream.ingest.config import Controls
from afterview.stream.ingest.items import Interruption
from afterview.stream.ingest.queues import Blocking
from afterview.stream.ingest.status import IngestStats
from afterview.stream.ingest.write import CameraWriter, Stored
from tests.crash.disk import Disk, Recorder, Step
from tests.crash.power import cuts, evenly
from tests.crash.writer import SPECS
from tests.support.memory_world import make_frame

SPEC = SPECS["float16"]
FRAMES, EVERY_S = 24, 0.04
LATE_S = 0.4  # seconds that a busy machine may add to a promise of seconds


class TimedRecorder(Recorder):
    """Steps, and when each was taken."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def __call__(self, kind: StepKind, path: Path, detail: bytes | int | Path | None) -> None:
        super().__call__(kind, path, detail)
        self.times.append(time.monotonic())

    def promise(self, kind: str, line: str) -> None:
        super().promise("ack", line)
        self.times.append(time.monotonic())


def record(memory: Path, sync_every_s: float) -> TimedRecorder:
    """A writer that gets a frame every EVERY_S, and an outage on the way."""
    recorder = TimedRecorder()

    def durable(acks: Sequence[Acknowledgement]) -> None:
        for ack in acks:
            recorder.promise("ack", f"{ack.frame} {ack.time!r} {ack.crc:08x}")

    with observed(recorder):
        outbox: Blocking[Stored] = Blocking(16)
        repository, nobody = open_camera(memory, "a", SPEC), cast("Any", None)  # no encoder is looked up here
        writer = CameraWriter(
            repository,
            outbox,
            IngestStats(),
            Controls(CameraSettings(), nobody),
            on_durable=durable,
            sync_every_s=sync_every_s,
        )
        thread = threading.Thread(target=writer.run, daemon=True)
        thread.start()
        for number in range(FRAMES):
            outbox.put(make_frame(number, SPEC))
            if number == FRAMES // 2:
                outbox.put(Interruption("lost"))
            time.sleep(EVERY_S)
        outbox.close()
        thread.join(10)
        assert not thread.is_alive()
    return recorder


def frames_in(data: bytes) -> int:
    """Nothing is there yet before the camera is made."""
    return sum(entry.header["type"] == "frame" for entry in scan(data, where="journal").records) if data else 0


def journal_of(memory: Path) -> Path:
    return memory / "a" / "journal"


@pytest.mark.parametrize("sync_every_s", [0.0, 0.3])
def test_a_power_cut_costs_at_most_the_frames_of_the_last_seconds(tmp_path: Path, sync_every_s: float) -> None:
    memory = tmp_path / "m"
    recorder = record(memory, sync_every_s)
    disk, written = Disk(), list[float]()  # when each frame was written
    for step, when in zip(recorder.steps, recorder.times, strict=True):
        if step.kind == "ack":
            continue
        left = disk.after_power_loss("nothing", random.Random(0))  # the power goes just before this step
        durable = frames_in(left.get(journal_of(memory)) or b"")
        due = sum(begun < when - sync_every_s - LATE_S for begun in written)
        assert durable >= due, f"{due} frames were due after {when - recorder.times[0]:.2f} s, {durable} are durable"
        disk.take(step)
        if is_frame(step, memory):
            written.append(when)
    assert len(written) == FRAMES
    assert [step.detail for step in recorder.steps if step.kind == "ack"][-1].startswith(f"{FRAMES - 1} ")  # type: ignore[union-attr]
    steps = len(recorder.steps)
    broken = [what for _, _, found in cuts(recorder.steps, evenly(steps, 10), SPEC, seed=0) for what in found]
    assert broken == []  # nothing that was acknowledged is ever lost


def is_frame(step: Step, memory: Path) -> bool:
    return (
        step.kind == "write"
        and step.path == journal_of(memory)
        and isinstance(step.detail, bytes)
        and b'"type": "frame"' in step.detail
    )


def test_frames_are_made_durable_one_by_one_or_together(tmp_path: Path) -> None:
    def syncs(memory: Path, sync_every_s: float) -> int:
        steps = record(memory, sync_every_s).steps
        return sum(step.kind == "fsync" and step.path == journal_of(memory) for step in steps)

    one_by_one, together = syncs(tmp_path / "one" / "m", 0.0), syncs(tmp_path / "two" / "m", 0.3)
    assert one_by_one >= FRAMES * 0.75  # a busy machine may find two frames waiting
    assert together <= FRAMES * EVERY_S / 0.3 + 5  # the outage, opening and closing sync too


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), 61.0])
def test_intervals_that_nobody_should_promise(seconds: float) -> None:
    with pytest.raises(UsageError, match="--sync-every"):
        sync_interval(seconds)
