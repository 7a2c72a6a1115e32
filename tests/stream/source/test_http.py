"""Video over HTTP: motion JPEG, recordings, endless streams, and refusals."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from afterview.stream.errors import AuthenticationFailed, NotAVideo, SourceError, SourceNotFound, SourceUnreachable
from afterview.stream.media import encode_jpeg
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.connection import Connection
from afterview.stream.source.reader import Ended, Event, Frame, Lost, Opened, Retry, read_events
from tests.support.clips import make_clip, picture
from tests.support.fragmented import fragment, write_clip
from tests.support.reading import FAST, FakeTime, nearest, read
from tests.support.transport_stream import join_transport_streams


class Server(BaseHTTPRequestHandler):
    """Files, MJPEG in the way of cheap cameras, and refusals."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        status = {"/secret": 401, "/forbidden": 403, "/broken": 500}.get(self.path, 200)
        if self.path == "/mjpeg":
            self._motion_jpeg()
            return
        if self.path.startswith("/endless."):
            self._endless()
            return
        body = self.files.get(self.path, b"")
        self.send_response(404 if status == 200 and not body else status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _endless(self) -> None:
        """States no length, and ends all the same."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.files[self.path])

    def _motion_jpeg(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for number in range(12):
                image = encode_jpeg(picture(number), 120)
                self.wfile.write(
                    b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(image), image)
                )
                self.wfile.flush()
                threading.Event().wait(0.1)
        except OSError:
            pass  # the reader has seen enough

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def http_server(files: dict[str, bytes] | None = None) -> Iterator[str]:
    handler = type("Handler", (Server,), {"files": files or {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_motion_jpeg_over_http_is_stamped_as_it_arrives() -> None:
    with http_server() as url:
        stop, frames = threading.Event(), list[Frame]()
        for event in read_events(parse_source(f"{url}/mjpeg"), FAST, stop=stop):
            if isinstance(event, Frame):
                frames.append(event)
            if len(frames) == 9:
                stop.set()
    assert frames[0].pts_s == 0.0
    spacing = (frames[8].pts_s or 0) / 8
    assert 0.043 < spacing < 0.2  # made-up times would say 0.04
    assert nearest(frames[4], 12) == nearest(frames[0], 12) + 4


def test_a_recording_over_http_comes_at_its_own_pace_and_ends(tmp_path: Path) -> None:
    clip, fake = make_clip(tmp_path / "clip.mp4", frames=30), FakeTime()
    with http_server({"/clip.mp4": clip.read_bytes()}) as url:
        events = read(f"{url}/clip.mp4", monotonic=fake, sleep=fake.sleep, clock=fake)
    assert events[-1] == Ended("end of file", frames=30)
    assert sum(fake.slept) == pytest.approx(2.9, abs=0.01)


@pytest.mark.parametrize(
    ("movflags", "least"),
    [
        ("cmaf+frag_keyframe", 40),
        ("frag_keyframe+empty_moov", 40),
        ("cmaf+frag_every_frame", 40),
        (
            "frag_keyframe",
            1,
        ),  # describes the first pictures as a recording describes all of its own; FFmpeg loses most of these
    ],
)
def test_a_live_stream_of_fragments_is_connected_to_anew_when_it_ends(
    movflags: str, least: int, tmp_path: Path
) -> None:
    """FFmpeg takes the length of the first fragments for that of the whole."""
    fake, stop, events = FakeTime(), threading.Event(), list[Event]()
    clip = fragment(make_clip(tmp_path / "clip.mp4", frames=40), tmp_path / "live.mp4", movflags)
    with http_server({"/endless.mp4": clip.read_bytes()}) as url:
        for event in read_events(parse_source(f"{url}/endless.mp4"), FAST, stop=stop, sleep=fake.sleep):
            events.append(event)
            if sum(isinstance(event, Opened) for event in events) == 2:
                stop.set()
    assert [type(event) for event in events if not isinstance(event, Frame)] == [Opened, Lost, Retry, Opened]
    assert sum(isinstance(event, Frame) for event in events) >= least
    assert len(fake.slept) == 1  # before the retry: its pictures come when they come


@pytest.mark.parametrize(("movflags", "finite"), [("faststart", True), ("frag_keyframe", False)])
def test_of_unknown_size_only_fragments_count_as_live(movflags: str, finite: bool, tmp_path: Path) -> None:
    clip = fragment(make_clip(tmp_path / "clip.mp4", frames=40), tmp_path / "x.mp4", movflags)
    with http_server({"/endless.mp4": clip.read_bytes()}) as url:
        address = parse_source(f"{url}/endless.mp4")
        with Connection(address, FAST, wait=time.sleep) as connection:
            assert connection.finite is finite


def test_a_recording_of_fragments_over_http_ends(tmp_path: Path) -> None:
    clip, fake = fragment(write_clip(tmp_path / "clip.mp4"), tmp_path / "f.mp4", "cmaf+frag_keyframe"), FakeTime()
    with http_server({"/f.mp4": clip.read_bytes()}) as url:
        events = read(f"{url}/f.mp4", monotonic=fake, sleep=fake.sleep, clock=fake)
    assert events[-1] == Ended("end of file", frames=40)


def test_a_live_stream_whose_codec_changes_is_connected_to_anew(tmp_path: Path) -> None:
    fake, stop, events = FakeTime(), threading.Event(), list[Event]()
    before = make_clip(tmp_path / "before.mp4", frames=20)
    after = make_clip(tmp_path / "after.mp4", frames=80, codec="libx265")
    files = {"/endless.ts": join_transport_streams(tmp_path, before, after).read_bytes()}
    with http_server(files) as url:
        for event in read_events(parse_source(f"{url}/endless.ts"), FAST, stop=stop, sleep=fake.sleep):
            events.append(event)
            if isinstance(event, Retry):  # by now the camera sends the new codec only
                files["/endless.ts"] = join_transport_streams(tmp_path, after).read_bytes()
            if isinstance(event, Opened) and event.codec == "hevc":
                stop.set()
    lost = next(event for event in events if isinstance(event, Lost))
    assert "perhaps its codec changed" in lost.reason
    assert lost.damaged > 50
    assert [event.codec for event in events if isinstance(event, Opened)] == ["h264", "hevc"]


@pytest.mark.parametrize(
    ("path", "kind", "said", "status"),
    [
        ("/none.mp4", SourceNotFound, "404", 2),
        ("/none.m3u8", SourceNotFound, "404", 2),
        ("/secret", AuthenticationFailed, "write user:{AFTERVIEW_PASSWORD}@", 2),
        ("/forbidden", AuthenticationFailed, "asks for a password", 2),
        ("/page.html", NotAVideo, "not a video", 2),
        ("/broken", SourceUnreachable, "cannot be reached", 1),
    ],
)
def test_refusals_over_http(path: str, kind: type[SourceError], said: str, status: int) -> None:
    with http_server({"/page.html": b"<html>no video</html>" * 100}) as url, pytest.raises(kind, match=said) as raised:
        read(url + path)
    assert raised.value.exit_status == status
