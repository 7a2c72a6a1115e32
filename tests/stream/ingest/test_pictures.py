"""Slow cameras that send single pictures: recorded when they come, dated then, and no gap is made up between them."""

import time
from pathlib import Path

import numpy as np
import pytest

from afterview.model.checkpoint.loading import AfterviewModel, load_pretrained
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.config import SourceConfig
from tests.support.mjpeg_server import Request, jpeg, picture_server
from tests.support.presets import write_preset
from tests.support.watching import QUICK, Recording


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> AfterviewModel:
    return load_pretrained(write_preset(tmp_path_factory.mktemp("preset")))


@pytest.mark.parametrize("every_s", [0.2, 0.75])
def test_slow_motion_jpeg_is_recorded_picture_by_picture(every_s: float, model: AfterviewModel, tmp_path: Path) -> None:
    """At 10 slots per second, one picture in 0.2 or 0.75 s is what one in 2 or 7.5 s is at one slot per second."""
    sent: list[float] = []

    def camera(request: Request) -> None:
        request.head("multipart/x-mixed-replace; boundary=frame")
        for number in range(5):
            if not request.pause(every_s):
                return
            sent.append(time.time())
            request.send(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg(number) + b"\r\n")
        request.hold()

    with picture_server(camera) as server:
        config = IngestConfig(parse_source(server.url), fps=10.0, source=SourceConfig())
        with Recording(tmp_path, model.encoders, "slow", config) as recording:
            recording.wait_for(1)
            assert len(sent) <= 1 + (every_s < 0.5)  # it did not wait for the next one
            recording.wait_for(5)
        snapshot = recording.snapshot()
    assert snapshot.times.tolist() == pytest.approx(sent, abs=0.1)
    assert snapshot.time_bases(np.arange(5)) == {"arrival": 5}
    assert [gap for gap in snapshot.gaps if gap.reason == "jump"] == []


def test_a_snapshot_url_is_recorded_at_the_sampling_rate(model: AfterviewModel, tmp_path: Path) -> None:
    def camera(request: Request) -> bool:
        request.answer(jpeg(len(server.requests) % 12))
        return True

    with picture_server(camera) as server:
        config = IngestConfig(parse_source(server.url), fps=5.0, source=QUICK)
        with Recording(tmp_path, model.encoders, "door", config) as recording:
            recording.wait_for(8)
        snapshot, asked = recording.snapshot(), len(server.requests)
    steps = [after - before for before, after in zip(snapshot.times, snapshot.times[1:], strict=False)]
    assert steps == pytest.approx([0.2] * len(steps), abs=0.1)
    assert asked - len(snapshot.times) in (0, 1)  # one may be on its way
    assert not snapshot.gaps


def test_what_users_should_know_is_a_state(model: AfterviewModel, tmp_path: Path) -> None:
    def camera(request: Request) -> None:
        request.head("multipart/x-mixed-replace; boundary=frame")
        for number in range(100):
            request.send(b"--frame\r\nContent-Type: text/plain\r\n\r\nhello\r\n")
            request.send(b"--frame\r\n\r\n" + jpeg(number % 12) + b"\r\n")
            if not request.pause(0.05):
                return

    with picture_server(camera) as server:
        config = IngestConfig(parse_source(server.url), fps=10.0, source=QUICK)
        with Recording(tmp_path, model.encoders, "mixed", config) as recording:
            recording.wait_for(3)
    told = [detail for state, detail in recording.states if state == "online" and "no pictures (text/plain)" in detail]
    assert len(told) == 1
