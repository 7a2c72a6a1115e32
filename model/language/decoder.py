"""The language model: Qwen2, Qwen2.5 or Qwen3 of transformers, under their own weight names, with our own generation loop.

It runs the decoder as transformers does, or, if the preset says so, drops visual tokens between layers
(model.language.visual_dropout). Generation is cached and streams token by token. Each step enters inference mode by
itself, so a consumer that pauses between tokens is never inside it.

Legend: B batch, L tokens, D width, vocab entries of the vocabulary.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from afterview.model.base.generation import GenerationSettings
from afterview.model.base.settings import NO_DROPOUT, VisualDropoutConfig
from afterview.model.language.decoding import PlainRun, Run, StepRun
from afterview.model.language.sampling import GREEDY, choose
from afterview.model.language.visual_attention import VisualAttention, evidence_layer
from afterview.model.language.visual_dropout import DroppingDecoder, Spans

REPLACEMENT = "\ufffd"  # decoded from an incomplete multi-byte character

# Tokens of the answer so far, logits [V] of the next one -> logits [V].
Narrowing: TypeAlias = Callable[[Sequence[int], Tensor], Tensor]


def build_decoder(settings: Mapping[str, Any], *, qwen3: bool) -> PreTrainedModel:
    """The decoder for flat Qwen settings (config.json). Parameters are on the meta device, rotary buffers on the CPU."""
    config = Qwen3Config(**settings) if qwen3 else Qwen2Config(**settings)
    with torch.device("meta"):
        decoder = Qwen3ForCausalLM(config) if qwen3 else Qwen2ForCausalLM(config)
    decoder.model.rotary_emb = type(decoder.model.rotary_emb)(config)
    return decoder.eval()


class LanguageModel(nn.Module):
    """A decoder that maps embeddings to tokens."""

    def __init__(
        self, decoder: PreTrainedModel, stop_ids: Collection[int] = (), dropout: VisualDropoutConfig | None = None
    ) -> None:
        """stop_ids: tokens that end an answer; they are not yielded. dropout: of visual tokens, in answers and in `learn`."""
        super().__init__()
        self.decoder = decoder
        self.stop_ids = frozenset(stop_ids)
        self.dropping = None if dropout is None else DroppingDecoder(decoder.model, dropout)

    @property
    def width(self) -> int:
        """The model width D."""
        return int(self.decoder.config.hidden_size)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.decoder.lm_head.weight.device

    def embed(self, ids: NDArray[np.int64]) -> Tensor:
        """Token ids [L] to input embeddings [L, D]."""
        return self.decoder.model.embed_tokens(torch.from_numpy(np.asarray(ids, dtype=np.int64)).to(self.device))

    def forward(self, embeds_BLD: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Hidden states after the final norm, [B, L, D]. Differentiable; without cache and without dropout."""
        return self.decoder.model(
            inputs_embeds=embeds_BLD, attention_mask=attention_mask, use_cache=False
        ).last_hidden_state

    def learn(
        self, embeds_BLD: Tensor, lengths: Sequence[int], labels_BL: Tensor, visual: Sequence[Spans]
    ) -> tuple[Tensor, Tensor]:
        """`forward` for training. Returns the tokens that remain after dropout (without dropout: all of them).

        Result: hidden states [B, L', D] and labels [B, L']. The tokens just before the answers decide by their
        attention which visual tokens remain, as the last token of the prompt does at inference. lengths: of each
        sequence, without padding.
        """
        if self.dropping is None:
            places = torch.arange(embeds_BLD.shape[1], device=embeds_BLD.device)
            mask_BL = places < torch.tensor(lengths, device=embeds_BLD.device)[:, None]
            return self(embeds_BLD, mask_BL), labels_BL
        out = self.dropping.forward(embeds_BLD, visual, lengths=lengths, labels=labels_BL)
        assert out.labels is not None, "they were given"
        return out.hidden, out.labels

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., D] to logits [..., vocab]."""
        return self.decoder.lm_head(hidden)

    def first_token_logits(self, embeds_LD: Tensor, *, visual: Spans = ()) -> Tensor:
        """Scores of the answer's first token, float32 [vocab]. visual: (start, count) of each run of visual tokens."""
        return self._start(self._run(several=False), [embeds_LD], [visual])[0]

    def generate(
        self,
        embeds_LD: Tensor,
        *,
        visual: Spans = (),
        max_new_tokens: int,
        seed: int = 0,
        sampling: GenerationSettings = GREEDY,
    ) -> Iterator[int]:
        """Stream the answer's token ids. Greedy at temperature 0, otherwise drawn from `seed`, with the same result on every device.

        visual: (start, count) of each run of visual tokens; only dropout needs it. sampling: how tokens are chosen; its length and its
        stop texts are not read here.
        """
        several = self.generate_several(
            [embeds_LD], visual=[visual], max_new_tokens=max_new_tokens, seed=seed, sampling=sampling
        )
        yield from (token for _, token in several if token is not None)

    def generate_several(
        self,
        embeds: Sequence[Tensor],
        *,
        visual: Sequence[Spans] | None = None,
        max_new_tokens: int,
        seed: int = 0,
        sampling: GenerationSettings = GREEDY,
        ended: Collection[int] = (),
        attention: Sequence[VisualAttention | None] = (),
        narrowings: Sequence[Narrowing] = (),
    ) -> Iterator[tuple[int, int | None]]:
        """Stream several answers in parallel: (index of the input, token id), and (index, None) when an answer ends.

        Each answer equals that of `generate`, except for rounding. embeds: [L, D] each, of any lengths. Each answer has
        its own generator, seeded with `seed`. ended: answers that end now; the consumer adds to it while it reads.
        attention: of each prompt, filled in before its first token where it is not None (not by decoders with sliding windows).
        narrowings: of each answer, which tokens may come next.
        """
        spans = [()] * len(embeds) if visual is None else list(visual)
        everyone = list(range(len(embeds)))
        for rows in [[row] for row in everyone] if self._slides else [everyone] if embeds else []:
            notes = [attention[row] for row in rows] if attention and not self._slides else []
            run = self._run(several=len(rows) > 1 or any(note is not None for note in notes))
            chances = {row: torch.Generator().manual_seed(seed) for row in rows}
            said: dict[int, list[int]] = {row: [] for row in rows}
            tokens: NDArray[np.int64] | None = None
            for _ in range(max_new_tokens):
                if tokens is None:
                    logits_BV = self._start(run, [embeds[row] for row in rows], [spans[row] for row in rows], notes)
                else:
                    logits_BV = self._advance(run, tokens)
                chosen = [
                    choose(
                        narrowings[row](said[row], own_V) if narrowings else own_V, sampling, said[row], chances[row]
                    )
                    for row, own_V in zip(rows, logits_BV, strict=True)
                ]
                going = []
                for place, (row, token) in enumerate(zip(rows, chosen, strict=True)):
                    said[row].append(token)
                    if token not in self.stop_ids:
                        yield row, token
                        if row not in ended:
                            going.append(place)
                            continue
                    yield row, None
                if len(going) < len(rows):
                    rows = [rows[place] for place in going]
                    if not rows:
                        break
                    run.keep(going)
                tokens = np.array([chosen[place] for place in going])
            yield from ((row, None) for row in rows)

    @property
    def _slides(self) -> bool:
        return "sliding_attention" in (getattr(self.decoder.config, "layer_types", None) or ())

    def _run(self, *, several: bool) -> Run:
        dropping = self.dropping
        if dropping is None and not several:
            return PlainRun(self.decoder)
        layer = evidence_layer(None if dropping is None else dropping.config, len(self.decoder.model.layers))
        return StepRun(dropping or DroppingDecoder(self.decoder.model, NO_DROPOUT), layer)

    @torch.inference_mode()
    def _start(
        self,
        run: Run,
        embeds: Sequence[Tensor],
        visual: Sequence[Spans],
        attention: Sequence[VisualAttention | None] = (),
    ) -> Tensor:
        """Run the prompts. float32 logits [B, vocab] after the last token of each."""
        return self.logits(run.start(embeds, visual, attention)).float()

    @torch.inference_mode()
    def _advance(self, run: Run, tokens: NDArray[np.int64]) -> Tensor:
        """Run one more token of each sequence. float32 logits [B, vocab]."""
        return self.logits(run.advance(self.embed(tokens))).float()


