"""A camera that speaks RTSP over TCP with a clock of any kind: its RTP times are a function of the second at which a frame is due."""

import base64
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import av

_RTP = struct.Struct(">BBHII")
_CLOCK_RATE = 90_000


def access_units(clip: Path) -> list[list[bytes]]:
    """The NAL units of each frame of an H.264 clip in MP4; parameter sets come before each key frame."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        filters = av.bitstream.BitStreamFilterContext("h264_mp4toannexb", stream)
        packets = [out for packet in container.demux(stream) if packet.size for out in filters.filter(packet)]
        return [
            bytes(packet).replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01")[1:] for packet in packets
        ]


class OddCamera:
    """Serves `clip` (H.264 without B-frames) again and again, in real time, to one client after the other.

    rtp_s: the RTP time in seconds of the frame that is due at a second of the connection.
    Threads: `serve` accepts, each client has a thread.
    """

    def __init__(self, clip: Path, rate: float, rtp_s: Callable[[float], float]) -> None:
        self._units, self._rate, self._rtp_s = access_units(clip), rate, rtp_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/live"
        self._stop = threading.Event()
        self._clients: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for end in (self._listener, *self._clients):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            threading.Thread(target=self._client, args=(client,), daemon=True).start()

    def _client(self, client: socket.socket) -> None:
        try:
            for request in iter(lambda: self._request(client), b""):
                method, number = request.split()[0], request.partition(b"CSeq: ")[2].split(b"\r")[0]
                client.sendall(self._answer(method, number))
                if method == b"PLAY":
                    self._play(client)
                    return
        except OSError:
            pass

    def _request(self, client: socket.socket) -> bytes:
        return read_head(client)

    def _answer(self, method: bytes, number: bytes) -> bytes:
        head = b"RTSP/1.0 200 OK\r\nCSeq: " + number + b"\r\nSession: 1\r\n"
        if method == b"SETUP":
            return head + b"Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
        if method != b"DESCRIBE":
            return head + b"Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n"
        sets = b",".join(base64.b64encode(unit) for unit in self._units[0] if unit[0] & 31 in (7, 8))
        body = (
            b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=odd\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
        )
        body += b"a=fmtp:96 packetization-mode=1;sprop-parameter-sets=" + sets + b"\r\na=control:track\r\n"
        return head + b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def _play(self, client: socket.socket) -> None:
        began, sequence, number = time.monotonic(), 0, 0
        while not self._stop.wait(max(0.0, began + number / self._rate - time.monotonic())):
            units = self._units[number % len(self._units)]
            stamp = round(self._rtp_s(number / self._rate) * _CLOCK_RATE) % 2**32
            for place, unit in enumerate(units, 1):
                last = 0x80 * (place == len(units))
                packet = _RTP.pack(0x80, 96 | last, sequence % 2**16, stamp, 7) + unit
                client.sendall(b"$\x00" + struct.pack(">H", len(packet)) + packet)
                sequence += 1
            number += 1


def read_head(client: socket.socket) -> bytes:
    """A request up to its empty line; empty if the client has gone."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        more = client.recv(4096)
        if not more:
            return b""
        data += more
    return data
