"""The preset of the built-in model knows the words of its world: at most 2 % of generated questions are declined."""

import re
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import pytest

from afterview.model.checkpoint.preset import find_preset
from afterview.model.language.scope import Scope, words_of
from afterview.training.evaluation.plan import VARIANTS, VariantName, WorldTest, questions_for
from afterview.training.world.phrasing import HELD_OUT, PHRASINGS
from afterview.training.world.rewording import reworded
from afterview.training.world.vocabulary import CAMERAS, COLOURS, SCENES, SHAPES, SIZES

MOST_DECLINED = 0.02
NEEDLES = ("colour", "shape", "size", "where", "motion", "scene", "digit", "word", "when", "last")
ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


@cache
def scope() -> Scope:
    found = find_preset("tiny").scope
    assert found is not None
    return found


@cache
def asked(variant: VariantName, **changes: Any) -> tuple[tuple[str, str], ...]:
    """Kind and text of the questions that an evaluation asks about six worlds."""
    test = WorldTest(range(100, 106), frames=600, questions=120, variant=variant, **changes)
    return tuple((q.kind, q.text) for seed in test.seeds for q in questions_for(test.footage(seed), test))


def declined(texts: list[str]) -> list[str]:
    return [text for text in texts if scope().declines(text, CAMERAS)]


def share(texts: list[str], what: str) -> float:
    refused = declined(texts)
    print(f"{what}: {len(refused)} of {len(texts)} are declined: {refused[:5]}")
    return len(refused) / len(texts)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("changes", [{}, {"held_out_wordings": True}, {"reworded": True}], ids=str)
def test_questions_of_evaluations_are_answered(variant: VariantName, changes: dict[str, Any]) -> None:
    texts = [text for _, text in asked(variant, **changes)]
    assert len(texts) >= 150
    assert share(texts, f"{variant} {changes}") <= MOST_DECLINED


def test_needles_lose_at_most_half_a_point() -> None:
    for changes in ({}, {"held_out_wordings": True}, {"reworded": True}):
        texts = [text for kind, text in asked("plain", **changes) if kind in NEEDLES]
        assert len(texts) >= 150
        assert share(texts, f"needles {changes}") <= 0.005


def test_every_wording_is_answered_as_it_is_and_reworded() -> None:
    rng = Random(7)
    slots = {"the": "the red circle", "a": "a blue star", "one": "the word STOP", "two": "the big ring", "three": "the digit 7",
             "qualifier": " in the forest scene", "attribute": "colour", "camera": "gate", "question": "What do you see now?"}  # fmt: skip
    texts = [text.format(**slots, scene=rng.choice(SCENES)) for texts in PHRASINGS.values() for text in texts]
    held_out = [text.format(**slots, scene="city") for texts in PHRASINGS.values() for text in texts[-HELD_OUT:]]
    assert share(texts, "wordings") <= MOST_DECLINED
    assert share(held_out, "held-out wordings") <= MOST_DECLINED
    for often in (0.35, 1.0):
        assert (
            share([reworded(text, rng, often) for text in texts for _ in range(2)], f"reworded {often}")
            <= MOST_DECLINED
        )


def test_letters_in_any_case_do_not_matter() -> None:
    texts = [text for _, text in asked("plain")]
    changes: list[Callable[[str], str]] = [str.upper, str.lower, str.title]
    assert [share([change(text) for text in texts], change.__name__) for change in changes] == [0, 0, 0]


def test_a_typing_mistake_seldom_declines_a_question() -> None:
    """One in a random word of four letters or more: 2 % may look like another word."""
    rng = Random(11)
    texts = [
        mistyped(text, rng) for changes in ({}, {"held_out_wordings": True}) for _, text in asked("plain", **changes)
    ]
    assert share(texts, "mistyped") <= MOST_DECLINED


def mistyped(text: str, rng: Random) -> str:
    """The text with two letters swapped, one missing, twice, or the one of a key beside it."""
    found = rng.choice(list(re.finditer(r"[a-z]{4,}", text)))
    word, place = found.group(), rng.randrange(len(found.group()) - 1)
    row = next(row for row in ROWS if word[place] in row)
    key = row.index(word[place])
    beside = rng.choice(row[max(0, key - 1) : key] + row[key + 1 : key + 2])
    wrong = rng.choice(
        [word[place + 1] + word[place], word[place + 1], word[place] * 2 + word[place + 1], beside + word[place + 1]]
    )
    return text[: found.start()] + word[:place] + wrong + word[place + 2 :] + text[found.end() :]


def test_the_things_of_the_world_are_things_or_words_of_the_preset() -> None:
    assert {*SHAPES, *SCENES} <= set(words_of(scope().things))
    assert {*COLOURS, *SIZES} <= set(words_of(scope().about))
