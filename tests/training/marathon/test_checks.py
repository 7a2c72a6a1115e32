"""The rules against single questions, and near duplicates."""

from typing import Any

import pytest

from afterview.training.marathon.checks.agreement import same_answer, seconds_in
from afterview.training.marathon.checks.duplicates import duplicates
from afterview.training.marathon.checks.form import faults
from afterview.training.marathon.config import ChecksConfig
from afterview.training.marathon.rows import Moment, Question, Span

MOMENTS = [Moment(start_s=60.0, end_s=75.0, aspect="action", text="a man opens a door")]


def question(**values: Any) -> Question:
    base = {
        "key": "k", "video": "v", "topic": "object", "task": "object attribute", "form": "choice", "question": "What colour is the door?",
        "answer": "green", "wrong": ("red", "blue", "brown"),
    }  # fmt: skip
    return Question.model_validate({**base, **values})


def when(**values: Any) -> Question:
    given = {
        "topic": "temporality",
        "task": "temporal perception",
        "form": "open",
        "question": "When is it opened?",
        "answer": "00:01:00",
    }
    return question(**{**given, "wrong": (), "answer_s": 60.0, "spans": (Span(start_s=60, end_s=75),), **values})


@pytest.mark.parametrize(
    ("one", "reasons"),
    [
        (question(), []),
        (question(task="object colour"), ["task"]),
        (question(task="action recognition"), ["task"]),
        (question(question="What colour is the green door?"), ["leak"]),
        (question(form="open", wrong=(), question="Which came first, the cat or the dog?", answer="The cat."), []),
        (question(form="open", wrong=(), question="Is it a yes?", answer="yes"), []),
        (question(wrong=()), ["options"]),
        (question(wrong=("Green.", "blue", "red")), ["options"]),
        (question(wrong=("red", "the red", "blue")), ["options"]),
        (question(wrong=("red", "none of the above")), ["options"]),
        (question(answer="a tall man", wrong=("a tall man in a hat", "a dog", "a small boy")), ["options"]),
        (question(answer="2 minutes", wrong=("120 seconds", "3 minutes", "1 hour")), ["options"]),
        (question(answer="three", wrong=("2", "3", "4")), ["options"]),
        (question(answer="3", wrong=("red", "2", "4")), ["form"]),
        (question(answer="a man who opens a green wooden door and leaves the house", wrong=("a dog", "a cat sits", "a bird")), ["form"]),
        (when(), []),
        (when(answer="at about 00:01:01"), []),
        (when(answer="soon", answer_s=None), ["time"]),
        (when(answer="00:02:00", answer_s=120.0), ["time"]),  # outside of its own span
        (when(answer="00:02:00", answer_s=120.0, spans=()), ["time"]),  # nothing begins or ends then
        (when(answer="00:01:00", answer_s=75.0), ["time"]),
        (when(answer="00:09:00", answer_s=540.0, spans=()), ["time"]),  # after the end
        (when(task="duration perception", answer="15 seconds", answer_s=15.0), []),
        (when(task="duration perception", answer="long", answer_s=None), ["time"]),
    ],
)  # fmt: skip
def test_faults(one: Question, reasons: list[str]) -> None:
    assert faults(one, 300.0, MOMENTS, ChecksConfig()) == reasons


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:01:10", 70.0), ("1:10", 70.0), ("01:00:00", 3600.0), ("1 minute 12 seconds", 72.0), ("2 hours and 3 min", 7380.0),
        ("about 90 s", 90.0), ("at 00:00:05.", 5.0), ("3 red balls", None), ("10", None), ("5 seconds after the dog", None), ("", None),
    ],
)  # fmt: skip
def test_times_in_words(text: str, seconds: float | None) -> None:
    assert seconds_in(text) == seconds


def test_answers_that_say_the_same() -> None:
    assert same_answer("The red circle.", "a red circle")
    assert same_answer("three", "3")
    assert same_answer("00:01:10", "1:11", tolerance_s=2.0)
    assert not same_answer("00:01:10", "70 seconds"), "a time is no duration"
    assert not same_answer("red circle, blue star", "blue star, red circle")
    assert not same_answer("", "")


def test_near_duplicates() -> None:
    texts = [
        "What colour is the big door?",
        "What colour is the door that is big?",
        "What colour is the small door?",
        "What colour is the big door?",
    ]
    assert duplicates(texts, ["green"] * 4, 0.97) == [False, False, False, True]
    assert duplicates(["A or B?", "B or A?"], ["A", "A"], 0.97) == [False, True]
    assert duplicates([], [], 0.97) == []
    assert duplicates(["???", "!!!"], ["a", "b"], 0.97) == [False, False]
