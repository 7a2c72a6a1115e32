"""What MemAug needs to know about one video: which frames are keys, which tokens are queries, and where each of them stands.

Frames of a span are numbered from its first frame; frame n's tokens hold the rotary positions (P+1)n .. (P+1)n + P, the last one its
newline (Hour-LLaVA, arXiv 2506.05332, section 3). For spans longer than the model was trained on, the position policy decides which
number a frame gets:

    true         its number in the span
    interpolate  numbers squeezed so that the last frame gets the last number seen in training; tokens within a frame keep their distances
    rank         its rank among the frames that MemAug attends to

Legend: T frames of the span, F slots (T, or more where a short video is repeated), R recalled frames (rows of the feature array),
N key frames, V visible frames, P cells per frame, K kept cells, C cells per key frame (P, or fewer in the ablation).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from afterview.configs import ConfigError
from afterview.memory.plans.visibility import (
    ForgettingConfig,
    FrameIds,
    frame_ids_of,
    occurrences,
    plan_cells,
    plan_repetition,
    plan_visible,
)

Policy = Literal["true", "interpolate", "rank"]

NEWLINE = -1  # stands for the newline token where others are named by their place among the features' tokens

TRAINED_FRAMES = 3600  # frames; the longest video of Hour-LLaVA's training, an hour at 1 FPS


@dataclass(frozen=True)
class VideoLayout:
    """The plan of one video for MemAug. Key position ids are frame-major: a frame's cells row-major, then its newline."""

    rows: int  # R
    key_rows: NDArray[np.int64]  # [N] row of the feature array [R, P, Dv] that each key frame is read from
    key_numbers: NDArray[np.float64]  # [N] frame number that gives its rotary positions (integers under "true")
    visible: NDArray[np.int64]  # [V] places among the N key frames, ascending
    cells: NDArray[np.int64]  # [V, K] kept cells of each visible frame, ascending
    tokens_per_frame: int  # P
    key_cells: NDArray[np.int64] | None = None  # [N, C] cells of each key frame that are attended to; None: all P
    key_frames: NDArray[np.int64] | None = (
        None  # [N] number in the span of the frame each key shows, whatever the policy
    )
    span_frames: int = 0  # T; with key_frames, what model.memaug.token_embeddings tells the time by

    @property
    def key_tokens_per_frame(self) -> int:
        """Memory tokens of one key frame, its newline included."""
        return (self.tokens_per_frame if self.key_cells is None else self.key_cells.shape[1]) + 1

    def key_tokens(self) -> NDArray[np.int64]:
        """Places of the memory's tokens among the R * P tokens of the features, NEWLINE between frames: int64 [N * (C + 1)]."""
        return self._tokens(self.key_rows, self._attended)

    def key_position_ids(self) -> NDArray[np.float64]:
        """Rotary positions of the memory's tokens: float64 [N * (C + 1)]."""
        return self._position_ids(self.key_numbers, self._attended)

    def query_tokens(self) -> NDArray[np.int64]:
        """Places of the decayed tokens among the R * P tokens of the features, NEWLINE between frames: int64 [V * (K + 1)]."""
        return self._tokens(self.key_rows[self.visible], self.cells)

    def query_position_ids(self) -> NDArray[np.float64]:
        """Rotary positions of the decayed tokens, not yet shifted by the text before them: float64 [V * (K + 1)]."""
        return self._position_ids(self.key_numbers[self.visible], self.cells)

    def query_groups(self) -> tuple[int, ...]:
        """How many decayed tokens stand at each place of the prompt: all at one."""
        return (self.cells.shape[0] * (self.cells.shape[1] + 1),)

    def fold(self, key_weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weights per key frame [N] -> per row of the feature array [R]: repeated frames are added up."""
        return np.bincount(self.key_rows, weights=key_weights, minlength=self.rows).astype(np.float64)

    def heaviest(self, weights: NDArray[np.float64], most: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The rows of most weight, heaviest first, and their weights."""
        chosen = np.argsort(-weights, kind="stable")[:most]
        return chosen, weights[chosen]

    @property
    def _attended(self) -> NDArray[np.int64]:
        """Cells of each key frame that are attended to, [N, C]."""
        if self.key_cells is not None:
            return self.key_cells
        return np.broadcast_to(np.arange(self.tokens_per_frame), (len(self.key_rows), self.tokens_per_frame))

    def _tokens(self, rows: NDArray[np.int64], cells: NDArray[np.int64]) -> NDArray[np.int64]:
        tokens = np.full((len(rows), cells.shape[1] + 1), NEWLINE, dtype=np.int64)
        tokens[:, :-1] = rows[:, None] * self.tokens_per_frame + cells
        return tokens.reshape(-1)

    def _position_ids(self, numbers: NDArray[np.float64], cells: NDArray[np.int64]) -> NDArray[np.float64]:
        ids = np.empty((len(numbers), cells.shape[1] + 1))
        ids[:, :-1], ids[:, -1] = cells, self.tokens_per_frame
        return (ids + numbers[:, None] * (self.tokens_per_frame + 1)).reshape(-1)


def plan_layout(
    span_frames: int,
    recalled: NDArray[np.int64] | None = None,
    visible: NDArray[np.int64] | None = None,
    *,
    frame_ids: FrameIds = 0,
    config: ForgettingConfig,
    policy: Policy = "interpolate",
    trained_frames: int = TRAINED_FRAMES,
    random_constant: int = 0,
    grid: int = 8,
) -> VideoLayout:
    """Lay out a span for MemAug.

    recalled [R]: span numbers, ascending, of the frames whose features are at hand; None means all of the span.
    visible [V]: slots that stay visible (see memory.plans.visibility.plan_visible: frames of the span, unless it is short enough to be
    repeated); None means as configured, which the rules that look at frames (keyframe, question-guided) cannot do.
    frame_ids: absolute ids of the span's frames; they address the random choices, so that these outlive the span.

    The visible frames depend only on the span, never on what is recalled. Raises ConfigError when a visible frame was not recalled.
    """
    rows = np.arange(span_frames, dtype=np.int64) if recalled is None else np.asarray(recalled, dtype=np.int64)
    shown = plan_repetition(span_frames, shortest=config.shortest)
    if visible is None:
        visible = plan_visible(span_frames, config, frame_ids=frame_ids, random_constant=random_constant)
    _require_recalled(shown[visible], rows, span_frames)
    ids = frame_ids_of(span_frames, frame_ids)[shown]
    cells = plan_cells(ids[visible], occurrences(shown)[visible], config, random_constant=random_constant, grid=grid)
    keys = _key_slots(shown, rows, visible, config)
    decayed_only = config.repository_scale < 1 / config.temporal_ratio and len(keys) == len(visible)
    return VideoLayout(
        rows=len(rows),
        key_rows=np.searchsorted(rows, shown[keys]),
        key_numbers=position_numbers(keys, len(shown), policy, trained_frames),
        visible=np.searchsorted(keys, visible),
        cells=cells,
        tokens_per_frame=grid * grid,
        key_cells=cells if decayed_only else None,
        key_frames=shown[keys],
        span_frames=span_frames,
    )


def position_numbers(
    slots: NDArray[np.int64], total: int, policy: Policy, trained_frames: int = TRAINED_FRAMES
) -> NDArray[np.float64]:
    """Frame numbers of ascending `slots` out of `total` under the policy: float64. While `total` fits the training, the true ones."""
    if total <= trained_frames or policy == "true":
        return slots.astype(np.float64)
    if policy == "rank":
        return np.arange(len(slots), dtype=np.float64)
    return slots.astype(np.float64) * ((trained_frames - 1) / (total - 1))


def _key_slots(
    shown: NDArray[np.int64], rows: NDArray[np.int64], visible: NDArray[np.int64], config: ForgettingConfig
) -> NDArray[np.int64]:
    """Slots that MemAug attends to: those whose frame was recalled, thinned to the repository scale but never below the visible."""
    recalled = np.flatnonzero(np.isin(shown, rows)) if len(rows) < shown[-1] + 1 else np.arange(len(shown))
    return thinned(recalled.astype(np.int64), visible, config.repository_scale)


def thinned(recalled: NDArray[np.int64], visible: NDArray[np.int64], scale: float) -> NDArray[np.int64]:
    """What of the recalled frames the repository holds at a scale from 0 to 1: the visible ones, and others, evenly. Both ascend. Pure."""
    if scale == 1:
        return recalled
    others = np.setdiff1d(recalled, visible)
    count = min(len(others), max(0, round(len(recalled) * scale) - len(visible)))
    fill = others[np.linspace(0, len(others) - 1, count, dtype=int)] if count else others[:0]
    return np.union1d(visible, fill).astype(np.int64)


def _require_recalled(frames: NDArray[np.int64], rows: NDArray[np.int64], span_frames: int) -> None:
    if len(rows) and (rows[0] < 0 or rows[-1] >= span_frames or (np.diff(rows) <= 0).any()):
        raise ConfigError(f"recalled frames must ascend within the span of {span_frames} frames")
    missing = np.setdiff1d(frames, rows)
    if len(missing):
        raise ConfigError(
            f"{len(np.unique(frames))} frames are visible but {len(missing)} of them are not among the {len(rows)} recalled "
            f"(frame {missing[0]}); recall always includes the visible frames"
        )
