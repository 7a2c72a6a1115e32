"""Progressive visual dropout in the decoder: video-level compression of VideoChat-Flash (arXiv 2501.00574, section 2).

After certain layers, part of the visual tokens is dropped for all later layers. The remaining ones are evenly spaced,
or those with most attention from the prompt's last token. Positions are renumbered, so a layer's position ids equal the
places in its cache. Only the score rows that decide are computed, never an L x L matrix. A sequence may hold several
visual spans; each keeps its own share.

Legend: B sequences, padded on the right; L tokens, D width, H query heads, G key/value heads, d dimensions of a head, n
score rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.models.qwen2.modeling_qwen2 import rotate_half

from afterview.model.base.errors import InputMismatch
from afterview.model.base.settings import VisualDropoutConfig
from afterview.model.language.cache import LayerCache
from afterview.model.language.prompt import IGNORED_LABEL
from afterview.model.language.visual_attention import VisualAttention

Rotary = tuple[Tensor, Tensor]
Spans = Sequence[tuple[int, int]]  # (start, count) of the runs of visual tokens of one sequence, ascending
Layer = Any  # a decoder layer of transformers


@dataclass(frozen=True)
class TokenRun:
    """A run of visual tokens within a sequence."""

    start: int
    count: int
    original: int  # count before any drop; ratios refer to it


@dataclass(frozen=True)
class Dropped:
    """The decoder's output."""

    hidden: Tensor  # [B, L', D] after the final norm
    lengths: list[int]  # length of each sequence in the last layer
    labels: Tensor | None  # int64 [B, L'], labels of the remaining tokens
    layer_lengths: list[int]  # L of each layer, for the longest sequence
    cache: list[LayerCache] = field(default_factory=list)


@dataclass
class _State:
    """A batch between two layers."""

    x_BLD: Tensor
    lengths: list[int]
    spans: list[list[TokenRun]]
    prompt_ends: list[int]  # index of each prompt's last token
    labels: list[Tensor] | None
    origins: list[Tensor]  # of each sequence's tokens: their places before any drop


