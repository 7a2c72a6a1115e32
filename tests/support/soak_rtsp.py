"""A camera that speaks RTSP over TCP, with all the faults of the soak test: of its clock, its network, its answers and its pictures."""

import base64
import re
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence

from tests.support.odd_rtsp import read_head
from tests.support.soak_servers import RATE, OddServer

Units = Sequence[Sequence[bytes]]  # the NAL units of each frame

_RTP = struct.Struct(">BBHII")
_REPORT = struct.Struct(">BBHIIIIII")
_UNITS_PER_S = 90_000
_MOST_BYTES = 1400  # of a unit in one RTP packet; larger ones go in fragments (FU-A)
_REPORT_EVERY = 50  # pictures
_NTP_1970 = 2_208_988_800
_RATES = {"10 times": 10.0, "3 times": 3.0, "half": 0.5, "stuck": 0.0}
_REFUSALS = {"453": "453 Not Enough Bandwidth", "503": "503 Service Unavailable", "401": "401 Unauthorized"}
_OUTLIER_S = 9800.0


class _RtpClock:
    """Seconds of RTP time, which may run at any rate and jump."""

    def __init__(self) -> None:
        self._since, self._position, self._rate = time.monotonic(), 0.0, 1.0

    def now(self, at: float) -> float:
        return self._position + self._rate * (at - self._since)

    def run_at(self, rate: float) -> None:
        at = time.monotonic()
        self._position, self._since, self._rate = self.now(at), at, rate

    def set(self, position: float) -> None:
        self._position, self._since = position, time.monotonic()


