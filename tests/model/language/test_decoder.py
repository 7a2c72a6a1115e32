"""The language model's generation loop: equal to transformers' generate, streamed, never splitting a character."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from afterview.model.base.generation import GenerationSettings
from afterview.model.base.settings import VisualDropoutConfig
from afterview.model.checkpoint.weights import slots_of
from afterview.model.language.decoder import LanguageModel, TextStream, build_decoder
from afterview.model.language.tokenizer import byte_tokenizer

SETTINGS = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rope_theta": 1e6,
}


def language(
    *,
    qwen3: bool = False,
    stops: tuple[int, ...] = (),
    dropout: VisualDropoutConfig | None = None,
    **extra: Any,
) -> LanguageModel:
    decoder = build_decoder(SETTINGS | extra, qwen3=qwen3)
    chance = torch.Generator().manual_seed(11)
    for name, slot in sorted(slots_of(decoder).items()):
        scale = 0.0 if name.endswith("bias") else 0.3
        offset = 1.0 if "norm" in name else 0.0
        slot.put(torch.randn(slot.shape, generator=chance) * scale + offset)
    return LanguageModel(decoder, stops, dropout).eval()


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
        torch.manual_seed(seed + 100)  # has no effect
        return list(model.generate(x, max_new_tokens=8, seed=seed, sampling=GenerationSettings(temperature=3.0)))

    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in range(4)}) > 1


def test_generation_leaves_no_inference_mode_behind_between_tokens() -> None:
    stream = language().generate(embeds(), max_new_tokens=3)
    next(stream)
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()


VISUAL = [[(2, 20), (25, 9)], [(4, 17)]]
PROMPTS = (40, 26)


def supervised(model: LanguageModel) -> tuple[Tensor, Tensor, Tensor]:
    """Two prompts with answers of three and five tokens, padded: input, labels, and the logits of every remaining place."""
    x = torch.nn.utils.rnn.pad_sequence([embeds(43), embeds(31) * 1.5], batch_first=True, padding_value=3.0)
    labels = torch.full((2, 43), -100)
    labels[0, 40:], labels[1, 26:31] = 7, 9
    x.requires_grad_()
    hidden, left = model.learn(x, [43, 31], labels, VISUAL)
    return x, left, model.logits(hidden)


@pytest.mark.parametrize("kind", ["uniform", "attention", "uniform0_attention"])
@pytest.mark.parametrize("qwen3", [False, True])
def test_training_drops_the_visual_tokens_that_answering_drops(kind: str, qwen3: bool) -> None:
    dropout = VisualDropoutConfig(kind=kind, layers=(1, 2), ratios=(1.0, 0.5, 0.25))
    model = language(qwen3=qwen3, dropout=dropout, **({"head_dim": 32} if qwen3 else {})).requires_grad_(True)
    x, left, logits = supervised(model)
    for row, (prompt, answer) in enumerate(zip(PROMPTS, (3, 5), strict=True)):
        places = (left[row] != -100).nonzero()[:, 0]
        assert len(places) == answer
        prefill = model.first_token_logits(x[row, :prompt].detach(), visual=VISUAL[row])
        torch.testing.assert_close(logits[row, places[0] - 1].detach(), prefill, rtol=1e-4, atol=1e-4)
    assert left.shape[1] == 43 - (20 - 5) - (9 - 2) == logits.shape[1]
    plain = language(qwen3=qwen3, **({"head_dim": 32} if qwen3 else {}))
    assert (
        plain.first_token_logits(x[0, :40].detach()) - logits[0, (left[0] != -100).nonzero()[0, 0] - 1]
    ).abs().max() > 0.01
    logits[left != -100].square().mean().backward()
    assert x.grad is not None
    assert (x.grad[0, :40].abs().sum(-1) > 0).all()  # also to dropped tokens: earlier layers have seen them
    assert not x.grad[1, 31:].any()  # nothing to padding
    assert all(p.grad is not None for name, p in model.named_parameters() if "embed_tokens" not in name)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for checkpointing in (False, True):
        model = language(dropout=VisualDropoutConfig(layers=(1,), ratios=(1.0, 0.5))).requires_grad_(True)
        if checkpointing:
            model.decoder.activation_checkpointing_enable({"use_reentrant": False})
        x, left, logits = supervised(model)
        logits[left != -100].square().mean().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients)


def test_training_without_dropout_is_the_decoder_itself() -> None:
    model = language()
    x, left, logits = supervised(model)
    assert left.shape == (2, 43)
    for row, length in ((0, 43), (1, 31)):
        alone = model.logits(model(x[row : row + 1, :length]))
        torch.testing.assert_close(logits[row, :length], alone[0], rtol=1e-4, atol=1e-4)


TEXTS = ["plain words", "é ü — 中文字", "👩‍🚀 a 🚲\n", "<|im_end|> as text"]


def pieces_of(tokens: Sequence[int]) -> list[str]:
    stream = TextStream(byte_tokenizer())
    return [piece for piece in [*map(stream.push, tokens), stream.rest()] if piece]


@pytest.mark.parametrize("text", TEXTS)
def test_streamed_text_never_cuts_a_character(text: str) -> None:
    pieces = pieces_of(byte_tokenizer()(text, split_special_tokens=True)["input_ids"])
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)
    assert len(pieces) == len(text)  # one token per byte: each character appears when it is complete


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
