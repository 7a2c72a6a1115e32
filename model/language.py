"""The language model: transformers' Qwen2, Qwen2.5 or Qwen3 under their own weight names, driven by our own loop.

It runs as transformers runs it, or, where a preset says so, with visual tokens dropped between its layers (model.visual_dropout).
Generation is streamed token by token and cached; every step runs in inference mode on its own, so that a consumer that pauses
between tokens never finds itself inside it.

Legend: B batch, L tokens, D width, vocab entries of the vocabulary.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import (
    DynamicCache,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from model.compression import VisualDropoutConfig
from model.visual_dropout import DroppingDecoder, DroppingRun, Spans

REPLACEMENT = "\ufffd"  # what a tokenizer decodes an unfinished multi-byte character to
LONGEST_CHARACTER = (
    4  # bytes of UTF-8; with one token per byte, more pending tokens than this are not an unfinished character
)


def build_decoder(settings: Mapping[str, Any], *, qwen3: bool) -> PreTrainedModel:
    """The decoder of flat Qwen settings (config.json); parameters on the meta device, rotary buffers on the CPU."""
    config = Qwen3Config(**settings) if qwen3 else Qwen2Config(**settings)
    with torch.device("meta"):
        decoder = Qwen3ForCausalLM(config) if qwen3 else Qwen2ForCausalLM(config)
    decoder.model.rotary_emb = type(decoder.model.rotary_emb)(config)
    return decoder.eval()


class Run(Protocol):
    """One cached pass through the decoder."""

    def advance(self, embeds_LD: Tensor) -> Tensor:
        """Run further tokens; hidden state [D] after the final norm, of the last of them."""
        ...


class PlainRun:
    """As transformers runs it."""

    def __init__(self, decoder: PreTrainedModel) -> None:
        self._model, self._cache = decoder.model, DynamicCache(config=decoder.config)

    def advance(self, embeds_LD: Tensor) -> Tensor:
        """Run further tokens; hidden state [D] after the final norm, of the last of them."""
        output = self._model(inputs_embeds=embeds_LD[None], past_key_values=self._cache, use_cache=True)
        return output.last_hidden_state[0, -1]


class LanguageModel(nn.Module):
    """A decoder that takes embeddings and gives tokens."""

    def __init__(
        self, decoder: PreTrainedModel, stop_ids: Collection[int] = (), dropout: VisualDropoutConfig | None = None
    ) -> None:
        """stop_ids end an answer; they are never yielded. dropout: of visual tokens, in answers; training says its own."""
        super().__init__()
        self.decoder = decoder
        self.stop_ids = frozenset(stop_ids)
        self.dropping = None if dropout is None else DroppingDecoder(decoder.model, dropout)

    @property
    def width(self) -> int:
        """D."""
        return int(self.decoder.config.hidden_size)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.decoder.lm_head.weight.device

    def embed(self, ids: NDArray[np.int64]) -> Tensor:
        """Token ids [L] to input embeddings [L, D]."""
        return self.decoder.model.embed_tokens(torch.from_numpy(np.asarray(ids, dtype=np.int64)).to(self.device))

    def forward(self, embeds_BLD: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Hidden states after the final norm, [B, L, D]; differentiable, nothing cached."""
        return self.decoder.model(
            inputs_embeds=embeds_BLD, attention_mask=attention_mask, use_cache=False
        ).last_hidden_state

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., D] to logits [..., vocab]."""
        return self.decoder.lm_head(hidden)

    def first_token_logits(self, embeds_LD: Tensor, *, visual: Spans = ()) -> Tensor:
        """float32 [vocab]: the scores of the answer's first token. visual: (start, count) of the runs of visual tokens."""
        return self._advance(self._run(visual), embeds_LD)

    def generate(
        self,
        embeds_LD: Tensor,
        *,
        visual: Spans = (),
        max_new_tokens: int,
        seed: int = 0,
        temperature: float = 0.0,
    ) -> Iterator[int]:
        """Stream the answer's token ids. Greedy at temperature 0; else sampled from `seed` alone, alike on every device.

        visual: (start, count) of the runs of visual tokens, which dropout needs to know.
        """
        run = self._run(visual)
        chance = torch.Generator().manual_seed(seed)
        step = embeds_LD
        for _ in range(max_new_tokens):
            token = choose(self._advance(run, step), temperature, chance)
            if token in self.stop_ids:
                return
            yield token
            step = self._embed_one(token)

    def _run(self, visual: Spans) -> Run:
        return PlainRun(self.decoder) if self.dropping is None else DroppingRun(self.dropping, visual)

    @torch.inference_mode()
    def _advance(self, run: Run, embeds_LD: Tensor) -> Tensor:
        """Run further tokens; float32 logits [vocab] after the last of them."""
        return self.logits(run.advance(embeds_LD)).float()

    @torch.inference_mode()
    def _embed_one(self, token: int) -> Tensor:
        return self.embed(np.array([token]))


def choose(logits: Tensor, temperature: float, chance: torch.Generator) -> int:
    """One token from float32 logits [vocab]: the best at temperature 0, else drawn on the CPU."""
    if temperature == 0:
        return int(logits.argmax())
    return int(torch.multinomial((logits.cpu() / temperature).softmax(-1), 1, generator=chance))


def stream_text(tokens: Iterable[int], tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    """Pieces of text as tokens arrive, whose concatenation is the whole answer; a multi-byte character is never cut.

    An unfinished character decodes to one replacement character at the very end; that one is held back until it is decided. Tokens
    become text only in context, so each piece is cut from the decoding of a window that starts at a settled character boundary.
    """
    window: list[int] = []
    settled, sent = 0, 0  # tokens of the window that are context only; characters of its text that were yielded
    for token in tokens:
        window.append(token)
        text = _text(window, tokenizer)
        whole = text.removesuffix(REPLACEMENT)
        if len(whole) > sent:
            yield whole[sent:]
            sent = len(whole)
        if whole == text:
            window = window[settled:]
            settled, sent = len(window), len(_text(window, tokenizer))
    rest = _text(window, tokenizer)[sent:]
    if rest:
        yield rest


def _text(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
