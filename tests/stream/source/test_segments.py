"""HLS whose playlist stands still, whose parameters change, whose segments are called anything, and whose packager counts packets anew."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from types import SimpleNamespace

import pytest

from afterview.stream.errors import SourceLost
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.reader import Event, Frame, Lost, Retry, read_events
from afterview.stream.source.segments import SegmentWatch
from tests.support.hls_variants import _video
from tests.support.mjpeg_server import Request, picture_server
from tests.support.reading import nearest
from tests.support.watching import QUICK

ADDRESS = parse_source("http://127.0.0.1/live.m3u8")
SECONDS = 8


class _Packet(bytes):
    """Like av.Packet: bytes, with a time."""

    def __new__(cls, pts: int, data: bytes) -> "_Packet":
        packet = super().__new__(cls, data)
        packet.pts, packet.size = pts, len(data)
        return packet

    pts: int
    size: int
    time_base = Fraction(1)


def test_packets_of_a_connection_before_are_old() -> None:
    watch = SegmentWatch(ADDRESS)
    for pts in range(5):
        watch.note(_Packet(pts, b"picture %d" % pts), 0.0)
        assert not watch.is_old(pts)
    watch.connected()
    for pts in range(3, 8):
        watch.note(_Packet(pts, b"picture %d" % pts), 0.0)
    assert [watch.is_old(pts) for pts in range(3, 8)] == [True, True, False, False, False]


def test_a_packager_that_restarts_a_looped_clip_gives_new_pictures() -> None:
    """They are the same packets with the same times; only those of the newest segments of one run can be old."""
    watch = SegmentWatch(ADDRESS)
    for pts in [*range(50), *range(60)]:  # it restarted once, and ran for a minute
        watch.note(_Packet(pts, b"picture %d" % (pts % 20)), 0.0)
    watch.connected()
    for pts in range(19):
        watch.note(_Packet(pts, b"picture %d" % (pts % 20)), pts / 100)
        assert not watch.is_old(pts)


def test_packets_that_come_at_the_pace_of_a_camera_are_new() -> None:
    """The segments that stand in a playlist come at once."""
    watch = SegmentWatch(ADDRESS)
    for pts in range(12):
        watch.note(_Packet(pts, b"picture %d" % pts), float(pts))
    watch.connected()
    for pts in range(12):
        watch.note(_Packet(pts, b"picture %d" % pts), 100.0 + pts)
    assert [watch.is_old(pts) for pts in range(12)] == [True] * 6 + [False] * 6


def test_another_picture_at_the_same_time_is_new() -> None:
    watch = SegmentWatch(ADDRESS)
    watch.note(_Packet(0, b"before"), 0.0)
    watch.connected()
    watch.note(_Packet(0, b"behind"), 0.0)
    assert not watch.is_old(0)


def test_no_old_picture_is_wanted_but_the_first_new_one_always_is() -> None:
    watch = SegmentWatch(ADDRESS)
    watch.note(_Packet(0, b"0"), 0.0)
    watch.connected()
    due = watch.asked(lambda pts_s: False)
    assert due is not None
    for pts in range(3):
        watch.note(_Packet(pts, b"%d" % pts), 0.0)
    wanted = []
    for pts in range(3):
        if not watch.is_old(pts):
            wanted.append(due(float(pts)))
            watch.picture(float(pts), damaged=False)
    assert wanted == [True, False]


def test_other_sources_are_left_alone() -> None:
    watch = SegmentWatch(parse_source("rtsp://127.0.0.1/live"))
    watch.note(_Packet(0, b"0"), 0.0)
    watch.connected()
    watch.note(_Packet(0, b"0"), 0.0)
    assert not watch.is_old(0)
    for number in range(20):
        watch.picture(float(number), damaged=number > 5)


@pytest.mark.parametrize(("whole", "ends"), [(5, True), (0, False)])
def test_damaged_pictures_alone_end_a_connection_that_gave_whole_ones(whole: int, ends: bool) -> None:
    watch = SegmentWatch(ADDRESS)
    times = [float(number) for number in range(whole)] + [-3.0 + 0.5 * number for number in range(12)]
    error = None
    try:
        for number, pts_s in enumerate(times):
            watch.picture(pts_s, damaged=number >= whole)
    except SourceLost as caught:
        error = caught
    assert (error is not None) is ends


# --- over HTTP ---


@contextmanager
def broadcast(stands_still: float, goes_on: float, suffix: str = ".ts") -> Iterator[SimpleNamespace]:
    """Segments of a second that come every 0.5 s, from the third on; none comes between the two times, in seconds since the start."""
    segments, state = _video(160, 120, SECONDS), SimpleNamespace(url="", began=0.0)

    def ready() -> int:
        at = time.monotonic() - state.began
        return min(SECONDS, 3 + int((min(at, stands_still) + max(0.0, at - goes_on)) / 0.5))

    def serve(request: Request) -> bool:
        if request.path.endswith(".m3u8"):
            state.began = state.began or time.monotonic()
            count = ready()
            lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{count - 3}"]
            for number in range(count - 3, count):
                lines += ["#EXTINF:1.0,", f"{number}{suffix}"]
            request.answer("\n".join([*lines, ""]).encode(), "application/vnd.apple.mpegurl")
            return True
        found = re.search(r"(\d+)", request.path)
        assert found is not None
        request.answer(segments[int(found[1])], "video/mp2t")
        return True

    with picture_server(serve) as server:
        state.url = server.url.replace("/camera", "/live.m3u8")
        yield state


def events_of(url: str, until_picture: int) -> list[Event]:
    """Until this picture of the clip was shown, ten seconds at most."""
    stop, events = threading.Event(), list[Event]()
    timer = threading.Timer(10, stop.set)
    timer.start()
    for event in read_events(parse_source(url), QUICK, stop=stop):
        events.append(event)
        if isinstance(event, Frame) and nearest(event, 10 * SECONDS) >= until_picture:
            stop.set()
    timer.cancel()
    return events


def test_a_playlist_that_stands_still_gives_no_picture_twice() -> None:
    with broadcast(stands_still=0.6, goes_on=7) as server:
        events = events_of(server.url, 50)
    frames = [event for event in events if isinstance(event, Frame)]
    shown = [nearest(frame, 10 * SECONDS) for frame in frames]
    assert shown == sorted(set(shown))
    assert max(shown) >= 50  # it went on
    assert len([event for event in events if isinstance(event, Lost)]) == 1
    assert "the playlist stands still" in [event for event in events if isinstance(event, Retry)][1].reason
    assert frames[-1].damaged == 0  # every segment counts its packets anew


@pytest.mark.parametrize("suffix", ["", ".jpg"])
def test_segments_may_be_called_anything(suffix: str) -> None:
    with broadcast(stands_still=9, goes_on=9, suffix=suffix) as server:
        events = events_of(server.url, 22)
    assert [event for event in events if isinstance(event, Frame)]
