"""Live HLS over HTTP from a recording, remuxed (never re-encoded) in real time. Segments live in memory only.

Threads: one `segmenter` reads the file and owns PyAV; the HTTP server has a thread per client. They share only the Shelf, behind its lock.
"""

import base64
import io
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av

from afterview.stream.errors import NotAVideo, ServerError

PLAYLIST = "live.m3u8"
SEGMENT_S = 1.0  # the least length of a segment; each begins at a key frame
LISTED = 5  # segments in the sliding playlist
KEPT = 12  # segments still served, for clients that are a little behind

_CARRIED = {"h264", "hevc", "mpeg2video", "mpeg4"}  # codecs that MPEG-TS carries
_TYPES = {".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t"}


class Shelf:
    """The playlist and the newest segments, by file name. Safe from any thread."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self.ready = threading.Event()  # the first playlist is there, or none will come
        self.began = 0.0  # Unix time at which the broadcast's first picture was sent

    def put(self, name: str, data: bytes) -> None:
        """Publish a file whole; the oldest segments make room."""
        with self._lock:
            self._files[name] = data
            segments = [other for other in self._files if other.endswith(".ts")]
            for old in segments[:-KEPT]:
                del self._files[old]
        if name == PLAYLIST:
            self.ready.set()

    def get(self, name: str) -> bytes | None:
        """A file's bytes, or None."""
        with self._lock:
            return self._files.get(name)


class _ShelfFile(io.BytesIO):
    """What FFmpeg's HLS muxer writes a file into; it is published when FFmpeg closes it."""

    def __init__(self, shelf: Shelf, url: str) -> None:
        super().__init__()
        self._shelf, self._name = shelf, Path(url).name.removesuffix(".tmp")  # it would rename the finished file

    def close(self) -> None:
        if not self.closed:
            self._shelf.put(self._name, self.getvalue())
        super().close()


def _packets(path: Path, loop: bool) -> Iterator[tuple["av.Packet[Any]", av.VideoStream]]:
    """Packets of the file's video in decoding order, with times that start at 0 and go on rising from round to round."""
    offset = 0
    while True:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            first, end = None, 0
            for packet in container.demux(stream):
                if packet.dts is None or packet.pts is None:
                    continue
                first = packet.dts if first is None else first
                packet.dts += offset - first
                packet.pts += offset - first
                end = max(end, packet.pts + (packet.duration or 0))
                yield packet, stream
        if not loop or first is None:
            return
        offset = end


def segment(path: Path, shelf: Shelf, loop: bool) -> None:
    """Fill the shelf from the file, in real time, so that every segment's program date is true; at the end mark the playlist as ended."""
    options = {
        "hls_time": str(SEGMENT_S),
        "hls_list_size": str(LISTED),
        "hls_flags": "program_date_time+independent_segments",
        "hls_segment_filename": "segment%d.ts",
    }

    def on_shelf(url: str, flags: int, _options: dict[str, str]) -> _ShelfFile:
        return _ShelfFile(shelf, url)

    with av.open(PLAYLIST, "w", format="hls", options=options, io_open=on_shelf) as output:
        target: av.VideoStream | None = None
        began: float | None = None
        for packet, source in _packets(path, loop):
            target = target or output.add_stream_from_template(source)
            media_s = float((packet.dts or 0) * packet.time_base)
            if began is None:
                began, shelf.began = time.monotonic() - media_s, time.time() - media_s
            time.sleep(max(0.0, began + media_s - time.monotonic()))
            packet.stream = target
            output.mux(packet)


class _Handler(BaseHTTPRequestHandler):
    """GET of what is on the shelf; 401 without the right login, 404 for anything else."""

    protocol_version = "HTTP/1.1"
    shelf: Shelf
    login: tuple[str, str] | None

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].removeprefix("/")
        data = self.shelf.get(name)
        if not self._may_enter():
            self._reply(HTTPStatus.UNAUTHORIZED, b"", {"WWW-Authenticate": 'Basic realm="afterview"'})
        elif data is None:
            self._reply(HTTPStatus.NOT_FOUND, b"", {})
        else:
            self._reply(HTTPStatus.OK, data, {"Content-Type": _TYPES[Path(name).suffix], "Cache-Control": "no-cache"})

    def _may_enter(self) -> bool:
        if self.login is None:
            return True
        expected = base64.b64encode(":".join(self.login).encode()).decode()
        return self.headers.get("Authorization") == f"Basic {expected}"

    def _reply(self, status: HTTPStatus, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: standard error is for what goes wrong."""


def codec_of(path: Path) -> str:
    """The codec of a file's first video stream. Raises NotAVideo."""
    try:
        with av.open(str(path)) as container:
            if container.streams.video:
                return container.streams.video[0].codec_context.name
    except (av.FFmpegError, ValueError):
        pass
    raise NotAVideo(f"{path}: holds no video that can be served")


def serve_hls(path: Path, *, port: int = 0, loop: bool = False, login: tuple[str, str] | None = None) -> None:
    """Serve until the process is told to end. login: user and password that clients must give. Raises NotAVideo or ServerError."""
    codec = codec_of(path)
    if codec not in _CARRIED:
        raise ServerError(f"{path}: HLS here carries {', '.join(sorted(_CARRIED))}, not {codec}; convert it first")
    shelf = Shelf()
    handler = type("Handler", (_Handler,), {"shelf": shelf, "login": login})
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise ServerError(f"port {port} cannot be bound: {error.strerror}") from error
    server.daemon_threads = True
    with server:
        threading.Thread(target=_fill, args=(path, shelf, loop), name="segmenter", daemon=True).start()
        shelf.ready.wait()
        if shelf.get(PLAYLIST) is None:
            raise ServerError(f"{path}: no segment could be made of it")
        about = {"url": f"http://127.0.0.1:{server.server_port}/{PLAYLIST}", "began": round(shelf.began, 3)}
        print(json.dumps(about), flush=True)
        server.serve_forever(poll_interval=0.1)


def _fill(path: Path, shelf: Shelf, loop: bool) -> None:
    try:
        segment(path, shelf, loop)
    finally:
        shelf.ready.set()  # also when it failed before the first segment: nobody waits for ever
