"""The heat map of a single hop, depth by length, as a PNG. Uses Pillow only."""

import io
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageDraw

from afterview.memory.base.durable import write_file
from afterview.stream.fonts import Fonts
from afterview.training.evaluation.recall_modes import recall_called

_CELL, _LEFT, _TOP, _RIGHT, _BOTTOM = (72, 44), 92, 74, 26, 62  # pixels
_NARROWEST: Final = 640
_INK, _GREY, _GROUND = (32, 34, 40), (110, 114, 122), (255, 255, 255)
_COLOURS: Final = ((0.0, (178, 34, 52)), (0.5, (244, 196, 66)), (1.0, (46, 139, 87)))  # share right -> colour


def draw_heatmap(way: dict[str, Any], model: str, path: Path) -> None:
    """Draw one entry of report.summary's `single`: a cell's colour and number are its share of right answers."""
    lengths = sorted({cell["frames"] for cell in way["cells"]})
    depths = sorted({cell["depth"] for cell in way["cells"]})
    by_place = {(cell["frames"], cell["depth"]): cell for cell in way["cells"]}
    width = max(_NARROWEST, _LEFT + _CELL[0] * len(lengths) + _RIGHT)
    height = _TOP + _CELL[1] * len(depths) + _BOTTOM
    fonts, picture = Fonts(), Image.new("RGB", (width, height), _GROUND)
    draw = ImageDraw.Draw(picture)
    small = fonts.choose("0", 13)[0]
    large, title = fonts.choose(f"Needle in a haystack: {model}"[:70], 17)
    draw.text((16, 12), title, font=large, fill=_INK)
    asked = sorted({cell["asked"] for cell in way["cells"]})
    items = f"{asked[0]} to {asked[-1]}" if len(asked) > 1 else f"{asked[0]}"
    draw.text(
        (16, 38), f"{recall_called(way['recall'])}, {way['positions']} positions; mean {way['accuracy']:.3f}, {items} needles a cell",
        font=small, fill=_GREY,
    )  # fmt: skip
    for row, depth in enumerate(depths):
        draw.text((_LEFT - 10, _TOP + _CELL[1] * (row + 0.5)), f"{depth:.0%}", font=small, fill=_INK, anchor="rm")
        for column, frames in enumerate(lengths):
            left, top = _LEFT + _CELL[0] * column, _TOP + _CELL[1] * row
            cell = by_place.get((frames, depth))
            box = (left, top, left + _CELL[0] - 2, top + _CELL[1] - 2)
            draw.rectangle(box, fill=(228, 230, 234) if cell is None else _colour(cell["accuracy"]))
            if cell is not None:
                middle = (left + _CELL[0] / 2, top + _CELL[1] / 2)
                ink = _INK if 0.3 < cell["accuracy"] < 0.8 else _GROUND
                draw.text(middle, f"{cell['accuracy']:.2f}", font=small, fill=ink, anchor="mm")
    bottom = _TOP + _CELL[1] * len(depths)
    for column, frames in enumerate(lengths):
        draw.text((_LEFT + _CELL[0] * (column + 0.5), bottom + 12), f"{frames:,}", font=small, fill=_INK, anchor="mm")
    draw.text((_LEFT, bottom + 28), "frames of the haystack, at one a second", font=small, fill=_GREY)
    draw.text((16, _TOP - 8), "depth", font=small, fill=_GREY, anchor="lm")
    data = io.BytesIO()
    picture.save(data, "PNG", optimize=True)
    write_file(path, data.getvalue())


def _colour(share: float) -> tuple[int, int, int]:
    """Red, yellow, green, and what lies between."""
    for (low, first), (high, second) in pairwise(_COLOURS):
        if share <= high:
            part = (share - low) / (high - low)
            red, green, blue = (round(a + (b - a) * part) for a, b in zip(first, second, strict=True))
            return red, green, blue
    return _COLOURS[-1][1]
