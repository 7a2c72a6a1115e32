"""Is an answer right? Pure. Times and lengths have a tolerance; everything else must be the words of the truth."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from afterview.training.world import WorldQuestion
from afterview.training.world.facts import NOT_SEEN, NOTHING
from afterview.training.world.vocabulary import COLOURS, SCENES, SHAPES, listing

CLOCK_TOLERANCE_S: Final = 5.0  # of a moment
LENGTH_TOLERANCE_S: Final = 1.0  # of a duration; a frame per second cannot tell better
GAP_TOLERANCE: Final = 0.1  # of the time between two things, as a share of it, but never less than CLOCK_TOLERANCE_S
NEEDLES: Final = (
    "colour",
    "shape",
    "size",
    "where",
    "motion",
    "scene",
    "digit",
    "word",
    "when",
    "change",
    "at first",
    "afterwards",
    "hidden",
    "behind",
)  # one moment holds the answer

SUMMARIES: Final = ("summary", "scene summary")  # judged by what they name, in any words around it

_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d)")
_NAMES = re.compile(rf"\b(?:(?:{'|'.join(COLOURS)}) (?:{'|'.join(SHAPES)})|digit \d|word \w+|{'|'.join(SCENES)})\b")
_UNITS = {"hour": 3600, "minute": 60, "second": 1}


@dataclass(frozen=True)
class OneAnswer:
    """One of several cameras' own answer. shown_s: time of its first evidence frame, seconds; infinite where it has none."""

    text: str
    shown_s: float = math.inf


def is_right(question: WorldQuestion, answer: str) -> bool:
    """Whether the answer is true."""
    said, truth = plain(answer), plain(question.answer)
    if question.multiple_choice:
        return letter(answer) == question.answer
    if said == truth:
        return True
    if question.kind in SUMMARIES:
        return bool(named(truth)) and named(said) == named(truth)
    if question.value is None:
        return False
    if question.kind in ("when", "last"):
        moment = clock_seconds(said)
        return moment is not None and abs(moment - question.value) <= CLOCK_TOLERANCE_S
    if question.kind in ("duration", "gap"):
        length = length_seconds(said)
        allowed = LENGTH_TOLERANCE_S
        if question.kind == "gap":
            allowed = max(CLOCK_TOLERANCE_S, GAP_TOLERANCE * question.value)
        return length is not None and abs(length - question.value) <= allowed
    return False


def read_cameras(question: WorldQuestion, said: Mapping[str, OneAnswer]) -> str:
    """What a person takes from the answers that several cameras gave to one question, in the words of the truth. said: by camera, in order.

    What is asked about one camera, that camera answers. Else a camera that does not deny claims to have seen the thing: each answers from
    its own video alone, and knows neither what the others saw nor what it is called. Which saw it first, or next, their evidence tells.
    """
    if question.kind == "on camera":
        return said[question.names_camera or ""].text
    claims = {name: one.shown_s for name, one in said.items() if plain(one.text) not in (NOT_SEEN, "no", NOTHING, "")}
    if question.kind == "camera":
        return listing(list(claims)) if claims else NOT_SEEN
    since = claims.pop(question.names_camera or "", -math.inf)
    later = [name for name, shown_s in claims.items() if shown_s > since]
    return min(later, key=lambda name: claims[name]) if later else NOT_SEEN


def letter(answer: str) -> str | None:
    """The letter that an answer chooses: `B`, `b.`, `(B) red` or `B. red`; None where it begins with none."""
    found = re.match(r"\W*([A-Ha-h])(?:\W|$)", answer.strip())
    return found.group(1).upper() if found else None


def named(text: str) -> set[str]:
    """The things and scenes that a text names, in lower case: `red circle`, `digit 7`, `word stop`, `forest`."""
    return set(_NAMES.findall(plain(text)))


def says_not_seen(answer: str) -> bool:
    """Whether the answer denies having seen what was asked about."""
    return plain(answer) in (NOT_SEEN, "no")


def plain(text: str) -> str:
    """Lower case, single spaces, no full stop at the end."""
    return re.sub(r"\s+", " ", text).strip().rstrip(".").lower()


def clock_seconds(text: str) -> float | None:
    """`00:04:12` -> 252; None where there is no clock in the text."""
    found = _CLOCK.search(text)
    return (
        None
        if found is None
        else sum(int(part) * unit for part, unit in zip(found.groups(), (3600, 60, 1), strict=True))
    )


def length_seconds(text: str) -> float | None:
    """`1 minute 12 seconds` -> 72; None where no length is told."""
    found = re.findall(r"(\d+) (hour|minute|second)s?", text)
    return float(sum(int(number) * _UNITS[unit] for number, unit in found)) if found else None
