"""A network that is slow: RTSP over TCP through it arrives late, and it knows when the server sent each frame."""

import socket
import struct
import threading
import time
from collections import deque
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_INTERLEAVED = struct.Struct(">BBH")  # '$', channel, length: how RTP and RTCP packets travel inside RTSP
_PACKET = ord("$")
_RTP_TIMESTAMP = slice(_INTERLEAVED.size + 4, _INTERLEAVED.size + 8)


class SlowNetwork:
    """Forwards one connection to an RTSP server. What the server sends after it has begun to play arrives `delay_s` later.

    sent: when each frame's first byte left the server (Unix seconds), in order. Sender reports are held back until `pass_reports` is
    set, so that a test and not the machine's load decides how many frames come before the first one. Threads: `accept` forwards what
    the client says, `read` takes from the server and notes the time, `deliver` passes it on late; they share the queue, which one
    fills and one empties.
    """

    def __init__(self, url: str, delay_s: float) -> None:
        self._server, self._delay_s = urlsplit(url), delay_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(f":{self._server.port}", f":{self._listener.getsockname()[1]}")
        self.sent: list[float] = []
        self.pass_reports = threading.Event()
        self._report = b""  # the latest one that was held back
        self._timestamps: set[bytes] = set()
        self._late: deque[tuple[float, bytes]] = deque()
        self._sockets = [self._listener]
        self._playing = False
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in self._sockets:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
        for thread in self._threads:
            thread.join(5)

    def _start(self, function: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=_until_closed, args=(function, *arguments), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._server.port))
        self._sockets += [client, server]
        self._start(self._read, server)
        self._start(self._deliver, client)
        while said := client.recv(65536):
            server.sendall(said)

    def _read(self, server: socket.socket) -> None:
        unread = b""
        while data := server.recv(1 << 20):
            unread += data
            while length := _message_length(unread):
                message, unread = unread[:length], unread[length:]
                self._pass_on(message, time.time())

    def _pass_on(self, message: bytes, now: float) -> None:
        """Note when a frame's first packet came; queue the message, but keep a report until reports may pass."""
        mark, channel, _ = _INTERLEAVED.unpack_from(message)
        if mark == _PACKET:
            self._playing = True
            timestamp = message[_RTP_TIMESTAMP]
            if channel == 0 and timestamp not in self._timestamps:
                self._timestamps.add(timestamp)
                self.sent.append(now)
            if channel == 1 and not self.pass_reports.is_set():
                self._report = message
                return
        if self._report and self.pass_reports.is_set():
            message, self._report = self._report + message, b""
        self._late.append((now + self._delay_s * self._playing, message))

    def _deliver(self, client: socket.socket) -> None:
        while True:
            if self._late and self._late[0][0] <= time.time():
                client.sendall(self._late.popleft()[1])
            else:
                time.sleep(0.002)


def _message_length(data: bytes) -> int:
    """Bytes of the first packet, or of the first answer between packets; 0 while it is not complete."""
    if len(data) < _INTERLEAVED.size:
        return 0
    mark, _, content = _INTERLEAVED.unpack_from(data)
    if mark == _PACKET:
        length = _INTERLEAVED.size + content
    else:
        head, end, _ = data.partition(b"\r\n\r\n")
        if not end:
            return 0
        lengths = (int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
        length = len(head) + len(end) + next(lengths, 0)
    return length if len(data) >= length else 0


def _until_closed(function: object, *arguments: socket.socket) -> None:
    try:
        function(*arguments)  # type: ignore[operator]
    except OSError:
        pass
