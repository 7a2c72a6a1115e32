"""A camera that offers several video tracks in one RTSP session over TCP."""

import base64
import socket
import struct
import time
from pathlib import Path

from tests.support.odd_rtsp import OddCamera, access_units

_RTP = struct.Struct(">BBHII")
_CLOCK_RATE = 90_000


class TracksCamera(OddCamera):
    """Serves each of `clips` (H.264 without B-frames) as a track, in real time. set_up: the tracks that clients asked for.

    joined_at: the frame that a client gets first; parameter sets come in the description, and with key frames.
    """

    def __init__(self, clips: list[Path], rate: float, *, joined_at: int = 0) -> None:
        super().__init__(clips[0], rate, lambda second: second)
        self._tracks, self._joined_at = [access_units(clip) for clip in clips], joined_at
        self.set_up: list[int] = []

    def _client(self, client: socket.socket) -> None:
        chosen: list[int] = []
        try:
            for request in iter(lambda: self._request(client), b""):
                method, number = request.split()[0], request.partition(b"CSeq: ")[2].split(b"\r")[0]
                head = b"RTSP/1.0 200 OK\r\nCSeq: " + number + b"\r\nSession: 1\r\n"
                if method == b"SETUP":
                    track = int(request.split()[1].rpartition(b"track")[2])
                    chosen.append(track)
                    self.set_up.append(track)
                    transport = b"Transport: RTP/AVP/TCP;unicast;interleaved=%d-%d\r\n\r\n" % (2 * track, 2 * track + 1)
                    client.sendall(head + transport)
                elif method == b"DESCRIBE":
                    body = self._description()
                    client.sendall(
                        head + b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
                    )
                else:
                    client.sendall(head + b"Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n")
                if method == b"PLAY":
                    self._send(client, chosen)
                    return
        except OSError:
            pass

    def _description(self) -> bytes:
        lines = [b"v=0", b"o=- 1 1 IN IP4 127.0.0.1", b"s=tracks", b"t=0 0"]
        for track, units in enumerate(self._tracks):
            sets = b",".join(base64.b64encode(unit) for unit in units[0] if unit[0] & 31 in (7, 8))
            kind = 96 + track
            lines += [
                b"m=video 0 RTP/AVP %d" % kind,
                b"a=rtpmap:%d H264/90000" % kind,
                b"a=fmtp:%d packetization-mode=1;sprop-parameter-sets=%s" % (kind, sets),
                b"a=control:track%d" % track,
            ]
        return b"\r\n".join([*lines, b""])

    def _send(self, client: socket.socket, tracks: list[int]) -> None:
        began, sequence, number = time.monotonic(), 0, 0
        while not self._stop.wait(max(0.0, began + number / self._rate - time.monotonic())):
            for track in tracks:
                frames = self._tracks[track]
                units = frames[(number + self._joined_at) % len(frames)]
                stamp = round(number / self._rate * _CLOCK_RATE) % 2**32
                for place, unit in enumerate(units, 1):
                    last = 0x80 * (place == len(units))
                    packet = _RTP.pack(0x80, 96 + track | last, sequence % 2**16, stamp, 7 + track) + unit
                    client.sendall(b"$" + bytes([2 * track]) + struct.pack(">H", len(packet)) + packet)
                    sequence += 1
            number += 1
