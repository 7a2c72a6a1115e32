"""Snapshot URLs: one picture per request, asked for at the sampling rate."""

import gzip
import io
import threading
import time
from collections.abc import Callable

import pytest
from PIL import Image

from afterview.stream.errors import SourceError, SourceUnreachable
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.pictures.jpeg_end import PictureEnd
from afterview.stream.source.pictures.parts import Found
from afterview.stream.source.pictures.snapshot import Snapshots
from afterview.stream.source.reader import Event, Frame, Lost, Opened, read_events
from tests.support.clips import picture
from tests.support.mjpeg_server import PictureServer, Request, jpeg, picture_server
from tests.support.reading import FAST, FakeTime, nearest

TEN = FAST.model_copy(update={"poll_fps": 10.0})


def events_of(server: PictureServer, enough: Callable[[list[Event]], bool], config: SourceConfig = TEN) -> list[Event]:
    stop, events = threading.Event(), list[Event]()
    for event in read_events(parse_source(server.url), config, stop=stop):
        events.append(event)
        if enough(events):
            stop.set()
    return events


def frames(events: list[Event]) -> list[Frame]:
    return [event for event in events if isinstance(event, Frame)]


def count(number: int) -> Callable[[list[Event]], bool]:
    return lambda events: len(frames(events)) == number


def test_a_snapshot_url_is_asked_at_the_sampling_rate() -> None:
    asked: list[float] = []

    def camera(request: Request) -> bool:
        asked.append(time.time())
        request.answer(jpeg(len(asked) - 1))
        return True

    with picture_server(camera) as server:
        events = events_of(server, count(6))
        assert server.connections == 1
    assert [nearest(frame, 12) for frame in frames(events)] == list(range(6))
    steps = [(frame.pts_s or 0) - 0.1 * number for number, frame in enumerate(frames(events))]
    assert steps == pytest.approx([0] * 6, abs=0.3)
    assert [frame.arrival_time for frame in frames(events)] == pytest.approx(asked, abs=0.1)


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "avif", "gif", "bmp"])
def test_formats(kind: str, length: bool) -> None:
    data = io.BytesIO()
    Image.fromarray(picture(7)).save(data, kind)

    def camera(request: Request) -> bool:
        if length:
            request.answer(data.getvalue(), f"image/{kind}")
        else:
            request.head(f"image/{kind}", "Transfer-Encoding: chunked")
            request.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data.getvalue()), data.getvalue()))
        return True

    with picture_server(camera) as server:
        events = events_of(server, count(2))
    assert [nearest(frame, 12) for frame in frames(events)] == [7, 7]
    assert isinstance(events[0], Opened)
    assert events[0].codec == {"jpeg": "mjpeg"}.get(kind, kind)


def _no_length(request: Request) -> None:
    request.head("image/jpeg")
    request.send(jpeg(1))


def _chunked(request: Request) -> bool:
    request.head("image/jpg", "Transfer-Encoding: chunked")
    data = jpeg(1)
    request.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))
    return True


def _octets(request: Request) -> bool:
    request.answer(jpeg(1), "application/octet-stream")
    return True


def _closes(request: Request) -> None:
    request.answer(jpeg(1), "image/jpeg")


def _wrong_type(request: Request) -> bool:
    request.answer(jpeg(1), "text/html")
    return True


def _blank_lines_first(request: Request) -> bool:
    request.answer(b"\r\n\r\n" + jpeg(1))
    return True


def _compressed(request: Request) -> bool:
    request.answer(gzip.compress(jpeg(1)), "image/jpeg", "Content-Encoding: gzip")
    return True


def _shorter_than_stated(request: Request) -> None:
    request.head("image/jpeg", f"Content-Length: {len(jpeg(1)) + 500}")
    request.send(jpeg(1))


@pytest.mark.parametrize(
    "script",
    [_no_length, _chunked, _octets, _closes, _wrong_type, _blank_lines_first, _compressed, _shorter_than_stated],
)
def test_answers_of_one_picture(script: Callable[[Request], object]) -> None:
    with picture_server(script) as server:
        events = events_of(server, count(3))
    assert [nearest(frame, 12) for frame in frames(events)] == [1, 1, 1]


