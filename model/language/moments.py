"""Pointers: the model points into its evidence instead of writing a time or a length, and the exact value is copied from the memory.

A small decoder that writes a clock time digit by digit gets the last digits wrong even if MemAug attends to the right
frame, and it cannot subtract two times. If the tokenizer has these tokens, the decoder may answer them in place of a value:

    MOMENT   when the evidence starts, in the camera's zone (in evaluations: since the start of the span, as the truth is)
    LASTING  how long it lasts
    BETWEEN  how much time lies between the starts of the two things with the most evidence

Hour-LLaVA (arXiv 2506.05332) does not have this; the idea is that of pointer networks (Vinyals et al., arXiv
1506.03134). Tokenizers without a token, such as published ones, switch it off. This module does not load torch.

Legend: R recalled frames.
"""

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Pointer: TypeAlias = Literal["<|moment|>", "<|lasting|>", "<|between|>"]
MOMENT: Final = "<|moment|>"
LASTING: Final = "<|lasting|>"
BETWEEN: Final = "<|between|>"
POINTERS: Final[tuple[Pointer, ...]] = (MOMENT, LASTING, BETWEEN)
_LEAST_SHARE: Final = 0.005  # of the largest weight: a neighbouring frame above it belongs to the same event


def pointer_ids(tokenizer: "PreTrainedTokenizerBase") -> dict[str, int]:
    """The ids of those pointers that the tokenizer has."""
    vocabulary = tokenizer.get_vocab()
    return {pointer: vocabulary[pointer] for pointer in POINTERS if pointer in vocabulary}


def attended(weights: NDArray[np.floating], frames: NDArray[np.int64]) -> tuple[int, int]:
    """Rows of the first and the last frame of the unbroken run of attended frames around the largest weight.

    weights [R]: each recalled frame's share of the evidence. frames int64 [R]: frame numbers in the span, ascending.
    """
    first = last = int(np.argmax(weights))
    least = _LEAST_SHARE * weights[first]
    while first and frames[first - 1] == frames[first] - 1 and weights[first - 1] >= least:
        first -= 1
    while last + 1 < len(frames) and frames[last + 1] == frames[last] + 1 and weights[last + 1] >= least:
        last += 1
    return first, last


def onsets(weights: NDArray[np.floating], frames: NDArray[np.int64]) -> tuple[int, int]:
    """Rows at which the two things with the most evidence start, the heavier one first. Both are the same if only one has any.

    Frames right beside the first run are not another thing. weights, frames: as `attended`.
    """
    first, last = attended(weights, frames)
    apart = (frames < frames[first] - 1) | (frames > frames[last] + 1)
    others = np.where(apart, weights, 0)
    return first, attended(others, frames)[0] if others.any() else first


def clock(seconds: float) -> str:
    """Time since the start of the span, in whole seconds: `01:02:03`. Hours may exceed 24."""
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def length(seconds: float) -> str:
    """A duration in words, in whole seconds: `3 seconds`, `1 minute 12 seconds`, `2 hours`."""
    whole = round(seconds)
    parts = [(whole // 3600, "hour"), (whole % 3600 // 60, "minute"), (whole % 60, "second")]
    said = [f"{number} {unit}{'' if number == 1 else 's'}" for number, unit in parts if number]
    return " ".join(said) or "0 seconds"
