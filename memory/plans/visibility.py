"""Which tokens of a video stay visible to the language model. Pure plans over numbers; numpy only.

Hour-LLaVA (arXiv 2506.05332, section 3) keeps every frame in its memory repository and forgets only what the language model sees
directly: along time (which frames) and within a frame (which cells of its grid). What is left are the decayed tokens.

Every plan is a function of its arguments alone, so a stream forgets exactly as a recording of its first T seconds would (rolling
forgetting). Random choices are drawn from a counter-based generator addressed by frame id, never by how often it was called.

Legend: T frames of the span, F slots after repetition (F >= T), V visible slots, P cells per frame, K kept cells.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from afterview.configs import ConfigError, Schema

NEIGHBOURS_EACH_SIDE = 4  # frames; keyframe forgetting compares a frame with its K=8 nearest in time (paper, ablation)

_TEMPORAL_STREAM, _SPATIAL_STREAM = 1, 2  # keep the two kinds of draws of one frame apart

FrameIds = NDArray[np.int64] | int  # absolute ids of the span's frames, or the first of contiguous ones


class ForgettingConfig(Schema):
    """How much is forgotten, and by which rule. The defaults are the paper's."""

    spatial: Literal["uniform", "random"] = "random"
    spatial_ratio: Literal[1, 2, 4, 8, 16] = 4  # one cell in this many stays visible
    temporal: Literal["uniform", "random", "keyframe", "question-guided"] = "uniform"
    temporal_ratio: int = Field(default=4, ge=1, le=16)  # one frame in this many stays visible
    max_frames: int = Field(default=512, ge=2)  # visible frames; the paper's cap
    min_frames: int = Field(default=32, ge=2)  # visible frames; shorter videos are repeated until they have them
    repository_scale: float = Field(default=1.0, gt=0, le=1)  # share of the memory that MemAug attends to (ablation)

    @model_validator(mode="after")
    def _ordered(self) -> "ForgettingConfig":
        if self.min_frames > self.max_frames:
            raise ValueError(f"min_frames is {self.min_frames} but max_frames is only {self.max_frames}")
        return self

    @property
    def shortest(self) -> int:
        """Frames below which a video is repeated (128 in the paper)."""
        return self.min_frames * self.temporal_ratio

    @property
    def looks_at_frames(self) -> bool:
        """Whether the rule chooses by what the frames show."""
        return self.temporal in ("keyframe", "question-guided")


def plan_repetition(frames: int, *, shortest: int) -> NDArray[np.int64]:
    """The frame that each slot shows, ascending: int64 [max(frames, shortest)].

    Videos of at least `shortest` frames are left alone; shorter ones are stretched. float64 linspace, truncated, as published: a
    float32 one differs at some lengths (149 and 160 among them).
    """
    if frames < 1:
        raise ConfigError(f"a video of {frames} frames cannot be laid out; it needs at least 1")
    if frames >= shortest:
        return np.arange(frames, dtype=np.int64)
    return np.linspace(0, frames - 1, shortest, dtype=int).astype(np.int64)


def plan_temporal_forgetting(frames: int, *, ratio: float, minimum: int, maximum: int) -> NDArray[np.int64]:
    """Slots that stay visible under uniform forgetting, strictly ascending, first and last included.

    Slots are the frames themselves, or for videos shorter than ratio * minimum those of `plan_repetition`.
    `minimum` and `maximum` count visible frames, 2 <= minimum <= maximum. Pure: depends on nothing but its arguments.
    """
    slots = max(frames, int(minimum * ratio))
    return np.linspace(0, slots - 1, visible_count(slots, ratio, maximum), dtype=int).astype(np.int64)


