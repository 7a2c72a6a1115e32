"""Live HLS with several variants and a rendition of sound, over HTTP; it counts what is fetched."""

import io
import threading
import time
from collections import Counter
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

import av
import numpy as np

from tests.support.clips import picture

SEGMENT_S = 1.0
_RATE, _SOUND_RATE = 10, 16_000
_LISTED = 4


class VariantsServer:
    """Serves a broadcast of `seconds` s, a segment a second, that has already begun. variants: (width, height) by name.

    fetched: requests of segments so far, by the variant's name; "sound" is the rendition.
    Threads: one per request.
    """

    def __init__(self, variants: dict[str, tuple[int, int]], seconds: int, *, sound: bool = False) -> None:
        self._sizes, self._sound = variants, sound
        self._segments = {name: _video(*size, seconds) for name, size in variants.items()}
        if sound:
            self._segments["sound"] = _sound_only(seconds)
        self.fetched: Counter[str] = Counter()
        self._began = 0.0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/master.m3u8"

    def __enter__(self) -> Self:
        self._began = time.monotonic() - _LISTED * SEGMENT_S
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def body(self, path: str) -> bytes | None:
        """What a path gives at present; None: nothing."""
        if path == "/master.m3u8":
            return self._master().encode()
        name, _, rest = path.strip("/").partition("/")
        segments = self._segments.get(name, [])
        if rest == "live.m3u8":
            return self._playlist(len(segments)).encode()
        number = int(rest.removesuffix(".ts"))
        self.fetched[name] += 1
        return segments[number] if number < len(segments) else None

    def _master(self) -> str:
        lines = ["#EXTM3U"]
        if self._sound:
            lines.append(
                '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="x",DEFAULT=YES,AUTOSELECT=YES,URI="sound/live.m3u8"'
            )
        for name, (width, height) in self._sizes.items():
            sound = ',AUDIO="a"' if self._sound else ""
            lines += [
                f"#EXT-X-STREAM-INF:BANDWIDTH={width * height},RESOLUTION={width}x{height}{sound}",
                f"{name}/live.m3u8",
            ]
        return "\n".join([*lines, ""])

    def _playlist(self, count: int) -> str:
        ready = min(int((time.monotonic() - self._began) / SEGMENT_S), count)
        first = max(0, ready - _LISTED)
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
        for number in range(first, ready):
            lines += [f"#EXTINF:{SEGMENT_S:.3f},", f"{number}.ts"]
        return "\n".join([*lines, ""])

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self.body

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = answer(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


def _video(width: int, height: int, seconds: int) -> list[bytes]:
    """MPEG-TS of a second each; the times go on."""
    packets: list[list[av.Packet[av.VideoStream]]] = []
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate = Fraction(1, _RATE), Fraction(_RATE)
    context.options = {"preset": "ultrafast", "g": str(_RATE), "bf": "0", "sc_threshold": "0"}
    for number in range(_RATE * seconds):
        frame = av.VideoFrame.from_ndarray(picture(number, width=width, height=height), format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, _RATE)
        packets.append(list(context.encode(frame)))
    packets.append(list(context.encode(None)))
    ready = [packet for some in packets for packet in some]
    segments = []
    for second in range(seconds):
        part = io.BytesIO()
        with av.open(part, "w", format="mpegts", options={"mpegts_copyts": "1"}) as output:
            stream = output.add_stream("libx264", rate=_RATE)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.options = {"preset": "ultrafast"}
            for packet in ready[_RATE * second : _RATE * (second + 1)]:
                packet.stream = stream
                packet.time_base = Fraction(1, _RATE)
                output.mux(packet)
        segments.append(part.getvalue())
    return segments


def _sound_only(seconds: int) -> list[bytes]:
    segments = []
    for second in range(seconds):
        part = io.BytesIO()
        with av.open(part, "w", format="mpegts", options={"mpegts_copyts": "1"}) as output:
            stream = output.add_stream("mp2", rate=_SOUND_RATE)
            stream.layout = "mono"
            samples = np.zeros((1, _SOUND_RATE), np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts = _SOUND_RATE, _SOUND_RATE * second
            output.mux([*stream.encode(frame), *stream.encode(None)])
        segments.append(part.getvalue())
    return segments
