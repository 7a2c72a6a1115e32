"""Which frames of a video in a bank a VideoChat-Flash is trained on. Pure.

frames            at midpoints of equal segments, as published; the last is repeated up to whole clips of four
merged features   whole clips, at midpoints of equal segments, as a memory is asked (memory.plans.clip_sampling)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from afterview.memory.plans.clip_marks import marks_of, whole_clips
from afterview.memory.plans.clip_sampling import ClipSampling, dense_indices, plan_clips
from afterview.memory.plans.recall import RecallConfig
from afterview.model.base.settings import FRAMES_PER_CLIP
from afterview.training.base.errors import DataError

_NO_INDEX = RecallConfig(window=0, nearest=0)


@dataclass(frozen=True)
class SeenRows:
    """rows: of the bank, int64 [R], in order. sizes: frames of each clip."""

    rows: NDArray[np.int64]
    sizes: tuple[int, ...]


def require_regular(video: str, marks: NDArray[np.uint8], frames: NDArray[np.int64]) -> None:
    """Raise DataError unless the clips of a bank of merged features follow one another without a gap, as `clip_rows` takes them.

    marks: of the recorded frames. frames: which of them each row of the bank shows.
    """
    if not np.array_equal(frames, np.arange(len(marks))) or not np.array_equal(
        marks, marks_of(len(marks), FRAMES_PER_CLIP)
    ):
        raise DataError(
            f"'{video}': seconds are missing, so its clips of {FRAMES_PER_CLIP} frames are not whole, and merged features cannot stand for "
            "it; extract it with --frames, which repeats the frame before each of them"
        )


def clip_rows(rows: int, seconds: float, sampling: ClipSampling | None, *, merged: bool) -> SeenRows:
    """What is seen of a video of so many rows and seconds. sampling: None: all of it. merged: the rows are features of whole clips."""
    if not merged:
        chosen = np.arange(rows) if sampling is None else dense_indices(rows, seconds, sampling)
        chosen = np.concatenate([chosen, np.repeat(chosen[-1:], -len(chosen) % FRAMES_PER_CLIP)]).astype(np.int64)
        return SeenRows(chosen, (FRAMES_PER_CLIP,) * (len(chosen) // FRAMES_PER_CLIP))
    clips = whole_clips(np.arange(rows), marks_of(rows, FRAMES_PER_CLIP))
    every = np.arange(len(clips))
    if sampling is not None:
        every = plan_clips(
            clips, seconds, sampling, _NO_INDEX, lambda: every[:0], frames_per_clip=FRAMES_PER_CLIP
        ).clips
    return SeenRows(clips.rows(every), tuple(clips.sizes[every].tolist()))
