"""The MOMENT token: the model points to a time instead of writing it, and the exact time is copied from the memory.

A small decoder that writes a clock time digit by digit gets the last digits wrong even if MemAug attends to the right
frame. If the tokenizer has the token MOMENT, the decoder may answer it in place of a time; the answer then shows the
time at which the evidence starts, in the camera's zone (in evaluations: since the start of the span, as the truth is).
Hour-LLaVA (arXiv 2506.05332) does not have this; the idea is that of pointer networks (Vinyals et al., arXiv
1506.03134). Tokenizers without the token, such as published ones, switch it off. This module does not load torch.
"""

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOMENT: Final = "<|moment|>"
_LEAST_SHARE = 0.05  # of the largest weight: a neighbouring frame above it belongs to the same event


def moment_id(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """The id of MOMENT, or None if the tokenizer does not have it."""
    return tokenizer.get_vocab().get(MOMENT)


def onset(weights: NDArray[np.floating], frames: NDArray[np.int64]) -> int:
    """Row of the frame at which the evidence starts: the first of the unbroken run of attended frames that ends at the largest weight.

    weights [R]: each recalled frame's share of the evidence. frames int64 [R]: frame numbers in the span, ascending.
    """
    row = int(np.argmax(weights))
    least = _LEAST_SHARE * weights[row]
    while row and frames[row - 1] == frames[row] - 1 and weights[row - 1] >= least:
        row -= 1
    return row


def clock(seconds: float) -> str:
    """Time since the start of the span, in whole seconds: `01:02:03`. Hours may exceed 24."""
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
