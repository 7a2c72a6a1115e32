"""Batches of the needle lessons: their truth, and that they are always the same."""

from random import Random

import numpy as np
import pytest

from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.checkpoint.loading import load_pretrained
from afterview.training.tiny.bank import BankConfig, plan_bank
from afterview.training.tiny.lettered import LetteredWords
from afterview.training.tiny.needle_bank import Gallery, PicturesConfig, plan_gallery
from afterview.training.tiny.needle_stories import LESSON_KINDS, Albums, NeedleBatch, NeedlePlan, make_needle_batch
from afterview.training.tiny.stories import Shelf, shelf_of
from afterview.training.world import WorldQuestion
from afterview.training.world.vocabulary import FIRST_TRAINING_SEED

FORGETTING = ForgettingConfig(spatial="uniform", spatial_ratio=16, max_frames=8, min_frames=2)
PLAN = NeedlePlan(frames=28, lettered=1.0, stories=6, questions=10, single=0.4, hops=(1, 2))


@pytest.fixture(scope="module")
def words() -> LetteredWords:
    tokenizer = load_pretrained("tiny").tokenizer
    assert tokenizer is not None
    return LetteredWords(tokenizer)


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    return shelf_of(plan_bank(BankConfig(seeds=1, clips=12, backgrounds=12, first_seed=FIRST_TRAINING_SEED + 9000)))


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    config = PicturesConfig(seeds=2, with_clue=60, without_clue=60, first_seed=FIRST_TRAINING_SEED + 9100)
    return plan_gallery(config, first_row=500)


def batch(gallery: Gallery, shelf: Shelf, words: LetteredWords, number: int) -> NeedleBatch:
    return make_needle_batch(PLAN, Albums.of(gallery), shelf, words, FORGETTING, seed=1, number=number)


def test_the_needles_of_a_question_prove_it_and_a_chain_begins_where_its_clue_is(
    gallery: Gallery, shelf: Shelf, words: LetteredWords
) -> None:
    made = batch(gallery, shelf, words, 0)
    assert made.rows.shape == (6, 28)
    assert (made.needles.sum(1) == 1).all()
    tokenizer = words._core
    for row in range(60):
        story = row // 10
        picture = gallery.pictures[made.rows[story][made.needles[row]].item() - 500]
        text = tokenizer.decode(made.after[row][: made.after_lengths[row]].tolist(), skip_special_tokens=False)
        answer = tokenizer.decode(made.answers[row][: made.answer_lengths[row]].tolist(), skip_special_tokens=False)
        option = text.split(f"({answer[0]}) ")[1].split("\n")[0]
        kind = LESSON_KINDS[made.kinds[row]]
        if kind == "caption":
            assert option == picture.caption
            first = gallery.pictures[made.rows[story][made.firsts[row]][0].item() - 500]
            assert first.clue is not None
        elif kind == "final":
            assert option in (picture.thing.place, picture.thing.scene)
        else:
            assert kind == "needle"
            thing = picture.thing
            assert option in (thing.colour, thing.shape, thing.size, thing.place, thing.scene, thing.text)
            assert (made.firsts[row] == made.needles[row]).all()


def test_a_batch_depends_on_its_number_alone(gallery: Gallery, shelf: Shelf, words: LetteredWords) -> None:
    one, same, other = (batch(gallery, shelf, words, number) for number in (3, 3, 4))
    assert np.array_equal(one.after, same.after)
    assert np.array_equal(one.rows, same.rows)
    assert not np.array_equal(one.rows, other.rows)


def test_the_letter_of_a_question_with_options_is_that_of_its_answer(words: LetteredWords) -> None:
    question = WorldQuestion(
        kind="colour", text="What colour was the ring?", answer="red", wrong=("blue", "green", "not seen"), at_s=10.0
    )
    words.share, words.noted = 1.0, []
    for number in range(20):
        text = words.read(question, 100, Random(number), noisy=0.0)
        asked = words._core.decode(text.after, skip_special_tokens=False)
        letter = words._core.decode(text.answer, skip_special_tokens=False)[0]
        assert f"({letter}) red\n" in asked or f"{letter}. red" in asked
    assert words.noted == [True] * 20
    words.share = 0.0
    assert words._core.decode(words.read(question, 100, Random(1), 0.0).answer[:1]) == "red"