class DroppingDecoder:
    """Runs a Qwen2 or Qwen3 decoder of transformers and drops visual tokens between its layers."""

    def __init__(self, model: PreTrainedModel, config: VisualDropoutConfig) -> None:
        """model: the base model (embed_tokens, layers, norm), as `Qwen2ForCausalLM.model`."""
        if config.layers and config.layers[-1] >= len(model.layers):
            raise InputMismatch(f"dropout after layer {config.layers[-1]} of a decoder of {len(model.layers)} layers")
        self.model, self.config = model, config

    def forward(
        self,
        embeds_BLD: Tensor,
        spans: Sequence[Spans],
        *,
        lengths: Sequence[int] | None = None,
        prompt_ends: Sequence[int] | None = None,
        labels: Tensor | None = None,
        keep_cache: bool = False,
        attention: Sequence[VisualAttention | None] = (),
        evidence_layer: int = -1,
    ) -> Dropped:
        """Run whole sequences through all layers.

        spans: the visual runs of each sequence. lengths: without padding; None: all L. prompt_ends: index of the token
        whose attention decides what remains; None: the last token of each sequence. labels [B, L]: for training; then
        the tokens before each supervised run decide, and a sequence without one drops nothing by attention. keep_cache:
        return the cache for `decode`. attention: of each sequence, filled with the scores in layer `evidence_layer`.
        """
        state = self._start(embeds_BLD, spans, lengths, prompt_ends, labels)
        cache, layer_lengths = [], []
        checkpointing = torch.is_grad_enabled() and self.model.is_activation_checkpointing and not keep_cache
        for number, layer in enumerate(self.model.layers):
            if number == evidence_layer:
                self._note_attention(state, layer, spans, attention)
            if number in self.config.layers:
                self._drop(state, layer, self.config.layers.index(number))
            rotary = self._rotary(state.x_BLD, torch.arange(state.x_BLD.shape[1], device=state.x_BLD.device)[None])
            layer_lengths.append(state.x_BLD.shape[1])
            if _sharded(layer):  # its parameters are gathered by its own call, which also recomputes activations
                state.x_BLD = layer(state.x_BLD, attention_mask=_mask(layer, state.x_BLD), position_embeddings=rotary)
                continue
            if checkpointing:
                state.x_BLD, *_ = checkpoint(_run_layer, layer, state.x_BLD, rotary, use_reentrant=False)
                continue
            state.x_BLD, k, v = _run_layer(layer, state.x_BLD, rotary)
            if keep_cache:
                cache.append(LayerCache(k, v, tuple(state.lengths)))
        kept_labels = None
        if state.labels is not None:
            kept_labels = pad_sequence(state.labels, batch_first=True, padding_value=IGNORED_LABEL)
        return Dropped(self.model.norm(state.x_BLD), state.lengths, kept_labels, layer_lengths, cache)

    @torch.inference_mode()
    def decode(self, embeds_BD: Tensor, cache: list[LayerCache]) -> Tensor:
        """Run one more token of each sequence: hidden state [B, D] after the final norm. Drops nothing; extends the cache."""
        x_B1D = embeds_BD[:, None]
        rotaries: dict[tuple[int, ...], Rotary] = {}  # layers between two drops share their positions
        for layer, kept in zip(self.model.layers, cache, strict=True):
            if kept.lengths not in rotaries:
                places_B1 = torch.tensor(kept.lengths, device=x_B1D.device)[:, None]
                rotaries[kept.lengths] = self._rotary(x_B1D, places_B1)
            q_BH1d, k_BG1d, v_BG1d = _project(layer, x_B1D, rotaries[kept.lengths])
            kept.append(k_BG1d, v_BG1d)
            x_B1D = _finish(layer, x_B1D, kept.read(q_BH1d.transpose(1, 2)))
        return self.model.norm(x_B1D)[:, 0]

    def _start(
        self,
        embeds_BLD: Tensor,
        spans: Sequence[Spans],
        lengths: Sequence[int] | None,
        prompt_ends: Sequence[int] | None,
        labels: Tensor | None,
    ) -> _State:
        batch, longest = embeds_BLD.shape[:2]
        sizes = [longest] * batch if lengths is None else list(lengths)
        if len(spans) != batch or len(sizes) != batch:
            raise InputMismatch(
                f"{batch} sequences but {len(spans)} lists of spans and {len(sizes)} lengths were given"
            )
        for places, size in zip(spans, sizes, strict=True):
            if any(start + count > size for start, count in places):
                raise InputMismatch(f"a visual span ends beyond its sequence of {size} tokens")
        runs = [[TokenRun(start, count, count) for start, count in places] for places in spans]
        rows = None if labels is None else [row[:size] for row, size in zip(labels, sizes, strict=True)]
        ends = [size - 1 for size in sizes] if prompt_ends is None else list(prompt_ends)
        return _State(embeds_BLD, sizes, runs, ends, rows, [torch.arange(size) for size in sizes])

    def _drop(self, state: _State, layer: Layer, stage: int) -> None:
        """Apply drop number `stage`, before `layer`, to the state."""
        ratio = self.config.ratios[stage + 1]
        kept = []
        if self.config.by_attention(stage) and _sharded(layer):
            layer.unshard()  # the scores need its projections before it runs; every process comes here
        for row, length in enumerate(state.lengths):
            if not self.config.by_attention(stage):
                kept.append(_kept_places(state.spans[row], length, ratio, None))
                continue
            scores = self._scores(state, row, layer)
            kept.append(
                torch.arange(length) if scores is None else _kept_places(state.spans[row], length, ratio, scores.cpu())
            )
        rows = [x[places.to(x.device)] for x, places in zip(state.x_BLD, kept, strict=True)]
        state.x_BLD = pad_sequence(rows, batch_first=True)
        if state.labels is not None:
            state.labels = [row[places.to(row.device)] for row, places in zip(state.labels, kept, strict=True)]
        state.origins = [origin[places] for origin, places in zip(state.origins, kept, strict=True)]
        state.spans = [_moved(runs, places) for runs, places in zip(state.spans, kept, strict=True)]
        state.prompt_ends = [
            int(torch.searchsorted(places, end)) for end, places in zip(state.prompt_ends, kept, strict=True)
        ]
        state.lengths = [len(places) for places in kept]

    def _note_attention(
        self, state: _State, layer: Layer, spans: Sequence[Spans], attention: Sequence[VisualAttention | None]
    ) -> None:
        """Fill in the attention to each visual token, also to those that were dropped: they have none."""
        for row, note in enumerate(attention):
            scores = None if note is None else self._scores(state, row, layer)
            if note is None or scores is None:
                continue
            whole = scores.new_zeros(int(state.origins[row][-1]) + 1)
            whole[state.origins[row].to(scores.device)] = scores
            note.mass = torch.cat([whole[start : start + count] for start, count in spans[row]])

    @torch.no_grad()
    def _scores(self, state: _State, row: int, layer: Layer) -> Tensor | None:
        """Attention from the deciding rows to each token in the next layer, mean over heads and rows: float32 [length]."""
        length = state.lengths[row]
        deciding = (
            torch.tensor([state.prompt_ends[row]]) if state.labels is None else _before_answers(state.labels[row])
        )
        if not len(deciding) or not state.spans[row]:
            return None
        h_1LD = layer.input_layernorm(state.x_BLD[row : row + 1, :length])
        deciding = deciding.to(h_1LD.device)
        k_1GLd = _keys(layer, h_1LD, self._rotary(h_1LD, torch.arange(length, device=h_1LD.device)[None]))
        q_1Hnd = _queries(layer, h_1LD[:, deciding], self._rotary(h_1LD, deciding[None]))
        q_GRnd = q_1Hnd[0].unflatten(0, (k_1GLd.shape[1], -1))
        scores = (q_GRnd @ k_1GLd[0, :, None].transpose(-1, -2)).float() * q_GRnd.shape[-1] ** -0.5
        later = torch.arange(length, device=deciding.device) > deciding[:, None]
        return scores.masked_fill(later, -torch.inf).softmax(-1).mean(dim=(0, 1, 2))

    def _rotary(self, like: Tensor, positions: Tensor) -> Rotary:
        return self.model.rotary_emb(like, positions)