class TextStream:
    """Turns tokens into pieces of text as they arrive. The pieces join to the whole answer; a multi-byte character is never split.

    An incomplete character decodes to one replacement character at the end, which is held back until the character is
    complete. Tokens decode only in context, so each piece is cut from the text of a window that starts at a character
    boundary.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, spoken: Mapping[int, str] | None = None) -> None:
        """spoken: text for tokens that stand for something else (model.language.moments)."""
        self._tokenizer, self._spoken = tokenizer, spoken or {}
        self._window: list[int] = []
        self._settled = 0  # tokens of the window that are only context
        self._sent = 0  # characters of the window's text that were returned already

    def push(self, token: int) -> str:
        """Add a token. Returns the text that is now certain, possibly empty."""
        if token in self._spoken:
            piece = self.rest() + self._spoken[token]
            self._window, self._settled, self._sent = [], 0, 0
            return piece
        self._window.append(token)
        text = self._text()
        whole = text.removesuffix(REPLACEMENT)
        piece = whole[self._sent :]
        self._sent += len(piece)
        if whole == text:
            self._window = self._window[self._settled :]
            self._settled, self._sent = len(self._window), len(self._text())
        return piece

    def rest(self) -> str:
        """The remaining text after the last token."""
        return self._text()[self._sent :]

    def _text(self) -> str:
        return self._tokenizer.decode(self._window, skip_special_tokens=True, clean_up_tokenization_spaces=False)
