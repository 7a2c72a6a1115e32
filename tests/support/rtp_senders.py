"""Cameras that send RTP beside RTSP's own connection: to a port that a .sdp file names, or through an HTTP tunnel."""

import base64
import re
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.odd_rtsp import _RTP, OddCamera, access_units

_MOST = 1200  # bytes of a packet: larger NAL units are sent in fragments


class SdpCamera:
    """Sends `clip` again and again to a port of this machine, and describes that in a file. Threads: one sends."""

    def __init__(self, clip: Path, sdp: Path, rate: float = 10) -> None:
        self._units, self._rate, self.sdp = access_units(clip), rate, sdp
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1] // 2 * 2
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        sets = b",".join(base64.b64encode(unit) for unit in self._units[0] if unit[0] & 31 in (7, 8)).decode()
        sdp.write_text(
            f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video {self.port} RTP/AVP 96\r\n"
            f"a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\n"
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _send(self) -> None:
        began, number, sequence = time.monotonic(), 0, 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not self._stop.wait(max(0.0, began + number / self._rate - time.monotonic())):
                payloads = [piece for unit in self._units[number % len(self._units)] for piece in _pieces(unit)]
                for place, payload in enumerate(payloads, 1):
                    last = 0x80 * (place == len(payloads))
                    head = _RTP.pack(0x80, 96 | last, sequence % 2**16, round(number / self._rate * 90_000), 7)
                    sender.sendto(head + payload, ("127.0.0.1", self.port))
                    sequence += 1
                number += 1


def _pieces(unit: bytes) -> list[bytes]:
    """The unit as it is, or as fragments (FU-A)."""
    if len(unit) <= _MOST:
        return [unit]
    parts = [unit[at : at + _MOST] for at in range(1, len(unit), _MOST)]
    first, last = 0, len(parts) - 1
    return [
        bytes([unit[0] & 0xE0 | 28, unit[0] & 31 | 0x80 * (number == first) | 0x40 * (number == last)]) + part
        for number, part in enumerate(parts)
    ]


class TunnelCamera(OddCamera):
    """Speaks RTSP inside HTTP: requests come in base64 over a POST, answers and pictures go over a GET."""

    def __init__(self, clip: Path, rate: float = 10) -> None:
        super().__init__(clip, rate, lambda second: second)
        self._answers: dict[bytes, socket.socket] = {}

    def _client(self, client: socket.socket) -> None:
        try:
            data = b""
            while b"\r\n\r\n" not in data:
                data += (more := client.recv(4096))
                if not more:
                    return
            head, _, text = data.partition(b"\r\n\r\n")
            found = re.search(rb"x-sessioncookie: (\S+)", head)
            if found is None:
                return
            if head.startswith(b"GET"):
                self._answers[found[1]] = client
                client.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: application/x-rtsp-tunnelled\r\n\r\n")
                return
            answers = self._answers[found[1]]
            while True:
                while len(text) % 4 or not base64.b64decode(text).endswith(b"\r\n\r\n"):
                    text += (more := client.recv(4096))
                    if not more:
                        return
                request, text = base64.b64decode(text), b""
                method, number = request.split()[0], request.partition(b"CSeq: ")[2].split(b"\r")[0]
                answers.sendall(self._answer(method, number))
                if method == b"PLAY":
                    self._play(answers)
        except OSError:
            pass
