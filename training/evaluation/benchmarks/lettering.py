"""Lettered options as benchmarks publish them, and which letter a published answer means. Pure.

Each reader says in what form its field holds the answer: a letter, a 0-based number, or an option's text. Guessed at from the value, `2`
among the options 1, 2 and 3 would be one thing in one file and another in the next.
"""

import ast
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from afterview.stream.ask.options import LETTERS

Published = Literal["letter", "number", "text"]

_LONGEST_LIST: Final = 20_000  # characters of a list that is written as text
_LONGEST_NUMBER: Final = 6  # digits of an option's number
_LETTERED = re.compile(r"^\(?([A-Ha-h])(?:[.):]+\s*(.*))?$", re.DOTALL)
_OPTION = re.compile(r"^\s*\(?([A-H])[).:]\s*(.*?)\s*$")


def lettered(values: Sequence[Any]) -> dict[str, str]:
    """Options by letter, in order. Letters that the texts have already (`A. red`, `(A) red`) are taken off. Empty: see `why_no_options`."""
    texts = _texts(values)
    if why_no_options(values):
        return {}
    own = dict(zip(LETTERS, texts, strict=False))
    bare = {letter: _without_letter(letter, text) for letter, text in own.items()}
    if all(text is not None for text in bare.values()):
        return {letter: str(text) for letter, text in bare.items()}
    return own


def _lettered_otherwise(texts: Sequence[str]) -> bool:
    """Whether several texts have letters, but not those of their places (`B. red, A. blue`): which ones an answer means is unknown."""
    marked = [found[1] for text in texts if (found := _OPTION.match(text)) is not None and found[2]]
    return len(marked) > 1 and marked != list(LETTERS[: len(texts)])


def why_no_options(values: Sequence[Any]) -> str:
    """Why these are no options, as a kind of problem; empty if they are. Empty cells at the end are those of a table with more columns.
    One before the end is a problem: without it the letters of the others would move."""
    texts = _texts(values)
    if not texts:
        return "no options"
    if not all(texts):
        return "an option is empty"
    if len(texts) == 1:
        return "a single option"
    if _lettered_otherwise(texts):
        return "options are lettered in another order"
    return f"more than {len(LETTERS)} options" if len(texts) > len(LETTERS) else ""


def _texts(values: Sequence[Any]) -> list[str]:
    texts = ["" if is_nothing(value) else str(value).strip() for value in values]
    while texts and not texts[-1]:
        texts.pop()
    return texts


def is_nothing(value: Any) -> bool:
    """Whether a cell of a table is empty: None, or the NaN that stands for it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _without_letter(letter: str, text: str) -> str | None:
    """`A. red`, `(A) red`, `A) red`, `A: red` -> red; None if the text does not begin so, or has nothing after it."""
    for opening in (f"{letter}.", f"({letter})", f"{letter})", f"{letter}:"):
        if text.startswith(opening):
            return text[len(opening) :].strip() or None
    return None


def split_options(text: str) -> tuple[str, dict[str, str]]:
    """A question's text, and the options that are its last lines: `(A) red`, `A. red`, without a gap from A. An option may go on in the
    next lines. No options: the text as it was."""
    lines = text.rstrip().split("\n")
    marked = [_OPTION.match(line) for line in lines]
    starts = [place for place, found in enumerate(marked) if found is not None and found[1] == "A"]
    if not starts:
        return text.strip(), {}
    options: dict[str, str] = {}
    for line, found in zip(lines[starts[-1] :], marked[starts[-1] :], strict=True):
        if found is not None and len(options) < len(LETTERS) and found[1] == LETTERS[len(options)]:
            options[found[1]] = found[2]
        elif found is not None:  # a letter is missing, or stands twice
            return text.strip(), {}
        elif line.strip():
            options[LETTERS[len(options) - 1]] += f" {line.strip()}"
    if len(options) < 2 or not all(option.strip() for option in options.values()):
        return text.strip(), {}
    return "\n".join(lines[: starts[-1]]).strip(), {letter: option.strip() for letter, option in options.items()}


def letter_of(answer: Any, options: Mapping[str, str], published: Published) -> str:
    """The letter that a published answer means.

    published: what the field holds. letter: also `B. red` and `b`. number: 0-based. text: an option's, the first of equal ones, with or
    without its letter. Where it holds something else that has one meaning only, that counts. What means no option is given back as text,
    which is no letter of the options.
    """
    if isinstance(answer, bool) or is_nothing(answer):
        return ""
    text = str(answer).strip()
    readings = {
        "letter": _by_letter(text, options),
        "number": _by_number(text, options),
        "text": _by_text(text, options),
    }
    own = readings[published]
    if own or _number(text) is not None:  # a number is nothing else: one that is out of range is no option
        return own or text
    others = {letter for letter in readings.values() if letter}
    return others.pop() if len(others) == 1 else text


def letters_of(answer: Any, options: Mapping[str, str], *, counted_from_one: bool = False) -> set[str]:
    """All letters that an answer of unknown form can mean. counted_from_one: a number may count from one as well as from zero."""
    if isinstance(answer, bool) or is_nothing(answer):
        return set()
    text, place = str(answer).strip(), _number(str(answer).strip())
    same = {letter for letter, option in options.items() if option == text} or {_by_text(text, options)}
    one = list(options)[place - 1] if counted_from_one and place is not None and 0 < place <= len(options) else ""
    return {_by_letter(text, options), _by_number(text, options), one, *same} - {""}


def _by_letter(text: str, options: Mapping[str, str]) -> str:
    found = _LETTERED.match(text)
    if found is None or found[1].upper() not in options:
        return ""
    letter, told = found[1].upper(), (found[2] or "").strip()
    return letter if told in ("", options[letter]) else ""


def _by_number(text: str, options: Mapping[str, str]) -> str:
    place = _number(text)
    return list(options)[place] if place is not None and place < len(options) else ""


def _number(text: str) -> int | None:
    digits = text.removesuffix(".0")
    if not (digits.isascii() and digits.isdecimal()):
        return None
    return int(digits) if len(digits) <= _LONGEST_NUMBER else 10**_LONGEST_NUMBER


def _by_text(text: str, options: Mapping[str, str]) -> str:
    same = [letter for letter, option in options.items() if option == text]
    folded = [letter for letter, option in options.items() if option.casefold() == text.casefold()]
    return same[0] if same else folded[0] if len(folded) == 1 else ""


def as_list(value: Any) -> list[Any]:
    """A list that may have become text in a CSV file: JSON, Python, or one entry a line. Options by letter (`{"A": "red", "B": "blue"}`)
    are one, too. Empty: it is none."""
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, dict):
        names = [str(name).strip().upper() for name in value]
        return list(value.values()) if names and names == list(LETTERS[: len(names)]) else []
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_LIST:
        return []
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(found, list | tuple | dict):
            return as_list(found)
    return [line for line in value.splitlines() if line.strip()] if "\n" in value else []


def listing(options: Mapping[str, str], form: str = "{letter}. {text}") -> str:
    """The options, one a line."""
    return "\n".join(form.format(letter=letter, text=text) for letter, text in options.items())
