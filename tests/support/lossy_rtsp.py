"""A camera whose RTP packets get lost on the way: large slices travel in fragments, and a seeded share of all packets is never sent."""

import random
import socket
import struct
import time
from pathlib import Path

from tests.support.odd_rtsp import OddCamera

_RTP = struct.Struct(">BBHII")
_PAYLOAD = 1200  # bytes of a packet


class LossyCamera(OddCamera):
    """Serves an H.264 clip as OddCamera does, with the right clock, over RTP within RTSP. lost: packets that were not sent."""

    def __init__(self, clip: Path, rate: float, share: float, *, seed: int = 0) -> None:
        """share: of the packets that are lost, 0..1."""
        super().__init__(clip, rate, lambda second: second)
        self._share, self._dice = share, random.Random(seed)
        self.lost = 0

    def _play(self, client: socket.socket) -> None:
        began, sequence, number = time.monotonic(), 0, 0
        while not self._stop.wait(max(0.0, began + number / self._rate - time.monotonic())):
            units = self._units[number % len(self._units)]
            stamp = round(number / self._rate * 90_000) % 2**32
            payloads = [payload for unit in units for payload in _fragments(unit)]
            for place, payload in enumerate(payloads, 1):
                sequence += 1
                if number > self._rate and self._dice.random() < self._share:  # the first second is whole
                    self.lost += 1
                    continue
                last = 0x80 * (place == len(payloads))
                packet = _RTP.pack(0x80, 96 | last, sequence % 2**16, stamp, 7) + payload
                client.sendall(b"$\x00" + struct.pack(">H", len(packet)) + packet)
            number += 1


def _fragments(unit: bytes) -> list[bytes]:
    """RFC 6184: a unit, or its FU-A fragments."""
    if len(unit) <= _PAYLOAD:
        return [unit]
    parts = [unit[at : at + _PAYLOAD] for at in range(1, len(unit), _PAYLOAD)]
    ends = [0x80 * (place == 0) | 0x40 * (place == len(parts) - 1) for place in range(len(parts))]
    indicator = bytes([unit[0] & 0xE0 | 28])
    return [indicator + bytes([end | unit[0] & 31]) + part for end, part in zip(ends, parts, strict=True)]
