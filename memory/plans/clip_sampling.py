"""Which clips or frames of a video VideoChat-Flash sees. Pure plans over numbers.

The published chat takes one frame a second in multiples of 8, at least 64 and at most 512, at the midpoints of equal
segments of the video (arXiv 2501.00574; reference code at commit 2f8e2f5). A memory holds clips of four frames, so the same
number of frames is taken there as whole clips, at the midpoints of equal segments of the clips; where only the multiple would
leave frames out, all clips are taken, because these frames would be the latest ones as likely as any. Where a span holds more
than the most, the index helps to choose (memory.plans.recall), unless the preset says `recall: full`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from afterview.configs import Schema
from afterview.memory.plans.clip_marks import Clips
from afterview.memory.plans.recall import Mode, RecallConfig, RecallPlan, plan_recall


class ClipSampling(Schema):
    """How many frames of a video are seen: one a second, in multiples, between a least and a most number."""

    min_frames: int = Field(default=64, ge=1)
    max_frames: int = Field(default=512, ge=1)
    multiple: int = Field(default=8, ge=1)  # of the released chat; its training takes multiples of 4

    @model_validator(mode="after")
    def _ordered(self) -> "ClipSampling":
        if self.min_frames > self.max_frames:
            raise ValueError(f"min_frames is {self.min_frames} but max_frames is only {self.max_frames}")
        return self


def frames_wanted(frames: int, seconds: float, config: ClipSampling) -> int:
    """How many frames the published sampler takes of a video of so many frames and seconds."""
    least = config.min_frames
    if least > frames:
        least = frames // config.multiple * config.multiple
    wanted = config.multiple * max(1, int(seconds // config.multiple))
    return max(least, min(wanted, config.max_frames))


def midpoints(total: int, count: int) -> NDArray[np.int64]:
    """Midpoints of `count` equal segments of range(total), as published: int64 [min(count, total)], ascending."""
    edges = np.linspace(0, total, min(count, total) + 1).astype(np.int64)
    return (edges[:-1] + edges[1:] - 1) // 2


def dense_indices(frames: int, seconds: float, config: ClipSampling | None = None) -> NDArray[np.int64]:
    """Indices of the frames of a recording that the published chat sees. Short ones repeat their last index."""
    config = config or ClipSampling()
    wanted = frames_wanted(frames, seconds, config)
    chosen = midpoints(frames, wanted)
    return np.concatenate([chosen, np.repeat(chosen[-1:], wanted - len(chosen))])


@dataclass(frozen=True)
class ClipPlan:
    """Which clips are seen. recall: their frames, as numbers among the frames of all clips."""

    clips: NDArray[np.int64]
    recall: RecallPlan
    by_index: bool  # whether the index helped to choose


def plan_clips(
    clips: Clips,
    seconds: float,
    config: ClipSampling,
    recall: RecallConfig,
    nearest: Callable[[], NDArray[np.int64]],
    *,
    frames_per_clip: int,
) -> ClipPlan:
    """Choose among the whole clips of a span, at least one.

    nearest: gives the clips that the index finds nearest to the question, best first; called only if they are wanted. Beyond
    the most frames: half of the clips at midpoints, then the newest window, then the nearest, then a uniform fill.
    """
    held = int(clips.sizes.sum())
    frames = frames_wanted(held, seconds, config)
    rounded = held < frames + config.multiple and held <= config.max_frames
    wanted = len(clips) if rounded else min(len(clips), max(1, frames // frames_per_clip))
    most = config.max_frames // frames_per_clip
    by_index = len(clips) > wanted >= most and bool(recall.window or recall.nearest)
    if by_index:
        bounds = RecallConfig(
            budget=wanted, window=recall.window // frames_per_clip, nearest=recall.nearest, neighbours=0
        )
        chosen = plan_recall(len(clips), midpoints(len(clips), max(1, wanted // 2)), nearest(), bounds).frames
    else:
        chosen = midpoints(len(clips), wanted)
    rows = np.searchsorted(clips.rows(), clips.rows(chosen))
    mode: Mode = "full" if len(chosen) == len(clips) else "bounded" if by_index else "sampled"
    return ClipPlan(chosen, RecallPlan(rows.astype(np.int64), mode), by_index)
