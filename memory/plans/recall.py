"""Which frames of a span MemAug may attend to. Pure plans over numbers; numpy only.

While the span has no more frames than the budget, MemAug attends to all of it: exactly Hour-LLaVA (arXiv 2506.05332,
section 3). Beyond it, to the frames chosen here, so that the cost of a question stays flat in the length of the stream.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from afterview.configs import ConfigError, Schema

Mode = Literal["full", "bounded", "sampled"]  # sampled: of evenly spaced clips (memory.plans.clip_sampling)

EVERYTHING: Final = 10**9  # a budget that no span exceeds: 31 years at 1 FPS


class RecallConfig(Schema):
    """How many frames MemAug may attend to, and how they are chosen if the span holds more. The word `full` means all of them."""

    budget: int = Field(default=3600, ge=1)  # frames; up to this many, all of the span is recalled
    window: int = Field(default=64, ge=0)  # newest frames, always recalled
    nearest: int = Field(default=256, ge=0)  # frames that the index finds nearest to the question
    neighbours: int = Field(default=1, ge=0)  # frames on each side of a nearest frame that come with it

    @model_validator(mode="before")
    @classmethod
    def _everything(cls, values: object) -> object:
        return {"budget": EVERYTHING, "window": 0, "nearest": 0} if values == "full" else values


@dataclass(frozen=True)
class RecallPlan:
    """Frames that MemAug attends to, as numbers within the span (0 is its first frame).

    frames: int64 [R], strictly ascending. mode: 'full' when R is the whole span, 'sampled' for evenly spaced clips alone.
    """

    frames: NDArray[np.int64]
    mode: Mode


def plan_recall(
    span_frames: int,
    decayed: NDArray[np.int64],
    nearest: NDArray[np.int64],
    config: RecallConfig,
) -> RecallPlan:
    """Choose what MemAug attends to.

    span_frames: frames in the span. decayed: span numbers of the frames that stay visible, always recalled.
    nearest: span numbers, best first, that the index found for the question (not used when everything is recalled).

    Beyond the budget: the decayed frames, then the newest window, then the nearest frames with their neighbours, then a
    uniform fill, each class in turn until the budget is full. Raises ConfigError when the decayed frames alone exceed it.
    """
    if span_frames <= config.budget:
        return RecallPlan(np.arange(span_frames, dtype=np.int64), "full")
    visible = np.unique(decayed)
    if len(visible) > config.budget:
        raise ConfigError(
            f"recall.budget: {config.budget} frames cannot hold the {len(visible)} visible frames; "
            "raise recall.budget or lower forgetting.max_frames"
        )
    chosen = np.zeros(span_frames, dtype=bool)
    chosen[visible] = True
    left = config.budget - len(visible)
    left = _take(chosen, np.arange(span_frames - 1, max(-1, span_frames - 1 - config.window), -1), left)
    left = _take(chosen, _with_neighbours(nearest[: config.nearest], config.neighbours, span_frames), left)
    _take(chosen, _spread(np.flatnonzero(~chosen), left), left)
    return RecallPlan(np.flatnonzero(chosen).astype(np.int64), "bounded")


def _take(chosen: NDArray[np.bool_], candidates: NDArray[np.int64], left: int) -> int:
    """Mark the first `left` candidates that are not chosen yet; returns what is left of the budget."""
    new = candidates[~chosen[candidates]]
    _, first_seen = np.unique(new, return_index=True)
    new = new[np.sort(first_seen)][:left]
    chosen[new] = True
    return left - len(new)


def _with_neighbours(nearest: NDArray[np.int64], reach: int, span_frames: int) -> NDArray[np.int64]:
    """Each nearest frame, then its neighbours from the closest outwards; best frame first."""
    offsets = np.array(sorted(range(-reach, reach + 1), key=abs), dtype=np.int64)
    spread = (nearest[:, None] + offsets[None, :]).reshape(-1)
    return spread[(spread >= 0) & (spread < span_frames)]


def _spread(candidates: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` of the candidates, evenly spaced, including both ends."""
    if count <= 0 or not len(candidates):
        return candidates[:0]
    return candidates[np.linspace(0, len(candidates) - 1, min(count, len(candidates)), dtype=int)]


def apart(nearest: NDArray[np.int64], count: int, most: int) -> NDArray[np.int64]:
    """Of span numbers, best first, those that do not lie beside a better one: few frames must show many moments."""
    gap, kept = max(1, count // (4 * most)), list[int]()
    near = np.zeros(count, dtype=np.bool_)  # beside one that is kept
    for number in nearest.tolist():
        if not near[number]:
            near[max(0, number - gap + 1) : number + gap] = True
            kept.append(number)
    return np.array(kept, dtype=np.int64)
