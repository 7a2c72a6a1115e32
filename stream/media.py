"""Writes video and still images: synthetic worlds, test clips, and the image of each remembered frame."""

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from afterview.stream.errors import WriterError

JPEG_QUALITY = 90  # of 100: features of a re-encoded picture stay within encoder noise; about 40 kB at 384 lines
_LONGEST_SIDE = 65_500  # pixels; no JPEG is wider or higher (libjpeg)
_FINE_CLOCK = Fraction(1, 90_000)  # seconds: MPEG's clock, so that explicit times of any rate fit
_CONSTANT_RATE_ONLY = {
    ".avi",
    "mpeg1video",
    "mpeg2video",
    "mpeg4",
}  # count frames, not time: their clock ticks once per frame
_KEY_FRAME_EVERY_S = 2.0  # a viewer who joins live waits no longer; HLS segments begin there

_PIXEL_FORMATS = {"gif": "rgb8", "mjpeg": "yuvj420p", "ffv1": "yuv444p"}
_OPTIONS: dict[str, dict[str, str]] = {
    "libx264": {"preset": "ultrafast", "crf": "23"},
    # No B-frames: with them x265 gives the frame of a one-frame clip a random decoding time, which no container takes.
    "libx265": {"preset": "ultrafast", "crf": "26", "x265-params": "log-level=-1:bframes=0"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "32", "b": "0"},
}


class VideoWriter:
    """Writes uint8 RGB frames into a video file; the container follows from the path's suffix.

        with VideoWriter(path, 640, 360, rate=10) as video:
            video.write(rgb)

    rate: frames per second. codec: libx264, libx265, mpeg4, mjpeg, gif, libvpx-vp9 ... as FFmpeg names its encoders.
    options: the encoder's own, over the defaults (fast, good enough). One encoder thread, so that the same frames give the same file.
    start_time: Unix seconds of the first frame, stored as the creation time. The file is complete only after `close`.
    Raises WriterError when the file or the encoder cannot be opened.
    """

    def __init__(
        self,
        path: str | Path,
        width: int,
        height: int,
        rate: float | Fraction,
        codec: str = "libx264",
        options: Mapping[str, str] | None = None,
        *,
        start_time: float | None = None,
    ) -> None:
        self._path, self._width, self._height = Path(path), width, height
        self._rate = Fraction(rate).limit_denominator(1001)
        self._last_pts: int | None = None
        pixel_format = _PIXEL_FORMATS.get(codec, "yuv420p")
        if self._rate <= 0:
            raise WriterError(f"{self._path}: {rate} is not a positive number of frames per second")
        if pixel_format.endswith("420p") and (width % 2 or height % 2):
            raise WriterError(f"{self._path}: {codec} needs an even width and height, got {width}x{height}")
        try:
            self._container = av.open(str(self._path), "w")
        except (av.FFmpegError, ValueError) as error:
            raise WriterError(
                f"{self._path}: cannot be written: no video file has the suffix '{self._path.suffix}'; take .mp4 or .mkv"
            ) from error
        try:
            self._stream = self._add_stream(codec, pixel_format, {**_OPTIONS.get(codec, {}), **(options or {})})
            if start_time is not None:
                began = datetime.fromtimestamp(start_time, UTC)
                self._container.metadata["creation_time"] = began.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            self._container.start_encoding()  # opens the file and the encoder now, so that their errors are raised here
        except (av.FFmpegError, ValueError, TypeError, OSError) as error:
            self._container.close()
            reason = f"a {self._path.suffix} file cannot hold it, or FFmpeg has no such encoder"
            if isinstance(error, OSError) and error.strerror:
                reason = error.strerror
            raise WriterError(f"{self._path}: cannot be written with the encoder {codec}: {reason}") from error

    def _add_stream(self, codec: str, pixel_format: str, options: dict[str, str]) -> av.VideoStream:
        stream = self._container.add_stream(codec, rate=self._rate, options=options)
        if not isinstance(stream, av.VideoStream):
            raise ValueError("not a video encoder")
        stream.width, stream.height, stream.pix_fmt = self._width, self._height, pixel_format
        constant = not _CONSTANT_RATE_ONLY.isdisjoint((codec, self._path.suffix.lower()))
        self._time_base = 1 / self._rate if constant else _FINE_CLOCK
        stream.time_base = stream.codec_context.time_base = self._time_base
        stream.thread_count = 1
        if "g" not in options:
            stream.gop_size = max(1, round(self._rate * _KEY_FRAME_EVERY_S))
        return stream

    def write(self, rgb: NDArray[np.uint8], pts_s: float | None = None) -> None:
        """Add a frame: uint8 [height, width, 3]. pts_s: its time in seconds, after the last one's; default: one frame step later.

        Raises WriterError, quoting both, when the size or the order is wrong.
        """
        if rgb.shape != (self._height, self._width, 3):
            raise WriterError(
                f"{self._path}: a frame is {self._height}x{self._width}x3, got {'x'.join(map(str, rgb.shape))}"
            )
        pts = self._next_pts() if pts_s is None else round(pts_s / self._time_base)
        if self._last_pts is not None and pts <= self._last_pts:
            last_s = float(self._last_pts * self._time_base)
            raise WriterError(
                f"{self._path}: times must rise: {float(pts * self._time_base):.6f} s after {last_s:.6f} s"
            )
        self._last_pts = pts
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame.pts, frame.time_base = pts, self._time_base
        self._container.mux(self._stream.encode(frame))

    def _next_pts(self) -> int:
        return 0 if self._last_pts is None else self._last_pts + round(1 / (self._rate * self._time_base))

    def close(self) -> None:
        """Write the encoder's last frames and the file's index."""
        try:
            if self._last_pts is not None:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def encode_jpeg(rgb: NDArray[np.uint8], short_side: int, quality: int = JPEG_QUALITY) -> bytes:
    """A JPEG of uint8 [H, W, 3], scaled down so that its short side is `short_side` pixels; a smaller picture keeps its size.

    A picture whose long side exceeds JPEG's limit is scaled down further.
    """
    image = Image.fromarray(rgb)
    scale = min(short_side / min(image.size), _LONGEST_SIDE / max(image.size))
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in image.size)
        # The gap halves the time at 1080p (9 for 19 ms) and costs nothing that shows: 48 dB from a slow resize, the JPEG itself 42.
        image = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=1.0)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] of a JPEG (or of any still image that Pillow reads)."""
    with Image.open(io.BytesIO(data)) as image:
        pixels: NDArray[np.uint8] = np.asarray(image.convert("RGB"), dtype=np.uint8)
    return pixels
