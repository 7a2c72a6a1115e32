"""How long a recording is, and its pictures at given times as JPEG: what a captioner of clips is shown. Decodes nothing else of it."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import av

from afterview.stream.errors import NotAVideo, SourceError
from afterview.stream.media import encode_jpeg
from afterview.stream.source.address.address import SourceAddress, parse_source
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.events import Picture
from afterview.stream.source.geometry import PixelShape
from afterview.stream.source.opening.choice import choose_stream
from afterview.stream.source.opening.opening import describe, open_container

_QUALITY = 85  # of 100
_SEEK_BACK_S = 0.5  # some containers seek to a key frame a little behind the time that was asked for


@dataclass(frozen=True)
class RecordingFacts:
    """What a recording states about itself."""

    seconds: float
    fps: float
    width: int
    height: int


@dataclass(frozen=True)
class TimedPicture:
    """A picture of a recording. at_s: since its beginning."""

    at_s: float
    jpeg: bytes


def recording_facts(path: Path) -> RecordingFacts:
    """Length, rate and size of a recording. Raises SourceError (NotAVideo for one that does not state its length)."""
    address = parse_source(str(path), {})
    with closing(open_container(address, SourceConfig(), time.monotonic)) as container:
        stream = _stream(container, address)
        about = describe(container, stream, now=time.time())
        seconds = about.duration_s or (container.duration / 1e6 if container.duration else 0.0)
        if not seconds > 0:
            raise NotAVideo(
                f"{path}: does not state how long it is; copy it into .mp4 or .mkv (`ffmpeg -i IN -c copy OUT`)"
            )
        return RecordingFacts(round(seconds, 3), about.rate or 0.0, stream.width, stream.height)


def pictures_at(path: Path, times: Sequence[float], *, short_side: int) -> list[TimedPicture]:
    """The first picture at or after each time (seconds since the beginning, ascending); the last one for times after it.

    Fewer where the recording has fewer. Raises SourceError, also if not one could be decoded.
    """
    address = parse_source(str(path), {})
    try:
        with closing(open_container(address, SourceConfig(), time.monotonic)) as container:
            stream = _stream(container, address)
            found = _decoded(container, stream, list(times), short_side)
    except (av.FFmpegError, OSError) as error:
        raise NotAVideo(f"{path}: cannot be decoded ({error.strerror or type(error).__name__})") from None
    if not found:
        raise NotAVideo(f"{path}: no picture from {times[0]:g} to {times[-1]:g} s could be decoded")
    return found


def _decoded(
    container: av.container.InputContainer, stream: av.VideoStream, times: list[float], short_side: int
) -> list[TimedPicture]:
    unit = float(stream.time_base) if stream.time_base else 1.0
    start_s = (stream.start_time or 0) * unit
    container.seek(int((max(0.0, times[0] - _SEEK_BACK_S) + start_s) / unit), stream=stream, backward=True)
    shape, found, waiting = PixelShape(stream), list[TimedPicture](), list(times)
    last: tuple[float, Picture] | None = None
    for frame in container.decode(stream):
        if frame.pts is None:
            continue
        at_s = frame.pts * unit - start_s
        last = at_s, Picture(frame, shape.now())
        if waiting and at_s >= waiting[0] - unit:
            found.append(_jpeg(*last, short_side))
            while waiting and at_s >= waiting[0] - unit:
                waiting.pop(0)
        if not waiting:
            return found
    if last is not None and (not found or found[-1].at_s < round(last[0], 3)):
        found.append(_jpeg(*last, short_side))
    return found


def _jpeg(at_s: float, picture: Picture, short_side: int) -> TimedPicture:
    return TimedPicture(round(at_s, 3), encode_jpeg(picture.rgb(), short_side, _QUALITY))


def _stream(container: av.container.InputContainer, address: SourceAddress) -> av.VideoStream:
    """The stream that is recorded by default. Raises SourceError."""

    def again() -> av.container.InputContainer:
        return open_container(address, SourceConfig(), time.monotonic)

    stream, _ = choose_stream(container, address, None, again)
    if not isinstance(stream, av.VideoStream):
        raise SourceError(f"{address.redacted}: holds no video")
    return stream
