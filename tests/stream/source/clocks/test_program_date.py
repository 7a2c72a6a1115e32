"""The program date of HLS: found in playlists of every make, asked for politely, and never the cause of a failure."""

import base64
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import pytest

from afterview.stream.source.address.address import parse_source
from afterview.stream.source.clocks.program_date import Segment, newest_segment, read_program_date, variants_of
from afterview.stream.source.reader import Frame, SourceConfig, read_events
from tests.support.clips import make_clip
from tests.support.reading import FAST
from tests.support.soak_hls import HlsCamera
from tests.support.watching import Watcher

DATE = "2026-11-20T14:03:00.250+01:00"
UNIX = 1_795_179_780.25
HEAD = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:4\n"


@pytest.mark.parametrize(
    ("playlist", "expected"),
    [
        (f"#EXT-X-PROGRAM-DATE-TIME:{DATE}\n#EXTINF:4,\na.ts\n", Segment("a.ts", UNIX, None)),
        (f"#EXTINF:4,\n#EXT-X-PROGRAM-DATE-TIME:{DATE}\na.ts\r\n", Segment("a.ts", UNIX, None)),
        (
            f"#EXT-X-PROGRAM-DATE-TIME:{DATE}\n#EXTINF:4.5,\na.ts\n#EXTINF:3.5,title\nb.ts\n#EXTINF:4,\nc.ts\n",
            Segment("c.ts", UNIX + 8, None),
        ),
        (
            "#EXT-X-PROGRAM-DATE-TIME:2026-11-20T13:03:00.250Z\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:4,\na.m4s\n",
            Segment("a.m4s", UNIX, "init.mp4"),
        ),
        ("#EXT-X-PROGRAM-DATE-TIME:2026-11-20T13:03:00.250+0000\n#EXTINF:4,\na.ts\n", Segment("a.ts", UNIX, None)),
        (  # after a break the date is unknown until it is said again, in either order
            f"#EXT-X-PROGRAM-DATE-TIME:{DATE}\n#EXTINF:4,\na.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:4,\nb.ts\n",
            Segment("a.ts", UNIX, None),
        ),
        (
            f"#EXTINF:4,\na.ts\n#EXT-X-PROGRAM-DATE-TIME:{DATE}\n#EXT-X-DISCONTINUITY\n#EXTINF:4,\nb.ts\n",
            Segment("b.ts", UNIX, None),
        ),
        ("#EXTINF:4,\na.ts\n#EXTINF:4,\nb.ts\n", Segment("b.ts", None, None)),
        ("#EXT-X-MAP:URI=\"i.mp4\"\n#EXTINF:4,\na.m4s\n", Segment("a.m4s", None, "i.mp4")),
        (f"#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXT-X-PROGRAM-DATE-TIME:{DATE}\n#EXTINF:4,\na.ts\n", None),
        (f"#EXT-X-PROGRAM-DATE-TIME:{DATE}\n#EXTINF:4,\n#EXT-X-BYTERANGE:500@0\nall.ts\n", None),
        ("", None),
    ],
)  # fmt: skip
def test_the_newest_segment_whose_date_is_known_else_the_newest(playlist: str, expected: Segment | None) -> None:
    assert newest_segment(HEAD + playlist) == expected


@pytest.mark.parametrize("duration", ["nan", "inf", "-1", "1e300"])
def test_a_segment_that_lasts_no_time_there_is_dates_nothing(duration: str) -> None:
    """A date that is no number would reach the frames, and end the watch."""
    with pytest.raises((ValueError, OverflowError)):
        newest_segment(f"{HEAD}#EXT-X-PROGRAM-DATE-TIME:{DATE}\n#EXTINF:{duration},\na.ts\n#EXTINF:4,\nb.ts\n")


def test_a_master_playlist_names_its_variants() -> None:
    assert variants_of(HEAD + "#EXT-X-STREAM-INF:BANDWIDTH=1\n\nlow/live.m3u8\n") == ["low/live.m3u8"]
    assert variants_of(HEAD + "#EXTINF:4,\na.ts\n") == []


SOUND = '#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="mp4a.40.2"\nsound.m3u8\n'
PICTURES = '#EXT-X-STREAM-INF:BANDWIDTH=9,CODECS="avc1.64001f,mp4a.40.2"\nlive.m3u8\n'


def test_variants_without_pictures_come_last() -> None:
    assert variants_of(HEAD + SOUND + PICTURES) == ["live.m3u8", "sound.m3u8"]


