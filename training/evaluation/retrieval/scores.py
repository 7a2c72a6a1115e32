"""Scores of a ranking. Pure.

Legend: T frames, C candidate clips of a video, a span is [start, end) in seconds.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Span = tuple[float, float]

TOP_K: Final = (1, 5, 10)  # of recall
IOUS: Final = (0.3, 0.5, 0.7)
POOLED: Final = 4  # frames of a clip that top-4 pooling averages, as framesieve 0.2.0 does
OFFICIAL_DEPTH: Final = 5  # of MomentSeeker's mAP@5


def pooled(scores_T: NDArray[np.float32], clips: Sequence[tuple[int, int]], top: int) -> NDArray[np.float64]:
    """The score of each clip (first frame, end): the mean of its `top` highest frames; all of them where it has fewer. float64 [C]."""
    found = [np.sort(scores_T[first:end].astype(np.float64))[-top:] for first, end in clips]
    return np.array([one.mean() if len(one) else -np.inf for one in found])


def moment_around(scores_T: NDArray[np.float32], frame: int) -> tuple[int, int]:
    """The run of frames around `frame` that are nearer to its score than to the median: (first, end). Never empty."""
    least = (float(scores_T[frame]) + float(np.median(scores_T))) / 2
    near = scores_T >= least
    first = end = frame
    while first > 0 and near[first - 1]:
        first -= 1
    while end < len(scores_T) and (end == frame or near[end]):
        end += 1
    return first, end


def iou(one: Span, other: Span) -> float:
    """Intersection over union of two spans."""
    shared = min(one[1], other[1]) - max(one[0], other[0])
    whole = max(one[1], other[1]) - min(one[0], other[0])
    return max(0.0, shared) / whole if whole > 0 else 0.0


def best_iou(span: Span, truths: Sequence[Span]) -> float:
    """With the truth that it fits best."""
    return max((iou(span, truth) for truth in truths), default=0.0)


def recalls(relevant: Sequence[bool], depths: Sequence[int] = TOP_K) -> dict[str, float]:
    """`R@5` and so on: whether any of the first k is relevant. relevant: in the order of the ranking."""
    return {f"R@{k}": float(any(relevant[:k])) for k in depths}


def average_precision(relevant: Sequence[bool], depth: int | None = None) -> float:
    """Mean over the relevant items of the precision at their rank; those that are not among the first `depth` count 0."""
    total, hits = sum(relevant), 0
    precisions = []
    for rank, one in enumerate(relevant[:depth], 1):
        if one:
            hits += 1
            precisions.append(hits / rank)
    most = total if depth is None else min(total, depth)
    return sum(precisions) / most if most else 0.0


def official_average_precision(ranked: Sequence[Span], truths: Sequence[Span]) -> float:
    """MomentSeeker's own mAP@5 of one query. It weights precision by the IoU with the *hull* of all truths and is divided by nothing, so
    it may exceed 1 (several clips overlap the hull) and falls where the truths are far apart. It is given beside the plain one.
    """
    hull = (min(start for start, _ in truths), max(end for _, end in truths))
    gained = total = 0.0
    for rank, span in enumerate(ranked[:OFFICIAL_DEPTH], 1):
        fit = iou(span, hull)
        gained += fit
        total += gained / rank * fit
    return total