def test_a_slow_server_is_asked_again_only_after_its_answer() -> None:
    def slow(request: Request) -> bool:
        request.pause(0.25)
        request.answer(jpeg(len(server.requests)))
        return True

    with picture_server(slow) as server:
        events = events_of(server, count(3))
        assert len(server.requests) == 3
    steps = [frame.pts_s or 0 for frame in frames(events)]
    assert steps[1] > 0.29  # the answer takes 0.25 s, and pictures are due every 0.1 s; a busy machine adds to it
    assert steps[2] - steps[1] > 0.24


def test_a_picture_that_stays_the_same_is_recorded_and_reported_once() -> None:
    fake, stop = FakeTime(), threading.Event()
    bodies = [jpeg(0)] * 80 + [jpeg(1), jpeg(2)]
    data = iter(bodies[1:])

    class Feed(Snapshots):
        def _ask(self, latest: Found) -> tuple[Found, str]:
            return Found(next(data), "mjpeg", fake.now, False), ""

    feed = Feed(
        parse_source("http://127.0.0.1/x"), None, Found(bodies[0], "mjpeg", fake.now, False),  # type: ignore[arg-type]
        fps=1.0, tag="", read_timeout_s=10.0, stop=stop, wait=fake.sleep, monotonic=fake,
    )  # fmt: skip
    notes, times = [], []
    for found in feed.pictures():
        notes.append(feed.note)
        times.append(found.at)
        if len(notes) == len(bodies):
            stop.set()
    assert times == [1000.0 + number for number in range(82)]
    assert set(notes[:60]) == {""}
    assert set(notes[60:80]) == {
        "the snapshot has not changed for 60 s (60 identical pictures); is the camera still on?"
    }
    assert notes[80:] == ["the snapshot changes again"] * 2


def _busy(request: Request) -> None:
    request.answer(b"busy", "text/plain", status="503 Service Unavailable")


def _empty(request: Request) -> None:
    request.answer(b"")


def _nothing(request: Request) -> None:
    request.head(None, status="204 No Content")


def _log_in(request: Request) -> None:
    request.answer(b"<html>log in</html>", "text/html")


@pytest.mark.parametrize("failure", [_busy, _empty, _nothing, _log_in])
def test_a_request_that_fails_is_no_outage(failure: Callable[[Request], None]) -> None:
    def camera(request: Request) -> bool:
        number = len(server.requests) - 1
        if number % 3 == 2:
            failure(request)
        else:
            request.answer(jpeg(number))
        return True

    with picture_server(camera) as server:
        events = events_of(server, count(6))
    assert [type(event) for event in events] == [Opened] + [Frame] * 6
    assert [nearest(frame, 12) for frame in frames(events)] == [0, 1, 3, 4, 6, 7]
    assert "not every request gives a picture" in frames(events)[-1].note


def test_requests_that_fail_for_the_read_timeout_are_an_outage() -> None:
    def camera(request: Request) -> bool:
        if len(server.requests) > 2:
            _busy(request)
        else:
            request.answer(jpeg(len(server.requests)))
        return True

    with picture_server(camera) as server:
        quick = TEN.model_copy(update={"read_timeout_s": 0.5})
        events = events_of(server, lambda events: isinstance(events[-1], Lost), quick)
        assert 5 <= len(server.requests) <= 8
    assert "503 Service Unavailable" in next(event.reason for event in events if isinstance(event, Lost))


def test_a_server_that_wants_to_be_asked_later_is() -> None:
    asked: list[float] = []

    def camera(request: Request) -> bool:
        asked.append(time.monotonic())
        if len(asked) == 3:
            request.answer(b"", "text/plain", "Retry-After: 1", status="503 Service Unavailable")
        else:
            request.answer(jpeg(len(asked)))
        return True

    with picture_server(camera) as server:
        events_of(server, count(4), TEN.model_copy(update={"read_timeout_s": 5.0}))
    assert asked[3] - asked[2] == pytest.approx(1.05, abs=0.1)


def test_a_refused_login_is_an_outage_at_once() -> None:
    def camera(request: Request) -> bool:
        if len(server.requests) > 2:
            request.answer(b"", "text/plain", status="401 Unauthorized")
        else:
            request.answer(jpeg(1))
        return True

    with picture_server(camera) as server:
        events_of(server, lambda events: isinstance(events[-1], Lost))
        assert len(server.requests) == 3


