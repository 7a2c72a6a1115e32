"""Frames that are dropped are a gap at their place, with their reason, whatever else is on its way at that moment."""

import asyncio
import math
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from afterview.memory.base.records import Gap, TimeBasis
from afterview.memory.base.settings import CameraSettings
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.open import open_camera
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.config import Controls, IngestConfig
from afterview.stream.ingest.encode import EncodeStage
from afterview.stream.ingest.items import Interruption
from afterview.stream.ingest.preprocess import Sampled
from afterview.stream.ingest.queues import Blocking, DropOldest
from afterview.stream.ingest.status import IngestStats
from afterview.stream.ingest.supervisor import Supervisor
from afterview.stream.ingest.write import CameraWriter, Stored
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.events import Event, Frame, Opened
from tests.support.memory_world import START, make_frame, make_spec

SPEC = make_spec()


def relative(gaps: tuple[Gap, ...]) -> list[tuple[float, float, str]]:
    return [(gap.start - START, gap.end - START, gap.reason) for gap in gaps]


class SlowEncoders:
    """Encoders whose first batch takes until `go` is set."""

    def __init__(self) -> None:
        self.feature_spec, self.busy, self.go = SPEC, threading.Event(), threading.Event()
        self.vision = SimpleNamespace(encode=self._tokens)
        self.index = SimpleNamespace(encode_images=lambda pixels: np.ones((len(pixels), 5), np.float32))

    def _tokens(self, pixels: np.ndarray) -> np.ndarray:
        self.busy.set()
        assert self.go.wait(20)
        return np.zeros((len(pixels), 4, 6), np.float16)


def sampled(number: int, encoders: Any) -> Sampled:
    pixels = np.zeros((8, 8, 3), np.uint8)
    when = START + number
    return Sampled(when, when, math.nan, TimeBasis.ARRIVAL, pixels, pixels, b"jpeg", encoders)


def test_five_frames_dropped_by_an_encoder_that_stalls_are_a_gap(tmp_path: Path) -> None:
    encoders: Any = SlowEncoders()
    stage, repository = EncodeStage(), open_camera(tmp_path, "a", SPEC)
    camera = CameraIngest(IngestConfig(parse_source("rtsp://camera/x")), repository, encoders, stage.work)
    stage.add(camera)
    threads = [threading.Thread(target=stage.run, daemon=True), threading.Thread(target=camera.write, daemon=True)]
    for thread in threads:
        thread.start()
    camera.inbox.put(sampled(0, encoders))
    assert encoders.busy.wait(20)
    for number in range(1, camera.inbox.capacity + 6):
        camera.inbox.put(sampled(number, encoders))
    encoders.go.set()
    camera.inbox.close()
    stage.close()
    for thread in threads:
        thread.join(20)
    snapshot = CameraReader(tmp_path / "a").snapshot()
    assert (snapshot.times - START).tolist() == [0, *range(6, camera.inbox.capacity + 6)]
    assert relative(snapshot.gaps) == [(0, 6, "dropped")]
    assert camera.inbox.dropped == 5


def write(memory: Path, items: list[Any]) -> CameraReader:
    """Give a writer these items; the camera that it made."""
    outbox: Blocking[Stored] = Blocking(10_000)
    for item in items:
        outbox.put(item)
    outbox.close()
    nobody: Any = None
    repository = open_camera(memory, "a", SPEC)
    CameraWriter(repository, outbox, IngestStats(), Controls(CameraSettings(), nobody)).run()
    return CameraReader(memory / "a")


