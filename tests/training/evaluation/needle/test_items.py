"""Needles of the synthetic world: their truth, and what tells it."""

from collections import Counter
from itertools import pairwise

import numpy as np

from afterview.training.base.seeds import seeded
from afterview.training.evaluation.needle.items import world_items
from afterview.training.world.needles import (
    CORNER,
    SINGLE_KINDS,
    draw_chain,
    draw_picture,
    final_question,
    single_question,
)
from afterview.training.world.vocabulary import PLACES, SCENES


def test_items_do_not_depend_on_how_many_there_are() -> None:
    few, many = world_items(3, 4, 2), world_items(3, 9, 3)
    assert many.single[:4] == few.single
    assert [item for item in many.multi if int(item.id.rsplit("-", 1)[1]) < 2] == few.multi
    assert world_items(4, 4, 2).single != few.single


def test_every_kind_is_asked_with_four_options_and_letters_at_random() -> None:
    items = world_items(0, 140, 1).single
    assert Counter(item.kind for item in items) == dict.fromkeys(SINGLE_KINDS, 20)
    letters = Counter(item.asked[0].letter for item in items)
    assert min(letters[letter] for letter in "ABCD") > 20, "no letter is right much more often than another"
    for item in items:
        (asked,) = item.asked
        assert len(asked.options) == (2 if item.kind == "size" else 4)
        assert item.kind == "size" or asked.options[asked.letter] not in asked.stem, "the caption tells the answer"
        assert asked.text.endswith("Only give the best option. Best option: (")
        assert f"({asked.letter}) {asked.options[asked.letter]}" in asked.text


def test_the_right_option_is_what_the_picture_shows() -> None:
    rng = seeded("test 1")
    picture = draw_picture(rng, {"kind": "object", "colour": "red", "shape": "ring", "size": "big"}, "city")
    truth = {"colour": "red", "shape": "ring", "size": "big", "scene": "city", "where": picture.thing.place}
    for kind, answer in truth.items():
        choice = single_question(rng, picture, kind)
        assert choice.options["ABCD".index(choice.letter)] == answer


def test_a_chain_leads_to_its_last_picture_and_the_decoys_never_do() -> None:
    for number in range(20):
        chain, decoys = draw_chain(seeded(f"test {number}"), 3)
        for pictures in (chain, decoys):
            assert pictures[-1].clue is None, "the needle is not marked"
            for here, following in pairwise(pictures):
                assert here.clue is not None
                assert (here.clue.colour, here.clue.shape) == (following.thing.colour, following.thing.shape)
                assert here.clue.place == CORNER
        shown = [picture.caption for picture in (*chain, *decoys)]
        assert len(chain) == 4
        assert len(decoys) == 3
        assert len(set(shown)) == 7
        assert all(picture.thing.place != CORNER for picture in (*chain, *decoys))


def test_the_question_of_the_last_picture_cannot_be_answered_from_the_clue() -> None:
    chain, _ = draw_chain(seeded("test 7"), 1)
    values = {"where": set(PLACES), "scene": set(SCENES)}
    for kind, possible in values.items():
        choice = final_question(seeded("test 8"), chain[0], chain[-1], kind)
        assert set(choice.options) <= possible


def test_the_caption_of_the_decoys_end_is_marked_where_it_is_offered() -> None:
    for item in world_items(0, 1, 12).multi:
        caption, final = item.asked
        assert caption.decoy != caption.letter
        assert not final.decoy
        if item.hops == 1:  # four options of five pictures, without the first one
            assert caption.decoy in caption.options


def test_chains_are_shuffled_in_time() -> None:
    items = world_items(0, 1, 12).multi
    orders = {tuple(int(key.rsplit("-", 1)[1]) for key in item.pictures) for item in items if item.hops == 1}
    assert len(orders) > 5
    assert all([asked.name for asked in item.asked] == ["caption", "final"] for item in items)


def test_a_clue_is_drawn_in_the_corner_and_only_there() -> None:
    items = world_items(0, 1, 1, hops=(1,))
    first = items.pictures["multi-1-0-0"]()
    assert first.shape == (360, 640, 3)
    assert first.dtype == np.uint8
    (again,) = [items.pictures["multi-1-0-0"]()]
    assert np.array_equal(first, again)
