"""Pictures of things, drawn once and stamped many times.

A sprite stores its colour multiplied by its opacity, so that a stamp needs one multiplication and one addition in 16
bits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from afterview.training.world.story import Event
from afterview.training.world.vocabulary import COLOURS

_OVERSAMPLING = 3
_INK = (24, 26, 32)
_PAPER = (252, 252, 250)
# Shares of a shape's diameter: a white edge, then a dark one, visible in front of any scenery.
_WHITE_EDGE, _DARK_EDGE = 0.055, 0.085


@dataclass(frozen=True)
class Sprite:
    """A picture with opacity. light uint16 [h, w, 3]: colour x opacity (0..256). keeps uint16 [h, w, 1]: 256 - opacity."""

    light: NDArray[np.uint16]
    keeps: NDArray[np.uint16]

    def stamp(self, frame: NDArray[np.uint8], x: float, y: float) -> None:
        """Draw it on `frame` [H, W, 3] with its centre at pixel (x, y), clipped at the edges."""
        height, width = self.keeps.shape[:2]
        left, top = round(x - width / 2), round(y - height / 2)
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + width, frame.shape[1]), min(top + height, frame.shape[0])
        if x0 >= x1 or y0 >= y1:
            return
        mine = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        under = frame[y0:y1, x0:x1]
        under[...] = (under * self.keeps[mine] + self.light[mine]) >> 8


def event_sprite(event: Event, width: int, height: int) -> Sprite:
    """The sprite of an event in a frame of width x height pixels."""
    across, down = event.extent
    size = max(1, round(across * width)), max(1, round(down * height))
    if event.kind == "object":
        assert event.shape is not None  # an object always has a shape and a colour
        assert event.colour is not None
        return _shape(event.shape, COLOURS[event.colour], size)
    return _card(event.text or "", size)


def passer_sprite(width: int, height: int) -> Sprite:
    """A half transparent grey thing without a name."""
    size = round(0.13 * width), round(0.10 * height)
    opacity = Image.new("L", (size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING), 0)
    ImageDraw.Draw(opacity).ellipse((0, 0, opacity.width - 1, opacity.height - 1), fill=150)
    return _sprite(Image.new("RGB", opacity.size, (118, 120, 124)), opacity, size)


def _shape(shape: str, colour: tuple[int, int, int], size: tuple[int, int]) -> Sprite:
    """A filled shape with a white and a dark edge that fills its box."""
    canvas = size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING
    dark = _outline(shape, canvas, _DARK_EDGE)
    picture = Image.new("RGB", canvas, _INK)
    picture.paste(_PAPER, mask=_outline(shape, canvas, _WHITE_EDGE))
    picture.paste(colour, mask=_outline(shape, canvas, 0.0))
    return _sprite(picture, dark, size)


def _outline(shape: str, canvas: tuple[int, int], grown: float) -> Image.Image:
    """Mask of the shape, grown by `grown` diameters on all sides (and into the hole of a ring)."""
    mask = Image.new("L", canvas, 0)
    draw = ImageDraw.Draw(mask)
    body = 1 - 2 * _DARK_EDGE  # share of the box, so that the grown shape just fits

    def ellipse(radius: float, fill: int) -> None:
        x, y = radius * canvas[0], radius * canvas[1]
        draw.ellipse((canvas[0] / 2 - x, canvas[1] / 2 - y, canvas[0] / 2 + x, canvas[1] / 2 + y), fill=fill)

    if shape in ("circle", "ring"):
        ellipse(body / 2 + grown, 255)
        if shape == "ring":
            ellipse(body * 0.31 - grown, 0)
        return mask
    points = [((0.5 + body * x / 2) * canvas[0], (0.5 + body * y / 2) * canvas[1]) for x, y in _corners(shape)]
    draw.polygon(points, fill=255)
    edge = grown * min(canvas)
    if edge:
        draw.line([*points, points[0]], fill=255, width=round(2 * edge))
        for x, y in points:
            draw.ellipse((x - edge, y - edge, x + edge, y + edge), fill=255)
    return mask


def _corners(shape: str) -> list[tuple[float, float]]:
    """Corners of a polygon in -1..1, y downwards."""
    if shape == "square":
        return [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]
    if shape == "triangle":
        return [(0.0, -1.0), (1.0, 0.85), (-1.0, 0.85)]
    if shape == "cross":
        a, b = 0.36, 1.0
        return [
            (-a, -b),
            (a, -b),
            (a, -a),
            (b, -a),
            (b, a),
            (a, a),
            (a, b),
            (-a, b),
            (-a, a),
            (-b, a),
            (-b, -a),
            (-a, -a),
        ]
    turns = np.arange(10) * np.pi / 5
    radii = np.where(np.arange(10) % 2 == 0, 1.05, 0.45)  # star
    return [(float(r * np.sin(turn)), float(0.06 - r * np.cos(turn))) for r, turn in zip(radii, turns, strict=True)]


def _card(text: str, size: tuple[int, int]) -> Sprite:
    """A white card with its text stretched over it: thin letters would not survive 64 pixels."""
    canvas = size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING
    radius = min(canvas) // 9
    opacity = Image.new("L", canvas, 0)
    ImageDraw.Draw(opacity).rounded_rectangle((0, 0, canvas[0] - 1, canvas[1] - 1), radius, fill=255)
    edge = max(1, min(canvas) // 40)
    picture = Image.new("RGB", canvas, _INK)
    ImageDraw.Draw(picture).rounded_rectangle(
        (edge, edge, canvas[0] - 1 - edge, canvas[1] - 1 - edge), radius - edge, fill=_PAPER
    )
    inset = min(canvas) // 7
    room = canvas[0] - 2 * inset, canvas[1] - 2 * inset
    letters = [_letter(character, (room[0] // len(text) - inset // 4, room[1])) for character in text]
    for number, letter in enumerate(letters):
        centre = inset + room[0] * (2 * number + 1) / (2 * len(text))
        picture.paste(_INK, (round(centre - letter.width / 2), inset), letter)
    return _sprite(picture, opacity, size)


def _letter(character: str, size: tuple[int, int]) -> Image.Image:
    """Mask of one bold character, stretched to `size`. 1 and I keep a natural width."""
    font = ImageFont.load_default(200)
    stroke = 9
    left, top, right, bottom = font.getbbox(character, stroke_width=stroke)
    mask = Image.new("L", (round(right - left), round(bottom - top)), 0)
    ImageDraw.Draw(mask).text((-left, -top), character, font=font, fill=255, stroke_width=stroke)
    width = size[0] if mask.width > 0.42 * mask.height else max(1, size[0] // 4)
    return mask.resize((width, size[1]), Image.Resampling.LANCZOS)


def _sprite(picture: Image.Image, opacity: Image.Image, size: tuple[int, int]) -> Sprite:
    colour = np.asarray(picture.resize(size, Image.Resampling.BOX), dtype=np.float32)
    share = np.asarray(opacity.resize(size, Image.Resampling.BOX), dtype=np.float32)[..., None] / 255
    covered = np.rint(share * 256).astype(np.uint16)
    return Sprite(light=np.rint(colour * covered).astype(np.uint16), keeps=np.uint16(256) - covered)
