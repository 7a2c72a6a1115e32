"""Motion JPEG over HTTP: which answers are read as such, when pictures come, logins, redirects, and how connections end."""

import gzip
import re
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from afterview.stream.errors import AuthenticationFailed, NotAVideo, SourceLost, SourceTimeout, SourceUnreachable
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.opening.opening import open_container
from afterview.stream.source.pictures.picture_silence import PictureSilence
from afterview.stream.source.probe import probe
from afterview.stream.source.reader import Event, Frame, Lost, Opened, Passed, Retry, read_events
from tests.support.mjpeg_server import PictureServer, Request, camera_certificate, digest_is_right, jpeg, picture_server
from tests.support.reading import FAST, nearest

MULTIPART = "multipart/x-mixed-replace; boundary=frame"


def part(number: int) -> bytes:
    data = jpeg(number)
    return b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(data), data)


def send_pictures(
    request: Request, count: int = 4, every_s: float = 0.02, content_type: str | None = MULTIPART
) -> None:
    request.head(content_type)
    for number in range(count):
        request.send(part(number))
        if not request.pause(every_s):
            return


def events_of(
    server: PictureServer, enough: Callable[[list[Event]], bool], config: SourceConfig = FAST, url: str = ""
) -> list[Event]:
    """Events until there are enough, or until the source's failure is raised."""
    stop, events = threading.Event(), list[Event]()
    for event in read_events(parse_source(url or server.url), config, stop=stop):
        events.append(event)
        if enough(events):
            stop.set()
    return events


def until_lost(events: list[Event]) -> bool:
    return isinstance(events[-1], Lost)


def lost(events: list[Event]) -> Lost:
    return next(event for event in events if isinstance(event, Lost))


def frames(events: list[Event]) -> list[Frame]:
    return [event for event in events if isinstance(event, Frame)]


def with_login(url: str, login: str) -> str:
    return url.replace("://", f"://{login}@")


# --- which answers ---


def _multipart_mixed(request: Request) -> None:
    send_pictures(request, content_type='multipart/mixed; boundary="frame"')


def _no_type(request: Request) -> None:
    send_pictures(request, content_type=None)


def _octets(request: Request) -> None:
    send_pictures(request, content_type="application/octet-stream")


def _row(request: Request) -> None:
    request.head("video/x-motion-jpeg")
    request.send(b"".join(jpeg(number) for number in range(4)))


def _endless_jpeg(request: Request) -> None:
    request.head("image/jpeg")
    for number in range(4):
        request.send(jpeg(number))
        request.pause(0.05)


def _chunked(request: Request) -> None:
    request.head(MULTIPART, "Transfer-Encoding: chunked")
    body = b"".join(part(number) for number in range(4))
    for at in range(0, len(body), 1000):
        piece = body[at : at + 1000]
        request.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    request.send(b"0\r\n\r\n")


def _http_1_0(request: Request) -> None:
    request.head(MULTIPART, "Server: camera", version="1.0")
    for number in range(4):
        request.send(part(number))


def _bare_lf(request: Request) -> None:
    request.send(b"HTTP/1.1 200 OK\nContent-Type: multipart/x-mixed-replace\n\n")
    request.send(b"".join(part(number) for number in range(4)).replace(b"\r\n", b"\n"))


def _final_boundary(request: Request) -> None:
    send_pictures(request)
    request.send(b"--frame--\r\n")
    request.hold()


@pytest.mark.parametrize(
    "script",
    [_multipart_mixed, _no_type, _octets, _row, _endless_jpeg, _chunked, _http_1_0, _bare_lf, _final_boundary],
)
def test_every_answer_of_pictures_is_read(script: Callable[[Request], None]) -> None:
    with picture_server(script) as server:
        events = events_of(server, until_lost, FAST.model_copy(update={"read_timeout_s": 1.5}))
    assert [nearest(frame, 12) for frame in frames(events)] == [0, 1, 2, 3]
    assert isinstance(events[0], Opened)
    assert (events[0].codec, events[0].width, events[0].height) == ("mjpeg", 160, 120)
    assert "the stream ended" in lost(events).reason
    assert server.connections == 1


def test_pixels_are_those_that_ffmpeg_gives() -> None:
    with picture_server(lambda request: send_pictures(request, 40, 0.01)) as server:
        ours = frames(events_of(server, lambda events: len(frames(events)) == 1))[0].picture.rgb()
        with open_container(parse_source(server.url), FAST, time.monotonic) as container:
            theirs = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.array_equal(ours, theirs)


