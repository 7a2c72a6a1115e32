"""Whether two answers say the same, by rules alone. Pure."""

import re
from typing import Final

from afterview.training.base.number_words import NUMBER_WORDS

_CLOCK: Final = re.compile(r"(?:(\d{1,3}):)?(\d{1,2}):(\d{2})(?:\.\d+)?")
_LENGTH: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(hours?|h|minutes?|mins?|m|seconds?|secs?|s)\b")
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0}
_FILLERS: Final = frozenset({"a", "an", "the", "it", "is", "was", "about", "at", "around", "approximately"})
_WORD: Final = re.compile(r"[^\W_]+(?:\.\d+)?")


def words_of(text: str) -> list[str]:
    """The words that count: lower case, without articles, numbers as digits."""
    words = (str(NUMBER_WORDS.index(word)) if word in NUMBER_WORDS else word for word in _WORD.findall(text.casefold()))
    return [word for word in words if word not in _FILLERS]


def seconds_in(text: str) -> float | None:
    """A time or a duration that a text gives, in seconds; None unless it gives just one, and nothing else."""
    bare = " ".join(
        word for word in text.casefold().strip().rstrip(".").replace(" and ", " ").split() if word not in _FILLERS
    )
    if found := _CLOCK.fullmatch(bare):
        hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return hours * 3600.0 + minutes * 60 + seconds
    parts = _LENGTH.findall(bare)
    if not parts or _LENGTH.sub("", bare).strip(" ,"):
        return None
    return sum(float(number) * _UNITS[unit[0]] for number, unit in parts)


def is_clock(text: str) -> bool:
    """Whether a text is a time, as opposed to a duration."""
    return _CLOCK.search(text) is not None


def same_answer(one: str, other: str, *, tolerance_s: float = 0.5) -> bool:
    """Whether two answers say the same in other words: times within the tolerance, otherwise the same words in the same order."""
    first, second = seconds_in(one), seconds_in(other)
    if (first is None) != (second is None):
        return False
    if first is not None and second is not None:
        return is_clock(one) == is_clock(other) and abs(first - second) <= tolerance_s
    words = words_of(one)
    return bool(words) and words == words_of(other)
