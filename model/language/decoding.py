"""Cached passes through the decoder: one sequence as transformers runs it, or several in parallel through the dropping decoder.

Each of several sequences gives the same result as alone, except for rounding: it has its own positions and attends only
to itself. Long prompts do not gain from a batch, so only short ones are run together. Later steps, whose cost is
reading the weights, always are.

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
from afterview.model.language.visual_attention import VisualAttention
from afterview.model.language.visual_dropout import DroppingDecoder, Spans

# Most tokens, padding included, of prompts in one batch; for more, one by one is faster (tests/bench, on a CPU).
PROMPTS_TOGETHER = 1024


class Run(Protocol):
    """One cached pass over one or several sequences."""

    def start(
        self, embeds: Sequence[Tensor], visual: Sequence[Spans], attention: Sequence[VisualAttention | None] = ()
    ) -> Tensor:
        """Run the prompts, [L, D] each. Hidden states [B, D] of each prompt's last token, after the final norm.

        attention: of each prompt, filled in where it is not None.
        """
        ...

    def advance(self, embeds_BD: Tensor) -> Tensor:
        """Run one more token of each sequence. Hidden states [B, D]."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Continue with these sequences only."""
        ...


class PlainRun:
    """One sequence, as transformers runs it."""

    def __init__(self, decoder: PreTrainedModel) -> None:
        self._model, self._cache = decoder.model, DynamicCache(config=decoder.config)

    def start(
        self, embeds: Sequence[Tensor], visual: Sequence[Spans], attention: Sequence[VisualAttention | None] = ()
    ) -> Tensor:
        """Run the prompt [L, D]. transformers' layers tell no attention: the caller takes a StepRun to learn it."""
        (embeds_LD,) = embeds
        return self._step(embeds_LD[None])

    def advance(self, embeds_BD: Tensor) -> Tensor:
        """Run one more token."""
        return self._step(embeds_BD[:, None])

    def keep(self, rows: Sequence[int]) -> None:
        """Nothing to do: there is only one sequence."""

    def _step(self, embeds_BLD: Tensor) -> Tensor:
        output = self._model(inputs_embeds=embeds_BLD, past_key_values=self._cache, use_cache=True)
        return output.last_hidden_state[:, -1]


class StepRun:
    """Any number of sequences in parallel. Visual tokens are dropped from prompts only."""

    def __init__(self, decoder: DroppingDecoder, evidence_layer: int = -1) -> None:
        """evidence_layer: the layer whose attention is noted, where it is asked for."""
        self._decoder, self._evidence_layer = decoder, evidence_layer
        self._cache: list[LayerCache] = []

    def start(
        self, embeds: Sequence[Tensor], visual: Sequence[Spans], attention: Sequence[VisualAttention | None] = ()
    ) -> Tensor:
        """Run the prompts."""
        hidden, caches = [], []
        for first, end in consecutive([len(row) for row in embeds], PROMPTS_TOGETHER):
            lengths = [len(row) for row in embeds[first:end]]
            padded_BLD = pad_sequence(list(embeds[first:end]), batch_first=True)
            out = self._decoder.forward(
                padded_BLD, visual[first:end], lengths=lengths, keep_cache=True,
                attention=attention[first:end], evidence_layer=self._evidence_layer,
            )  # fmt: skip
            hidden += [rows_LD[length - 1] for rows_LD, length in zip(out.hidden, out.lengths, strict=True)]
            caches.append(out.cache)
        self._cache = [join(layers) for layers in zip(*caches, strict=True)]
        return torch.stack(hidden)

    def advance(self, embeds_BD: Tensor) -> Tensor:
        """Run one more token of each sequence."""
        return self._decoder.decode(embeds_BD, self._cache)

    def keep(self, rows: Sequence[int]) -> None:
        """Continue with these sequences only."""
        self._cache = [layer.select(rows) for layer in self._cache]
