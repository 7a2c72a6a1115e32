"""Temperature, top-k, top-p, repetition penalty and stop texts, compared with transformers' own processors of logits."""

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from afterview.configs import UsageError
from afterview.model.base.generation import GenerationSettings
from afterview.model.language.sampling import GREEDY, choose
from afterview.model.language.stopping import StopTexts
from tests.model.language.test_decoder import embeds, language


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.7},
        {"temperature": 1.0, "top_k": 5},
        {"temperature": 1.3, "top_p": 0.6},
        {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05},  # Qwen2.5's own
        {"temperature": 2.0, "top_p": 1e-6},  # at least one token is left
    ],
)
def test_tokens_are_drawn_from_the_distribution_of_transformers(settings: dict[str, float]) -> None:
    own = GenerationSettings.model_validate(settings)
    processors = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(own.repetition_penalty)])
    processors += [TemperatureLogitsWarper(own.temperature)]
    processors += [TopKLogitsWarper(own.top_k)] if own.top_k else []
    processors += [TopPLogitsWarper(own.top_p)] if own.top_p < 1 else []
    for seed in range(30):
        logits = torch.randn(40, generator=torch.Generator().manual_seed(seed)) * 3
        said = torch.randint(40, (6,), generator=torch.Generator().manual_seed(seed + 100))
        scores = processors(said[None], logits[None].clone())
        expected = torch.multinomial(scores[0].softmax(-1), 1, generator=torch.Generator().manual_seed(seed))
        assert choose(logits, own, said.tolist(), torch.Generator().manual_seed(seed)) == int(expected)


def test_the_penalty_acts_on_greedy_answers_too() -> None:
    logits = torch.tensor([2.0, 1.9, -1.0])
    chance = torch.Generator()
    assert choose(logits, GREEDY, [0], chance) == 0
    assert choose(logits, GenerationSettings(repetition_penalty=1.2), [0], chance) == 1
    assert choose(logits, GenerationSettings(repetition_penalty=1.2), [], chance) == 0
    both = choose(torch.tensor([-1.0, -1.1]), GenerationSettings(repetition_penalty=1.2), [0], chance)
    assert both == 1  # a negative logit is multiplied


def test_penalised_greedy_answers_equal_those_of_transformers() -> None:
    model, x = language(), embeds()
    expected = model.decoder.generate(
        inputs_embeds=x[None], attention_mask=torch.ones(1, len(x), dtype=torch.long), max_new_tokens=16, do_sample=False,
        repetition_penalty=1.5,
    )  # fmt: skip
    tokens = list(model.generate(x, max_new_tokens=16, sampling=GenerationSettings(repetition_penalty=1.5)))
    assert tokens == expected[0].tolist()
    assert tokens != list(model.generate(x, max_new_tokens=16))


def test_an_answer_that_the_reader_ends_costs_no_further_tokens() -> None:
    model, ended, seen = language(), set[int](), list[tuple[int, int | None]]()
    for row, token in model.generate_several([embeds(12), embeds(7)], max_new_tokens=9, ended=ended):
        seen.append((row, token))
        if row == 0 and token is not None:
            ended.add(0)
    assert [token for row, token in seen if row == 0][1:] == [None]
    assert len([row for row, _ in seen if row == 1]) == 10  # nine tokens and its end


def said(pieces: list[str], stops: tuple[str, ...]) -> tuple[list[str], bool]:
    stop = StopTexts(stops)
    passed = [stop.push(piece) for piece in pieces]
    return [*passed, stop.rest()], stop.reached


@pytest.mark.parametrize(
    ("pieces", "stops", "text", "reached"),
    [
        (["a red", " ring.", " It"], (".",), "a red ring", True),
        (["a\n", "\nb"], ("\n\n",), "a", True),  # across pieces
        (["a\n", "b\n"], ("\n\n",), "a\nb\n", False),  # what was held back comes at the end
        (["xxab", "abac"], ("abac", "ba"), "xxa", True),  # the first in the text, not in the list
        (["aab"], ("ab",), "a", True),
        (["one"], (), "one", False),
    ],
)
def test_stop_texts_end_an_answer_and_are_not_part_of_it(
    pieces: list[str], stops: tuple[str, ...], text: str, reached: bool
) -> None:
    passed, stopped = said(pieces, stops)
    assert ("".join(passed), stopped) == (text, reached)


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", -0.1), ("top_p", 0.0), ("top_p", 1.1), ("max_new_tokens", 0), ("top_k", -1), ("stop", ("",))],
)
def test_settings_out_of_range_are_named(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=name):
        GREEDY.changed({name: value})


def test_none_keeps_a_setting() -> None:
    assert GREEDY.changed({"temperature": None, "top_k": 3}) == GenerationSettings(top_k=3)
