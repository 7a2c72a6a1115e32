"""A span of time from the text of an answer, or from the weights of its evidence, and how well it fits the truth. Pure."""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Final

Span = tuple[float, float]

LEVELS: Final = (0.3, 0.5, 0.7)
_NUMBER = r"(\d{1,5}(?::\d{1,2}){0,2}(?:[.,]\d+)?)"
_RANGE = re.compile(
    rf"{_NUMBER}\s*(?:s|sec|seconds?)?\s*(?:-|\u2013|\u2014|to|and|until|till)\s*{_NUMBER}", re.IGNORECASE
)
_ANY = re.compile(_NUMBER)
_LONGEST: Final = 4000  # characters of an answer that are looked at
# Evidence: frames whose weight is at least this share of the heaviest, and that are no further apart than this, belong together.
SHARE: Final = 0.1
APART_S: Final = 2.5


def span_in_text(answer: str) -> Span | None:
    """The only span that an answer names: `12 - 15.5`, `from 0:12 to 0:15`, `starts at 12 s and ends at 15 s`. None: none, or several."""
    answer = answer[:_LONGEST]
    found = {(_seconds(a), _seconds(b)) for a, b in _RANGE.findall(answer)}
    if not found:
        numbers = [_seconds(one) for one in _ANY.findall(answer)]
        found = {(numbers[0], numbers[1])} if len(numbers) == 2 else set()
    if len(found) != 1:
        return None
    (span,) = found
    return span if span[1] > span[0] else None


def official_span(answer: str) -> Span | None:
    """As lmms-eval counts: the first `m - n` (also `m to n`), whatever its order; otherwise the first numbers of sentences about a start
    and an end."""
    text = answer[:_LONGEST].lower().replace("to", "-")
    found = re.search(r"(\d+(?:\.+\d*)?)\s*-\s*(\d+(?:\.+\d*)?)", text)
    if found is not None:
        numbers = [_plain(found[1]), _plain(found[2])]
    else:
        said = [part for part in re.split(r"[!?\n]", text) if any(word in part for word in ("start", "end", "happen"))]
        numbers = [float(first[1]) for part in said if (first := re.search(r"\b(\d+\.\d+|\d+)\b", part)) is not None][
            :2
        ]
    return (min(numbers), max(numbers)) if len(numbers) == 2 and max(numbers) < math.inf else None


def span_in_evidence(weights: Sequence[tuple[float, float]]) -> Span | None:
    """The span around the heaviest frame. weights: (seconds, weight) of frames in any order. None without evidence.

    It goes as far as frames follow that have at least SHARE of that weight, with at most APART_S between two. What was seen in a frame
    lasted from somewhere before it to somewhere after it: half of the usual time between two frames is added on either side.
    """
    ordered = sorted(weights)
    most = max((weight for _, weight in ordered), default=0.0)
    if most <= 0:
        return None
    strong = [time for time, weight in ordered if weight >= SHARE * most]
    first = last = next(time for time, weight in ordered if weight == most)
    for time in reversed([one for one in strong if one < first]):
        if first - time > APART_S:
            break
        first = time
    for time in [one for one in strong if one > last]:
        if time - last > APART_S:
            break
        last = time
    steps = [after[0] - before[0] for before, after in pairwise(ordered)]
    half = median(steps) / 2 if steps else 0.5
    return max(0.0, first - half), last + half


def iou(one: Span, other: Span) -> float:
    """Intersection over union of two spans."""
    both = min(one[1], other[1]) - max(one[0], other[0])
    return max(0.0, both) / (max(one[1], other[1]) - min(one[0], other[0]))


def span_scores(name: str, span: Span | None, truth: Span) -> Mapping[str, float]:
    """IoU, and whether it reaches each level. No span has none."""
    fit = 0.0 if span is None or span[1] <= span[0] else iou(span, truth)
    return {**{f"{name} R@1 IoU {level:g}": float(fit >= level) for level in LEVELS}, f"{name} mIoU": fit}


def _seconds(text: str) -> float:
    parts = [_plain(part) for part in text.replace(",", ".").split(":")]
    return sum(part * 60**place for place, part in enumerate(reversed(parts)))


def _plain(text: str) -> float:
    whole, _, fraction = text.partition(".")
    return float(f"{whole or 0}.{fraction.strip('.') or 0}")
