"""Cached passes through the decoder: one sequence as transformers runs it, or several in step, which the dropping decoder does.

Several are the same as each alone, but for rounding: every sequence keeps its own positions and reads only its own places. A long prompt
gains nothing from company, so only short ones are run together; the steps after it, whose cost is reading the weights, always are.

Legend: B sequences, L tokens, D width.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, PreTrainedModel

from afterview.model.base.grouping import consecutive
from afterview.model.language.cache import LayerCache, join
from afterview.model.language.visual_dropout import DroppingDecoder, Spans

PROMPTS_TOGETHER = (
    1024  # tokens, padding counted, of prompts run in one batch; above, one by one is faster (tests/bench, on a CPU)
)


class Run(Protocol):
    """One cached pass of one or several sequences."""

    def start(self, embeds: Sequence[Tensor], visual: Sequence[Spans]) -> Tensor:
        """Run the prompts [L, D] each; hidden states [B, D] after the final norm, of the last token of each."""
        ...

    def advance(self, embeds_BD: Tensor) -> Tensor:
        """Run one further token of each sequence; hidden states [B, D]."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these sequences alone."""
        ...


class PlainRun:
    """One sequence, as transformers runs it."""

    def __init__(self, decoder: PreTrainedModel) -> None:
        self._model, self._cache = decoder.model, DynamicCache(config=decoder.config)

    def start(self, embeds: Sequence[Tensor], visual: Sequence[Spans]) -> Tensor:
        """Run the prompt [L, D]."""
        (embeds_LD,) = embeds
        return self._step(embeds_LD[None])

    def advance(self, embeds_BD: Tensor) -> Tensor:
        """Run one further token."""
        return self._step(embeds_BD[:, None])

    def keep(self, rows: Sequence[int]) -> None:
        """There is one, and it stays."""

    def _step(self, embeds_BLD: Tensor) -> Tensor:
        output = self._model(inputs_embeds=embeds_BLD, past_key_values=self._cache, use_cache=True)
        return output.last_hidden_state[:, -1]


class StepRun:
    """Any number of sequences in step. Visual tokens are dropped, if at all, from prompts, and from nothing after them."""

    def __init__(self, decoder: DroppingDecoder) -> None:
        self._decoder = decoder
        self._cache: list[LayerCache] = []

    def start(self, embeds: Sequence[Tensor], visual: Sequence[Spans]) -> Tensor:
        """Run the prompts."""
        hidden, caches = [], []
        for first, end in consecutive([len(row) for row in embeds], PROMPTS_TOGETHER):
            lengths = [len(row) for row in embeds[first:end]]
            padded_BLD = pad_sequence(list(embeds[first:end]), batch_first=True)
            out = self._decoder.forward(padded_BLD, visual[first:end], lengths=lengths, keep_cache=True)
            hidden += [rows_LD[length - 1] for rows_LD, length in zip(out.hidden, out.lengths, strict=True)]
            caches.append(out.cache)
        self._cache = [join(layers) for layers in zip(*caches, strict=True)]
        return torch.stack(hidden)

    def advance(self, embeds_BD: Tensor) -> Tensor:
        """Run one further token of each."""
        return self._decoder.decode(embeds_BD, self._cache)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these alone."""
        self._cache = [layer.select(rows) for layer in self._cache]
