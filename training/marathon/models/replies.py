"""Turns the words of a model into an answer of the shape that was asked for: finds the JSON, mends what is often wrong, validates."""

import json
import re
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from afterview.configs import first_problem

_FENCE: Final = re.compile(r"```(?:json|JSON)?\s*\n?(.*?)(?:```|\Z)", re.DOTALL)
_TRAILING_COMMA: Final = re.compile(r",(\s*[}\]])")
_QUOTES: Final = str.maketrans({"\u201c": '"', "\u201d": '"', "\u00a0": " "})
_MOST_BYTES: Final = 1_000_000
_MOST_PARTS: Final = 40
Shape = TypeVar("Shape", bound=BaseModel)


class BadAnswer(ValueError):
    """Not an answer as it was asked for. The text says what is wrong, to the model that is asked again."""


def answer_in(text: str, shape: type[Shape]) -> Shape:
    """The answer in the words of a model. Raises BadAnswer."""
    value = _value(text)
    if isinstance(value, list):  # a list where an object with one list was asked for
        lists = [name for name, field in shape.model_fields.items() if field.is_required()]
        value = {lists[0]: value} if len(lists) == 1 else value
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        raise BadAnswer(f"the JSON does not have the shape that was asked for: {first_problem(error)[:300]}") from None
    except RecursionError:
        raise BadAnswer("the JSON is nested too deeply") from None


def usable_part(text: str, shape: type[Shape]) -> Shape | None:
    """The whole entries of a list of independent ones, where the answer as such cannot be used. None: there are none."""
    name = getattr(shape, "independent", "")
    value = _begun(text, name) if name else None
    entries = value.get(name) if isinstance(value, dict) else value
    good = []
    for entry in entries if isinstance(entries, list) else ():
        try:
            shape.model_validate({name: [entry]})
        except (ValidationError, RecursionError):
            continue
        good.append(entry)
    return shape.model_validate({name: good[:_MOST_PARTS]}) if good else None


def _begun(text: str, name: str) -> Any:
    """The JSON in an answer, which may break off in the list of this name: up to its last whole entry."""
    try:
        return _value(text)
    except BadAnswer:
        pass
    begin, end = text.find("{"), len(text)
    for _ in range(_MOST_PARTS if begin >= 0 and len(text) <= _MOST_BYTES else 0):
        end = text.rfind("}", begin, end)
        if end < 0:
            break
        try:
            value = json.loads(f"{text[begin : end + 1]}]}}", parse_constant=_refused)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and isinstance(value.get(name), list) and _is_text(value):
            return value
    return None


def _value(text: str) -> Any:
    if len(text) > _MOST_BYTES:
        raise BadAnswer(f"the answer has {len(text)} characters; write less")
    for found in (text, *_FENCE.findall(text), _outermost(text)):
        for mended in (found, _TRAILING_COMMA.sub(r"\1", found), _TRAILING_COMMA.sub(r"\1", found.translate(_QUOTES))):
            try:
                value = json.loads(mended, parse_constant=_refused)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict | list):
                if "\\u" in mended and not _is_text(value):
                    raise BadAnswer("the JSON holds half a surrogate pair, which is no character; write plain text")
                return value
    if "{" in text and text.count("{") > text.count("}"):
        raise BadAnswer("the JSON is cut off before its end; write a shorter answer")
    raise BadAnswer("the answer holds no valid JSON; write JSON alone, without other words")


def _is_text(value: Any) -> bool:
    """Whether all strings are valid Unicode: an escape may be half a pair."""
    try:
        return bool(json.dumps(value, ensure_ascii=False).encode())
    except (UnicodeEncodeError, RecursionError):
        return False


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _outermost(text: str) -> str:
    """From the first bracket to the last one."""
    begins = [place for place in (text.find("{"), text.find("[")) if place >= 0]
    ends = max(text.rfind("}"), text.rfind("]"))
    return text[min(begins) : ends + 1] if begins and ends > min(begins) else ""