def test_pictures_that_are_not_due_are_not_decoded() -> None:
    with picture_server(send_pictures) as server:
        stop, events = threading.Event(), list[Event]()
        due = iter([False, True, False])
        for event in read_events(parse_source(server.url), FAST, stop=stop, due=lambda pts_s: next(due)):
            events.append(event)
            if isinstance(event, Lost):
                stop.set()
    assert [type(event) for event in events[:5]] == [Opened, Frame, Passed, Frame, Passed]


# --- time ---


def test_pictures_are_dated_by_their_arrival_however_slow_they_are() -> None:
    """No picture is swallowed while the source is opened, and none waits for the next one."""
    sent: list[float] = []

    def slow(request: Request) -> None:
        request.head(MULTIPART)
        for number in range(3):
            request.pause(0.5)
            sent.append(time.time())
            request.send(part(number))

    with picture_server(slow) as server:
        came: list[float] = []
        events = events_of(server, lambda events: came.append(time.time()) or until_lost(events))
    arrivals = [frame.arrival_time for frame in frames(events)]
    assert [nearest(frame, 12) for frame in frames(events)] == [0, 1, 2]
    assert arrivals == pytest.approx(sent, abs=0.2)
    assert came[1:4] == pytest.approx(sent, abs=0.3)  # delivered then, too
    assert frames(events)[0].pts_s == 0.0
    assert [frame.pts_s for frame in frames(events)] == pytest.approx([at - arrivals[0] for at in arrivals], abs=0.01)


@pytest.mark.parametrize("fps", [0.5, 0.2, 1 / 15])
def test_slow_sources_are_not_lost(fps: float) -> None:
    silence, now = PictureSilence(10.0, 0.0), 0.0
    for _ in range(20):
        now += 1 / fps
        assert silence.left_s(now, inside=False) > 0
        silence.picture_came(now)
    assert silence.limit_s == max(10.0, 4 / fps)


def test_a_source_that_sends_more_when_something_moves_is_not_lost_after() -> None:
    silence, now = PictureSilence(10.0, 0.0), 0.0
    for step in [15.0] * 3 + [0.04] * 1000:
        now += step
        silence.picture_came(now)
    assert silence.left_s(now + 15.0, inside=False) > 0
    for _ in range(20_000):  # ten minutes without a long step
        now += 0.04
        silence.picture_came(now)
    assert silence.limit_s == 10.0


def test_a_fast_source_is_lost_after_the_read_timeout() -> None:
    silence = PictureSilence(10.0, 0.0)
    for number in range(5):
        silence.picture_came(number * 0.04)
    assert silence.left_s(10.0, inside=False) == pytest.approx(0.16)
    assert "no data for 12 s (its pictures may take 10 s" in silence.reason(12.0, inside=False)


def test_a_source_whose_pace_is_not_known_may_take_six_read_timeouts() -> None:
    silence = PictureSilence(10.0, 0.0)
    assert silence.left_s(59.0, inside=False) == 1.0
    silence.picture_came(59.0)
    assert silence.left_s(118.0, inside=False) == 1.0
    assert "no data for 61 s (its pictures may take 60 s; longer with --read-timeout above 10)" in silence.reason(
        120.0, inside=False
    )


def test_a_silence_within_a_picture_counts_by_the_read_timeout() -> None:
    silence = PictureSilence(10.0, 0.0)
    silence.bytes_came(3.0)
    assert silence.left_s(12.0, inside=True) == 1.0
    assert "no data for 11 s in the middle of a picture" in silence.reason(14.0, inside=True)


def test_data_without_pictures_is_no_life() -> None:
    silence = PictureSilence(10.0, 0.0)
    for now in range(1, 61):
        silence.bytes_came(float(now))
    assert silence.left_s(60.0, inside=True) == 0.0
    assert "data, but no picture for 60 s" in silence.reason(60.0, inside=True)


def test_a_camera_that_freezes_is_lost_in_the_stated_time() -> None:
    def freeze(request: Request) -> None:
        send_pictures(request, 5)
        request.hold()

    with picture_server(freeze) as server:
        began = time.monotonic()
        events = events_of(server, until_lost, FAST.model_copy(update={"read_timeout_s": 0.5}))
        took_s = time.monotonic() - began
    assert re.search(r"no data for [01] s \(its pictures may take 0.5 s", lost(events).reason)
    assert took_s < 3