class RtspCamera(OddServer):
    """Serves looped clips live: a client joins where the stream is, in the middle of a GOP.

    clips: "main", and for its faults "big" (another size) and "small" (a first track of low resolution). reports: RTCP sender reports.
    Faults: 10 times, 3 times, half, stuck, outliers, jumps (the clock); 2 % loss; disconnected; 453, 503, 401, port closed, frozen,
    half-open; 1 frame in 5 s; other size, two tracks, other size and two tracks.
    """

    def __init__(self, clips: Mapping[str, Units], *, gop: int, reports: bool = False) -> None:
        super().__init__()
        self._clips, self._gop, self._reports, self._clock = clips, gop, reports, _RtpClock()
        self._fault, self._main = "", "main"
        self._tracks: tuple[str, ...] = ("main",)
        self._jump_due, self._jumps = 0.0, 0
        self.url = f"rtsp://127.0.0.1:{self.port}/live"

    def fault(self, name: str, on: bool) -> None:
        self._fault = name if on else ""
        if name in _RATES:
            self._clock.run_at(_RATES[name] if on else 1.0)
        elif name in ("port closed", "disconnected"):
            (self.close_port if on else self.open_port)()
        elif name in _REFUSALS and on:
            self.cut()
        if "other size" in name:
            self._main = "big" if on else "main"
        if "two tracks" in name:
            self._tracks = ("small", "main") if on else ("main",)
            self.cut()

    def _serve(self, client: socket.socket) -> None:
        tracks, channels = self._tracks, dict[int, int]()
        for request in iter(lambda: read_head(client), b""):
            while self._fault == "half-open":
                if self._stop.wait(0.2):
                    return
            method, number = request.split()[0], request.partition(b"CSeq: ")[2].split(b"\r")[0]
            if method == b"SETUP":
                channel = re.search(rb"interleaved=(\d+)", request)
                track = re.search(rb"track(\d)", request.splitlines()[0])
                assert channel is not None
                assert track is not None
                channels[int(track[1])] = int(channel[1])
            client.sendall(self._answer(method, number, request, tracks))
            if method == b"PLAY":
                self._play(client, {channel: tracks[track] for track, channel in channels.items()})
                return

    def _answer(self, method: bytes, number: bytes, request: bytes, tracks: Sequence[str]) -> bytes:
        if self._fault in _REFUSALS and method in (b"DESCRIBE", b"SETUP"):
            wanted = b'WWW-Authenticate: Basic realm="camera"\r\n' if self._fault == "401" else b""
            return b"RTSP/1.0 %s\r\nCSeq: %s\r\n%s\r\n" % (_REFUSALS[self._fault].encode(), number, wanted)
        head = b"RTSP/1.0 200 OK\r\nCSeq: " + number + b"\r\nSession: 1\r\n"
        if method == b"SETUP":
            transport = re.search(rb"Transport: ([^\r]*)", request)
            return head + b"Transport: " + (transport[1] if transport else b"") + b"\r\n\r\n"
        if method != b"DESCRIBE":
            return head + b"Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n"
        body = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=odd\r\nt=0 0\r\n" + b"".join(
            self._medium(place, name) for place, name in enumerate(tracks)
        )
        return head + b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def _medium(self, place: int, name: str) -> bytes:
        units = self._units_of(name)
        sets = b",".join(base64.b64encode(unit) for unit in units[0] if unit[0] & 31 in (7, 8))
        return (
            b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets="
            + sets
            + b"\r\na=control:track%d\r\n" % place
        )

    def _units_of(self, track: str) -> Units:
        return self._clips[self._main if track == "main" else track]

    def _play(self, client: socket.socket, channels: Mapping[int, str]) -> None:
        sequences = dict.fromkeys(channels, 0)
        number = self._number()
        while self._wait_for(number):
            if self._is_sent(number):
                shown = number - number % self._gop if self._fault == "1 frame in 5 s" else number
                stamp = round(self._rtp_s() * _UNITS_PER_S) % 2**32
                for channel, track in channels.items():
                    units = self._units_of(track)
                    sequences[channel] = self._send(
                        client, channel, units[shown % len(units)], stamp, sequences[channel]
                    )
                    if self._reports and number % _REPORT_EVERY == 0:
                        client.sendall(self._report(channel, sequences[channel]))
            number += 1

    def _is_sent(self, number: int) -> bool:
        if self._fault == "1 frame in 5 s":
            return number % (5 * RATE) == 0
        return self._fault not in ("frozen", "half-open")

    def _rtp_s(self) -> float:
        at = time.monotonic()
        if self._fault == "outliers" and self._dice.random() < 0.01:
            return self._clock.now(at) + _OUTLIER_S
        if self._fault == "jumps" and at >= self._jump_due:
            self._clock.set(self._clock.now(at) + 3600.0 if self._jumps % 2 == 0 else 0.0)
            self._jump_due, self._jumps = at + self._dice.uniform(20, 60), self._jumps + 1
        return self._clock.now(at)

    def _send(self, client: socket.socket, channel: int, units: Sequence[bytes], stamp: int, sequence: int) -> int:
        """Send one frame; the next packet's number."""
        sent = bytearray()
        for place, unit in enumerate(units, 1):
            for last_piece, payload in _payloads(unit):
                marker = 0x80 * (last_piece and place == len(units))
                packet = _RTP.pack(0x80, 96 | marker, sequence % 2**16, stamp, 7 + channel) + payload
                sequence += 1
                if self._fault != "2 % loss" or self._dice.random() >= 0.02:
                    sent += struct.pack(">cBH", b"$", channel, len(packet)) + packet
        client.sendall(sent)
        return sequence

    def _report(self, channel: int, sequence: int) -> bytes:
        now = time.time() + _NTP_1970
        stamp = round(self._clock.now(time.monotonic()) * _UNITS_PER_S) % 2**32
        fraction = int(now % 1 * 2**32)
        report = _REPORT.pack(0x80, 200, 6, 7 + channel, int(now), fraction, stamp, sequence % 2**32, 0)
        return struct.pack(">cBH", b"$", channel + 1, len(report)) + report


def _payloads(unit: bytes) -> Iterator[tuple[bool, bytes]]:
    """RTP payloads of a NAL unit, and whether each is its last."""
    if len(unit) <= _MOST_BYTES:
        yield True, unit
        return
    head, body = unit[0], unit[1:]
    for begin in range(0, len(body), _MOST_BYTES):
        last = begin + _MOST_BYTES >= len(body)
        flags = 0x80 * (begin == 0) | 0x40 * last | head & 31
        yield last, bytes((head & 0xE0 | 28, flags)) + body[begin : begin + _MOST_BYTES]
