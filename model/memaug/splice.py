"""Joins text and video into one sequence, twice: for MemAug's queries and for the language model's input. Plans are pure.

Query positions continue: the text before starts at 0, the decayed tokens use their own ids plus the length of that
text, the text after continues from the largest. Key positions are NOT shifted. The published code does so, and the
weights are trained with it.

A layout (memory.plans.positions.VideoLayout, model.vision.pictures.ImageLayout) identifies visual tokens by index;
NEWLINE is the learned newline.

Legend: n tokens before, V decayed (visual) tokens, m tokens after, Q = joined text + V, D width, L = n + V + m.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from afterview.model.language.prompt import Prompt


class TokenLayout(Protocol):
    """Which visual tokens are keys and which are queries, with their positions."""

    def key_tokens(self) -> NDArray[np.int64]: ...

    def key_position_ids(self) -> NDArray[np.float64]: ...

    def query_tokens(self) -> NDArray[np.int64]: ...

    def query_position_ids(self) -> NDArray[np.float64]: ...


@dataclass(frozen=True)
class QueryPlan:
    """Positions of MemAug's queries, and where their parts are."""

    positions: NDArray[np.float64]  # [Q]
    visual: slice  # rows of the decayed tokens
    # Rows of the question's tokens, where evidence is read. All text rows if there are none.
    question: NDArray[np.int64]


def plan_queries(visual_positions: NDArray[np.float64], prompt: Prompt) -> QueryPlan:
    """Positions and row ranges of the query sequence: joined text before, decayed tokens, joined text after."""
    joins_before, joins_after = prompt.joining()
    before, after = int(joins_before.sum()), int(joins_after.sum())
    shifted = visual_positions + before
    next_position = shifted.max() + 1 if len(shifted) else before
    positions = np.concatenate([np.arange(before), shifted, next_position + np.arange(after)]).astype(np.float64)
    end = before + len(visual_positions)
    asked = np.zeros(len(prompt.after), dtype=bool)
    asked[prompt.question] = True
    question = end + np.flatnonzero(asked[joins_after])
    if not len(question):
        question = np.concatenate([np.arange(before), np.arange(end, end + after)])
    return QueryPlan(positions, slice(before, end), question)


def join_queries(before_nD: Tensor, visual_VD: Tensor, after_mD: Tensor, prompt: Prompt) -> Tensor:
    """The query sequence [Q, D] of embedded text and decayed tokens."""
    joins_before, joins_after = (torch.from_numpy(mask).to(visual_VD.device) for mask in prompt.joining())
    return torch.cat([before_nD[joins_before], visual_VD, after_mD[joins_after]])


def splice(before_nD: Tensor, visual_VD: Tensor, after_mD: Tensor) -> Tensor:
    """The language model's input [L, D]: the embedded text, with the augmented tokens in place of <image>."""
    return torch.cat([before_nD, visual_VD, after_mD])
