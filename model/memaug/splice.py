"""Joins text with a video or pictures into one sequence, twice: for MemAug's queries and for the language model's input. Plans are pure.

A video stands at one place, each of several pictures at its own, with text between them. Query positions follow a
running maximum: text counts on from it, and the decayed tokens of a place use their own ids plus it plus 1. Key
positions are NOT shifted. The published code does so, and the weights are trained with it.

A layout (memory.plans.positions.VideoLayout, model.vision.pictures.ImageLayout) identifies visual tokens by index;
NEWLINE is the learned newline.

Legend: n tokens before, V decayed (visual) tokens, m tokens after, Q = joined text + V, D width, L = n + V + m.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from afterview.model.base.errors import InputMismatch
from afterview.model.language.prompt import Prompt


class TokenLayout(Protocol):
    """Which visual tokens are keys and which are queries, with their positions."""

    def key_tokens(self) -> NDArray[np.int64]: ...

    def key_position_ids(self) -> NDArray[np.float64]: ...

    def query_tokens(self) -> NDArray[np.int64]: ...

    def query_position_ids(self) -> NDArray[np.float64]: ...

    def query_groups(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class QueryPlan:
    """Positions of MemAug's queries, and where their parts are."""

    positions: NDArray[np.float64]  # [Q]
    visual: tuple[slice, ...]  # rows of the decayed tokens at each place
    # Rows of the question's tokens, where evidence is read. All text rows if there are none.
    question: NDArray[np.int64]

    @property
    def visual_lengths(self) -> list[int]:
        """Decayed tokens at each place."""
        return [rows.stop - rows.start for rows in self.visual]


def plan_queries(
    visual_positions: NDArray[np.float64], prompt: Prompt, groups: Sequence[int] | None = None
) -> QueryPlan:
    """Positions and row ranges of the query sequence: joined text before, decayed tokens, joined text after.

    groups: how many of the decayed tokens stand at each place of the prompt; None: all at its only one. Raises
    InputMismatch if the prompt has more or fewer places.
    """
    groups = (len(visual_positions),) if groups is None else groups
    if len(groups) != prompt.places:
        raise InputMismatch(f"prompt has {prompt.places} places for pictures, but {len(groups)} pictures were given")
    joins_before, joins_after = prompt.joining()
    texts = [joins_before, *np.split(joins_after, prompt.further)]
    positions, rows, visual, end, following = [], [], [], 0, 0.0  # following: 1 more than the largest position so far
    for number, joins in enumerate(texts):
        if number:
            own = visual_positions[sum(groups[: number - 1]) : sum(groups[:number])] + following
            positions.append(own)
            visual.append(slice(end, end + len(own)))
            end, following = end + len(own), max(following, own.max(initial=-1) + 1)
        count = int(joins.sum())
        positions.append(following + np.arange(count, dtype=np.float64))
        rows.append(end + np.cumsum(joins) - 1)  # of each token that joins
        end, following = end + count, following + count
    asked = np.zeros(len(prompt.after), dtype=bool)
    asked[prompt.question] = True
    question = np.concatenate(rows[1:])[asked & joins_after]
    if not len(question):
        question = np.concatenate(rows)[np.concatenate([joins_before, joins_after])]
    return QueryPlan(np.concatenate(positions), tuple(visual), question.astype(np.int64))


def join_queries(before_nD: Tensor, visual: Sequence[Tensor], after_mD: Tensor, prompt: Prompt) -> Tensor:
    """The query sequence [Q, D] of embedded text and decayed tokens. visual: those of each place [v, D]."""
    joins_before, joins_after = prompt.joining()
    pieces = zip(_cut(after_mD, prompt), np.split(joins_after, prompt.further), strict=True)
    return _alternate(_joined(before_nD, joins_before), visual, [_joined(*piece) for piece in pieces])


def splice(before_nD: Tensor, visual: Sequence[Tensor], after_mD: Tensor, prompt: Prompt) -> Tensor:
    """The language model's input [L, D]: the embedded text, with the augmented tokens [v, D] of each place in it."""
    return _alternate(before_nD, visual, _cut(after_mD, prompt))


def _cut(after_mD: Tensor, prompt: Prompt) -> tuple[Tensor, ...]:
    return torch.tensor_split(after_mD, prompt.further) if prompt.further else (after_mD,)


def _joined(text_nD: Tensor, joins_n: NDArray[np.bool_]) -> Tensor:
    return text_nD[torch.from_numpy(joins_n).to(text_nD.device)]


def _alternate(before_nD: Tensor, visual: Sequence[Tensor], texts: Sequence[Tensor]) -> Tensor:
    return torch.cat([before_nD, *(part for pair in zip(visual, texts, strict=True) for part in pair)])
