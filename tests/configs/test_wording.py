"""What is wrong with a value is told in plain words, whatever kind of problem pydantic names."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, ValidationError

from afterview.configs import ConfigError, Schema, first_problem, load_mapping, why_unreadable
from afterview.configs.wording import describe_secret_problem


class Part(Schema):
    count: int = Field(default=1, ge=1, lt=9)


class Every(Schema):
    number: float = Field(default=1.0, gt=0, le=2)
    switch: bool = True
    text: str = "x"
    path: Path = Path("x")
    one_of: Literal["a", "b"] = "a"
    names: tuple[str, ...] = Field(default=("x",), min_length=1, max_length=2)
    rates: dict[str, float] = Field(default_factory=dict)
    part: Part = Part()
    word: str = Field(default="x", min_length=1, max_length=5)
    code: str = Field(default="abc", min_length=2, pattern="^[a-z]+$")
    either: str | tuple[str, ...] = "x"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"number": "x"}, "number: must be a number (got 'x')"),
        ({"number": 0}, "number: must be above 0 (got 0)"),
        ({"number": 2.5}, "number: must be at most 2 (got 2.5)"),
        ({"number": float("nan")}, "number: must be a number (got nan)"),
        ({"number": float("inf")}, "number: must be a finite number (got inf)"),
        ({"switch": 7}, "switch: must be true or false (got 7)"),
        ({"text": 3}, "text: must be text (got 3)"),
        ({"path": 3}, "path: must be a path (got 3)"),
        ({"one_of": "c"}, "one_of: must be 'a' or 'b' (got 'c')"),
        ({"names": []}, "names: must have at least 1 items, has 0"),
        ({"names": ["a", "b", "c"]}, "names: must have at most 2 items, has 3"),
        ({"names": "a"}, "names: must be a list (got 'a')"),
        ({"rates": 3}, "rates: must be keys with values (got 3)"),
        ({"rates": {7: 1.0}}, "rates.7: a name must be text: write it in quotes (got 7)"),
        ({"part": None}, "part: must be keys with values (got nothing)"),
        ({"rates": {"memaug": "x"}}, "rates.memaug: must be a number (got 'x')"),
        ({"part": 3}, "part: must be keys with values (got 3)"),
        ({"part": {"count": 9}}, "part.count: must be below 9 (got 9)"),
        ({"part": {"count": 1.5}}, "part.count: must be a whole number (got 1.5)"),
        ({"part": {"cuont": 1}}, "part.cuont: unknown key; did you mean 'count'?"),
        ({"word": ""}, "word: must not be empty (got '')"),
        ({"word": "longer"}, "word: must have at most 5 characters (got 'longer')"),
        ({"code": "a"}, "code: must have at least 2 characters (got 'a')"),
        ({"code": "A9"}, "code: must have the form ^[a-z]+$ (got 'A9')"),
        ({"either": 3}, "either: must be text (got 3)"),
        ({"text": ["x" * 100]}, "text: must be text"),
        ({"one_of": "x" * 100}, f"(got '{'x' * 56}...)"),
    ],
)
def test_every_kind_of_problem_has_plain_words(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_mapping(values, Every, source="my.yaml")
    message = str(caught.value)
    assert said in message
    assert "Input" not in message
    assert "function" not in message


def test_the_first_problem_names_its_place() -> None:
    with pytest.raises(ValidationError) as caught:
        Every.model_validate({"part": {"count": 0}, "text": 3})
    assert first_problem(caught.value) == "text: must be text (got 3)"
    with pytest.raises(ValidationError) as caught:
        Part.model_validate(3)
    assert first_problem(caught.value) == "must be keys with values (got 3)"


def test_what_may_be_a_secret_is_neither_quoted_nor_said_to_be_nothing() -> None:
    with pytest.raises(ValidationError) as caught:
        Every.model_validate({"names": "hunter2"})
    assert describe_secret_problem(caught.value.errors()[0]) == "must be a list"


def test_why_a_file_cannot_be_read(tmp_path: Path) -> None:
    def fails(text: bytes | None) -> str:
        path = tmp_path / "file"
        try:
            if text is not None:
                path.write_bytes(text)
            json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            return why_unreadable(error)
        return ""

    assert fails(None) == "No such file or directory"
    assert fails(b"[1,\n 2") == "not JSON: line 2, column 3"
    assert fails(b"\xff\xfe") == "not UTF-8 text"
    assert fails(b"[1]") == ""
