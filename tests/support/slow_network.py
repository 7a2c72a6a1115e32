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
_RTP_TIMESTAMP = slice(4, 8)


class SlowNetwork:
    """Forwards one connection to an RTSP server. What the server sends after it has begun to play arrives `delay_s` later.

    sent: when each frame's first byte left the server (Unix seconds), in order. Threads: `accept` forwards what the client says, `read`
    takes from the server and notes the time, `deliver` passes it on late; they share the queue, which one fills and one empties.
    """

    def __init__(self, url: str, delay_s: float) -> None:
        self._server, self._delay_s = urlsplit(url), delay_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.replace(f":{self._server.port}", f":{self._listener.getsockname()[1]}")
        self.sent: list[float] = []
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
            now = time.time()
            unread = self._note(unread + data, now)
            self._late.append((now + self._delay_s * self._playing, data))

    def _note(self, data: bytes, now: float) -> bytes:
        """Go through the packets, and the answers between them; returns what is not complete yet."""
        while len(data) >= _INTERLEAVED.size:
            mark, channel, length = _INTERLEAVED.unpack_from(data)
            if mark != ord("$"):
                head, end, rest = data.partition(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0
                )
                if not end or len(rest) < length:
                    break
                data = rest[length:]
                continue
            packet = data[_INTERLEAVED.size : _INTERLEAVED.size + length]
            if len(packet) < length:
                break
            self._playing = True
            if channel == 0 and packet[_RTP_TIMESTAMP] not in self._timestamps:
                self._timestamps.add(packet[_RTP_TIMESTAMP])
                self.sent.append(now)
            data = data[_INTERLEAVED.size + length :]
        return data

    def _deliver(self, client: socket.socket) -> None:
        while True:
            if self._late and self._late[0][0] <= time.time():
                client.sendall(self._late.popleft()[1])
            else:
                time.sleep(0.002)


def _until_closed(function: object, *arguments: socket.socket) -> None:
    try:
        function(*arguments)  # type: ignore[operator]
    except OSError:
        pass
