"""Draws a training log as PNG: the loss above, accuracies below. PIL only. Lines of a log rest on few answers, so they are averaged."""

import io
import json
import math
from pathlib import Path
from statistics import mean
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from afterview.training.base.errors import TrainingError

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 1100, 380, 70, 190, 34, 30
_INK, _GRID, _PAPER = (40, 44, 52), (226, 228, 232), (255, 255, 255)
_COLOURS: Final = (
    (31, 119, 180), (214, 39, 40), (44, 160, 44), (255, 127, 14), (148, 103, 189), (140, 86, 75), (227, 119, 194), (90, 90, 90),
    (188, 189, 34), (23, 190, 207), (0, 80, 120), (160, 20, 60), (20, 100, 30), (180, 90, 0), (90, 60, 130), (0, 0, 0),
)  # fmt: skip

_POINTS = 24  # of a curve, about: each the mean of its part of the log

Points = list[tuple[float, float]]


def draw_curves(log: Path) -> bytes:
    """PNG of a trainer's log. Raises TrainingError for a log without a line that has a loss."""
    rows = [row for line in log.read_text(encoding="utf-8").splitlines() if (row := _row(line))] if log.exists() else []
    if not rows:
        raise TrainingError(f"{log}: holds no line to draw")
    losses = {"loss": [(row["step"], max(row["loss"], 1e-6)) for row in rows]}
    names = sorted({name for row in rows for name in row if name.startswith("accuracy/")})
    shares = {n.removeprefix("accuracy/"): [(r["step"], r[n]) for r in rows if n in r] for n in names}
    panels = [_panel("loss (logarithmic)", _averaged(losses), logarithmic=True)]
    if shares:
        panels.append(_panel("accuracy on fresh stories", _averaged(shares), logarithmic=False))
    sheet = Image.new("RGB", (_WIDTH, _HEIGHT * len(panels)), _PAPER)
    for number, panel in enumerate(panels):
        sheet.paste(panel, (0, number * _HEIGHT))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _row(line: str) -> dict[str, float]:
    """The figures of a line of the log; none of one that was cut short or has no loss that can be drawn."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and math.isfinite(found.get("loss", math.nan)) else {}


def _averaged(lines: dict[str, Points]) -> dict[str, Points]:
    """Each line as the means of its neighbouring points, where it has many."""
    drawn = {}
    for name, points in lines.items():
        size = max(1, len(points) // _POINTS)
        parts = [points[start : start + size] for start in range(0, len(points) - size + 1, size)]
        drawn[name] = [(mean(step for step, _ in part), mean(value for _, value in part)) for part in parts]
    return drawn


def _panel(title: str, lines: dict[str, Points], *, logarithmic: bool) -> Image.Image:
    image = Image.new("RGB", (_WIDTH, _HEIGHT), _PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    last = max(step for points in lines.values() for step, _ in points)
    values = [value for points in lines.values() for _, value in points]
    low, high = (math.log10(min(values)), math.log10(max(values)) + 1e-9) if logarithmic else (0.0, 1.0)

    def place(step: float, value: float) -> tuple[float, float]:
        height = ((math.log10(value) if logarithmic else value) - low) / (high - low)
        across = _LEFT + step / max(last, 1) * (_WIDTH - _LEFT - _RIGHT)
        return across, _HEIGHT - _BOTTOM - height * (_HEIGHT - _TOP - _BOTTOM)

    draw.text((_LEFT, 8), title, fill=_INK, font=font)
    for part in range(5):
        level = low + (high - low) * part / 4
        value = 10**level if logarithmic else level
        y = place(0, value)[1]
        draw.line((_LEFT, y, _WIDTH - _RIGHT, y), fill=_GRID)
        draw.text((8, y - 8), f"{value:.3g}", fill=_INK, font=font)
        step = last * part / 4
        draw.text((place(step, value)[0] - 10, _HEIGHT - _BOTTOM + 6), f"{step:.0f}", fill=_INK, font=font)
    for number, (name, points) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        if len(points) > 1:
            draw.line([place(*point) for point in points], fill=colour, width=2)
        draw.text((_WIDTH - _RIGHT + 14, _TOP + number * 14), name, fill=colour, font=font)
    return image
