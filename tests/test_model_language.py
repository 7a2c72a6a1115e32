"""The language model's own loop: equal to transformers' generate, streamed, never cutting a character."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from model.language import LanguageModel, TextStream, build_decoder
from model.tokenizer import byte_tokenizer
from model.weights import slots_of

SETTINGS = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rope_theta": 1e6,
}


def language(*, qwen3: bool = False, stops: tuple[int, ...] = (), **extra: Any) -> LanguageModel:
    decoder = build_decoder(SETTINGS | extra, qwen3=qwen3)
    chance = torch.Generator().manual_seed(11)
    for name, slot in sorted(slots_of(decoder).items()):
        scale = 0.0 if name.endswith("bias") else 0.3
        offset = 1.0 if "norm" in name else 0.0
        slot.put(torch.randn(slot.shape, generator=chance) * scale + offset)
    return LanguageModel(decoder, stops).eval()


def embeds(tokens: int = 12) -> Tensor:
    return torch.randn(tokens, 64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("qwen3", [False, True])
def test_greedy_equals_generate_of_transformers_token_by_token(qwen3: bool) -> None:
    model = language(qwen3=qwen3, **({"head_dim": 32} if qwen3 else {}))
    x = embeds()
    expected = model.decoder.generate(
        inputs_embeds=x[None],
        attention_mask=torch.ones(1, len(x), dtype=torch.long),
        max_new_tokens=24,
        do_sample=False,
    )
    tokens = list(model.generate(x, max_new_tokens=24))
    assert tokens == expected[0].tolist()
    assert len(set(tokens)) > 3


def test_cached_generation_equals_recomputation() -> None:
    model, x = language(), embeds()
    tokens = list(model.generate(x, max_new_tokens=10))
    for count in range(10):
        whole = torch.cat([x, model.decoder.model.embed_tokens(torch.tensor(tokens[:count], dtype=torch.long))])
        logits = model.logits(model(whole[None]))[0, -1]
        assert int(logits.argmax()) == tokens[count]


def test_first_token_logits_are_the_first_tokens() -> None:
    model, x = language(), embeds()
    logits = model.first_token_logits(x)
    assert logits.shape == (300,)
    assert logits.dtype == torch.float32
    assert int(logits.argmax()) == next(model.generate(x, max_new_tokens=1))


def test_a_stop_token_ends_the_answer_and_is_not_part_of_it() -> None:
    free = list(language().generate(embeds(), max_new_tokens=12))
    stop = free[5]
    assert list(language(stops=(stop,)).generate(embeds(), max_new_tokens=12)) == free[: free.index(stop)]


def test_sampling_depends_on_the_seed_alone() -> None:
    model, x = language(), embeds()

    def drawn(seed: int) -> list[int]:
        torch.manual_seed(seed + 100)  # of no effect
        return list(model.generate(x, max_new_tokens=8, seed=seed, temperature=3.0))

    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in range(4)}) > 1


def test_generation_leaves_no_inference_mode_behind_between_tokens() -> None:
    stream = language().generate(embeds(), max_new_tokens=3)
    next(stream)
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()


TEXTS = ["plain words", "é ü — 中文字", "👩‍🚀 a 🚲\n", "<|im_end|> as text"]


def pieces_of(tokens: Sequence[int]) -> list[str]:
    stream = TextStream(byte_tokenizer())
    return [piece for piece in [*map(stream.push, tokens), stream.rest()] if piece]


@pytest.mark.parametrize("text", TEXTS)
def test_streamed_text_never_cuts_a_character(text: str) -> None:
    pieces = pieces_of(byte_tokenizer()(text, split_special_tokens=True)["input_ids"])
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)
    assert len(pieces) == len(text)  # one token per byte: each character appears as soon as it is whole


def test_streamed_bytes_that_are_no_text_lose_nothing() -> None:
    tokenizer = byte_tokenizer()
    rubbish = [tokenizer.get_vocab()[sign] for sign in tokenizer.get_vocab() if len(sign) == 1]
    ids = torch.randint(0, len(rubbish), (400,), generator=torch.Generator().manual_seed(0)).tolist()
    whole = tokenizer.decode(ids, skip_special_tokens=True)
    assert "".join(pieces_of(ids)) == whole
    assert pieces_of(tokenizer("中")["input_ids"][:2]) == ["\ufffd"]


def test_text_comes_with_its_token() -> None:
    stream = TextStream(byte_tokenizer())
    assert [stream.push(token) for token in byte_tokenizer()("abc")["input_ids"]] == ["a", "b", "c"]
    assert stream.rest() == ""
