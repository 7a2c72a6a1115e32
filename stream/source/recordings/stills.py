"""Still pictures as a source of video: the folder of a time-lapse.

Pillow decodes them, and turns them upright by their EXIF orientation.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import av
import numpy as np
from PIL import ExifTags, Image, ImageOps

from afterview.stream.errors import NotAVideo
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.address.redact import printable
from afterview.stream.source.events import WHOLE, Ended, Event, Frame, Opened, Passed, Picture

_LOGGER = logging.getLogger(__name__)

UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)  # what Pillow raises
_EXIF = ExifTags.Base
_WHEN = ((_EXIF.DateTimeOriginal, _EXIF.OffsetTimeOriginal), (_EXIF.DateTimeDigitized, _EXIF.OffsetTimeDigitized))

Due = Callable[[float | None], bool]


@dataclass(frozen=True)
class DatedPicture:
    """A picture file, and Unix seconds at which it was taken."""

    path: str
    time: float


def time_in_picture(path: str) -> datetime | None:
    """When a picture was taken, by its EXIF data; without tzinfo if that states no offset from UTC. None if unknown or unreadable."""
    try:
        with Image.open(path) as image:
            exif = image.getexif()
            details = exif.get_ifd(ExifTags.IFD.Exif)
    except UNREADABLE:
        return None
    for when, offset in _WHEN:
        text = str(details.get(when, "")).strip("\0 ")
        zone = str(details.get(offset, exif.get(offset, details.get(_EXIF.OffsetTime, "")))).strip("\0 ")
        part = str(details.get(_EXIF.SubsecTimeOriginal, "")).strip("\0 ")
        fraction = part[:6] if part.isascii() and part.isdigit() else "0"
        for offset_text, form in ((zone, "%Y:%m:%d %H:%M:%S.%f%z"), ("", "%Y:%m:%d %H:%M:%S.%f")):
            try:
                return datetime.strptime(f"{text}.{fraction}{offset_text}", form)
            except ValueError:
                continue
    return None


def read_pictures(
    shown: SourceAddress,
    pictures: Sequence[DatedPicture],
    *,
    stop: threading.Event,
    due: Due | None = None,
    clock: Callable[[], float] = time.time,
) -> Iterator[Event]:
    """The pictures, in order of time, as the events of a recording. One that cannot be decoded is left out, named and counted.

    shown: what they are called together. due: see read_events. Raises NotAVideo if not one picture can be decoded.
    """
    start, opened, damaged = pictures[0].time, False, 0
    for picture in pictures:
        if stop.is_set():
            return
        pts_s = picture.time - start
        if opened and due is not None and not due(pts_s):
            yield Passed(pts_s, clock(), picture.time, damaged)
            continue
        try:
            with Image.open(picture.path) as image:
                frame = upright_frame(image)
        except UNREADABLE as error:
            damaged += 1
            _LOGGER.warning(
                "%s: this picture cannot be read (%s); it is left out", printable(picture.path), _reason(error)
            )
            continue
        if not opened:
            opened = True
            yield Opened("pictures", frame.width, frame.height, None, start)
        yield Frame(pts_s, clock(), picture.time, Picture(frame), damaged)
    yield ending(shown, opened, len(pictures), damaged)


def ending(shown: SourceAddress, opened: bool, count: int, damaged: int) -> Ended:
    """The end of pictures. Raises NotAVideo if not one could be decoded."""
    if not opened:
        raise NotAVideo(f"{shown.redacted}: not one picture in it can be decoded")
    return Ended(
        f"{WHOLE}; {damaged} unreadable picture{'s' * (damaged > 1)} left out" if damaged else WHOLE, count, damaged
    )


def upright_frame(image: Image.Image) -> av.VideoFrame:
    """A picture as FFmpeg's decoder would give it, turned upright. Raises one of UNREADABLE."""
    upright = ImageOps.exif_transpose(image).convert("RGB")
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(upright), format="rgb24")


def _reason(error: BaseException) -> str:
    text = (str(error).splitlines() or [""])[0]
    return "no picture of a known kind" if "cannot identify image" in text else text or type(error).__name__
