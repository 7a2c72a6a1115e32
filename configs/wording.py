"""What is wrong with a value or a file, in plain words instead of those of pydantic and json."""

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # loads much, and the start of many commands needs words alone
    from pydantic import ValidationError

_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}
# By the beginning of pydantic's name of the problem; the first that fits.
_KINDS = {
    "missing": "is missing",
    "extra_forbidden": "unknown key",
    "int": "must be a whole number",
    "float": "must be a number",
    "finite_number": "must be a finite number",
    "decimal": "must be a number",
    "bool": "must be true or false",
    "string": "must be text",
    "path": "must be a path",
    "none_required": "must be left out",
    "dict": "must be keys with values",
    "model": "must be keys with values",
    "mapping": "must be keys with values",
    "dataclass": "must be keys with values",
    "tuple": "must be a list",
    "list": "must be a list",
    "set": "must be a list",
    "frozen_set": "must be a list",
    "iterable": "must be a list",
}
_BRANCHES = ("function-", "tuple[", "list[", "constrained-", "lax-or-strict", "literal[")
_TYPE_NAMES = {"str", "int", "float", "bool", "none"}
_SHOWN = 60  # characters of a wrong value that a message quotes


def describe_problem(problem: Mapping[str, Any]) -> str:
    """One entry of `ValidationError.errors()`: what the value must be, and what it is, unless `input` is left out of the entry."""
    kind, context, value = problem["type"], problem.get("ctx") or {}, problem.get("input")
    if problem["loc"][-1:] == ("[key]",):
        said = "a name must be text: write it in quotes"
    elif kind == "value_error":
        said = problem["msg"].removeprefix("Value error, ")
    elif isinstance(value, float) and math.isnan(value):
        said = "must be a number"
    elif kind in _BOUNDS:
        key, word = _BOUNDS[kind]
        bound = context[key]
        said = f"must be {word} {f'{bound:g}' if isinstance(bound, float) else bound}"
    elif kind in ("literal_error", "enum"):
        said = f"must be {context['expected']}"
    elif kind in ("too_short", "too_long"):
        things = "characters" if context.get("field_type") == "Value" else "items"  # of a text that was checked before
        bound = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
        said = f"must have {bound} {things}, has {context['actual_length']}"
    elif kind == "string_too_short" and context["min_length"] == 1:
        said = "must not be empty"
    elif kind in ("string_too_short", "string_too_long"):
        bound = (
            f"at least {context['min_length']}" if kind == "string_too_short" else f"at most {context['max_length']}"
        )
        said = f"must have {bound} characters"
    elif kind == "string_pattern_mismatch":
        said = f"must have the form {context['pattern']}"
    elif kind in ("int_from_float", "int_parsing_size"):
        said = _KINDS["int"]
    else:
        said = next((text for start, text in _KINDS.items() if kind.startswith(start)), "is not accepted here")
    quotable = "input" in problem and isinstance(value, str | int | float | bool | None)
    shown = quotable and kind not in ("missing", "extra_forbidden")
    return f"{said} (got {_short(value)})" if shown else said


def describe_secret_problem(problem: Mapping[str, Any]) -> str:
    """The same without what it is: what came from outside may be a secret."""
    return describe_problem({key: value for key, value in problem.items() if key != "input"})


def place_of(problem: Mapping[str, Any]) -> list[str]:
    """Keys and list positions that lead to the value, without pydantic's names for branches of a union."""
    parts = [str(part) for part in problem["loc"]]
    return [part for part in parts if not (part in _TYPE_NAMES or part.startswith((*_BRANCHES, "[key]")))]


def first_problem(error: "ValidationError") -> str:
    """`trainer.steps: must be at least 1 (got 0)`: the first problem with its place."""
    problem = error.errors()[0]
    place = ".".join(place_of(problem))
    return f"{place}: {describe_problem(problem)}" if place else describe_problem(problem)


def kind_of(value: object) -> str:
    """What a value of YAML or JSON is, for people: `a list`."""
    kinds = {list: "a list", dict: "keys with values", str: "text", bool: "true or false", type(None): "nothing"}
    return kinds.get(type(value), "a number" if isinstance(value, int | float) else "another kind of value")


def why_unreadable(error: Exception) -> str:
    """Why a file could not be read, or not as JSON: the reason in a few words, without the path."""
    if isinstance(error, OSError):
        return error.strerror or "it cannot be read"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: line {error.lineno}, column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8 text"
    return "its content is not as expected"


def _short(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