def test_not_modified_is_the_same_picture_again() -> None:
    def camera(request: Request) -> bool:
        if len(server.requests) > 1:
            request.head(None, status="304 Not Modified")
        else:
            request.answer(jpeg(5))
        return True

    with picture_server(camera) as server:
        events = events_of(server, count(4))
        assert server.connections == 1
    assert [nearest(frame, 12) for frame in frames(events)] == [5] * 4
    assert [frame.pts_s for frame in frames(events)] == pytest.approx([0, 0.1, 0.2, 0.3], abs=0.06)


def test_answers_that_are_no_pictures_any_more_are_an_outage() -> None:
    def camera(request: Request) -> bool:
        if len(server.requests) > 2:
            request.answer(b"<html>log in</html>", "text/html")
        else:
            request.answer(jpeg(len(server.requests)))
        return True

    with picture_server(camera) as server:
        quick = TEN.model_copy(update={"read_timeout_s": 0.3})
        events = events_of(server, lambda events: isinstance(events[-1], Lost), quick)
    reason = next(event.reason for event in events if isinstance(event, Lost))
    assert "no picture any more (text/html, 19 bytes); has its login ended?" in reason


def test_a_connection_that_the_server_closed_meanwhile_is_no_outage() -> None:
    def camera(request: Request) -> bool:
        request.answer(jpeg(len(server.requests)))
        return len(server.requests) % 2 == 1  # closed after every second answer, without a word

    with picture_server(camera) as server:
        events = events_of(server, count(6))
    assert [type(event) for event in events] == [Opened] + [Frame] * 6


def test_a_cut_picture_is_counted_and_asked_for_again_at_once() -> None:
    def camera(request: Request) -> bool:
        data = jpeg(len(server.requests))
        request.answer(data[:-900] if len(server.requests) == 2 else data)
        return True

    with picture_server(camera) as server:
        events = events_of(server, count(4))
    assert [nearest(frame, 12) for frame in frames(events)] == [1, 2, 3, 4]
    assert [frame.picture_damaged for frame in frames(events)] == [False, True, False, False]
    assert [frame.pts_s for frame in frames(events)] == pytest.approx([0, 0.1, 0.1, 0.2], abs=0.3)
    assert frames(events)[-1].damaged == 1


def test_a_server_that_stops_answering_is_lost() -> None:
    def camera(request: Request) -> bool:
        if len(server.requests) > 2:
            request.hold()
        request.answer(jpeg(1))
        return True

    with picture_server(camera) as server:
        quick = TEN.model_copy(update={"read_timeout_s": 0.3})
        events = events_of(server, lambda events: isinstance(events[-1], Lost), quick)
    assert len(frames(events)) == 2


def test_a_picture_shorter_than_stated_is_waited_for_a_second() -> None:
    def camera(request: Request) -> None:
        _shorter_than_stated(request)
        request.hold()

    with picture_server(camera) as server:
        events = events_of(server, count(2))
    assert [nearest(frame, 12) for frame in frames(events)] == [1, 1]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", "200 OK", r"the answer is empty \(image/jpeg, 0 bytes\); is the camera on"),
        (b"camera offline", "200 OK", r"no picture that can be read \(image/jpeg, 14 bytes\)"),
        (b"<html>log in", "200 OK", "is a web page"),
        (b"", "204 No Content", r"no picture at present \(204\)"),
    ],
)
def test_a_first_answer_that_is_no_picture_is_named(body: bytes, status: str, said: str) -> None:
    def camera(request: Request) -> bool:
        request.answer(body, "image/jpeg", status=status)
        return True

    with picture_server(camera) as server, pytest.raises(SourceError, match=said):
        events_of(server, count(1))


def test_a_refused_first_request_is_raised() -> None:
    def bad(request: Request) -> None:
        request.answer(b"", "text/plain", status="502 Bad Gateway")

    with picture_server(bad) as server, pytest.raises(SourceUnreachable, match="502 Bad Gateway"):
        events_of(server, count(1))


def test_the_end_of_a_whole_picture_is_found() -> None:
    assert PictureEnd("mjpeg").find(bytearray(jpeg(0))) is not None
