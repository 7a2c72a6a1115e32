"""Backgrounds: muted, endless panoramas, so that the saturated events stand out.

A panorama is uint8 [H, P, 3]; its right edge continues at its left edge. Every painter has its own generator: a scene
of a seed always looks the same, and with another seed it has other hills.

Legend: H rows, P columns of the panorama; lines [P] are heights as shares of H, from the top.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from afterview.training.world.vocabulary import SCENES

Picture = NDArray[np.float32]  # [H, P, 3], 0..255
Line = NDArray[np.float32]  # [P]
Colour = tuple[int, int, int]


def panorama(scene: str, seed: int, height: int, width: int, *, view: int = 0) -> NDArray[np.uint8]:
    """The scene of a seed, uint8 [height, width, 3]. view: number of the camera; each camera sees another part."""
    rng = np.random.Generator(np.random.Philox(key=[seed, SCENES.index(scene) + len(SCENES) * view]))
    picture = _PAINTERS[scene](rng, height, width)
    picture += 5.0 * _noise(rng, height, width, cells=24)[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8)


def _beach(rng: np.random.Generator, height: int, width: int) -> Picture:
    picture = _sky(height, width, (150, 186, 204), (214, 224, 220))
    _fill(picture, np.full(width, 0.46, np.float32), (104, 152, 166))
    rows = slice(int(0.46 * height), None)
    picture[rows] += 9.0 * _noise(rng, height, width, cells=5, stretch=9)[rows, :, None]
    shore = 0.74 + 0.035 * _ridge(rng, width, waves=6)
    _fill(picture, shore - 0.025, (222, 230, 226))  # foam
    _fill(picture, shore, (205, 188, 150))
    return picture


def _city(rng: np.random.Generator, height: int, width: int) -> Picture:
    image = Image.fromarray(_sky(height, width, (142, 152, 178), (218, 204, 194)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for colour, tallest, window in (((128, 132, 148), 0.80, None), ((72, 76, 92), 0.60, (196, 182, 138))):
        left = 0
        while left < width:
            across = min(int(height * rng.uniform(0.16, 0.34)), width - left)
            top = int(height * (1 - tallest * rng.uniform(0.45, 1.0)))
            wall = max(left, left + across - max(2, height // 90))  # the last house may be cut to a sliver
            draw.rectangle((left, top, wall, height), fill=colour)
            if window:
                _windows(draw, rng, (left, top, left + across, height), window)
            left += across
    return np.asarray(image, dtype=np.float32).copy()


def _windows(draw: ImageDraw.ImageDraw, rng: np.random.Generator, box: tuple[int, int, int, int], fill: Colour) -> None:
    left, top, right, bottom = box
    step = max(6, bottom // 20)
    for y in range(top + step, bottom - step, step + step // 2):
        for x in range(left + step // 2, right - step, step):
            if rng.random() < 0.45:
                draw.rectangle((x, y, x + step // 2, y + step // 2), fill=fill)


def _desert(rng: np.random.Generator, height: int, width: int) -> Picture:
    picture = _sky(height, width, (182, 196, 204), (234, 218, 196))
    for level, colour in ((0.50, (206, 176, 138)), (0.62, (190, 154, 114)), (0.78, (170, 132, 94))):
        _fill(picture, level + 0.07 * _ridge(rng, width, waves=4), colour)
    return picture


def _forest(rng: np.random.Generator, height: int, width: int) -> Picture:
    image = Image.fromarray(_sky(height, width, (148, 166, 146), (112, 132, 106)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for colour, trunks, thickness in (((98, 112, 92), 30, 0.028), ((72, 78, 66), 18, 0.05), ((50, 48, 42), 9, 0.085)):
        for centre in rng.uniform(0, width, trunks):
            half = height * thickness * rng.uniform(0.6, 1.1) / 2
            for x in (centre - width, centre, centre + width):  # so that a trunk at the edge continues beyond it
                draw.rectangle((x - half, 0, x + half, height), fill=colour)
    picture = np.asarray(image, dtype=np.float32).copy()
    leaves = 0.20 + 0.07 * _ridge(rng, width, waves=24, roll=0.6)
    _fill_above(picture, leaves, (58, 78, 56))
    _fill(picture, 0.84 + 0.03 * _ridge(rng, width, waves=8), (78, 88, 62))
    return picture


def _meadow(rng: np.random.Generator, height: int, width: int) -> Picture:
    picture = _sky(height, width, (158, 190, 214), (224, 232, 226))
    for level, colour in ((0.52, (164, 182, 138)), (0.60, (146, 170, 112)), (0.72, (126, 154, 94))):
        _fill(picture, level + 0.045 * _ridge(rng, width, waves=3), colour)
    image = Image.fromarray(picture.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for x, share in zip(rng.uniform(0, width, 220), rng.uniform(0, 1, 220), strict=True):
        y, radius = height * (0.76 + 0.24 * share), height * (0.004 + 0.008 * share)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(232, 230, 214))
    return np.asarray(image, dtype=np.float32).copy()


def _mountains(rng: np.random.Generator, height: int, width: int) -> Picture:
    picture = _sky(height, width, (154, 172, 198), (222, 226, 230))
    peaks = 0.42 + 0.24 * _ridge(rng, width, waves=28, roll=1.1)
    _fill(picture, peaks, (240, 243, 246))
    _fill(picture, peaks + 0.10 + 0.05 * _ridge(rng, width, waves=40, roll=0.5), (128, 138, 160))
    _fill(picture, 0.78 + 0.07 * _ridge(rng, width, waves=12), (84, 94, 112))
    return picture


_PAINTERS: dict[str, Callable[[np.random.Generator, int, int], Picture]] = {
    "beach": _beach,
    "city": _city,
    "desert": _desert,
    "forest": _forest,
    "meadow": _meadow,
    "mountains": _mountains,
}


def _sky(height: int, width: int, top: Colour, bottom: Colour) -> Picture:
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    colours = np.array(top, np.float32) * (1 - share) + np.array(bottom, np.float32) * share
    return np.repeat(colours, width, axis=1)


def _ridge(rng: np.random.Generator, width: int, *, waves: int, roll: float = 1.0) -> Line:
    """A closed line of hills, about -1..1: sines whose periods divide the width, weaker for shorter periods."""
    x = np.linspace(0, 2 * np.pi, width, endpoint=False)
    numbers = np.arange(2, waves + 2)
    phases = rng.uniform(0, 2 * np.pi, waves)
    line = (np.sin(numbers[:, None] * x + phases[:, None]) / numbers[:, None] ** roll).sum(axis=0)
    return (line / np.abs(line).max()).astype(np.float32)


def _noise(rng: np.random.Generator, height: int, width: int, *, cells: int, stretch: int = 1) -> Line:
    """Closed smooth noise [H, P], about -1..1. cells: per height; stretch: width of a cell by its height."""
    across = max(2, cells * width // (height * stretch))
    grid = np.pad(rng.uniform(-1, 1, (cells, across)), ((0, 0), (2, 2)), mode="wrap").astype(np.float32)
    box = (2, 0, across + 2, cells)  # a margin of two cells, so that the interpolation continues across the edge
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC, box=box))


def _fill(picture: Picture, line: Line, colour: Colour) -> None:
    """Paint everything below `line`, with a soft edge of one row."""
    height = picture.shape[0]
    share = np.clip(np.arange(height, dtype=np.float32)[:, None] - line * height + 0.5, 0, 1)[..., None]
    picture += (np.array(colour, np.float32) - picture) * share


def _fill_above(picture: Picture, line: Line, colour: Colour) -> None:
    _fill(picture[::-1], 1 - line, colour)