def test_a_slow_drip_is_lost() -> None:
    def drip(request: Request) -> None:
        request.head(MULTIPART)
        for byte in part(0):
            request.send(bytes([byte]))
            request.pause(0.02)

    with picture_server(drip) as server, pytest.raises(SourceTimeout, match="data, but no picture for 1 s"):
        events_of(server, until_lost, FAST.model_copy(update={"read_timeout_s": 0.2}))


@pytest.mark.parametrize("when", ["headers", "first picture", "later"])
def test_a_stop_takes_effect_within_half_a_second(when: str) -> None:
    def wait(request: Request) -> None:
        if when != "headers":
            request.head(MULTIPART)
        if when == "later":
            request.send(part(0))
        request.hold()

    with picture_server(wait) as server:
        stop = threading.Event()
        timer = threading.Timer(0.3, stop.set)
        timer.start()
        began = time.monotonic()
        list(read_events(parse_source(server.url), SourceConfig(), stop=stop))
        assert time.monotonic() - began < 1.2


# --- connections ---


def test_parts_that_say_what_is_wrong_are_quoted() -> None:
    def camera(request: Request) -> None:
        request.head(MULTIPART)
        for _ in range(3):
            request.send(b"--frame\r\nContent-Type: text/plain\r\n\r\nno sensor found\r\n")
        request.send(b"--frame--\r\n")

    with picture_server(camera) as server, pytest.raises(SourceLost) as error:
        events_of(server, until_lost)
    assert "3 parts that were no pictures skipped (text/plain: 'no sensor found')" in str(error.value)