def _run_layer(layer: Layer, x_BLD: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor, Tensor]:
    """One layer over whole sequences: its output, and its keys and values [B, G, L, d]."""
    q, k, v = _project(layer, x_BLD, rotary)
    # padding is on the right, so the causal mask hides it from every real token
    read = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return _finish(layer, x_BLD, read.transpose(1, 2).flatten(2)), k, v


def _sharded(layer: Layer) -> bool:
    return isinstance(layer, FSDPModule)


def _mask(layer: Layer, x_BLD: Tensor) -> Tensor | None:
    """The causal mask, where the layer's attention does not add it by itself."""
    if layer.self_attn.config._attn_implementation != "eager":
        return None
    length = x_BLD.shape[1]
    return x_BLD.new_full((length, length), torch.finfo(x_BLD.dtype).min).triu(1)[None, None]


def _project(layer: Layer, x_BLD: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor, Tensor]:
    """Rotated queries [B, H, L, d] and keys, and values [B, G, L, d], of one layer."""
    h_BLD = layer.input_layernorm(x_BLD)
    values = _heads(layer, layer.self_attn.v_proj(h_BLD)).transpose(1, 2)
    return _queries(layer, h_BLD, rotary), _keys(layer, h_BLD, rotary), values


def _queries(layer: Layer, h_BLD: Tensor, rotary: Rotary) -> Tensor:
    """Rotated queries [B, H, L, d] of normalised hidden states."""
    q = _heads(layer, layer.self_attn.q_proj(h_BLD))
    q = layer.self_attn.q_norm(q) if hasattr(layer.self_attn, "q_norm") else q  # Qwen3 normalises each head
    return _rotated(q, rotary)


def _keys(layer: Layer, h_BLD: Tensor, rotary: Rotary) -> Tensor:
    """Rotated keys [B, G, L, d] of normalised hidden states."""
    k = _heads(layer, layer.self_attn.k_proj(h_BLD))
    k = layer.self_attn.k_norm(k) if hasattr(layer.self_attn, "k_norm") else k
    return _rotated(k, rotary)


def _heads(layer: Layer, x_BLX: Tensor) -> Tensor:
    return x_BLX.unflatten(-1, (-1, layer.self_attn.head_dim))


def _rotated(x_BLHd: Tensor, rotary: Rotary) -> Tensor:
    cos, sin = (part[:, None] for part in rotary)
    x_BHLd = x_BLHd.transpose(1, 2)
    return x_BHLd * cos + rotate_half(x_BHLd) * sin


def _finish(layer: Layer, x_BLD: Tensor, read_BLX: Tensor) -> Tensor:
    """The part of a layer after attention."""
    x_BLD = x_BLD + layer.self_attn.o_proj(read_BLX)
    return x_BLD + layer.mlp(layer.post_attention_layernorm(x_BLD))


def _kept_places(spans: Sequence[TokenRun], length: int, ratio: float, scores: Tensor | None) -> Tensor:
    """Indices that remain, ascending: all text, and of each span its share, evenly spaced or by best score."""
    stays = torch.ones(length, dtype=torch.bool)
    for span in spans:
        share = int(span.original * ratio)
        if scores is None:  # integer linspace of torch, as published; other versions round some indices differently
            chosen = torch.linspace(0, span.count - 1, share, dtype=torch.long)
        else:
            chosen = scores[span.start : span.start + span.count].topk(share).indices
        stays[span.start : span.start + span.count] = False
        stays[span.start + chosen] = True
    return stays.nonzero()[:, 0]


def _moved(spans: Sequence[TokenRun], kept: Tensor) -> list[TokenRun]:
    """The spans, expressed in the indices of the remaining tokens."""
    edges = torch.tensor([[span.start, span.start + span.count] for span in spans]).reshape(-1, 2)
    places = torch.searchsorted(kept, edges)
    return [TokenRun(int(a), int(b - a), span.original) for (a, b), span in zip(places, spans, strict=True)]


def _before_answers(labels_L: Tensor) -> Tensor:
    """Indices just before each supervised run."""
    supervised = labels_L != IGNORED_LABEL
    return (supervised[1:] & ~supervised[:-1]).nonzero()[:, 0]