Steps = list[
    tuple[int, int, bool]
]  # frames that come in, items that the encoder then takes, whether the source is lost next


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9), st.booleans()), min_size=1, max_size=8))
def test_frames_and_gaps_fill_the_span_with_the_right_reasons(
    steps: Steps, tmp_path_factory: pytest.TempPathFactory
) -> None:
    inbox: DropOldest[Any] = DropOldest(4)
    items, number, lost_after = [make_frame(0, SPEC)], 1, set[int]()
    for come, taken, lost in steps:
        for _ in range(come):
            inbox.put(make_frame(number, SPEC))
            number += 1
        items += inbox.take_now(taken)
        if lost:
            inbox.put(Interruption("lost"))
            lost_after.add(number - 1)
            number += 3  # slots without a frame
    items += inbox.take_now(100)
    snapshot = write(tmp_path_factory.mktemp("memory"), items).snapshot()
    slots = np.round(snapshot.times - START).astype(int).tolist()
    expected = [
        (before, after) for before, after in pairwise(slots) if after - before > 1
    ]  # each hole is a gap, and nothing else is
    assert [(round(gap.start - START), round(gap.end - START)) for gap in snapshot.gaps] == expected
    for gap in snapshot.gaps:
        inside = range(round(gap.start - START), round(gap.end - START))
        assert gap.reason == ("lost" if lost_after & set(inside) else "dropped")


def test_the_reason_of_a_drop_goes_to_no_other_frame(tmp_path: Path) -> None:
    frames = [make_frame(number, SPEC) for number in (0, 1, 2, 8, 9, 20)]
    inbox: DropOldest[Any] = DropOldest(4)
    for number in range(3, 12):
        inbox.put(make_frame(number, SPEC))
    dropped = inbox.take_now(1)
    reader = write(tmp_path, [*frames[:3], *dropped, *frames[3:], Interruption("paused"), make_frame(99, SPEC)])
    assert relative(reader.snapshot().gaps) == [(2, 8, "dropped"), (9, 20, "jump"), (20, 99, "paused")]


class StillPicture:
    """A decoded picture that is always the same."""

    width, height = 8, 8

    def rgb(self) -> np.ndarray:
        return np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize("stamped", [True, False])
def test_a_stop_loses_no_frame_that_waits_for_the_clock(
    stamped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, frames = threading.Event(), 4

    def burst(*rest: Any, stop: threading.Event, **options: Any) -> Iterator[Event]:
        yield Opened("h264", 8, 8, 1.0)
        for number in range(frames):  # faster than its own clock runs: buffered while it was opened
            picture: Any = StillPicture()
            yield Frame(float(number) if stamped else None, START + number * (0.01 if stamped else 1), None, picture)
        given.set()
        assert stop.wait(20)

    monkeypatch.setattr("afterview.stream.ingest.decode.read_events", burst)
    encoders: Any = SlowEncoders()
    encoders.go.set()
    stage, repository = EncodeStage(), open_camera(tmp_path, "a", SPEC)
    camera = CameraIngest(IngestConfig(parse_source("rtsp://camera/x")), repository, encoders, stage.work)
    stage.add(camera)
    threads = [threading.Thread(target=run, daemon=True) for run in (stage.run, camera.write, camera.decode)]
    for thread in threads:
        thread.start()
    assert given.wait(20)
    camera.stop()
    stage.close()
    for thread in threads:
        thread.join(20)
    assert CameraReader(tmp_path / "a").snapshot().frames == frames


def test_a_live_session_with_an_encoder_too_slow_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afterview.stream.ingest.camera.LIVE_QUEUE_S", 0.5)
    encoders: Any = SlowEncoders()
    encoders.go.set()
    batches = 0

    def tokens(pixels: np.ndarray) -> np.ndarray:
        nonlocal batches
        batches += 1
        time.sleep(1.4 if batches in (8, 14) else 0)
        return np.zeros((len(pixels), 4, 6), np.float16)

    encoders.vision.encode = tokens

    async def record() -> int:
        async with Supervisor(tmp_path, encoders) as supervisor:
            source = parse_source("lavfi:testsrc2=size=64x48:rate=20")
            camera = supervisor.add("a", IngestConfig(source, fps=10))
            await asyncio.sleep(5)
            camera.stop()
            await supervisor.run()
            return camera.inbox.dropped

    dropped = asyncio.run(record())
    snapshot = CameraReader(tmp_path / "a").snapshot()
    steps, gaps = pairwise(snapshot.times.tolist()), {(gap.start, gap.end) for gap in snapshot.gaps}
    assert dropped >= 10
    assert {(before, after) for before, after in steps if after - before > 0.26} <= gaps  # to within one slot
    missing = [round(10 * gap.seconds) - 1 for gap in snapshot.gaps if gap.reason == "dropped"]
    assert abs(sum(missing) - dropped) <= len(missing)  # a slot each