def test_parts_without_data_are_named() -> None:
    def camera(request: Request) -> None:
        request.head(MULTIPART)
        for _ in range(5):
            request.send(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 0\r\n\r\n\r\n")

    with picture_server(camera) as server, pytest.raises(SourceLost, match="parts without data; is the camera on"):
        events_of(server, until_lost)


def test_a_server_that_compresses_unasked_is_read() -> None:
    def camera(request: Request) -> None:
        request.head(MULTIPART, "Content-Encoding: gzip")
        request.send(gzip.compress(b"".join(part(number) for number in range(4))))

    with picture_server(camera) as server:
        events = events_of(server, until_lost)
    assert [nearest(frame, 12) for frame in frames(events)] == [0, 1, 2, 3]


def test_a_camera_that_never_ends_its_pictures_and_loses_a_part_of_them_counts_each() -> None:
    def camera(request: Request) -> None:
        request.head(MULTIPART)
        for number in range(6):
            data = jpeg(number)
            request.send(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + data[: len(data) * 2 // 3] + b"\r\n")

    with picture_server(camera) as server:
        events = events_of(server, until_lost)
    assert [frame.picture_damaged for frame in frames(events)] == [True] * 6
    assert [frame.damaged for frame in frames(events)] == [1, 2, 3, 4, 5, 6]


def test_a_redirect_to_a_login_page_is_named(caplog: pytest.LogCaptureFixture) -> None:
    def camera(request: Request) -> bool:
        if request.path == "/login":
            request.answer(b"<!DOCTYPE html><title>Log in</title>", "text/html; charset=utf-8")
        else:
            request.answer(b"", "text/html", "Location: /login", status="302 Found")
        return True

    with picture_server(camera) as server, pytest.raises(NotAVideo, match=r"redirects to a web page \(/login\)"):
        events_of(server, until_lost)
    assert [record for record in caplog.records if record.name == "asyncio"] == []  # everything was closed in order


def test_a_stream_that_ends_is_connected_to_anew() -> None:
    with picture_server(lambda request: send_pictures(request, 2)) as server:
        events = events_of(server, lambda events: sum(isinstance(event, Opened) for event in events) == 2)
    assert [type(event) for event in events] == [Opened, Frame, Frame, Lost, Retry, Opened, Frame]


def test_a_server_that_ends_after_every_picture_is_asked_again_when_the_next_one_is_due() -> None:
    def camera(request: Request) -> None:
        request.head(MULTIPART)
        request.send(part(len(server.requests) - 1) + b"--frame--\r\n")

    with picture_server(camera) as server:
        config = FAST.model_copy(update={"poll_fps": 10.0})
        events = events_of(server, lambda events: len(frames(events)) == 5, config)
        assert len(server.requests) == 5
    assert [type(event) for event in events] == [Opened] + [Frame] * 5
    assert [nearest(frame, 12) for frame in frames(events)] == [0, 1, 2, 3, 4]
    assert (frames(events)[-1].pts_s or 0) > 0.3  # at the sampling rate, not at once


def test_a_connection_is_closed_with_its_events() -> None:
    closed = threading.Event()

    def watch(request: Request) -> None:
        try:
            send_pictures(request, 1000)
        except OSError:
            closed.set()

    with picture_server(watch) as server:
        with closing(read_events(parse_source(server.url), FAST, stop=threading.Event())) as events:  # type: ignore[type-var]
            next(events)
        assert closed.wait(3)


def test_what_is_no_picture_is_handed_to_ffmpeg_on_a_second_connection() -> None:
    """The first one is closed before: some cameras serve one client."""
    open_now: list[Request] = []

    def page(request: Request) -> None:
        request.connection.settimeout(0.5)
        for other in open_now:
            assert other.connection.fileno() == -1 or other.connection.recv(1) == b""
        open_now.append(request)
        request.answer(b"no video" * 100, "video/mp4")
        request.connection.recv(1)

    with picture_server(page) as server, pytest.raises(NotAVideo, match="not a video"):
        events_of(server, until_lost)
    assert len(server.requests) >= 2


def test_cut_pictures_are_counted_and_marked() -> None:
    def cut(request: Request) -> None:
        request.head(MULTIPART)
        for number in range(6):
            data = jpeg(number)
            data = data[: len(data) // 2] if number % 2 else data
            request.send(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + data + b"\r\n")

    with picture_server(cut) as server:
        events = events_of(server, until_lost)
    assert [nearest(frame, 12) for frame in frames(events) if not frame.picture_damaged] == [0, 2, 4]
    assert [frame.picture_damaged for frame in frames(events)] == [False, True] * 3
    assert lost(events).damaged == 3


def test_a_camera_that_never_writes_the_end_of_a_picture_is_read() -> None:
    def endless(request: Request) -> None:
        request.head(MULTIPART)
        for number in range(6):
            request.send(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg(number)[:-2] + b"\r\n")

    with picture_server(endless) as server:
        events = events_of(server, until_lost)
    assert [nearest(frame, 12) for frame in frames(events)] == [0, 1, 2, 3, 4, 5]
    assert [frame.picture_damaged for frame in frames(events)] == [True, True, False, False, False, False]


def test_parts_that_are_no_pictures_are_reported() -> None:
    def mixed(request: Request) -> None:
        request.head(MULTIPART)
        for number in range(3):
            request.send(b"--frame\r\nContent-Type: application/json\r\n\r\n{}\r\n" + part(number))

    with picture_server(mixed) as server:
        events = events_of(server, until_lost)
    assert "parts that are no pictures (application/json)" in frames(events)[0].note


def test_parts_of_video_are_refused_in_words() -> None:
    """As some cameras send H.264 (go2rtc#545)."""

    def video(request: Request) -> None:
        request.head("multipart/x-mixed-replace; boundary=data-boundary--")
        for number in range(40):
            data = bytes([0, 0, 0, 1, 65 + number]) * 300
            request.send(b"--data-boundary--\r\nContent-Type: video/x-h264\r\nContent-Length: 1500\r\n\r\n" + data)
            request.pause(0.01)
        request.hold()

    with picture_server(video) as server, pytest.raises(NotAVideo, match=r"no pictures \(video/x-h264\); give the"):
        events_of(server, until_lost)


# --- logins and redirects ---


@pytest.mark.parametrize("scheme", ["Basic", "MD5", "SHA-256", "both"])
def test_logins(scheme: str) -> None:
    algorithm = "MD5" if scheme == "both" else scheme
    asked = {
        "Basic": ['Basic realm="camera"'],
        "both": ['Basic realm="camera"', 'Digest realm="camera", nonce="n1", qop="auth,auth-int", algorithm=MD5'],
    }.get(scheme, [f'Digest realm="camera", nonce="n1", opaque="o", qop="auth", algorithm={scheme}'])

    def guarded(request: Request) -> bool | None:
        said = request.headers.get("authorization", "")
        right = (
            said == "Basic dTppOnA6QCVzcw=="
            if scheme == "Basic"
            else digest_is_right(request, "u:i", "p:@%ss", algorithm)
        )
        if not said or not right:
            request.answer(
                b"", "text/plain", *(f"WWW-Authenticate: {line}" for line in asked), status="401 Unauthorized"
            )
            return True
        send_pictures(request)
        return None

    login = "u%3Ai:p%3A%40%25ss"
    with picture_server(guarded) as server:
        events = events_of(server, until_lost, url=with_login(server.url, login))
        assert len(frames(events)) == 4
        assert "authorization" not in server.requests[0].headers
        for wrong in (with_login(server.url, "u%3Ai:wrong-word"), server.url):
            with pytest.raises(AuthenticationFailed) as raised:
                events_of(server, until_lost, url=wrong)
            assert "wrong-word" not in str(raised.value)
            assert raised.value.__cause__ is None


@pytest.mark.parametrize("target", ["same", "other"])
def test_a_login_follows_a_redirect_to_the_same_server_only(target: str) -> None:
    def camera(request: Request) -> bool | None:
        if request.path == "/camera":
            place = "/video" if target == "same" else other.url
            request.answer(b"", "text/plain", f"Location: {place}", status="302 Found")
            return True
        if request.path == "/video" and "authorization" not in request.headers:
            request.answer(b"", "text/plain", 'WWW-Authenticate: Basic realm="x"', status="401 Unauthorized")
            return True
        send_pictures(request)
        return None

    def elsewhere(request: Request) -> bool | None:
        request.answer(b"", "text/plain", 'WWW-Authenticate: Basic realm="x"', status="401 Unauthorized")
        return True

    with picture_server(elsewhere) as other, picture_server(camera) as server:
        url = with_login(server.url, "user:pass-word")
        if target == "same":
            assert len(frames(events_of(server, until_lost, url=url))) == 4
        else:
            with pytest.raises(AuthenticationFailed):
                events_of(server, until_lost, url=url)
            assert not any("authorization" in request.headers for request in other.requests)


def test_redirects_without_end_end() -> None:
    def around(request: Request) -> bool:
        request.answer(b"", "text/plain", "Location: /camera", status="302 Found")
        return True

    with picture_server(around) as server, pytest.raises(SourceUnreachable, match="more than 8 redirects"):
        events_of(server, until_lost)


@pytest.mark.parametrize(
    ("status", "said"),
    [("503 Service Unavailable", "one client only"), ("500 Internal Server Error", "500"), ("418", "418")],
)
def test_refusals(status: str, said: str) -> None:
    def refuse(request: Request) -> None:
        request.answer(b"", "text/plain", status=status)

    with picture_server(refuse) as server, pytest.raises(SourceUnreachable, match=said):
        events_of(server, until_lost)


def test_a_server_that_says_nothing() -> None:
    with picture_server(Request.hold) as server, pytest.raises(SourceTimeout, match=r"no answer within 0\.3 s"):
        events_of(server, until_lost, FAST.model_copy(update={"open_timeout_s": 0.3}))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://name.invalid/x"])
def test_servers_that_are_not_there(url: str) -> None:
    said = "Connection refused" if "127" in url else "the host name is unknown"
    with pytest.raises(SourceUnreachable, match=said):
        list(read_events(parse_source(url), FAST, stop=threading.Event()))


def test_there_is_one_stream() -> None:
    with picture_server(send_pictures) as server, pytest.raises(NotAVideo, match="stream 2 cannot be recorded"):
        events_of(server, until_lost, FAST.model_copy(update={"stream": 2}))


def test_the_probe_waits_for_no_picture() -> None:
    def slow(request: Request) -> None:
        request.head(MULTIPART)
        request.hold()

    with picture_server(slow) as server:
        began = time.monotonic()
        probe(parse_source(server.url), SourceConfig())
        assert time.monotonic() - began < 2


def test_certificates_are_not_verified_as_ffmpeg_does_not(tmp_path: Path) -> None:
    """Expired, for another name, and signed by nobody."""
    with picture_server(send_pictures, context=camera_certificate(tmp_path)) as server:
        assert len(frames(events_of(server, until_lost))) == 4
        plain = server.url.replace("https://", "http://")
        with pytest.raises(SourceUnreachable, match="cannot be reached"):
            events_of(server, until_lost, url=plain)
