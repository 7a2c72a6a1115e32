"""A camera that speaks RTSP and refuses, describes something else, or sends its key frame late."""

import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.odd_rtsp import OddCamera

_SPROP = re.compile(rb";sprop-parameter-sets=[^\r]*")


class RefusingCamera(OddCamera):
    """refusals: by method, the status line that it answers, such as "453 Not Enough Bandwidth". sdp: instead of its description.

    asked: the methods that were asked, in order. authorization: those headers.
    """

    def __init__(
        self, clip: Path, *, refusals: Mapping[str, str] | None = None, sdp: str | None = None, rate: float = 10
    ) -> None:
        super().__init__(clip, rate, lambda second: second)
        self._refusals, self._sdp = refusals or {}, sdp
        self.asked: list[str] = []

    def _answer(self, method: bytes, number: bytes) -> bytes:
        self.asked.append(method.decode())
        if status := self._refusals.get(method.decode()):
            return f"RTSP/1.0 {status}\r\nCSeq: ".encode() + number + b"\r\n\r\n"
        answer = super()._answer(method, number)
        if method == b"DESCRIBE" and self._sdp is not None:
            head, _, _ = answer.partition(b"Content-Type")
            body = self._sdp.encode()
            return head + b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        return answer


class FarKeyFrame(OddCamera):
    """Every client joins in the middle of a group of pictures: the clip's first picture, a key frame, comes after `key_frame_s`.

    described: its SDP has the parameter sets. key_frame_s None: it never comes.
    """

    def __init__(self, clip: Path, *, key_frame_s: float | None, described: bool, rate: float = 10) -> None:
        super().__init__(clip, rate, lambda second: second)
        self._described, first = described, self._units[0]
        self._sets = [unit for unit in first if unit[0] & 31 in (7, 8)]
        self._others = self._units[1:]
        self._units = self._others if key_frame_s is None else self._late(first, key_frame_s)
        self.joined: list[float] = []  # monotonic times

    def _late(self, first: list[bytes], key_frame_s: float) -> list[list[bytes]]:
        before = round(key_frame_s * self._rate)
        return [*(self._others[number % len(self._others)] for number in range(before)), first, *self._others]

    def start_late(self, key_frame_s: float) -> None:
        """Cut the connection; the key frame of the next one comes so late."""
        self._units = self._late(self._units[0], key_frame_s)
        self._clients[-1].shutdown(socket.SHUT_RDWR)

    def _answer(self, method: bytes, number: bytes) -> bytes:
        if method != b"DESCRIBE":
            return super()._answer(method, number)
        units, self._units = self._units, [self._sets]
        answer = super()._answer(method, number)
        self._units = units
        head, _, body = answer.partition(b"\r\n\r\n")
        body = body if self._described else _SPROP.sub(b"", body)
        return re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head) + b"\r\n\r\n" + body

    def _play(self, client: Any) -> None:
        self.joined.append(time.monotonic())
        super()._play(client)
