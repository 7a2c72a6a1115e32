"""A live HLS packager whose clock breaks off with a discontinuity, and which restarts.

Threads: those of OddServer, and one that packs. They share the list of segments, behind its lock.
"""

import io
import socket
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import av

from tests.support.odd_rtsp import read_head
from tests.support.soak_servers import RATE, OddServer

_OPTIONS = {"mpegts_flags": "pat_pmt_at_frames", "flush_packets": "1"}
_LISTED, _KEPT = 5, 12  # segments in the playlist, and served


@dataclass(frozen=True)
class _Segment:
    data: bytes
    seconds: float
    began: float  # Unix seconds
    discontinuity: bool


class HlsCamera(OddServer):
    """Segments of one GOP of a looped clip. Faults: "discontinuity" (once, at its beginning), "packager restart" (nothing is served)."""

    def __init__(self, clip: Path, *, begins_s: float = 0.0) -> None:
        """begins_s: presentation time of the first picture; after a discontinuity they begin at 0."""
        super().__init__()
        self._clip, self._begins = clip, round(begins_s * RATE)
        self._segments: list[_Segment] = []
        self._first = 0  # number of the first segment that is kept
        self._broken_off = 0  # discontinuities that have left the playlist
        self._anew, self._down = False, False
        self.url = f"http://127.0.0.1:{self.port}/live.m3u8"

    def __enter__(self) -> Self:
        threading.Thread(target=self._pack, daemon=True).start()
        return super().__enter__()

    def fault(self, name: str, on: bool) -> None:
        if name == "discontinuity":
            self._anew = self._anew or on
            return
        self._down = on
        if not on:
            with self._lock:
                self._segments, self._first, self._broken_off = [], 0, 0
            self._anew = True

    def _pack(self) -> None:
        with av.open(str(self._clip)) as source:
            stream = source.streams.video[0]
            packets = [(bytes(packet), packet.is_keyframe) for packet in source.demux(stream) if packet.size]
            number = self._number()
            first = number - self._begins
            output, buffer, began, broken = None, io.BytesIO(), 0.0, False
            while self._wait_for(number):
                data, key = packets[number % len(packets)]
                if key:
                    if output is not None:
                        self._publish(buffer, began, self._due(number) - began, broken)
                    broken, began = False, self._due(number)
                    if output is None or self._anew:
                        broken = output is not None and not self._down
                        first = number if output is not None else first
                        self._anew = False
                        if output is not None:
                            output.close()
                        buffer = io.BytesIO()
                        output = av.open(buffer, "w", format="mpegts", options=_OPTIONS)
                        target = output.add_stream_from_template(stream)
                if output is not None:
                    _mux(output, target, data, key, number - first)
                number += 1

    def _due(self, number: int) -> float:
        """Unix seconds at which a picture is due: a busy machine packs it late, but does not date it so."""
        return time.time() - time.monotonic() + self._epoch + number / RATE

    def _publish(self, buffer: io.BytesIO, began: float, seconds: float, broken: bool) -> None:
        segment = _Segment(buffer.getvalue(), seconds, began, broken)
        buffer.seek(0)
        buffer.truncate()
        if self._down:
            return
        with self._lock:
            self._segments.append(segment)
            if len(self._segments) > _LISTED:
                self._broken_off += self._segments[-_LISTED - 1].discontinuity
            if len(self._segments) > _KEPT:
                self._segments.pop(0)
                self._first += 1

    def _serve(self, client: socket.socket) -> None:
        request = read_head(client)
        name = request.split()[1].decode().rsplit("/", 1)[-1] if request else ""
        with self._lock:
            if name == "live.m3u8" and self._segments:
                data, kind = self._playlist().encode(), b"application/vnd.apple.mpegurl"
            else:
                place = int(name[7:-3]) - self._first if name.startswith("segment") else -1
                data = self._segments[place].data if 0 <= place < len(self._segments) else b""
                kind = b"video/mp2t"
        status = b"404 Not Found" if self._down or not data else b"200 OK"
        if self._down:
            data = b""
        head = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        client.sendall(head % (status, kind, len(data)) + data)

    def _playlist(self) -> str:
        skipped = max(0, len(self._segments) - _LISTED)
        lines = ["#EXTM3U", "#EXT-X-VERSION:6", "#EXT-X-TARGETDURATION:3", "#EXT-X-INDEPENDENT-SEGMENTS"]
        lines.append(f"#EXT-X-MEDIA-SEQUENCE:{self._first + skipped}")
        lines.append(f"#EXT-X-DISCONTINUITY-SEQUENCE:{self._broken_off}")
        for number, segment in enumerate(self._segments[skipped:], self._first + skipped):
            if segment.discontinuity:
                lines.append("#EXT-X-DISCONTINUITY")
            date = datetime.fromtimestamp(segment.began, UTC).isoformat(timespec="milliseconds")
            lines += [f"#EXT-X-PROGRAM-DATE-TIME:{date}", f"#EXTINF:{segment.seconds:.3f},", f"segment{number}.ts"]
        return "\n".join(lines) + "\n"


def _mux(output: Any, target: Any, data: bytes, key: bool, number: int) -> None:
    packet: av.Packet[Any] = av.Packet(data)
    packet.stream, packet.is_keyframe, packet.time_base = target, key, Fraction(1, RATE)
    packet.pts = packet.dts = number
    packet.duration = 1
    output.mux(packet)
