"""A whole picture takes the place of a damaged one of its slot; a damaged one is never lost, and whole ones never wait."""

import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from afterview.memory.directory import Memory
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.model.checkpoint.loading import AfterviewModel, load_pretrained
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.ingest.status import CameraStatus
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.events import Ended, Event, Frame, Lost, Opened, Passed, Picture, Retry
from tests.support.clips import make_clip, picture
from tests.support.presets import write_preset

START = 1_700_000_000.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> AfterviewModel:
    return load_pretrained(write_preset(tmp_path_factory.mktemp("preset")))


def record(
    model: AfterviewModel, memory: Path, source: str, start: float | None = START
) -> tuple[MemorySnapshot, CameraStatus]:
    statuses = []

    async def main() -> None:
        async with Session(memory, model.encoders) as session:
            ingest = session.add("gate", IngestConfig(parse_source(source), live=start is None, start=start))
            await session.run()
            statuses.append(ingest.status())

    run_loop(main())
    return Memory(memory).camera("gate").snapshot(), statuses[0]


def frame(pts_s: float, *, damaged: bool, arrival: float = START) -> Frame:
    return Frame(
        pts_s, arrival + pts_s, None, Picture(av.VideoFrame.from_ndarray(picture(int(pts_s * 4)), format="rgb24")),
        picture_damaged=damaged,
    )  # fmt: skip


def test_the_first_whole_picture_of_a_slot_is_taken(
    model: AfterviewModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = {
        1.0,
        1.25,
        2.0,
        2.25,
        2.5,
        2.75,
        4.0,
    }  # slot 1: from 1.5 on whole; slot 2: none is; the last one waits at the end
    wanted: list[float] = []

    def events(*unused: object, instead: object, **options: object) -> Iterator[Event]:
        assert callable(instead)
        yield Opened("h264", 160, 120, 4.0)
        for quarter in range(17):
            if instead(quarter / 4):
                wanted.append(quarter / 4)
            yield frame(quarter / 4, damaged=quarter / 4 in damaged)
        yield Ended("end of file", 17)

    monkeypatch.setattr("afterview.stream.ingest.decode.read_events", events)
    clip = make_clip(tmp_path / "clip.mp4", frames=2)
    snapshot, status = record(model, tmp_path / "m", str(clip))
    np.testing.assert_allclose(snapshot.times - START, [0, 1.5, 2, 3, 4], atol=1e-6)
    assert snapshot.pictures_damaged(snapshot.ids).tolist() == [False, False, True, False, True]
    assert (status.pictures_damaged, status.pictures_replaced) == (2, 1)
    assert status.to_dict()["pictures_damaged"] == 2
    assert wanted == [1.25, 1.5, 2.25, 2.5, 2.75]  # of an undamaged slot nothing more is asked for
    assert snapshot.time_bases(snapshot.ids) == {"file": 5}


def test_a_live_camera_keeps_the_damaged_picture_when_it_is_lost_or_late(
    model: AfterviewModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time() - 20

    def events(*unused: object, **options: object) -> Iterator[Event]:
        yield Opened("h264", 160, 120, 4.0)
        for quarter in range(40):
            yield frame(quarter / 4, damaged=False, arrival=now)
        yield frame(10.0, damaged=True, arrival=now)
        yield Passed(10.25, now + 12.0, None)  # the stream stalled: it has waited for more than a slot
        yield frame(10.5, damaged=False, arrival=now)
        yield frame(11.0, damaged=True, arrival=now)
        yield Lost("the stream ended", now + 12)
        yield Retry(1, 0.1, "the stream ended")

    monkeypatch.setattr("afterview.stream.ingest.decode.read_events", events)
    snapshot, status = record(model, tmp_path / "m", "http://camera/live", None)
    assert len(snapshot.ids) == 12
    assert np.flatnonzero(snapshot.pictures_damaged(snapshot.ids)).tolist() == [10, 11]
    assert (status.pictures_damaged, status.pictures_replaced) == (2, 0)


def test_a_file_without_some_of_its_packets(model: AfterviewModel, tmp_path: Path) -> None:
    """Key frames at 0, 0.8, 1.6 ... s: a loss in one of these groups leaves whole pictures in every slot."""
    whole, damaged = tmp_path / "whole.mkv", tmp_path / "damaged.mkv"
    for path, missing in ((whole, set()), (damaged, {22, 45, 46})):
        with av.open(str(path), "w") as output:
            stream = output.add_stream("libx264", rate=25, options={"g": "20", "bf": "0", "sc_threshold": "0"})
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
            frames = [av.VideoFrame.from_ndarray(picture(number), format="rgb24") for number in range(100)]
            packets = [packet for one in [*frames, None] for packet in stream.encode(one)]
            output.mux([packet for number, packet in enumerate(packets) if number not in missing])
    right, sound = record(model, tmp_path / "right", str(whole))
    np.testing.assert_allclose(right.times - START, [0, 1, 2, 3], atol=1e-3)
    assert (sound.pictures_damaged, sound.pictures_replaced) == (0, 0)
    snapshot, status = record(model, tmp_path / "m", str(damaged))
    np.testing.assert_allclose(snapshot.times - START, [0, 1.6, 2.4, 3], atol=1e-3)
    assert (status.pictures_damaged, status.pictures_replaced) == (0, 2)
    assert not snapshot.pictures_damaged(snapshot.ids).any()
