"""Lettered options in a question's text: what they are, and what is asked without them."""

import pytest

from afterview.stream.ask.options import options_in, without_options
from afterview.stream.ask.question import Question

ASKED = "What colour was it?"


@pytest.mark.parametrize(
    ("text", "options", "asked"),
    [
        (f"{ASKED}\nA. red\nB. blue", {"A": "red", "B": "blue"}, ASKED),
        (f"{ASKED}\n(A) red\n(B) blue, mostly.\nBest option: (", {"A": "red", "B": "blue, mostly."}, ASKED),
        (f"{ASKED}\n  A) red \n\n  B) blue\nAnswer with the letter.", {"A": "red", "B": "blue"}, ASKED),
        (f"{ASKED}\nA: red\nB: blue\nC: A. Smith's car", {"A": "red", "B": "blue", "C": "A. Smith's car"}, ASKED),
        (f"Choose.\n{ASKED}\nOptions:\nA. red\nB. blue\nThe best answer is:", {"A": "red", "B": "blue"}, f"Choose.\n{ASKED}"),
        (f"{ASKED}\nOptions:\nA) red", {"A": "red"}, ASKED),  # one, as its heading says
        (f"{ASKED}\nA. red", {}, f"{ASKED}\nA. red"),  # may be an initial
        (f"{ASKED}\nA. red\nC. blue", {}, f"{ASKED}\nA. red\nC. blue"),  # no list
        (f"Example:\nA. no\nB. yes\n{ASKED}\nA. red\nB. blue", {"A": "red", "B": "blue"}, f"Example:\nA. no\nB. yes\n{ASKED}"),
        ("Which colour is A. Smith's car?", {}, "Which colour is A. Smith's car?"),
        ("Did Mr. B. park?", {}, "Did Mr. B. park?"),
        ("A. red\nB. blue", {"A": "red", "B": "blue"}, "A. red\nB. blue"),  # nothing else is asked
        (ASKED, {}, ASKED),
        ("", {}, ""),
    ],
)  # fmt: skip
def test_options_and_the_question_without_them(text: str, options: dict[str, str], asked: str) -> None:
    assert options_in(text) == options
    assert without_options(text) == asked


@pytest.mark.parametrize(
    ("listed", "options"),
    [
        ("A. blue and\nbig\nB. red and\nbig", {"A": "blue and big", "B": "red and big"}),
        ("A. blue and\r\n  big\r\nB. red and\r\nbig\r\n", {"A": "blue and big", "B": "red and big"}),
        ("A. a\nb\nB. c\nd\nAnswer with the letter.", {"A": "a b", "B": "c d"}),
        ("A. a\nb\nB. c\nAnswer with the letter.", {"A": "a b", "B": "c"}),
        ("A. a\nb\nB. c\nBest option: (", {"A": "a b", "B": "c"}),
        ("A. a\nb\nB. c\n\nLook closely.", {"A": "a b", "B": "c"}),
        ("A. a\nB. c\nLook closely.", {"A": "a", "B": "c"}),  # no option goes on: so no line of the last does
        ("A. a\n\nb\nB. c", {"A": "a b", "B": "c"}),
        ("A. a\nb\nB. c\nselected at last", {"A": "a b", "B": "c selected at last"}),
    ],
)
def test_an_option_goes_on_in_the_next_lines(listed: str, options: dict[str, str]) -> None:
    assert options_in(f"{ASKED}\n{listed}") == options
    assert without_options(f"{ASKED}\n{listed}") == ASKED


def test_options_that_are_handed_on_count_and_not_the_text() -> None:
    question = Question(ASKED, options={"A": "red"})
    assert question.to_dict()["options"] == {"A": "red"}
    assert "options" not in Question(ASKED).to_dict()


def test_nine_options_are_eight_as_scores_know_no_more() -> None:
    listed = "\n".join(f"{letter}. {letter * 2}" for letter in "ABCDEFGHI")
    assert list(options_in(f"{ASKED}\n{listed}")) == list("ABCDEFGH")


def test_frames_are_recalled_by_what_stands_before_the_options_unless_the_question_says_by_what() -> None:
    text = f"{ASKED}\nA. red\nB. blue"
    assert Question(text).sought == ASKED
    assert Question(text, recall_text="a ring").sought == "a ring"


def test_what_says_what_to_find_is_always_a_part_of_the_question() -> None:
    text = f"Look closely.\n{ASKED}\nA. red\nB. blue"
    assert Question(text, recall_text=f" {ASKED}\n").asked == ASKED
    assert Question(text, recall_text="a ring").asked == f"Look closely.\n{ASKED}"
    assert Question(f" {ASKED}\n").asked == ASKED
