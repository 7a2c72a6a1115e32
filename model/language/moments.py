"""Moments that the model points to rather than spells: a time is copied from the memory, which knows it exactly.

A small decoder that writes a clock figure by figure gets the last figures wrong although MemAug attends to the right frame. Where a
tokenizer has the token MOMENT, the decoder may say it for a time, and it is read as the time at which the evidence began. It is a
departure from Hour-LLaVA (arXiv 2506.05332), as pointer networks are from plain decoders (Vinyals et al., arXiv 1506.03134); a
tokenizer without that token, as published ones are, switches it off. Nothing here loads torch.
"""

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOMENT: Final = "<|moment|>"
_LEAST_SHARE = 0.05  # of the heaviest frame's weight: what a frame right before it needs to belong to the same event


def moment_id(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """The id of MOMENT; None where the tokenizer has no such token."""
    return tokenizer.get_vocab().get(MOMENT)


def onset(weights: NDArray[np.floating], frames: NDArray[np.int64]) -> int:
    """Where the evidence began: the row of the first frame of the unbroken run of attended frames that leads to the heaviest one.

    weights [R]: each recalled frame's share of the evidence; frames int64 [R]: their numbers in the span, ascending.
    """
    row = int(np.argmax(weights))
    least = _LEAST_SHARE * weights[row]
    while row and frames[row - 1] == frames[row] - 1 and weights[row - 1] >= least:
        row -= 1
    return row


def clock(seconds: float) -> str:
    """A time since the span began, in whole seconds: `01:02:03`; hours go on counting past 24."""
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
