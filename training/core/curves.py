"""Plots a training log as PNG: the loss above, the accuracies below. Each point is a mean over several lines of the log."""

import io
import json
import math
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Final

from PIL import Image

from afterview.configs import missing_extra
from afterview.training.base.errors import TrainingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_POINTS: Final = 24  # of each curve, roughly

Points = list[tuple[float, float]]


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure for PNG files (backend Agg), size in inches. Raises UsageError if matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # late: matplotlib belongs to the extra `train`
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise missing_extra("train", "curves") from None
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_curves(log: Path) -> bytes:
    """PNG of a trainer's log. Raises TrainingError if no line of the log has a finite loss."""
    rows = [row for line in log.read_text(encoding="utf-8").splitlines() if (row := _row(line))] if log.exists() else []
    if not rows:
        raise TrainingError(f"{log}: holds no line to draw")
    names = sorted({name for row in rows for name in row if name.startswith("accuracy/")})
    figure = new_figure(11, 8 if names else 4)
    axes = figure.subplots(2 if names else 1, 1, sharex=True, squeeze=False)[:, 0]
    _plot(axes[0], "loss", [(row["step"], max(row["loss"], 1e-6)) for row in rows])
    axes[0].set(ylabel="loss", yscale="log")
    axes[0].yaxis.set_major_formatter("{x:g}")
    axes[0].yaxis.set_minor_formatter("{x:g}")
    for name in names:
        _plot(axes[1], name.removeprefix("accuracy/"), [(row["step"], row[name]) for row in rows if name in row])
    if names:
        axes[1].set(ylabel="accuracy on new stories", ylim=(0, 1))
        axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small", frameon=False)
    axes[-1].set(xlabel="step", xlim=(0, None))
    return png_of(figure)


def png_of(figure: "Figure") -> bytes:
    """The figure as PNG with a palette of 64 colours: a quarter of the size of full colour."""
    drawn, reduced = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    Image.open(drawn).convert("RGB").quantize(64).save(reduced, "PNG", optimize=True)
    return reduced.getvalue()


def _row(line: str) -> dict[str, float]:
    """The figures of one line of the log; empty if the line is incomplete or its loss is not finite."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and math.isfinite(found.get("loss", math.nan)) else {}


def _plot(axes: "Axes", label: str, points: Points) -> None:
    """One curve: means over neighbouring points if there are many."""
    size = max(1, len(points) // _POINTS)
    parts = [points[start : start + size] for start in range(0, len(points) - size + 1, size)]
    marker = "." if len(parts) == 1 else None
    # Ten colours, then the same ones dashed: a log may have twenty kinds of question.
    style = "-" if len(axes.lines) < 10 else "--"
    steps, values = ([mean(point[column] for point in part) for part in parts] for column in (0, 1))
    axes.plot(steps, values, style, marker=marker, label=label)
    axes.grid(visible=True, alpha=0.3)
