"""What several captioners of synthetic video agree on: thing by thing, then property by property, as a prompt asks for it.

Pure; it knows the captions alone.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import combinations, pairwise
from typing import Any, Final, NamedTuple

from afterview.training.marathon.worlds.story import Sighting, sighting_in

_SHORTEST_S: Final = 0.05  # of a moment
_MOST_DIFFERENT: Final = 2  # properties in which two captions of one thing may differ
_PROPERTIES: Final = tuple(one.name for one in fields(Sighting) if one.name not in ("start_s", "end_s"))
_CAN_BE_UNKNOWN: Final = frozenset({"size", "place"})  # a sentence can leave them out
Captions = Sequence[Mapping[str, Any]]
Thing = dict[int, Sighting]  # one thing, as the captioners of these numbers tell of it


class _Told(NamedTuple):
    start_s: float
    end_s: float
    captioner: int
    aspect: str
    text: str


def agreed(captioners: Sequence[Captions], least: int) -> list[dict[str, Any]]:
    """The moments that at least so many captioners tell of, for as long as they do."""
    told = [
        _Told(moment["start_s"], moment["end_s"], number, moment["aspect"], moment["text"])
        for number, captions in enumerate(captioners)
        for caption in captions
        for moment in caption["moments"]
    ]
    found: list[dict[str, Any]] = []
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for start, end in pairwise(sorted({edge for one in told for edge in (one.start_s, one.end_s)})):
        now = [one for one in told if one.start_s <= start and end <= one.end_s]
        for aspect, text in _agreed_now(now, least):
            before = last.get((aspect, text))
            if before is not None and before["end_s"] == start:
                before["end_s"] = end
            else:
                last[aspect, text] = {"start_s": start, "end_s": end, "aspect": aspect, "text": text}
                found.append(last[aspect, text])
    return [one for one in found if one["end_s"] - one["start_s"] > _SHORTEST_S]


def _agreed_now(now: Sequence[_Told], least: int) -> Iterator[tuple[str, str]]:
    """Aspects and texts that enough captioners agree on, of those who tell of something at one time."""
    by: dict[tuple[str, str], set[int]] = {}
    for one in now:
        by.setdefault((one.aspect, one.text), set()).add(one.captioner)
    things: list[Thing] = []
    for (aspect, text), captioners in by.items():
        seen = sighting_in(text, 0.0, 0.0)
        if seen is not None:
            things.append(dict.fromkeys(captioners, seen))
        elif len(captioners) >= least:
            yield aspect, text
    for thing in _joined(things):
        if len(thing) >= least and (seen := _property_by_property(list(thing.values()), least)) is not None:
            moment = seen.moment()
            yield moment.aspect, moment.text


def _joined(things: list[Thing]) -> list[Thing]:
    """The things, those as one that are alike and of which no captioner tells twice; the most alike first."""
    things = list(things)
    while True:
        near = [
            (apart, -len(one) - len(other), one, other)
            for one, other in combinations(things, 2)
            if not one.keys() & other.keys() and (apart := _apart(one, other)) <= _MOST_DIFFERENT
        ]
        if not near:
            return things
        _, _, one, other = min(near, key=lambda pair: pair[:2])
        things = [thing for thing in things if thing is not one and thing is not other] + [one | other]


def _apart(one: Thing, other: Thing) -> int:
    """In how many properties the nearest tellings of two things differ."""
    return min(
        sum(getattr(first, name) != getattr(second, name) for name in _PROPERTIES)
        if first.kind == second.kind
        else len(_PROPERTIES)
        for first in one.values()
        for second in other.values()
    )


def _property_by_property(told: Sequence[Sighting], least: int) -> Sighting | None:
    """The thing with what enough captioners say of it, and more than anything else; None if its name is not certain."""
    values: dict[str, Any] = {}
    for name in _PROPERTIES:
        (value, count), *others = Counter(getattr(one, name) for one in told).most_common(2)
        if count < least or (others and others[0][1] == count):
            if name not in _CAN_BE_UNKNOWN:
                return None
            value = ""
        values[name] = value
    return replace(told[0], **values)
