"""How likely an answer begins with a text, and how a model that points to options says a letter."""

from pathlib import Path

import numpy as np
import pytest
import torch

from afterview.memory.plans.positions import plan_layout
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.moments import OPTION, option_id
from afterview.model.video_language import VideoInputs
from afterview.training.evaluation.likelihood import log_likelihood, tokens_said
from afterview.training.tiny.pointing import with_pointers
from tests.support.presets import write_preset

PROMPT = "What colour was the ring?\nA. red\nB. dark red\nC. blue"
OPTIONS = {"A": "red", "B": "dark\nred", "C": "blue"}


@pytest.fixture(scope="module")
def model() -> AfterviewModel:
    return with_pointers(load_pretrained("tiny", device="cpu", dtype="float32"), (OPTION,))


@pytest.fixture(scope="module")
def inputs(model: AfterviewModel) -> VideoInputs:
    features = torch.randn(24, 64, 128, generator=torch.Generator().manual_seed(3)).half()
    layout = plan_layout(24, np.arange(24), config=model.preset.forgetting, trained_frames=12_000)
    return model.video_language.inputs_embeds(features, layout, model.prompt(PROMPT, frames=24, seconds=24.0))


def test_the_likelihood_of_tokens_is_the_product_of_each_after_the_others(
    model: AfterviewModel, inputs: VideoInputs
) -> None:
    language, total = model.video_language.language, 0.0
    ids = [5, 9, 30]
    for number, token in enumerate(ids):
        with torch.inference_mode():
            whole = torch.cat([inputs.inputs_embeds, language.embed(np.array(ids[:number], np.int64))])
            logs = language.logits(language(whole[None])[0, -1]).double().log_softmax(-1)
        total += float(logs[token])
    said, greedy = log_likelihood(model, inputs, ids)
    assert said == pytest.approx(total, abs=1e-4)
    assert not greedy
    best = next(iter(model.video_language.generate(inputs, max_new_tokens=1)))
    assert log_likelihood(model, inputs, [best])[1]


def test_a_letter_is_said_by_the_words_of_its_option_to_their_end(model: AfterviewModel) -> None:
    assert model.tokenizer is not None
    for letter, words in (("A", "red"), (" B", "dark red"), ("(C)", "blue")):
        ids = tokens_said(model, letter, OPTIONS)
        assert ids[0] == option_id(model.tokenizer)
        assert ids[-1] == model.tokenizer.eos_token_id
        assert model.tokenizer.decode(ids[1:-1]) == words
    assert model.tokenizer.decode(tokens_said(model, "D", OPTIONS)) == "D"  # no option
    assert model.tokenizer.decode(tokens_said(model, "red", OPTIONS)) == "red"
    assert model.tokenizer.decode(tokens_said(model, "A", {})) == "A"


def test_a_model_that_does_not_point_says_the_letter(tmp_path: Path) -> None:
    plain = load_pretrained(write_preset(tmp_path), device="cpu")
    assert plain.tokenizer is not None
    assert plain.tokenizer.decode(tokens_said(plain, "B", OPTIONS)) == "B"
