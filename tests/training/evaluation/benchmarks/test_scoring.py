"""Scores: what cheats in an official rule is wrong by the strict one."""

from pathlib import Path

import pytest

from afterview.training.evaluation.benchmarks import scoring
from afterview.training.evaluation.benchmarks.base import Item
from afterview.training.evaluation.benchmarks.registry import BENCHMARKS
from afterview.training.evaluation.benchmarks.spans import (
    iou,
    official_span,
    span_in_evidence,
    span_in_text,
    span_scores,
)
from tests.support.benchmark_data import COLOURS

OPTIONS = dict(zip("ABCD", COLOURS, strict=True))
LETTERED = ("video-mme", "longvideobench", "lvbench", "mlvu", "vnbench", "mvbench", "egoschema", "own")


def item(truth: str, **changes: object) -> Item:
    return Item("1", Path("v.mp4"), "?", "?", **{"options": OPTIONS, "truth": truth, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", LETTERED)
def test_a_right_letter_is_right_and_a_wrong_one_wrong(name: str) -> None:
    score = BENCHMARKS[name].score
    assert score(item("B"), "B") == {"strict": 1.0, "official": 1.0}
    assert score(item("B"), "C") == {"strict": 0.0, "official": 0.0}
    assert score(item("B"), "")["strict"] == 0.0


@pytest.mark.parametrize("name", LETTERED)
@pytest.mark.parametrize(
    "cheat", ["A B C D", "A, B, C or D", "ABCD", "A or B", "Answer: A. Or B. Or C. Or D.", "(A)(B)(C)(D)"]
)
def test_an_answer_that_names_every_option_is_never_right(name: str, cheat: str) -> None:
    assert [BENCHMARKS[name].score(item(letter), cheat)["strict"] for letter in OPTIONS] == [0.0] * 4


def test_official_rules_that_are_fooled_are_kept_beside() -> None:
    assert scoring.contains(item("B"), "I cannot tell whether A, B, C or D") == 1.0
    assert scoring.first_capital(item("A"), "At first a blue ring, so B") == 1.0  # of the word At
    assert scoring.any_of_four(item("A"), "B, not A") == 1.0
    for official in (scoring.contains, scoring.first_capital, scoring.any_of_four):
        for fooled in ("I cannot tell whether A, B, C or D", "At first a blue ring, or B"):
            assert scoring.choice_score(official)(item("A"), fooled)["strict"] == 0.0


def test_a_judge_does_not_take_the_first_capital() -> None:
    strict = scoring.choice_score(scoring.first_capital)
    assert strict(item("B"), "After the ring left, the answer is B.") == {"strict": 1.0, "official": 0.0}
    assert strict(item("A"), "A ring of some colour")["strict"] == 0.0


def test_official_rules_are_those_of_the_harness() -> None:
    """lmms-eval, lmms_eval/tasks/*/utils.py."""
    assert scoring.first_capital(item("A"), "Best answer: A") == 0.0  # its list lacks two commas: the B of Best
    assert scoring.first_capital_or_chance(item("A"), "Best answer: A") == 1.0
    assert scoring.first_capital_or_chance(item("A"), "Eagle, so A") == 0.0  # the E, which is no option
    ego = item("B", options={"A": "C sits.", "B": "C cuts an onion. Then C sits.", "C": "C runs"})
    for answer in ("B", "B. C cuts an onion. Then C sits.", "C cuts an onion"):
        assert scoring.exact_option(ego, answer) == 1.0, answer
    for answer in ("B.", "B..", "B. C cuts an onion. Then C sits", "(B)"):
        assert scoring.exact_option(ego, answer) == 0.0, answer
    assert scoring.exact_option(item("C", options=ego.options), "C runs.") == 1.0


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("(B)", "B"), ("B. red", "B"), ("b.red", "B"), ("A,B, so C", "C"), ("\u7b54\u6848\u662fB", None), ("(A)red (B) blue", "B"),
        ("The person is at U.S.A. so (B)", "B"), ("(C)1,000", None), ("B/C", "B"), ("nothing", None),
    ],
)  # fmt: skip
def test_mvbench_takes_marks_off_first(answer: str, letter: str | None) -> None:
    """The expected letters are those of lmms-eval's mcq_acc."""
    assert [one for one in OPTIONS if scoring.lone_letter(item(one), answer)] == ([letter] if letter else [])


@pytest.mark.parametrize(
    ("answer", "right"), [("B", 1.0), ("B) red", 1.0), ("(B) red", 0.0), ("(B", 0.0), ("B )", 0.0)]
)
def test_mlvu_opens_the_bracket_in_its_prompt(answer: str, right: float) -> None:
    assert scoring.before_bracket(item("B"), answer) == right


def test_own_questions_may_have_more_than_four_options() -> None:
    eight = dict(zip("ABCDEFGH", "stuvwxyz", strict=True))
    assert BENCHMARKS["own"].score(item("E", options=eight), "E") == {"strict": 1.0, "official": 1.0}


