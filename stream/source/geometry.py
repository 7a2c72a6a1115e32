"""How a decoded frame is shown: the shape of its pixels, and the display matrix that turns or mirrors it. Pure.

A player widens pixels that are not square, then turns the picture. Neither loses detail here: the shorter-looking side is enlarged.
Angles between quarter turns are rounded to the nearest one, as most players do.
"""

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

_MATRIX = struct.Struct("=9i")  # of AV_FRAME_DATA_DISPLAYMATRIX: rows (a b u), (c d v), (x y w)
_ONE = 1 << 16
_SEEN = 0.01  # shapes that differ less from a square are not seen
_WIDEST = 10.0  # a pixel that is wider or higher by more is a mistake of the source
_TURNED = 1.0  # degrees that a rounded angle may be off without a word


@dataclass(frozen=True, slots=True)
class Shown:
    """How to show one frame. width, height: its size in square pixels before it is turned; as decoded if the pixels are square.

    Then it is transposed, and the result is mirrored. off: degrees by which that misses the angle that the source states.
    """

    width: int
    height: int
    transposed: bool = False
    mirrored: bool = False
    upside_down: bool = False
    off: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels as shown."""
        return (self.height, self.width) if self.transposed else (self.width, self.height)

    def turn(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """`pixels` [H, W, 3] as shown, contiguous."""
        if self.transposed:
            pixels = pixels.swapaxes(0, 1)
        if self.mirrored or self.upside_down:
            pixels = pixels[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]
        return np.ascontiguousarray(pixels)


class PixelShape:
    """The width of a stream's pixels, of which the height is 1. A container that states another one than the video is right."""

    def __init__(self, stream: av.VideoStream) -> None:
        self._context = stream.codec_context
        stated, coded = stream.sample_aspect_ratio, self._context.sample_aspect_ratio
        self._stated = stated if stated and stated != coded else None

    def now(self) -> Fraction:
        """Of the frame that was decoded last: it may change in mid-stream."""
        return self._stated or self._context.sample_aspect_ratio or Fraction(1)


def show(frame: av.VideoFrame, pixel: Fraction) -> Shown:
    """How to show a frame whose pixels are `pixel` wide and 1 high."""
    width, height = _square(frame.width, frame.height, float(pixel))
    matrix = _matrix(frame)
    if matrix is None:
        return Shown(width, height)
    a, b, _, c, d = matrix[:5]
    transposed = abs(b) + abs(c) > abs(a) + abs(d)
    if transposed:
        return Shown(width, height, True, c < 0, b < 0, _off(b, a))
    return Shown(width, height, False, a < 0, d < 0, _off(a, b))


def describe_angle(shown: Shown) -> str:
    """What is not shown as the source states, for people; empty: nothing."""
    if shown.off < _TURNED:
        return ""
    return (
        f"its picture is turned by {shown.off:.0f} degrees more than a quarter turn; the nearest quarter turn is stored"
    )


def _square(width: int, height: int, pixel: float) -> tuple[int, int]:
    """The size in square pixels. The side that is too short is enlarged."""
    if not 1 / _WIDEST <= pixel <= _WIDEST or abs(pixel - 1) < _SEEN:
        return width, height
    return (round(width * pixel), height) if pixel > 1 else (width, round(height / pixel))


def _off(large: int, small: int) -> float:
    return math.degrees(math.atan2(abs(small), abs(large)))


def _matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """The display matrix of a frame; None: it has none. Takes 0.1 ms."""
    # A frame whose side data was read is freed by the garbage collector alone (PyAV), so that of a small copy is read.
    copy = frame.reformat(width=16, height=16, format="gray", interpolation=Interpolation.POINT, threads=1)
    try:
        data: Any = copy.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know all kinds of data (Exif): only the angle is left
        return _quarter_turns(frame.rotation)
    return None if data is None or len(bytes(data)) != _MATRIX.size else _MATRIX.unpack(bytes(data))


def _quarter_turns(degrees: int) -> tuple[int, ...]:
    """The matrix of so many degrees counterclockwise."""
    cos, sin = ((_ONE, 0), (0, _ONE), (-_ONE, 0), (0, -_ONE))[round(degrees / 90) % 4]
    return cos, -sin, 0, sin, cos, 0, 0, 0, 1 << 30