@pytest.mark.parametrize("first", [SOUND, "#EXT-X-STREAM-INF:BANDWIDTH=9\ngone.m3u8\n"], ids=["sound", "broken"])
def test_the_date_of_a_master_playlist_is_that_of_a_variant_with_pictures(first: str, tmp_path: Path) -> None:
    routes = broadcast(tmp_path / "b", "mpegts") | {"/master.m3u8": (HEAD + first + PICTURES).encode()}
    with serving(routes, []) as port:
        dates = [read_program_date(f"http://127.0.0.1:{port}/{name}.m3u8") for name in ("master", "live")]
    assert dates[0] is not None
    assert dates[0] == dates[1]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> float:
    """Give all requests together half a second."""
    monkeypatch.setattr("afterview.stream.source.clocks.program_date.TIMEOUT_S", 0.5)
    return 0.5


Route = bytes | str  # a body, or where to go instead


@contextmanager
def serving(routes: dict[str, Route], seen: list[tuple[str, str | None]], wait_s: float = 0.0) -> Iterator[int]:
    """An HTTP server on a port of its own; `seen` gets each path with the login that came with it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers.get("Authorization")))
            time.sleep(wait_s)
            route = routes.get(self.path)
            self.send_response(404 if route is None else 302 if isinstance(route, str) else 200)
            if isinstance(route, str):
                self.send_header("Location", route)
            self.end_headers()
            self.wfile.write(route if isinstance(route, bytes) else b"")

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def broadcast(directory: Path, kind: str, *, start: float | None = None) -> dict[str, Route]:
    """A broadcast of six seconds, in MPEG-TS or fragmented MP4 segments that FFmpeg dated: in the playlist, or by prft from `start`."""
    directory.mkdir()
    clip = make_clip(directory / "clip.mp4", frames=60)
    flags = {"hls_time": "1", "hls_segment_type": kind, "hls_list_size": "0"}
    if start is None:
        flags |= {"hls_flags": "program_date_time"}
    else:
        flags |= {"hls_flags": "omit_endlist", "hls_segment_options": "write_prft=pts"}
    with (
        av.open(str(clip)) as source,
        av.open(str(directory / "live.m3u8"), "w", format="hls", options=flags) as output,
    ):
        target = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None and packet.pts is not None:
                shift = round((start or 0.0) / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, target
                output.mux(packet)
    return {f"/{path.name}": path.read_bytes() for path in directory.iterdir() if path != clip}


@pytest.mark.parametrize("kind", ["mpegts", "fmp4"])
def test_a_date_is_put_to_the_presentation_time_of_its_own_segment(kind: str, tmp_path: Path) -> None:
    routes = broadcast(tmp_path / "b", kind)
    playlist = routes["/live.m3u8"]
    assert isinstance(playlist, bytes)
    newest = newest_segment(playlist.decode())
    assert newest is not None
    with serving(routes, []) as port:
        date = read_program_date(f"http://127.0.0.1:{port}/live.m3u8")
    assert date is not None
    assert date.unix_s == newest.start
    segments = playlist.decode().count("#EXTINF")
    assert segments > 1
    assert date.pts_s == pytest.approx(
        (segments - 1) * 2.0, abs=1.5
    )  # key frames every two seconds; TS begins at an offset


def test_segments_of_an_undated_playlist_may_be_dated_by_prft(tmp_path: Path) -> None:
    routes = broadcast(tmp_path / "b", "fmp4", start=1_700_000_000.0)
    with serving(routes, []) as port:
        date = read_program_date(f"http://127.0.0.1:{port}/live.m3u8")
    assert date is not None
    assert date.unix_s == pytest.approx(1_700_000_004.0)  # the last of three segments of two seconds
    assert date.unix_s - date.pts_s == pytest.approx(0.0, abs=1e-3)  # FFmpeg's packets count from 1970 here
    undated = {path: data.replace(b"prft", b"free") for path, data in routes.items() if isinstance(data, bytes)}
    with serving(dict(undated), []) as port:
        assert read_program_date(f"http://127.0.0.1:{port}/live.m3u8") is None


def test_frames_of_a_live_broadcast_are_dated_by_prft(tmp_path: Path) -> None:
    began, stop, frames = time.time() - 10, threading.Event(), list[Frame]()
    with serving(broadcast(tmp_path / "b", "fmp4", start=began), []) as port:
        for event in read_events(parse_source(f"http://127.0.0.1:{port}/live.m3u8"), FAST, stop=stop):
            if isinstance(event, Frame):
                frames.append(event)
            if len(frames) == 5:
                stop.set()
    assert [frame.source_time for frame in frames] == pytest.approx([began + 4 + n / 10 for n in range(5)], abs=1e-3)


def test_a_password_goes_to_its_own_host_alone_and_not_along_a_redirect(tmp_path: Path) -> None:
    routes, elsewhere_saw = broadcast(tmp_path / "b", "mpegts"), list[tuple[str, str | None]]()
    saw: list[tuple[str, str | None]] = []
    login = f"Basic {base64.b64encode(b'guard:p@ss').decode()}"
    with serving(routes, elsewhere_saw) as other:
        master = f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhttp://127.0.0.1:{other}/live.m3u8\n".encode()
        moved = f"http://127.0.0.1:{other}/live.m3u8"
        with serving({"/master.m3u8": master, "/moved.m3u8": moved}, saw) as port:
            for path in ("/master.m3u8", "/moved.m3u8"):
                assert read_program_date(f"http://guard:p%40ss@127.0.0.1:{port}{path}") is not None
    assert saw == [("/master.m3u8", login), ("/moved.m3u8", login)]
    assert elsewhere_saw
    assert {sent for _, sent in elsewhere_saw} == {None}


def wrong_bytes(uri: str) -> bytes:
    return f"{HEAD}#EXT-X-PROGRAM-DATE-TIME:{DATE}\n#EXTINF:4,\n{uri}\n".encode()


@pytest.mark.parametrize(
    "playlist",
    [
        b"\xff\xfe not text",
        b"<html>please log in</html>",
        wrong_bytes("a.ts"),  # not there
        wrong_bytes("live.m3u8"),  # not a video
        wrong_bytes("file:///etc/hostname"),
        wrong_bytes("http://[broken"),
        b"#EXT-X-PROGRAM-DATE-TIME:yesterday\n#EXTINF:4,\na.ts\n",
        b"#EXT-X-KEY:x\n#EXTINF:4,\na.ts\n",
        b"#EXT-X-STREAM-INF:x\nlive.m3u8\n",
        b"#EXT-X-PROGRAM-DATE-TIME:0001-01-01T00:00:00+14:00\n#EXTINF:4,\na.ts\n",
    ],
)
def test_what_is_wrong_with_a_playlist_only_means_that_there_is_no_date(playlist: bytes) -> None:
    with serving({"/live.m3u8": playlist}, []) as port:
        assert read_program_date(f"http://127.0.0.1:{port}/live.m3u8") is None


def test_a_server_that_is_away_or_slow_is_not_waited_for(impatient: float) -> None:
    with serving({}, []) as port:
        pass
    assert read_program_date(f"http://127.0.0.1:{port}/live.m3u8") is None
    with serving({"/live.m3u8": wrong_bytes("live.m3u8")}, [], wait_s=3) as port:
        began = time.monotonic()
        assert read_program_date(f"http://127.0.0.1:{port}/live.m3u8") is None
        assert time.monotonic() - began < impatient + 1


@pytest.mark.parametrize(
    "beginning", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
)
@pytest.mark.usefixtures("impatient")
def test_a_server_that_never_comes_to_the_end_of_a_line_is_left(beginning: bytes) -> None:
    """Bytes that trickle in keep a time-out from running out."""
    left = threading.Event()

    def serve(listener: socket.socket) -> None:
        connected, _ = listener.accept()
        with connected:
            connected.sendall(beginning)
            for _ in range(100):  # far beyond the time it is given
                time.sleep(0.1)
                try:
                    connected.sendall(b"0")
                except OSError:
                    left.set()
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        assert read_program_date(f"http://127.0.0.1:{listener.getsockname()[1]}/live.m3u8") is None
        assert left.wait(5)


@pytest.mark.slow
@pytest.mark.parametrize("begins_s", [0.0, pytest.param(300.0, marks=pytest.mark.thorough)])
def test_the_date_is_read_at_once_when_the_clock_of_a_broadcast_restarts(tmp_path: Path, begins_s: float) -> None:
    """Every picture stays dated by the broadcaster, to the second, and none is dated by the clock before the restart.

    From 60 s on FFmpeg takes the clock that goes back for the next round of MPEG-TS.
    """
    clip = make_clip(tmp_path / "clip.mp4", frames=40, rate=10)
    with HlsCamera(clip, begins_s=begins_s) as camera:
        time.sleep(4.5)  # two segments
        with Watcher(camera.url, config=SourceConfig(), lazy=True) as watcher:
            watcher.until(lambda: len(watcher.samples) >= 2, 20)
            camera.fault("discontinuity", True)
            watcher.until(lambda: len(watcher.samples) >= 12, 30)
        frames = [frame for _, frame in watcher.frames]
    lags = [None if frame.source_time is None else frame.arrival_time - frame.source_time for frame in frames[1:]]
    assert None not in lags
    assert all(lag is not None and -0.1 < lag < 10 for lag in lags)
