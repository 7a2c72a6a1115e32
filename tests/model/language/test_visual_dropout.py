"""Visual dropout: cached decoding, batches and several spans agree with the plain computation; only score rows are computed."""

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel, Qwen2Config, Qwen2Model, Qwen3Config, Qwen3Model

from afterview.configs import ConfigError, load_mapping
from afterview.model.base.errors import InputMismatch
from afterview.model.language.visual_dropout import Dropped, DroppingDecoder, VisualDropoutConfig
from tests.support.live_bytes import LiveBytes

GEOMETRY = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
KINDS = ["uniform", "attention", "uniform0_attention", "uniform1_attention"]
SPANS = [(3, 24), (30, 17)]


def decoder(*, qwen3: bool = False) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Qwen3Model(Qwen3Config(**GEOMETRY, head_dim=16)) if qwen3 else Qwen2Model(Qwen2Config(**GEOMETRY))
    for parameter in model.parameters():  # large enough for attention to prefer some tokens
        parameter.data *= 4 if parameter.ndim == 2 else 1
    return model.eval().requires_grad_(False)


def dropping(kind: str = "attention", *, qwen3: bool = False) -> DroppingDecoder:
    return DroppingDecoder(decoder(qwen3=qwen3), VisualDropoutConfig(kind=kind, layers=(2, 4), ratios=(1, 0.5, 0.25)))


def embeds(tokens: int, seed: int = 0) -> Tensor:
    return torch.randn(1, tokens, 32, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("qwen3", [False, True])
def test_without_dropping_it_is_the_decoder_itself(qwen3: bool) -> None:
    model = decoder(qwen3=qwen3)
    plain = DroppingDecoder(model, VisualDropoutConfig(layers=(), ratios=(1,)))
    x = embeds(20)
    torch.testing.assert_close(plain.forward(x, [[(2, 9)]]).hidden, model(inputs_embeds=x).last_hidden_state)


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_follow_the_original_counts(kind: str) -> None:
    out = dropping(kind).forward(embeds(55), [SPANS])
    text = 55 - 24 - 17
    assert out.layer_lengths == [55, 55, text + 12 + 8, text + 12 + 8, text + 6 + 4, text + 6 + 4]
    assert out.lengths == [text + 6 + 4]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("qwen3", [False, True])
@torch.inference_mode()
def test_cached_greedy_decoding_equals_recomputation(kind: str, qwen3: bool) -> None:
    run = dropping(kind, qwen3=qwen3)
    x = embeds(50)
    spans = [[(3, 24)]]
    words = run.model.embed_tokens.weight

    def best(hidden: Tensor) -> int:
        return int((hidden @ words.T).argmax())

    first = run.forward(x, spans, keep_cache=True)
    cached, token = [], best(first.hidden[0, -1])
    for _ in range(140):  # longer than the cache's first capacity
        cached.append(token)
        token = best(run.decode(words[[token]], first.cache)[0])
    recomputed = []
    for _ in range(12):
        whole = torch.cat([x, words[recomputed][None]], dim=1) if recomputed else x
        recomputed.append(best(run.forward(whole, spans, prompt_ends=[49]).hidden[0, -1]))
    assert cached[:12] == recomputed
    assert len(set(cached)) > 1
    late = torch.cat([x, words[cached][None]], dim=1)
    assert best(run.forward(late, spans, prompt_ends=[49]).hidden[0, -1]) == token


def assert_same_rows(batch: Dropped, row: int, alone: Dropped) -> None:
    assert batch.lengths[row] == alone.lengths[0]
    torch.testing.assert_close(batch.hidden[row, : alone.lengths[0]], alone.hidden[0])


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_a_padded_batch_equals_its_sequences(kind: str) -> None:
    run = dropping(kind)
    rows = [embeds(55, 1), embeds(40, 2), embeds(12, 3)]
    spans = [SPANS, [(5, 30)], []]
    padded = torch.nn.utils.rnn.pad_sequence([row[0] for row in rows], batch_first=True, padding_value=9.0)
    batch = run.forward(padded, spans, lengths=[55, 40, 12], keep_cache=True)
    words = embeds(3, 4)[0]
    for row, (x, places) in enumerate(zip(rows, spans, strict=True)):
        assert_same_rows(batch, row, run.forward(x, [places]))
    further = run.decode(words, batch.cache)
    for row, (x, places) in enumerate(zip(rows, spans, strict=True)):
        alone = run.forward(x, [places], keep_cache=True)
        torch.testing.assert_close(further[row : row + 1], run.decode(words[row : row + 1], alone.cache))


def test_the_deciding_token_decides() -> None:
    """The remaining tokens depend on the prompt's last token, not on what is generated after it."""
    run, x = dropping(), embeds(50)
    other = x.clone()
    other[:, -1] = embeds(1, 9)[:, 0]
    one, two = (run.forward(batch, [[(3, 24)]], prompt_ends=[49]).hidden[0, :3] for batch in (x, other))
    torch.testing.assert_close(one, two)  # earlier text does not attend to it
    longer = torch.cat([x, embeds(4, 5)], dim=1)
    kept = run.forward(longer, [[(3, 24)]], prompt_ends=[49]).hidden[0]
    torch.testing.assert_close(kept[: 3 + 6], run.forward(x, [[(3, 24)]]).hidden[0, : 3 + 6])


def test_training_drops_by_the_places_before_answers() -> None:
    run, x = dropping(), embeds(50)
    labels = torch.full((1, 50), -100)
    labels[0, 40:44] = 7
    labels[0, 47:] = 8
    out = run.forward(x, [[(3, 24)]], labels=labels)
    assert out.labels is not None
    assert (out.labels == 7).sum() == 4
    assert (out.labels == 8).sum() == 3
    assert out.labels.shape[1] == out.hidden.shape[1] == 50 - 18
    undecided = run.forward(x, [[(3, 24)]], labels=torch.full((1, 50), -100))
    assert undecided.lengths == [50]


def test_gradients_flow_through_what_stays() -> None:
    run, x = dropping(), embeds(50).requires_grad_()
    run.forward(x, [[(3, 24)]]).hidden.square().sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().sum(-1) > 0).all()  # also dropped tokens: earlier layers have seen them


@torch.inference_mode()
def test_no_square_of_the_length_is_ever_held() -> None:
    run, tokens = dropping(), 3000
    x = embeds(tokens)
    with LiveBytes() as live:
        run.forward(x, [[(10, 2900)]])
    assert live.peak < tokens * tokens  # bytes: a quarter of one float32 L x L matrix, a sixteenth of four heads'


def test_wrong_settings_are_refused() -> None:
    for values, message in [
        ({"layers": [2], "ratios": [1]}, "1 layers need 2 ratios"),
        ({"layers": [4, 2], "ratios": [1, 0.5, 0.2]}, "ascend"),
        ({"layers": [2, 4], "ratios": [1, 0.2, 0.5]}, "fall"),
    ]:
        with pytest.raises(ConfigError, match=message):
            load_mapping(values, VisualDropoutConfig, source="x.yaml")
    with pytest.raises(InputMismatch, match="after layer 24 of a decoder of 6 layers"):
        DroppingDecoder(decoder(), VisualDropoutConfig())
    with pytest.raises(InputMismatch, match="beyond its sequence of 20"):
        dropping().forward(embeds(20), [[(3, 24)]])