def test_an_answer_without_letter_counts_by_its_chance_in_longvideobench() -> None:
    assert scoring.first_capital_or_chance(item("B"), "nothing") == 0.25


@pytest.mark.parametrize(
    ("answer", "said"),
    [("Yes", "yes"), ("no.", "no"), ("Answer: Yes, it is", "yes"), ("The answer is no", "no"), ("Yes and no", None), ("Nothing", None),
     ("I know. Yes", None), ("", None), ("maybe", None)],
)  # fmt: skip
def test_yes_and_no(answer: str, said: str | None) -> None:
    assert scoring.yes_or_no(answer) == said


def test_one_number() -> None:
    assert [scoring.one_number(text) for text in ("3", "Three times.", "3 (three)", "2 or 3", "none", "12")] == [
        3,
        3,
        3,
        None,
        None,
        12,
    ]
    assert scoring.joined_digits("2 or 3") == "23"
    said = ("twenty-one", "Twenty one times", "thirteen", "ninety", "one hundred", "two dozen", "\u00b2")
    assert [scoring.one_number(text) for text in said] == [21, 21, 13, 90, None, None, None]


def test_named_options() -> None:
    options = {"Option 1": "The ring is blue.", "Option 2": "The ring is red."}
    for answer in ("Option 2", "2", "option 2: The ring is red.", "The ring is red", "I think Option 2 fits."):
        assert scoring.named_option(answer, options) == "Option 2"
    for answer in ("Option 1 or Option 2", "", "12", "The ring is blue. The ring is red."):
        assert scoring.named_option(answer, options) is None
    assert scoring.caption_score(item("Option 2", options=options), "2") == {"strict": 1.0, "official": 1.0}


def test_captions_count_by_their_words() -> None:
    one = item("A", options={"A": "dunking a basketball", "B": "passing a basketball"})
    assert scoring.captioning_score(one, "A man is dunking a basketball.") == {"words": 1.0}
    assert scoring.captioning_score(one, "A man is dunking and passing a basketball.") == {"words": 0.0}
    assert scoring.captioning_score(one, "A basketball: a man is dunking it") == {"words": 1.0}
    way = item("A", options={"A": "moving from left to right", "B": "moving from right to left"})
    assert scoring.captioning_score(way, "The man is moving from left to right.") == {"words": 1.0}
    assert scoring.captioning_score(way, "The man is moving from right to left.") == {"words": 0.0}
    assert scoring.captioning_score(way, "From left to right a man is moving.") == {
        "words": 0.0
    }  # told apart by order alone


def test_open_answers_count_by_their_words() -> None:
    assert scoring.open_score(item("a red ring", options={}), "A red ring!") == {"exact": 1.0, "words F1": 1.0}
    assert scoring.open_score(item("a red ring", options={}), "red red red")["words F1"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("The event happens in the 12.5 - 15 seconds", (12.5, 15)),
        ("from 0:12 to 1:05", (12, 65)),
        ("It starts at 3 s and ends at 7.5 s", (3, 7.5)),
        ("00:00:18 until 00:00:23", (18, 23)),
        ("5 - 5", None),
        ("9 - 4", None),
        ("1 - 2, 4 - 5 and 7 - 9", None),  # every span of the video is none
        ("soon", None),
    ],
)
def test_a_span_in_text(text: str, span: tuple[float, float] | None) -> None:
    assert span_in_text(text) == span


def test_the_official_span_is_the_first() -> None:
    assert official_span("9 to 4, or 1 - 2") == (4.0, 9.0)
    assert official_span("it starts at 3\nit ends at 8") == (3.0, 8.0)
    assert official_span("nothing") is None
    assert official_span("1" * 100_000) is None  # soon
    assert official_span(f"1 - {'9' * 999}") is None
    assert scoring.one_number("9" * 9999) is None


def test_a_span_in_evidence_is_around_the_heaviest_frame() -> None:
    weights = [(float(second), 0.01) for second in range(30)]
    weights[10:13] = [(10.0, 0.2), (11.0, 0.3), (12.0, 0.1)]
    weights[25] = (25.0, 0.25)  # far away
    assert span_in_evidence(weights) == (9.5, 12.5)
    assert span_in_evidence([(time / 4, weight) for time, weight in weights]) == (2.375, 3.125)  # four frames a second
    assert span_in_evidence([]) is None
    assert iou((10, 13), (11, 13)) == pytest.approx(2 / 3)
    assert iou((0, 1), (5, 6)) == 0
    assert span_scores("text", (10, 13), (11, 13)) == {
        "text R@1 IoU 0.3": 1.0, "text R@1 IoU 0.5": 1.0, "text R@1 IoU 0.7": 0.0, "text mIoU": pytest.approx(2 / 3),
    }  # fmt: skip
