"""Looks that an answer asks for: which words belong to them, and what is shown meanwhile. What they find: tests/stream/ask."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.language.looks import (
    AFTER,
    BETWEEN,
    FIRST,
    LOOKS,
    ORDER,
    PREVIOUS,
    LookText,
    LookWordings,
    look_ids,
    names_in,
)
from afterview.model.language.moments import MOMENT, OPTION
from afterview.training.tiny.texts import answer_of
from afterview.training.world import QuestionPlan, make_script, multiple_choice, questions_at, settled_time
from tests.support.presets import write_preset


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("red ring, word BUS", ["red ring", "word BUS"]),
        (" red ring ,word BUS.\n", ["red ring", "word BUS"]),
        ("red ring, red ring, red ring", ["red ring"]),  # as a small model repeats itself
        ("", []),
        (" , ", []),
    ],
)
def test_names_after_a_token(words: str, names: list[str]) -> None:
    assert names_in(words) == names


def test_nothing_of_a_look_is_shown_before_it_is_made() -> None:
    asked = []

    def look(token: str, words: str) -> str:
        asked.append((token, words))
        return "word BUS"

    text = LookText(look)
    assert text.push("It was ") == "It was "
    text.begin(FIRST)
    assert [text.push(piece) for piece in ("red ring", ", word BUS")] == ["", ""]
    text.begin(AFTER)  # only the first of an answer counts
    assert asked == []
    assert text.rest() == "word BUS"
    assert asked == [(FIRST, "red ring, word BUS")]


def test_without_a_token_or_without_looks_words_stay_words() -> None:
    text = LookText(lambda token, words: "never")
    assert (text.push("red ring"), text.rest()) == ("red ring", "")
    without = LookText()
    without.begin(ORDER)
    assert (without.push("red ring"), without.rest()) == ("", "red ring")


def test_an_answer_may_choose_the_option_that_a_look_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_pretrained(write_preset(tmp_path), device="cpu")
    assert model.tokenizer is not None
    model.tokenizer.add_special_tokens({"additional_special_tokens": [OPTION, FIRST, PREVIOUS]})
    assert set(look_ids(model.tokenizer).values()) == {FIRST, PREVIOUS}  # of the others there is none
    said = f"{OPTION}{FIRST}red ring, blue star"

    def saying(inputs: object, **settings: object) -> Iterator[tuple[int, int | None]]:
        assert model.tokenizer is not None
        yield from [(0, token) for token in model.tokenizer(said)["input_ids"]]
        yield 0, None

    monkeypatch.setattr(model.video_language, "generate_several", saying)
    inputs = model.picture_inputs("Which came first?")
    found = {"red ring, blue star": "blue star"}

    def answer(options: dict[str, str]) -> str:
        pieces = model.answer_several([inputs], options=[options], looks=[lambda token, words: found[words]])
        return "".join(piece or "" for _, piece in pieces)

    assert answer({"A": "red ring", "B": "blue star"}) == "B"
    assert answer({"A": "red ring", "B": "green star"}) == "blue star"  # no option: a letter would be a guess
    said = f"{PREVIOUS}"
    found[""] = "forest"
    assert answer({}) == "forest"


def test_a_wording_without_a_place_for_the_thing_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"looks\.when: has no \{\}"):
        LookWordings(when="When did it appear?")


def test_what_needs_looks_is_taught_as_names_after_a_token() -> None:
    script = make_script(7, 600.0)
    kinds = ("first", "order", "gap", "before", "after", "scene before", "when", "colour")
    asked = questions_at(script, settled_time(script, 600.0), QuestionPlan(count=80, kinds=kinds))
    assert {question.kind for question in asked} == set(kinds)
    tokens = (MOMENT, *LOOKS)
    for question in asked:
        answer = answer_of(question, tokens)
        if question.kind in ("first", "order", "gap"):
            assert answer == {"first": FIRST, "order": ORDER, "gap": BETWEEN}[question.kind] + ", ".join(question.about)
            assert question.kind == "gap" or set(question.answer.split(", ")) <= set(question.about)
        elif question.kind == "scene before":
            assert answer == PREVIOUS
        elif question.kind == "colour":
            assert answer == question.answer
        assert answer_of(question, (MOMENT, BETWEEN)) in (MOMENT, BETWEEN, question.answer)  # as `tiny-lengths` teaches
    options = multiple_choice(next(question for question in asked if question.kind == "first"))
    assert answer_of(options, tokens) == options.answer
