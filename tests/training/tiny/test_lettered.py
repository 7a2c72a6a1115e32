"""Questions with options: what the memory is asked is the question alone, in training as when answering."""

from random import Random

import numpy as np
import pytest
import torch

from afterview.memory.plans.positions import plan_layout
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.looks import FIRST, LOOKS, ORDER, names_in
from afterview.model.language.moments import OPTION
from afterview.stream.ask.options import options_in, without_options
from afterview.training.tiny.device_batch import to_device
from afterview.training.tiny.lessons import LessonPlan
from afterview.training.tiny.lettered import LetteredWords, make_mixed_batch, with_options
from afterview.training.tiny.pointing import with_pointers
from afterview.training.tiny.stories import Shelf, StoryBatch
from afterview.training.tiny.study import StudyObjective

FORGETTING = ForgettingConfig(spatial="uniform", spatial_ratio=16, max_frames=8, min_frames=2)
PLAN = LessonPlan(
    name="options", kinds={"colour": 1.0, "first": 1.0, "order": 1.0}, frames=24, stories=2, questions=8, most=1, wobble=0.0
)  # fmt: skip


@pytest.fixture(scope="module")
def model() -> AfterviewModel:
    found = with_pointers(load_pretrained("tiny", device="cpu", dtype="float32"), (OPTION,))
    object.__setattr__(found, "preset", found.preset.model_copy(update={"memory_queries": "question"}))
    return found


def drawn(model: AfterviewModel, shelf: Shelf, *, share: float) -> tuple[StoryBatch, LetteredWords]:
    assert model.tokenizer is not None
    words = LetteredWords(model.tokenizer, apart=True)
    batch = make_mixed_batch(PLAN, shelf, words, FORGETTING, share=share, seed=1, number=0)
    batch.rows[:] %= 400
    return batch, words


def test_what_is_learnt_is_what_answers_run(model: AfterviewModel, shelf: Shelf) -> None:
    batch, words = drawn(model, shelf, share=0.6)
    table = torch.randn(400, 64, 128, generator=torch.Generator().manual_seed(0)).half()
    objective = StudyObjective(model.video_language, words.head, forgetting=FORGETTING).eval()
    with torch.no_grad():
        embeds, masses, _ = objective.find(to_device(batch, table))
    assert model.tokenizer is not None
    assert masses is not None
    apart = 0
    for row in range(len(batch.after)):
        story, (start, end) = row // PLAN.questions, batch.words[row]
        text = model.tokenizer.decode(batch.after[row, start:end])
        asked = model.tokenizer.decode(batch.after[row, slice(*batch.question[row])])
        apart += asked != text
        span = int(batch.spans[story])
        prompt = model.prompt(text, frames=span, seconds=float(span), asked=asked)
        layout = plan_layout(span, batch.numbers[story], config=FORGETTING, trained_frames=12_000)
        plain = model.video_language.inputs_embeds(table[batch.rows[story]], layout, prompt)
        together = embeds[row, : len(plain.inputs_embeds)]
        torch.testing.assert_close(together, plain.inputs_embeds, atol=2e-4, rtol=1e-3)
        np.testing.assert_allclose(masses.mean(0)[row].numpy(), plain.frame_weights, atol=1e-5)
    assert 4 <= apart < len(batch.after)


def test_options_change_nothing_of_what_the_memory_is_asked(model: AfterviewModel) -> None:
    """The same evidence, and the same tokens of the question for the decoder, whatever options stand after it."""
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(24, 64, 128, generator=generator).half()
    layout = plan_layout(24, np.arange(24), config=FORGETTING, trained_frames=12_000)
    asked = "What colour was the ring?"

    def read(text: str) -> tuple[torch.Tensor, np.ndarray]:
        prompt = model.prompt(text, frames=24, seconds=24.0, asked=asked)
        inputs = model.video_language.inputs_embeds(features, layout, prompt)
        assert inputs.frame_weights is not None
        before = len(prompt.before) + sum(length for _, length in inputs.visual)
        start, end, _ = prompt.question.indices(len(prompt.after))
        return inputs.inputs_embeds[before + start : before + end], inputs.frame_weights

    alone, weights = read(asked)
    for text in (
        f"{asked}\nA. red\nB. blue",
        f"Select the best answer.\n{asked}\n(A) a green star\n(B) red\nBest option: (",
    ):
        question, seen = read(text)
        torch.testing.assert_close(question, alone, atol=1e-5, rtol=1e-5)
        np.testing.assert_allclose(seen, weights, atol=1e-7)
        whole = model.prompt(text, frames=24, seconds=24.0)
        other = model.video_language.inputs_embeds(features, layout, whole)
        assert other.frame_weights is not None
        assert np.abs(other.frame_weights - weights).max() > 1e-5  # as published, all that was written is looked for


def test_an_option_is_answered_by_its_words_after_the_token(model: AfterviewModel, shelf: Shelf) -> None:
    assert model.tokenizer is not None
    batch, _ = drawn(model, shelf, share=1.0)
    for row in range(len(batch.after)):
        options = options_in(model.tokenizer.decode(batch.after[row, slice(*batch.words[row])]))
        answer = model.tokenizer.decode(batch.answers[row, : batch.answer_lengths[row] - 1])
        assert len(options) >= 2
        assert answer.startswith(OPTION)
        said = answer.removeprefix(OPTION)
        if said.startswith(LOOKS):  # the things that are looked for; which option they are shows then
            assert not said.startswith((FIRST, ORDER)) or set(names_in(said.partition("|>")[2])) <= {
                name for option in options.values() for name in names_in(option)
            }
        else:
            assert said in options.values()


def test_without_the_token_an_option_is_answered_by_its_letter(model: AfterviewModel, shelf: Shelf) -> None:
    assert model.tokenizer is not None
    words = LetteredWords(model.tokenizer)
    words._option = ""
    batch = make_mixed_batch(PLAN, shelf, words, FORGETTING, share=1.0, seed=1, number=0)
    for row in range(len(batch.after)):
        options = options_in(model.tokenizer.decode(batch.after[row, slice(*batch.words[row])]))
        assert model.tokenizer.decode(batch.answers[row, : batch.answer_lengths[row] - 1]) in options
    assert (batch.question == batch.words).all()  # where nothing stands apart, all that was written is looked for


@pytest.mark.parametrize("wordy", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_every_form_of_options_is_read_as_these_options(seed: int, wordy: bool) -> None:
    rng = Random(seed)
    options = rng.sample(
        ["red", "a green ring", "not seen", "the word BUS", "ring, star, the digit 7"], rng.randint(2, 5)
    )
    text = with_options("What was it?", options, rng, wordy=wordy)
    assert list(options_in(text).values()) == options
    assert without_options(text).endswith("What was it?")
