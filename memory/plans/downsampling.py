"""Downsampling old frames to a quarter of their tokens: each square of 2x2 cells keeps its mean. Pure.

A reader repeats a downsampled token in its four cells, so a frame always has the same number of tokens at the same places, and planning an
answer does not depend on it. Merging similar tokens freely would need a map per frame and take milliseconds each; with 288 questions
the answers are equally good (tests/bench/RESULTS.md).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.feature_spec import NO_TOKENS, TokenSpec

SIDE = 2  # cells of a square's side
FEWER = SIDE * SIDE  # tokens that become one
ARRAYS = {"tokens": "coarse", "scales": "coarse_scales"}  # array of full values -> array of downsampled values


@dataclass(frozen=True)
class Downsampled:
    """Frames [first, end), whole seals, are downsampled. erased: their full tokens are deleted; otherwise the next writer deletes them."""

    first: int
    end: int
    erased: bool = True


def token_bytes(spec: TokenSpec, *, downsampled: bool) -> int:
    """Bytes of a frame's tokens as they are stored, scales included."""
    cells = spec.tokens_per_frame // (FEWER if downsampled else 1)
    return spec.width * (2 * cells if spec.storage == "float16" else cells + 2)


def can_downsample(spec: TokenSpec) -> bool:
    """Whether a frame's tokens are a grid with an even side. Merged tokens have no neighbours."""
    side = math.isqrt(spec.tokens_per_frame)
    return spec.pooling == "bilinear" and side * side == spec.tokens_per_frame and side % SIDE == 0


def why_not(spec: TokenSpec) -> str:
    """Why a frame's tokens cannot be downsampled, where they cannot."""
    return "it stores no tokens" if spec.encoder == NO_TOKENS else "its tokens are merged already"


def downsample(tokens: NDArray[np.floating]) -> NDArray[np.float16]:
    """[T, P, D], row-major grids, to float16 [T, P / 4, D]."""
    frames, cells, width = tokens.shape
    side = math.isqrt(cells)
    squares = tokens.astype(np.float32).reshape(frames, side // SIDE, SIDE, side // SIDE, SIDE, width)
    means: NDArray[np.float16] = squares.mean(axis=(2, 4)).astype(np.float16)
    return means.reshape(frames, cells // FEWER, width)


def spread(tokens: NDArray[np.generic]) -> NDArray[np.generic]:
    """[T, P / 4, D] of any type to [T, P, D]: each token repeated in its four cells."""
    frames, cells, width = tokens.shape
    side = math.isqrt(cells)
    grid = tokens.reshape(frames, side, 1, side, 1, width)
    return np.broadcast_to(grid, (frames, side, SIDE, side, SIDE, width)).reshape(frames, cells * FEWER, width)


def add_downsampled(ranges: Iterable[Downsampled], new: Iterable[Downsampled]) -> tuple[Downsampled, ...]:
    """All ranges, by frame; neighbours in the same state become one."""
    merged: list[Downsampled] = []
    for part in sorted([*ranges, *new], key=lambda part: part.first):
        last = merged[-1] if merged else None
        if last and last.end == part.first and last.erased == part.erased:
            merged[-1] = Downsampled(last.first, part.end, part.erased)
        else:
            merged.append(part)
    return tuple(merged)


def is_downsampled(ranges: Iterable[Downsampled], frame: int) -> bool:
    """Whether one frame is downsampled."""
    return any(part.first <= frame < part.end for part in ranges)


def downsampled_mask(frames: int, ranges: Sequence[Downsampled]) -> NDArray[np.bool_]:
    """Which of the first `frames` frames are downsampled, bool [frames]."""
    mask = np.zeros(frames, dtype=bool)
    for part in ranges:
        mask[part.first : part.end] = True
    return mask
