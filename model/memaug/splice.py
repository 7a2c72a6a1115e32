"""Puts text and video into one sequence, twice: MemAug's queries, then the language model's input. Plans are pure numbers.

Query positions run on: the text before counts from 0, the decayed tokens take their own ids shifted by that text's length, the text
after goes on from the largest. Key positions are NOT shifted: a quirk of the published code that the weights have learnt.

A layout (memory.plans.positions.VideoLayout, model.vision.pictures.ImageLayout) names visual tokens by their places among the tokens at hand, NEWLINE
standing for the learned newline.

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
    """Which visual tokens are keys and which are queries, and their positions."""

    def key_tokens(self) -> NDArray[np.int64]: ...

    def key_position_ids(self) -> NDArray[np.float64]: ...

    def query_tokens(self) -> NDArray[np.int64]: ...

    def query_position_ids(self) -> NDArray[np.float64]: ...


@dataclass(frozen=True)
class QueryPlan:
    """Where everything stands among MemAug's queries."""

    positions: NDArray[np.float64]  # [Q]
    visual: slice  # rows of the decayed tokens
    question: NDArray[
        np.int64
    ]  # rows of the question's tokens, where evidence is read; all text rows when there are none


def plan_queries(visual_positions: NDArray[np.float64], prompt: Prompt) -> QueryPlan:
    """Positions and rows of the query sequence: joined text before, decayed tokens, joined text after."""
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
    """The query sequence [Q, D] from embedded text and decayed tokens."""
    joins_before, joins_after = (torch.from_numpy(mask).to(visual_VD.device) for mask in prompt.joining())
    return torch.cat([before_nD[joins_before], visual_VD, after_mD[joins_after]])


def splice(before_nD: Tensor, visual_VD: Tensor, after_mD: Tensor) -> Tensor:
    """The language model's input [L, D]: the text as it was embedded, with the augmented tokens in place of <image>."""
    return torch.cat([before_nD, visual_VD, after_mD])
