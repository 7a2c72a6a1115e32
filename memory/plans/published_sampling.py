"""Which frames of a recording the published readers of Hour-LLaVA take. Pure.

A recording of at least SHORTEST frames at one frame per second is read at that rate. A shorter one is read more densely, so that the model
sees as many *different* frames as there are. The three readers differ:

    raw video      `video_frames`      min(total, 128) frames, evenly spaced
    extraction     `extraction_frames` what the published script stores of a raw video
    stored         `feature_rows`      min(rows, int(seconds)) rows of what that script stored

All spacing is `numpy.linspace(0, last, n, dtype=int)` in float64, as published. The model then repeats what is fewer than 128 frames
(memory.plans.visibility.plan_repetition).
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from afterview.configs import ConfigError

SHORTEST = 128  # frames (`min_frames` of the published scripts)

ShortVideos = Literal["published", "per-second"]
"""How a recording shorter than SHORTEST seconds is sampled: as `video_frames` says, or one frame per second, like live video."""


def video_frames(total: int, fps: float, *, shortest: int = SHORTEST, video_fps: float = 1.0) -> NDArray[np.int64]:
    """Numbers of the frames that the reader of raw video takes of `total` frames, ascending: int64 [n].

    fps: average frames per second of the file. A rate so low that the published step is 0 (the published reader fails) counts as step 1.
    Raises ConfigError without a frame.
    """
    _require(total, "frames")
    step = max(1, round(fps / video_fps))
    if math.ceil(total / step) >= shortest:
        return np.arange(0, total, step, dtype=np.int64)
    return _spread(total, min(total, shortest))


def is_short(total: int, fps: float) -> bool:
    """Whether a recording is read more densely than one frame per second."""
    return math.ceil(total / max(1, round(fps))) < SHORTEST


def extraction_frames(total: int, fps: float, *, shortest: int = SHORTEST) -> NDArray[np.int64]:
    """Numbers of the frames that the published extraction script stores of a raw video: int64 [n]. Raises ConfigError without a frame."""
    _require(total, "frames")
    return _spread(total, total if total < shortest else max(int(total / fps), shortest))


def feature_rows(rows: int, seconds: float) -> NDArray[np.int64]:
    """Numbers of the rows that training reads of a published file of features, ascending: int64 [n]. seconds: of the video.

    Raises ConfigError for a video of less than a second, of which there would be none.
    """
    _require(rows, "rows")
    taken = min(rows, int(seconds))
    if taken < 1:
        raise ConfigError(
            f"a video of {seconds:g} s has no row for training; the published reader takes int(seconds) of them"
        )
    return _spread(rows, taken)


def _spread(total: int, count: int) -> NDArray[np.int64]:
    return np.linspace(0, total - 1, count, dtype=int).astype(np.int64)


def _require(number: int, what: str) -> None:
    if number < 1:
        raise ConfigError(f"a video of {number} {what} cannot be sampled; it needs at least 1")
