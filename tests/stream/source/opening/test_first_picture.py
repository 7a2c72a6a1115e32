"""A camera whose key frame is far away is waited for as long as data comes, and what is missing is said."""

import contextlib
import itertools
import re
import socket
import threading
import time
from pathlib import Path

import av
import pytest

from afterview.stream.errors import SourceTimeout
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.backoff import BackoffConfig
from afterview.stream.source.opening import first_picture
from afterview.stream.source.opening.first_picture import FirstPicture
from afterview.stream.source.probe import probe
from afterview.stream.source.reader import Event, Frame, Lost, Opened, Retry, SourceConfig, Waiting, read_events
from tests.support.clips import make_clip
from tests.support.refusing_rtsp import FarKeyFrame

SHORT = {"open_timeout_s": 1.0, "read_timeout_s": 1.0}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=20)


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_picture, "_far", set())
    monkeypatch.setattr(first_picture, "_FIRST_NOTICE_S", 0.5)


def until_frame(camera: FarKeyFrame, config: SourceConfig) -> list[Event]:
    stop, events = threading.Event(), list[Event]()
    for event in read_events(parse_source(camera.url), config, stop=stop):
        events.append(event)
        if isinstance(event, Frame):
            stop.set()
    return events


@pytest.mark.parametrize("described", [True, False])
def test_a_key_frame_that_comes_after_the_timeouts_is_waited_for(clip: Path, described: bool) -> None:
    with FarKeyFrame(clip, key_frame_s=2.5, described=described) as camera:
        events = until_frame(camera, SourceConfig(**SHORT))
    assert [type(event) for event in events if not isinstance(event, Waiting)] == [Opened, Frame]
    said = [event.reason for event in events if isinstance(event, Waiting)]
    assert said
    assert re.search(
        r"live: data comes, but no key frame yet: waiting; it has been \d+ s of 120 s at most; set a shorter key",
        said[0],
    )


def test_an_address_whose_key_frames_are_far_is_analysed_once(clip: Path) -> None:
    with FarKeyFrame(clip, key_frame_s=2.0, described=False) as camera:
        address, config = parse_source(camera.url), SourceConfig(**SHORT)
        assert "no key frame" in probe(address, config)
        began = time.monotonic()
        assert "no key frame" in probe(address, config)
        assert time.monotonic() - began < 0.8
        assert len(camera.joined) == 3


def test_the_wait_ends_and_says_what_came(clip: Path) -> None:
    with FarKeyFrame(clip, key_frame_s=None, described=True) as camera:
        config = SourceConfig(**SHORT, first_picture_timeout_s=1.5)
        with pytest.raises(
            SourceTimeout, match=r"no key frame within 1\.5 s, though data comes \(\d+ packets, \d+ kB, no key frames\)"
        ):
            until_frame(camera, config)


def test_a_source_that_gave_pictures_and_gives_none_any_more_is_lost_after_the_read_timeout(clip: Path) -> None:
    stop = threading.Event()
    with FarKeyFrame(clip, key_frame_s=0, described=True) as camera:
        for event in read_events(parse_source(camera.url), SourceConfig(**SHORT), stop=stop):
            if isinstance(event, Frame):
                camera._units = [[b"\x41\xc0\x40\x00\x80"]]  # a slice of unknown parameters
            if isinstance(event, Lost):
                stop.set()
                assert "data, but no decodable frame for 1 s" in event.reason
    assert stop.is_set()


def test_notices_come_every_second_and_the_notable_ones_less_and_less() -> None:
    class Data:
        stream_index, size, is_keyframe = 0, 500, False

    wait = FirstPicture(parse_source("rtsp://cam/x"), 120, 0, now=0.0)
    notable = []
    for now in range(1, 121):
        wait.note(Data, now)  # type: ignore[arg-type]
        notice = wait.notice(now)
        assert (notice is not None) == (now >= 0.5)
        if notice is not None and notice.notable:
            notable.append(now)
        wait.require(now)
    assert notable == [1, 2, 4, 8, 16, 32, 64]
    with pytest.raises(SourceTimeout, match=r"120 packets, 60 kB, no key frames"):
        wait.require(120.5)
    Data.is_keyframe = True
    wait.note(Data, 121)  # type: ignore[arg-type]
    assert wait.notice(122) is None


def test_after_an_outage_the_wait_is_said_again_and_is_no_second_outage(clip: Path) -> None:
    stop, events = threading.Event(), list[Event]()
    config = SourceConfig(**SHORT, backoff=BackoffConfig(first_s=0.05, max_s=0.1))
    with FarKeyFrame(clip, key_frame_s=0, described=True) as camera:
        for event in read_events(parse_source(camera.url), config, stop=stop):
            events.append(event)
            pictures = sum(isinstance(event, Opened) for event in events)
            if isinstance(event, Opened) and pictures == 1:
                camera.start_late(2.0)
            if pictures == 2:
                stop.set()
    kinds = [type(event) for event in events if not isinstance(event, Frame)]
    assert [kind for kind, before in zip(kinds, [None, *kinds], strict=False) if kind is not before] == [
        Opened, Lost, Retry, Waiting, Opened,
    ]  # fmt: skip


def _joined_late(clip: Path, folder: Path) -> list[bytes]:
    """The frames of a transport stream that begins in the middle of a group of pictures; a key frame comes as the 20th."""
    with av.open(str(clip)) as source, av.open(str(folder / "late.ts"), "w", format="mpegts") as output:
        copy = output.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(source.streams.video[0]) if packet.size]
        step = packets[1].pts - packets[0].pts
        data = [bytes(packet) for packet in packets]
        for number, held in enumerate([*data[1:], *data]):
            packet = av.Packet(held)
            packet.pts = packet.dts = number * step
            packet.time_base, packet.stream, packet.is_keyframe = packets[0].time_base, copy, held == data[0]
            output.mux(packet)
    stream = (folder / "late.ts").read_bytes()
    begins = [
        at for at in range(0, len(stream), 188) if stream[at + 1] & 0x40 and stream[at + 1 : at + 3] == b"\x41\x00"
    ]
    return [stream[: begins[1]], *(stream[a:b] for a, b in itertools.pairwise([*begins[1:], len(stream)]))]


def test_a_transport_stream_whose_key_frame_comes_after_the_timeouts_is_waited_for(clip: Path, tmp_path: Path) -> None:
    pieces = _joined_late(clip, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                with listener.accept()[0] as client, contextlib.suppress(OSError):
                    for piece in pieces:
                        client.sendall(piece)
                        time.sleep(0.1)

        threading.Thread(target=serve, daemon=True).start()
        stop, events = threading.Event(), list[Event]()
        address = parse_source(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        for event in read_events(address, SourceConfig(**SHORT), stop=stop):
            events.append(event)
            if isinstance(event, Frame):
                stop.set()
    assert [type(event) for event in events if not isinstance(event, Waiting)] == [Opened, Frame]
    assert any(isinstance(event, Waiting) for event in events)


def test_a_camera_that_answers_and_sends_nothing_has_no_key_frame_far_away(clip: Path) -> None:
    with FarKeyFrame(clip, key_frame_s=None, described=True) as camera:
        camera._units = [[]]
        with pytest.raises(SourceTimeout, match="no data for 1 s"):
            probe(parse_source(camera.url), SourceConfig(**SHORT))
        assert not first_picture.key_frames_are_far(camera.url)
