"""Small servers of odd cameras whose faults can be switched on and off while clients are connected: the base class, raw H.264, and MJPEG.

Threads: each server has one that accepts, and one per client. `fault` is called by the thread that owns the schedule; it sets plain
attributes, which the others read.
"""

import random
import socket
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.support.odd_rtsp import read_head

RATE = 10  # frames per second of every right camera
_CLIENT_TIMEOUT_S = 15.0  # for a client that does not take what it is sent


def free_port(dice: random.Random | None = None) -> socket.socket:
    """A listener below the range of ports that the system gives to clients, so that nobody takes the port while it is closed."""
    dice = dice or random.Random()
    for _ in range(200):
        try:
            return socket.create_server(("127.0.0.1", dice.randrange(20_000, 32_000)))
        except OSError:
            continue
    raise OSError("no free port")


class OddServer:
    """Accepts clients on one port of 127.0.0.1. Subclasses serve one client in `_serve`, set their faults in `fault`, and have a `url`."""

    url: str

    def __init__(self) -> None:
        self._dice = random.Random()
        self._listener: socket.socket | None = free_port(self._dice)
        self.port: int = self._listener.getsockname()[1]
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._clients: set[socket.socket] = set()
        self._epoch = time.monotonic()  # of the pictures: all clients see the same one

    def __enter__(self) -> Self:
        self._accept_clients(self._listener)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self.close_port()

    def fault(self, name: str, on: bool) -> None:
        """A fault begins or ends."""
        raise NotImplementedError

    def _serve(self, client: socket.socket) -> None:
        raise NotImplementedError

    def open_port(self) -> None:
        """Accept clients (again)."""
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._accept_clients(self._listener)

    def close_port(self) -> None:
        """Refuse clients, and cut off those that are connected."""
        listener, self._listener = self._listener, None
        if listener is not None:
            _close(listener)
        self.cut()

    def cut(self) -> None:
        """Cut off the clients that are connected."""
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            _close(client)

    def _accept_clients(self, listener: socket.socket | None) -> None:
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stop.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.settimeout(_CLIENT_TIMEOUT_S)
            with self._lock:
                self._clients.add(client)
            threading.Thread(target=self._run_client, args=(client,), daemon=True).start()

    def _run_client(self, client: socket.socket) -> None:
        try:
            self._serve(client)
        except OSError:
            pass
        finally:
            with self._lock:
                self._clients.discard(client)
            client.close()

    def _number(self) -> int:
        """Of the picture that is due next."""
        return int((time.monotonic() - self._epoch) * RATE) + 1

    def _wait_for(self, number: int) -> bool:
        """Wait until a picture is due; False if the server stops."""
        return not self._stop.wait(max(0.0, self._epoch + number / RATE - time.monotonic()))


def _close(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()


class RawCamera(OddServer):
    """H.264 without any container, as `rpicam-vid --listen` sends it, beginning at a key frame. Fault "server down"."""

    def __init__(self, units: Sequence[Sequence[bytes]]) -> None:
        super().__init__()
        self._frames = [b"".join(b"\x00\x00\x00\x01" + unit for unit in frame) for frame in units]
        self._keys = [any(unit[0] & 31 == 5 for unit in frame) for frame in units]
        self.url = f"tcp://127.0.0.1:{self.port}"

    def fault(self, name: str, on: bool) -> None:
        if on:
            self.close_port()
        else:
            self.open_port()

    def _serve(self, client: socket.socket) -> None:
        number = self._number()
        while not self._keys[number % len(self._keys)]:
            number += 1
        while self._wait_for(number):
            client.sendall(self._frames[number % len(self._frames)])
            number += 1


_PART = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
# What the answer calls the boundary, what stands before the first part, and the head of a part: all seen of real cameras.
DIALECTS: tuple[tuple[bytes, bytes, bytes], ...] = (
    (b"frame", b"--frame\r\n", _PART),
    (b"--frame", b"--frame\r\n", _PART),
    (b'"frame"', b"--frame\r\n", b"Content-Type: image/jpeg\r\n\r\n"),
    (b"frame", b"--frame\r\n", b"Content-Length: %d\r\n\r\n"),
    (b"frame", b"--frame\r\n", b"Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"),
    (b"frame", b"", _PART),
    (b"frame", b"--frame\r\n", b"Content-type:image/jpg\r\nContent-length:%d\r\nX-Timestamp: 1.5\r\n\r\n"),
)


class MjpegCamera(OddServer):
    """MJPEG over HTTP. Faults: "dialect" (another one each time, after a cut), "N fps" (slower, while connected)."""

    def __init__(self, pictures: Sequence[bytes]) -> None:
        super().__init__()
        self._pictures, self._dialect, self._next, self._every = pictures, 0, 1, 1
        self.url = f"http://127.0.0.1:{self.port}/video.mjpg"

    def fault(self, name: str, on: bool) -> None:
        if name != "dialect":
            self._every = round(RATE / float(name.split()[0])) if on else 1
            return
        self._dialect = self._next if on else 0
        if on:
            self._next = self._next % (len(DIALECTS) - 1) + 1
        self.cut()

    def _serve(self, client: socket.socket) -> None:
        if not read_head(client):
            return
        boundary, before, head = DIALECTS[self._dialect]
        kind = b"multipart/x-mixed-replace; boundary=" + boundary
        client.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: " + kind + b"\r\nCache-Control: no-cache\r\n\r\n" + before)
        number = self._number()
        while self._wait_for(number):
            picture = self._pictures[number % len(self._pictures)]
            part = head % len(picture) if b"%d" in head else head
            client.sendall(part + picture + b"\r\n--frame\r\n")
            number += self._every
