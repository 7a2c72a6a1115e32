"""Batches of the needle lessons: their truth, and that they are always the same."""

import dataclasses
from random import Random

import numpy as np
import pytest
import torch

from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.language.moments import OPTION
from afterview.stream.ask.options import options_in
from afterview.training.tiny.bank import BankConfig, plan_bank
from afterview.training.tiny.clue_cells import CELLS
from afterview.training.tiny.device_batch import DeviceBatch, to_device
from afterview.training.tiny.lettered import LetteredWords
from afterview.training.tiny.needle_bank import Gallery, PicturesConfig, plan_gallery
from afterview.training.tiny.needle_stories import (
    LESSON_KINDS,
    Albums,
    NeedleBatch,
    NeedlePlan,
    joined_fields,
    make_needle_batch,
)
from afterview.training.tiny.stories import Shelf, shelf_of
from afterview.training.tiny.study import StudyObjective
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
        option = answer.removeprefix(OPTION).removesuffix("<|im_end|>")
        assert option in options_in(text).values()
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


def test_evidence_is_asked_of_the_sentence_that_says_what_to_find(
    gallery: Gallery, shelf: Shelf, words: LetteredWords
) -> None:
    made = batch(gallery, shelf, words, 0)
    ready = dataclasses.replace(
        to_device(joined_fields(made), torch.zeros(2000, 1, 1)), openings=torch.from_numpy(made.openings)
    )
    for row, seeking in enumerate(ready.seeking):
        sentence = words._core.decode(made.after[row][seeking.numpy()].tolist())
        assert sentence.startswith("Find the frame of ")
        assert sentence.index(".") == len(sentence) - 1
    assert torch.equal(dataclasses.replace(ready, openings=None).seeking, ready.asked)


def test_only_so_many_hops_are_asked_about_as_the_lesson_says(
    gallery: Gallery, shelf: Shelf, words: LetteredWords
) -> None:
    plan = PLAN.model_copy(update={"single": 0.0, "hops": (1,)})
    made = make_needle_batch(plan, Albums.of(gallery), shelf, words, FORGETTING, seed=1, number=0)
    chained = [row for row in range(60) if LESSON_KINDS[made.kinds[row]] in ("caption", "final")]
    assert len(chained) > 20
    for row in chained:
        rows = made.rows[row // 10]
        (clue,) = (gallery.pictures[number - 500].clue for number in rows[made.firsts[row]])
        (proof,) = (gallery.pictures[number - 500].thing for number in rows[made.needles[row]])
        assert (clue.colour, clue.shape) == (proof.colour, proof.shape)


def test_no_clue_at_all_does_not_tell_the_end_of_a_chain(gallery: Gallery, shelf: Shelf, words: LetteredWords) -> None:
    plan = PLAN.model_copy(update={"others": 3, "single": 0.0, "hops": (1,), "stories": 12, "questions": 1})
    made = make_needle_batch(plan, Albums.of(gallery), shelf, words, FORGETTING, seed=1, number=0)
    ends = set()
    for rows in made.rows:
        shown = [gallery.pictures[row - 500] for row in rows if row >= 500]
        assert len({picture.caption for picture in shown}) == len(shown)
        assert sum(picture.clue is not None for picture in shown) == 3  # one of the chain, two of the decoys
        ends.add(sum(picture.clue is None for picture in shown))
    assert ends == {2, 3, 4, 5}


def test_what_a_clue_tells_is_named_by_the_block_that_reads_it_and_only_in_chains(
    gallery: Gallery, shelf: Shelf, words: LetteredWords
) -> None:
    model = load_pretrained("tiny", device="cpu", dtype="float32")
    names, told = torch.tensor([11, 12, 13]), torch.tensor([True, True, False])
    objective = StudyObjective(
        model.video_language, words.head, forgetting=FORGETTING, kinds=LESSON_KINDS, names=names, clue_weight=1.0,
        clue_names=told,
    ).eval()  # fmt: skip

    def ready(single: float, shown: torch.Tensor) -> DeviceBatch:
        plan = PLAN.model_copy(update={"single": single, "stories": 1, "questions": 4, "lettered": 0.0, "hops": (1,)})
        made = make_needle_batch(plan, Albums.of(gallery), shelf, words, FORGETTING, seed=1, number=0)
        features = torch.randn(2000, 64, 128, generator=torch.Generator().manual_seed(0)).half()
        on_device = to_device(joined_fields(made), features, shown.expand(2000, 3))
        return dataclasses.replace(on_device, clue_cells=torch.tensor(CELLS))

    def clue(single: float, *shown: bool) -> float:
        with torch.no_grad():
            return float(objective(ready(single, torch.tensor(shown))).figures["clue"])

    assert clue(1.0, True, True, True) == 0.0  # no clue leads to a single picture
    assert clue(0.0, False, False, True) == 0.0  # a word that no clue tells
    both, one, other = clue(0.0, True, True, False), clue(0.0, True, False, True), clue(0.0, False, True, False)
    assert both == pytest.approx((one + other) / 2, rel=1e-4)
    with torch.no_grad():
        for block in model.video_language.memaug.layers[2:]:  # behind the block that reads the clue
            for weights in block.parameters():
                weights.zero_()
    assert clue(0.0, True, True, False) == pytest.approx(both, rel=1e-4)


def test_a_batch_depends_on_its_number_alone(gallery: Gallery, shelf: Shelf, words: LetteredWords) -> None:
    one, same, other = (batch(gallery, shelf, words, number) for number in (3, 3, 4))
    assert np.array_equal(one.after, same.after)
    assert np.array_equal(one.rows, same.rows)
    assert not np.array_equal(one.rows, other.rows)


def test_a_question_with_options_is_answered_by_the_words_of_one(words: LetteredWords) -> None:
    question = WorldQuestion(
        kind="colour", text="What colour was the ring?", answer="red", wrong=("blue", "green", "not seen"), at_s=10.0
    )
    words.share, words.noted = 1.0, []
    for number in range(20):
        text = words.read(question, 100, Random(number), noisy=0.0)
        asked = words._core.decode(text.after, skip_special_tokens=False)
        assert words._core.decode(text.answer, skip_special_tokens=False) == f"{OPTION}red<|im_end|>"
        assert "red" in options_in(asked.replace("<|im_end|>", "")).values()
    assert words.noted == [True] * 20
    words.share = 0.0
    assert words._core.decode(words.read(question, 100, Random(1), 0.0).answer[:1]) == "red"
