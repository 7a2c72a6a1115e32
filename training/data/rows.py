"""Which frame each row of an extracted video shows. Pure.

A video that is sampled once per second has a row for each second, a short one that is sampled as published a row for each frame that is
taken. Where a frame is missing, its row repeats the frame before it, as a player would: what comes later keeps its place, and so its
position.

Legend: n frames, r rows.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_EARLY_S = 0.005  # a frame so much before its slot is in it; times of containers are rounded
_SLOW_S = 1.4  # a video whose usual step is longer has fewer frames than seconds: each frame is a row, none is missing


@dataclass(frozen=True)
class Rows:
    """frames: int64 [r], which frame a row shows. missing: stretches [from, to] in seconds whose frames are missing.

    before_s: how much of the video is missing before its first frame."""

    frames: NDArray[np.int64]
    missing: tuple[tuple[float, float], ...] = ()
    before_s: float = 0.0


def plan_rows(times: NDArray[np.float64], grid: Sequence[float] | None = None, *, start_s: float = 0.0) -> Rows:
    """times: of the frames, float64 [n], ascending, seconds. grid: when the frames of a short video were to be taken, seconds since its
    beginning; None: one per second. start_s: seconds between the beginning and the first frame, if what lies there is missing."""
    if start_s < 1:
        start_s = 0.0  # a reordered or incomplete group of pictures at the beginning, as many cuts have it
    since = times - times[0] + start_s
    if grid is None:
        if len(times) > 1 and np.median(np.diff(times)) > _SLOW_S:
            return Rows(np.arange(len(times), dtype=np.int64))
        start_s = math.floor(start_s)
        slots = np.floor(since + _EARLY_S).astype(np.int64)
        grid = [float(slot) for slot in range(int(slots[-1]) + 1)]
    else:
        slots = np.array([max(0, bisect_right(grid, time + _EARLY_S) - 1) for time in since], dtype=np.int64)
    # The latest frame of a slot at or before each row; rows before the first frame show that one.
    shown = np.searchsorted(slots, np.arange(len(grid)), side="right") - 1
    empty = np.setdiff1d(np.arange(len(grid)), slots)
    return Rows(np.maximum(shown, 0).astype(np.int64), tuple(_stretches(empty, grid)), start_s)


def _stretches(empty: NDArray[np.int64], grid: Sequence[float]) -> list[tuple[float, float]]:
    if not len(empty):
        return []
    step = grid[-1] - grid[-2] if len(grid) > 1 else 1.0
    ends = [*grid[1:], grid[-1] + step]
    parts = np.split(empty, np.nonzero(np.diff(empty) > 1)[0] + 1)
    return [(grid[part[0]], ends[part[-1]]) for part in parts]


def spell(stretches: Sequence[tuple[float, float]], most: int = 5) -> str:
    """`6 s without a picture (7 to 13 s)`."""
    total = sum(end - start for start, end in stretches)
    named = [f"{start:.4g} to {end:.4g} s" for start, end in stretches[:most]]
    more = f", and {len(stretches) - most} more" if len(stretches) > most else ""
    return f"{total:.3g} s without a picture ({', '.join(named)}{more})"
