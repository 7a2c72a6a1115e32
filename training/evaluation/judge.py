"""Judges answers. Pure. Times and lengths have a tolerance; all other answers must match the words of the truth."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from afterview.model.language.looks import UNSEEN
from afterview.model.language.moments import SHORTEST
from afterview.stream.ask.options import options_in
from afterview.training.evaluation.choices import chosen
from afterview.training.world import WorldQuestion
from afterview.training.world.facts import NOT_SEEN, NOTHING
from afterview.training.world.vocabulary import COLOURS, SCENES, SHAPES, listing

CLOCK_TOLERANCE_S: Final = 5.0  # for a time
LENGTH_TOLERANCE_S: Final = 1.0  # for a duration; one frame per second is not more exact
GAP_TOLERANCE: Final = 0.1  # for a gap: share of the gap, but at least CLOCK_TOLERANCE_S
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

SUMMARIES: Final = ("summary", "scene summary")  # judged by the things they name, whatever the wording

_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d)")
_NAMES = re.compile(rf"\b(?:(?:{'|'.join(COLOURS)}) (?:{'|'.join(SHAPES)})|digit \d|word \w+|{'|'.join(SCENES)})\b")
_UNITS = {"hour": 3600, "minute": 60, "second": 1}


@dataclass(frozen=True)
class OneAnswer:
    """The answer of one of several cameras. shown_s: time of its first evidence frame, in seconds; infinite without evidence."""

    text: str
    shown_s: float = math.inf


def is_right(question: WorldQuestion, answer: str) -> bool:
    """Whether the answer is true."""
    if question.multiple_choice:
        return chosen(answer, options_in(question.text)) == question.answer
    said, truth = plain(answer), plain(question.answer)
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
    """Combines the answers of several cameras to one question, as a person would, into the words of the truth.

    said: by camera, in order. If the question names one camera, its answer counts. Otherwise a camera that does not
    deny claims to have seen the thing. Each camera answers from its own video only and knows neither what the others
    saw nor what the thing is called. Their evidence tells which camera saw it first or next.
    """
    if question.kind == "on camera":
        return said[question.names_camera or ""].text
    denials = {name for name, one in said.items() if says_not_seen(one.text) or plain(one.text) in (NOTHING, "")}
    claims = {name: one.shown_s for name, one in said.items() if name not in denials}
    if question.kind == "camera":
        return listing(list(claims)) if claims else NOT_SEEN
    since = claims.pop(question.names_camera or "", -math.inf)
    later = [name for name, shown_s in claims.items() if shown_s > since]
    return min(later, key=lambda name: claims[name]) if later else NOT_SEEN


def named(text: str) -> set[str]:
    """The things and scenes that a text names, in lower case: `red circle`, `digit 7`, `word stop`, `forest`."""
    return set(_NAMES.findall(plain(text)))


def says_not_seen(answer: str) -> bool:
    """Whether the answer denies having seen the thing."""
    said = plain(answer)
    return said in (NOT_SEEN, "no") or said.startswith(UNSEEN.lower())


def plain(text: str) -> str:
    """Lower case, single spaces, no full stop at the end."""
    return re.sub(r"\s+", " ", text).strip().rstrip(".").lower()


def clock_seconds(text: str) -> float | None:
    """`00:04:12` -> 252. None if the text has no clock time."""
    found = _CLOCK.search(text)
    return (
        None
        if found is None
        else sum(int(part) * unit for part, unit in zip(found.groups(), (3600, 60, 1), strict=True))
    )


def length_seconds(text: str) -> float | None:
    """`1 minute 12 seconds` -> 72. None if the text has no length."""
    found = re.findall(r"(\d+) (hour|minute|second)s?", text)
    if not found:
        return 0.0 if SHORTEST in text else None
    return float(sum(int(number) * _UNITS[unit] for number, unit in found))
