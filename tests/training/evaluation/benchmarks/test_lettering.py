"""Lettered options in the forms that occur, and which letter a published answer means."""

from typing import Any

import pytest

from afterview.training.evaluation.benchmarks.lettering import (
    Published,
    as_list,
    letter_of,
    lettered,
    letters_of,
    split_options,
    why_no_options,
)
from tests.support.benchmark_data import COLOURS

PLAIN = dict(zip("ABCD", COLOURS, strict=True))
NAN = float("nan")


def test_options_with_and_without_letters() -> None:
    for form in ("{}. {}", "({}) {}", "{}) {}", "{}: {}"):
        assert lettered([form.format(*pair) for pair in PLAIN.items()]) == PLAIN
    assert lettered(COLOURS) == PLAIN
    assert lettered(["A. red", "blue"]) == {"A": "A. red", "B": "blue"}  # a letter that only some have is text
    assert lettered([2, 3.5]) == {"A": "2", "B": "3.5"}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["x"] * 9, "more than 8 options"),
        (["x"], "a single option"),
        ([], "no options"),
        (["", None, NAN], "no options"),
        (["red", "", "green"], "an option is empty"),
        (["red", None, "green"], "an option is empty"),
        (["red", NAN, "green"], "an option is empty"),
        (["B. red", "A. blue"], "options are lettered in another order"),
        (["A. red", "C. blue", "D. x"], "options are lettered in another order"),
        (["A. red", "B. blue", "D. grey", "C. green"], "options are lettered in another order"),
        (["A. red", "B. blue", "green"], "options are lettered in another order"),
    ],
)
def test_what_are_no_options_says_why(values: list[Any], why: str) -> None:
    """An empty one before the end would move the letters of the others."""
    assert (lettered(values), why_no_options(values)) == ({}, why)


def test_empty_cells_at_the_end_are_none() -> None:
    assert lettered(["red", "blue", "", None, NAN]) == {"A": "red", "B": "blue"}


@pytest.mark.parametrize(
    ("answer", "published", "letter"),
    [
        ("B", "letter", "B"), ("(B)", "letter", "B"), ("B.", "letter", "B"), ("B. blue", "letter", "B"), ("b) blue", "letter", "B"),
        ("b", "letter", "B"), ("blue", "letter", "B"), ("B. red", "letter", "B. red"), ("1", "letter", "1"), ("E", "letter", "E"),
        (1, "number", "B"), ("1", "number", "B"), (1.0, "number", "B"), (7, "number", "7"), ("B", "number", "B"), ("blue", "number", "B"),
        ("9" * 5000, "number", "9" * 5000), (-1, "number", "-1"), (1.5, "number", "1.5"),
        ("blue", "text", "B"), ("Blue", "text", "B"), ("B. blue", "text", "B"), ("B", "text", "B"), ("Blue sky", "text", "Blue sky"),
        (1, "text", "1"), (True, "letter", ""), (None, "text", ""), (NAN, "text", ""),
    ],
)  # fmt: skip
def test_what_a_published_answer_means(answer: Any, published: Published, letter: str) -> None:
    assert letter_of(answer, PLAIN, published) == letter


@pytest.mark.parametrize(
    ("options", "answer", "published", "letter"),
    [
        (["2", "3", "1", "4"], 2, "number", "C"),
        (["1", "0"], 0, "number", "A"),
        (["3", "0", "1", "2", "4"], "0", "number", "A"),
        (["A", "C", "B", "D"], "B", "letter", "B"),
        (["A", "C", "B", "D"], "B", "text", "C"),
        (["1", "3", "5"], "2", "text", "2"),
        (["2", "2", "1"], "2", "text", "A"),  # as lmms-eval: the first
        (["2", "3", "1", "0"], "3", "text", "B"),
        (["2", "3", "1", "0"], 0, "text", "D"),
    ],
)  # fmt: skip
def test_the_form_decides_where_an_answer_could_be_two_things(
    options: list[str], answer: Any, published: Published, letter: str
) -> None:
    assert letter_of(answer, lettered(options), published) == letter


def test_all_that_an_answer_of_unknown_form_can_mean() -> None:
    assert letters_of("B", PLAIN) == letters_of(1, PLAIN) == letters_of("blue", PLAIN) == {"B"}
    assert letters_of(2, lettered(["2", "3", "4"])) == {"A", "C"}
    assert letters_of("A", lettered(["B", "A"])) == {"A", "B"}
    assert letters_of("red", lettered(["red", "red", "blue"])) == {"A", "B"}
    assert letters_of("1", PLAIN, counted_from_one=True) == {"A", "B"}
    assert letters_of("pink", PLAIN) == letters_of(None, PLAIN) == letters_of(9, PLAIN) == set()


def test_lists_that_became_text() -> None:
    assert as_list('["a", "b"]') == as_list("['a', 'b']") == as_list("a\nb") == ["a", "b"]
    assert as_list("__import__('os')") == as_list("(" * 9000) == as_list(None) == as_list("a") == []
    assert as_list({"A": "red", "B": "blue"}) == as_list('{"a": "red", "b": "blue"}') == ["red", "blue"]
    assert as_list({"B": "blue", "A": "red"}) == as_list({"x": 1}) == as_list({}) == []


def test_options_are_the_last_lines_of_a_question() -> None:
    assert split_options("What?\n(A) red\n(B) blue") == ("What?", {"A": "red", "B": "blue"})
    assert split_options("What?\nA. red\nand round\nB. blue\n") == ("What?", {"A": "red and round", "B": "blue"})
    dialogue = "Complete the talk.\nA: How are you?\nB: Well.\n(A) red\n(B) blue"
    assert split_options(dialogue) == ("Complete the talk.\nA: How are you?\nB: Well.", {"A": "red", "B": "blue"})


@pytest.mark.parametrize(
    "text",
    [
        "What? (A) red\n(B) blue\n(C) green",
        "What?\nA. Smith says what?",
        "What?\n(A) red\n(C) blue",
        "What?\n(A) red\n(B)",
        "What?",
    ],
)
def test_lines_that_are_no_whole_set_of_options_stay_in_the_question(text: str) -> None:
    assert split_options(text) == (text, {})
