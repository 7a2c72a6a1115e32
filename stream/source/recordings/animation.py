"""Animated WebP, which FFmpeg cannot decode: Pillow reads its pictures."""

import logging
import threading
import time
from collections.abc import Callable, Iterator

from PIL import Image, ImageSequence

from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.events import Event, Frame, Opened, Picture
from afterview.stream.source.recordings.stills import UNREADABLE, ending, upright_frame

_LOGGER = logging.getLogger(__name__)

_LEAST_MS = 11.0  # of one picture; browsers show a shorter one for 100 ms
_SHORT_MS = 100.0
_HEAD = 21  # bytes that tell an animation


def is_animated_webp(path: str) -> bool:
    """By the flag of its extended header (VP8X). False if it cannot be read."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError):
        return False
    return len(head) == _HEAD and head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & 0x02)


def read_animation(
    address: SourceAddress, *, stop: threading.Event, clock: Callable[[], float] = time.time
) -> Iterator[Event]:
    """The pictures of an animated WebP as the events of a recording. Raises NotAVideo."""
    pts_s, number, damaged = 0.0, 0, 0
    try:
        with Image.open(address.url) as image:
            for part in ImageSequence.Iterator(image):
                if stop.is_set():
                    return
                frame = upright_frame(part)
                if number == 0:
                    yield Opened("webp", frame.width, frame.height, None)
                number += 1
                yield Frame(pts_s, clock(), None, Picture(frame))
                duration_ms = float(part.info.get("duration", 0.0))
                pts_s += (duration_ms if duration_ms >= _LEAST_MS else _SHORT_MS) / 1000
    except UNREADABLE as error:
        damaged = 1
        _LOGGER.debug("%s: %s", address.redacted, error)
    yield ending(address, number > 0, number, damaged)
