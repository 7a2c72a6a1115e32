"""Questions that the built-in model does not know are declined; those about its world are not."""

from pathlib import Path

import pytest

from afterview.configs import ConfigError, preset_names
from afterview.configs.loader import load_mapping
from afterview.model.checkpoint.preset import find_preset
from afterview.model.language.scope import Scope, words_of

QUESTIONS = Path(__file__).parent / "questions"
SMALL = Scope(
    summary="rings", examples=("Was there a ring?",), things="ring word card", words="was is there a the what many about colour",
    phrases=("word BUS",),
)  # fmt: skip


def tiny() -> Scope:
    scope = find_preset("tiny").scope
    assert scope is not None
    return scope


@pytest.mark.parametrize("name", ["out_of_world_development", "out_of_world_held_out"])
def test_at_least_95_of_100_questions_of_camera_owners_are_declined(name: str) -> None:
    questions = (QUESTIONS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    assert len(set(questions)) == 100
    answered = [question for question in questions if not tiny().declines(question)]
    print(f"{name}: {100 - len(answered)} of 100 are declined; not: {answered}")
    assert len(answered) <= 5


def test_only_a_preset_with_a_scope_declines() -> None:
    assert [name for name in preset_names() if find_preset(name).scope is not None] == ["tiny"]


def test_the_examples_can_be_asked() -> None:
    assert not [example for example in tiny().examples if tiny().declines(example)]
    for example in tiny().examples:
        assert example in tiny().text


@pytest.mark.parametrize(
    "question",
    [
        "Was there a ring?",
        "WAS THERE A RING",
        "What's the colour, about 7 rings?",
        "What is the word BUS?",
        "the word bus",
    ],
)
def test_known_words_are_answered_in_any_case_and_number(question: str) -> None:
    assert not SMALL.declines(question)


@pytest.mark.parametrize(
    "question", ["Was there a dog?", "Is there a bus?", "狗在哪里?", "Qu'est-ce que c'est?", "?", "42"]
)
def test_one_unknown_word_or_none_that_is_known_is_enough(question: str) -> None:
    assert SMALL.declines(question)


@pytest.mark.parametrize(
    "question",
    ["Was there a rng?", "Was there a ting?", "Was there a rign?", "Was there a riing?", "Waht ring?", "Wht ring is there?",
     "What is the wrod BUS?"],
)  # fmt: skip
def test_one_typing_mistake_is_forgiven(question: str) -> None:
    assert not SMALL.declines(question)


@pytest.mark.parametrize(
    "question",
    [
        "Was there a car?",  # not "card"
        "Was there a hat?",  # nothing that it knows is named, so this is the thing, not a misspelt "what"
        "Was the man a ring?",  # not "many"
        "Waht rign is there?",  # two mistakes
    ],
)
def test_another_word_is_no_typing_mistake(question: str) -> None:
    assert SMALL.declines(question)


@pytest.mark.parametrize(
    "question",
    [
        "What happened?", "What is going on?", "What's going on?", "what happened", "WHAT HAPPENED?", "What was seen?", "What is there?",
        "What changed?", "Has anything changed?", "Tell me everything", "Is everything ok?", "Hello", "hi", "ok", "Why?", "When?",
        "How many?", "What did you see?", "Describe what you see", "What hapened?",
    ],
)  # fmt: skip
def test_questions_about_nothing_in_particular_are_declined(question: str) -> None:
    assert tiny().declines(question)


@pytest.mark.parametrize(
    "question",
    [
        "What is red?",
        "What is shown now?",
        "What is on the left?",
        "What is yelow?",
        "What was written?",
        "Sum up the video",
    ],
)
def test_a_value_or_the_present_is_something_in_particular(question: str) -> None:
    assert not tiny().declines(question)


def test_a_scope_that_names_no_subjects_accepts_questions_about_nothing() -> None:
    assert not SMALL.declines("what was there")
    assert SMALL.model_copy(update={"about": "red"}).declines("what was there")


def test_names_of_cameras_are_known_in_any_question() -> None:
    assert SMALL.declines("Was there a ring, front door?")
    assert not SMALL.declines("Was there a ring, Front Door?", ["hall", "front-door"])
    assert SMALL.declines("Was the front door open?", ["hall", "front-door"])


def test_words_of_a_text() -> None:
    assert words_of("What's the 2nd WORD? I can't, didn’t") == ["what", "the", "nd", "word", "i", "can", "did"]


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'phrases'"):
        load_mapping({**SMALL.model_dump(), "phrase": []}, Scope, source="mine.yaml")
    with pytest.raises(ConfigError, match="examples"):
        load_mapping({**SMALL.model_dump(), "examples": []}, Scope, source="mine.yaml")