def visible_count(slots: int, ratio: float, maximum: int) -> int:
    """How many of the slots stay visible."""
    return min(maximum, int(slots // ratio))


def plan_visible(
    frames: int,
    config: ForgettingConfig,
    *,
    frame_ids: FrameIds = 0,
    random_constant: int = 0,
    frame_vectors: NDArray[np.floating] | None = None,
    question_vector: NDArray[np.floating] | None = None,
) -> NDArray[np.int64]:
    """Slots that stay visible under the configured rule, strictly ascending: int64 [V].

    frame_vectors [T, W]: for `keyframe` each frame's mean pooled vision feature, for `question-guided` its mean token after the
    projector; question_vector [W]: the mean embedding of the question's tokens. Raises ConfigError where a rule lacks what it needs.
    """
    if config.temporal == "uniform":
        return plan_temporal_forgetting(
            frames, ratio=config.temporal_ratio, minimum=config.min_frames, maximum=config.max_frames
        )
    shown = plan_repetition(frames, shortest=config.shortest)
    count = visible_count(len(shown), config.temporal_ratio, config.max_frames)
    if config.temporal == "random":
        ids = frame_ids_of(frames, frame_ids)[shown]
        return _lowest(_frame_words(ids, occurrences(shown), random_constant), count)
    if frame_vectors is None or len(frame_vectors) != frames:
        got = "none" if frame_vectors is None else str(len(frame_vectors))
        raise ConfigError(f"forgetting.temporal: {config.temporal} needs {frames} frame vectors, {got} were given")
    units = _unit_rows(np.asarray(frame_vectors, dtype=np.float64))[shown]
    if config.temporal == "keyframe":
        return _lowest(neighbour_similarity(units), count)
    if question_vector is None:
        raise ConfigError("forgetting.temporal: question-guided needs the question's vector, none was given")
    question = _unit_rows(np.asarray(question_vector, dtype=np.float64)[None])[0]
    return _lowest(-(units @ question), count)


def neighbour_similarity(units: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean cosine similarity of each unit row [F, W] to its four neighbours on each side; at the ends, to those that exist."""
    frames = len(units)
    total, count = np.zeros(frames), np.zeros(frames)
    for step in range(1, min(NEIGHBOURS_EACH_SIDE, frames - 1) + 1):
        similarity = np.einsum("fw,fw->f", units[step:], units[:-step])
        total[step:] += similarity
        total[:-step] += similarity
        count[step:] += 1
        count[:-step] += 1
    return total / np.maximum(count, 1)


def plan_cells(
    ids: NDArray[np.int64],
    repeats: NDArray[np.int64],
    config: ForgettingConfig,
    *,
    random_constant: int,
    grid: int,
) -> NDArray[np.int64]:
    """Kept cells of each visible frame, ascending within a frame: int64 [V, K], cells numbered row-major over grid x grid.

    ids, repeats [V]: each frame's absolute id, and which showing of it this is (0 unless a short video is repeated).
    """
    if config.spatial == "uniform":
        cells = uniform_cells(grid, grid, config.spatial_ratio)
        return np.broadcast_to(cells, (len(ids), len(cells)))
    kept = -(-(grid * grid) // config.spatial_ratio)
    rows = [
        random_cells(grid * grid, kept, frame=int(frame), repeat=int(repeat), constant=random_constant)
        for frame, repeat in zip(ids, repeats, strict=True)
    ]
    return np.stack(rows) if rows else np.empty((0, kept), dtype=np.int64)


def random_cells(cells: int, kept: int, *, frame: int, repeat: int, constant: int) -> NDArray[np.int64]:
    """`kept` of the cells, ascending: a function of (constant, frame, repeat) alone."""
    return _lowest(_philox([0, frame, repeat, _SPATIAL_STREAM], constant).random_raw(cells), kept)


def uniform_cells(rows: int, columns: int, ratio: int) -> NDArray[np.int64]:
    """Every n-th row and m-th column with n * m = ratio, m the larger: [::2, ::2] for the paper's 4."""
    row_step = 1 << (int(ratio).bit_length() - 1) // 2
    cells = np.arange(rows * columns, dtype=np.int64).reshape(rows, columns)
    return cells[::row_step, :: ratio // row_step].reshape(-1)


def occurrences(shown: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each entry of an ascending array stood before: [0, 0, 0, 4, 4] -> [0, 1, 2, 0, 1]."""
    places = np.arange(len(shown), dtype=np.int64)
    again = np.flatnonzero(shown[1:] == shown[:-1]) + 1
    if not len(again):
        return np.zeros_like(places)  # long spans repeat nothing, and a search would cost them 50 ms
    return places - np.searchsorted(shown, shown, side="left")


def frame_ids_of(frames: int, frame_ids: FrameIds) -> NDArray[np.int64]:
    """Absolute ids of the span's frames as an array [T]."""
    if isinstance(frame_ids, int | np.integer):
        return np.arange(frame_ids, frame_ids + frames, dtype=np.int64)
    if len(frame_ids) != frames:
        raise ConfigError(f"the span has {frames} frames but {len(frame_ids)} frame ids were given")
    return np.asarray(frame_ids, dtype=np.int64)


def _frame_words(ids: NDArray[np.int64], repeats: NDArray[np.int64], constant: int) -> NDArray[np.uint64]:
    """One random word per frame, a function of (constant, id, repeat) alone; contiguous ids are drawn in one go."""
    breaks = np.flatnonzero((np.diff(ids) != 1) | (np.diff(repeats) != 0)) + 1
    words = [
        # Philox yields four words per counter value, and the counter is the frame id: every fourth word is a frame's first
        _philox([int(run[0]), int(repeat[0]), 0, _TEMPORAL_STREAM], constant).random_raw(4 * len(run))[::4]
        for run, repeat in zip(np.split(ids, breaks), np.split(repeats, breaks), strict=True)
    ]
    return np.concatenate(words)


def _philox(counter: list[int], constant: int) -> np.random.Philox:
    return np.random.Philox(counter=np.array(counter, dtype=np.uint64), key=constant)


def _lowest(scores: NDArray[np.generic], count: int) -> NDArray[np.int64]:
    """Places of the `count` lowest scores, ascending by place; the earlier place wins a tie."""
    return np.sort(np.argsort(scores, kind="stable")[:count]).astype(np.int64)


def _unit_rows(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
