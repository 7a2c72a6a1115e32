"""HTTP servers of live fragmented MP4, each fragment sent when it is finished, with prft boxes as a test wants them."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import av

from tests.support.clips import picture
from tests.support.fragmented import NTP_1970, START, fragment, write_clip

RATE = 10  # frames per second
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nConnection: close\r\n"
ENDLESS = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass
class LiveServer:
    """Serves one client at a time. requests: what they asked, heads whole. began: when each was answered, Unix seconds."""

    port: int
    requests: list[str] = field(default_factory=list)
    began: list[float] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/stream.mp4?src=gate"


class Client:
    """A connected client, the `number`-th of its server. Sending raises OSError once it is gone, or stopped listening for long."""

    def __init__(self, connected: socket.socket, number: int) -> None:
        self._socket, self.number, self.began = connected, number, time.time()

    def raw(self, data: bytes) -> None:
        """Send these very bytes."""
        self._socket.sendall(data)

    def reset(self) -> None:
        """Let the connection be cut off when it is closed, as by a machine that dies."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def write(self, data: bytes) -> int:
        """Send a part of an endless answer; muxers write here, too."""
        if data:
            self.raw(b"%x\r\n%s\r\n" % (len(data), bytes(data)))
        return len(data)


@contextmanager
def live_server(serve: Callable[[Client], None], *, clients: int | None = None) -> Iterator[LiveServer]:
    """A server that listens until so many clients were served, one after the other, by `serve`.

    Threads: one accepts and serves; tests only read what it notes.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    server, stop = LiveServer(listener.getsockname()[1]), threading.Event()

    def run() -> None:
        while not stop.is_set() and (clients is None or len(server.began) < clients):
            try:
                connected, _ = listener.accept()
            except OSError:
                return
            with connected:
                connected.settimeout(5)
                try:
                    server.requests.append(_request(connected))
                    client = Client(connected, len(server.began))
                    server.began.append(client.began)
                    serve(client)
                except OSError:
                    pass  # the client has seen enough
        listener.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        stop.set()
        try:
            listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        listener.close()
        thread.join(5)


def _request(connected: socket.socket) -> str:
    data = b""
    while b"\r\n\r\n" not in data and (more := connected.recv(4096)):
        data += more
    return data.decode()


class Broadcast:
    """A clip cut at its fragments, sent at the pace it was taken at. Its clock shows the time plus `ahead_s`; None: it has no clock."""

    def __init__(
        self, folder: Path, *, seconds: int = 12, movflags: str = "frag_keyframe+empty_moov+default_base_moof"
    ) -> None:
        clip = fragment(write_clip(folder / "clip.mp4", frames=seconds * RATE), folder / "live.mp4", movflags)
        self._head, self._parts = _cut(clip.read_bytes())
        self.ahead_s: float | None = 0.0
        self.first_gets: int | None = None  # fragments, after which the first client's connection is cut

    def __call__(self, client: Client) -> None:
        client.raw(ENDLESS)
        client.write(self._head)
        starts = [_stamp_of(part) - START for part in self._parts]
        for number, part in enumerate(self._parts[:-1]):
            if client.number == 0 and number == self.first_gets:
                return
            due = client.began + starts[number + 1]  # when it is finished
            time.sleep(max(0.0, due - time.time()))
            client.write(self._dated(part, client.began + starts[number]))

    def _dated(self, part: bytes, taken: float) -> bytes:
        if self.ahead_s is None:
            return part.replace(b"prft", b"free", 1)
        stamp = struct.pack(">Q", round((taken + self.ahead_s + NTP_1970) * 2**32))
        return part[:16] + stamp + part[24:]


def _stamp_of(part: bytes) -> float:
    (stamp,) = struct.unpack_from(">Q", part, 16)
    seconds: float = stamp / 2**32 - NTP_1970
    return seconds


def _cut(data: bytes) -> tuple[bytes, list[bytes]]:
    """What comes before the fragments, and the fragments, each from its prft box on."""
    starts, at = list[int](), 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"prft":
            starts.append(at)
        at += size
    return data[: starts[0]], [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]


def encode_live(client: Client, *, seconds: float = 30.0, key_every: int = RATE) -> None:
    """What `ffmpeg -f mp4 -movflags frag_keyframe+empty_moov -write_prft wallclock` sends, by the same muxer.

    Frame n is taken at began + n / RATE.
    """
    client.raw(ENDLESS)
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "write_prft": "wallclock"}
    with av.open(client, "w", format="mp4", options=options) as container:
        video = {"preset": "ultrafast", "tune": "zerolatency", "g": str(key_every)}
        stream = container.add_stream("libx264", rate=RATE, options=video)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(round(seconds * RATE)):
            time.sleep(max(0.0, client.began + number / RATE - time.time()))
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
