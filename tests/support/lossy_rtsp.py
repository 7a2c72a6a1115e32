"""A camera whose RTP packets get lost on the way: large slices travel in fragments, and a seeded share of all packets is never sent."""

import random
import re
import socket
import struct
import time
from pathlib import Path

from tests.support.odd_rtsp import OddCamera

_RTP = struct.Struct(">BBHII")
_PAYLOAD = 1200  # bytes of a packet


class LossyCamera(OddCamera):
    """Serves an H.264 clip as OddCamera does, with the right clock. lost: packets that were not sent."""

    def __init__(self, clip: Path, rate: float, share: float, *, seed: int = 0, udp: bool = False) -> None:
        """share: of the packets that are lost, 0..1. udp: RTP in datagrams, not within RTSP."""
        super().__init__(clip, rate, lambda second: second)
        self._share, self._dice, self._udp = share, random.Random(seed), udp
        self._latest_request, self._port = b"", 0
        self.lost = 0

    def _request(self, client: socket.socket) -> bytes:
        self._latest_request = super()._request(client)
        return self._latest_request

    def _answer(self, method: bytes, number: bytes) -> bytes:
        if method != b"SETUP" or not self._udp:
            return super()._answer(method, number)
        ports = re.search(rb"client_port=(\d+)", self._latest_request)
        assert ports is not None, "the client wants another transport"
        self._port = int(ports[1])
        transport = b"RTP/AVP/UDP;unicast;client_port=%d-%d" % (self._port, self._port + 1)
        return b"RTSP/1.0 200 OK\r\nCSeq: " + number + b"\r\nSession: 1\r\nTransport: " + transport + b"\r\n\r\n"

    def _play(self, client: socket.socket) -> None:
        began, sequence, number = time.monotonic(), 0, 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
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
                    if self._udp:
                        datagrams.sendto(packet, ("127.0.0.1", self._port))
                    else:
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
