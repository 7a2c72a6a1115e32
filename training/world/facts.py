"""Everything that can be asked at one time with a certain answer, before it is put into words.

There is one maker per kind of question; all use a `History`. A question refers to things only if the answer is unique,
or if nothing matches: then the answer is "not seen".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations, islice
from random import Random

from afterview.model.language.moments import clock, length
from afterview.training.world.history import History, Reference, name_of
from afterview.training.world.story import Event
from afterview.training.world.vocabulary import (
    COLOURS,
    DIGITS,
    MOTIONS,
    PLACES,
    SCENES,
    SHAPES,
    SIZES,
    STILL,
    WORDS,
)

NOT_SEEN = "not seen"
NOTHING = "nothing"
_MOST = 60  # most facts of one kind from pairs and triples of events; long stories have more than anyone asks
_FARTHEST_WRONG_TIME_S = 15.0  # least distance of a wrong time, offered as a choice, from the right one


@dataclass(frozen=True)
class Fact:
    """A question of `kind` without words, and its answer."""

    kind: str
    slots: dict[str, str]  # values for the wording
    answer: str
    wrong: tuple[str, ...]  # possible but wrong answers, for multiple choice
    about: tuple[Reference, ...] = ()
    events: tuple[Event, ...] = ()  # the events that prove the answer
    value: float | None = None  # the answer as a number: seconds since the start of the story, seconds, or times
    seen: bool = True  # False if the truth is "not seen" or "no"


def facts(kind: str, history: History, rng: Random) -> list[Fact]:
    """All facts of a kind; a random part of them for pairs of events. KeyError for an unknown kind."""
    return list(_MAKERS[kind](history, rng))


# Per kind: the attribute, its values, and the references to try, shortest first.
Keys = tuple[str, ...]
_ATTRIBUTES: dict[str, tuple[str, tuple[str, ...], tuple[Keys, ...]]] = {
    "colour": ("colour", tuple(COLOURS), (("shape",), ("size", "shape"), ("shape", "place"), ("shape", "scene"))),
    "shape": ("shape", SHAPES, (("colour",), ("size", "colour"), ("colour", "place"), ("colour", "scene"))),
    "size": ("size", tuple(SIZES), (("colour", "shape"),)),
    "where": ("place", tuple(PLACES), (("colour", "shape"), ("colour", "shape", "scene"))),
    "motion": ("motion", (*MOTIONS, STILL), (("colour", "shape"), ("colour", "shape", "scene"))),
    "scene": ("scene", SCENES, (("colour", "shape"), ("size", "colour", "shape", "place"))),
}
_CARDS = {"digit": DIGITS, "word": WORDS}


def _attribute_facts(kind: str, history: History) -> Iterator[Fact]:
    """Colour, shape, size, place, motion or scene of an object."""
    attribute, values, attempts = _ATTRIBUTES[kind]
    used = set()
    for event in history.events:
        for keys in attempts if event.kind == "object" else ():
            known = {key: getattr(event, key) for key in keys}
            reference = Reference(**known)
            denoted = history.denoted(reference)
            answer, *others = {look for one in denoted for look in one.looks(attribute)}
            if None in known.values() or others or answer is None:
                continue
            if reference not in used:
                used.add(reference)
                yield _fact_about(kind, reference, answer, values, denoted)
            break
    for reference in absent(attempts[0], history):
        yield _fact_about(kind, reference, NOT_SEEN, values, [])


def _fact_about(kind: str, about: Reference, answer: str, values: tuple[str, ...], denoted: list[Event]) -> Fact:
    wrong = tuple(value for value in (*values, NOT_SEEN) if value != answer)
    slots = {"the": about.the, "a": about.a, "qualifier": about.qualifier}
    return Fact(kind, slots, answer, wrong, (about,), tuple(denoted), seen=bool(denoted))


def absent(keys: Keys, history: History) -> Iterator[Reference]:
    """References by colour, shape or both to things that were not seen, the most confusable first."""
    found = set()
    for colour, shape in history.absent_pairs():
        reference = Reference(colour=colour if "colour" in keys else None, shape=shape if "shape" in keys else None)
        if reference not in found and not history.denoted(reference):
            found.add(reference)
            yield reference


def _card_facts(kind: str, history: History) -> Iterator[Fact]:
    """Which digit or word was shown, if it is the only one, or the only one of a scene."""
    everywhere = Reference(kind="digit" if kind == "digit" else "word")
    shown = history.denoted(everywhere)
    for about in [everywhere, *(replace(everywhere, scene=scene) for scene in dict.fromkeys(history.scenes))]:
        denoted = history.denoted(about)
        texts = {event.text for event in denoted}
        if len(texts) == 1:
            yield _fact_about(kind, about, denoted[0].text or "", _CARDS[kind], denoted)
        elif not texts and (shown or about is everywhere):
            yield _fact_about(kind, about, NOT_SEEN, _CARDS[kind], [])


def _existence(history: History, rng: Random) -> Iterator[Fact]:
    """Whether a thing was seen. "No": things that share colour and shape with seen ones, or that only come later."""
    names = {event.name: event for event in history.events}
    for event in names.values():
        yield replace(_fact_about("exists", name_of(event), "yes", (), _showings(history, event)), wrong=("no",))
    future = {event.name: event for event in history.script.events if event.name not in names}
    missing = [name_of(event) for event in future.values()]
    missing += [one for one in islice(absent(("colour", "shape"), history), 12) if one not in missing]
    for reference in missing:
        yield replace(_fact_about("exists", reference, "no", (), []), wrong=("yes",))


def _counts(history: History, rng: Random) -> Iterator[Fact]:
    for name, times in history.times_shown.items():
        showings = [event for event in history.events if event.name == name]
        wrong = tuple(str(number) for number in range(1, 6) if number != times)
        about = name_of(showings[0])
        yield Fact("count", {"a": about.a}, str(times), wrong, (about,), tuple(showings), value=times)


def _times(kind: str, history: History, rng: Random) -> Iterator[Fact]:
    """When something appeared (if shown once), or appeared last."""
    newest = {event.name: event for event in history.events}
    for event in history.singles if kind == "when" else newest.values():
        wrong = _wrong_times(history, rng, event.start_s)
        about = name_of(event)
        yield Fact(kind, {"the": about.the}, clock(event.start_s), wrong, (about,), (event,), value=event.start_s)
    for reference in absent(("colour", "shape"), history):
        yield _fact_about(kind, reference, NOT_SEEN, _wrong_times(history, rng, None), [])


def _wrong_times(history: History, rng: Random, right: float | None) -> tuple[str, ...]:
    drawn = [rng.uniform(0, history.at_s) for _ in range(8)]
    return tuple(clock(t) for t in drawn if right is None or abs(t - right) >= _FARTHEST_WRONG_TIME_S)


def _firsts(history: History, rng: Random) -> Iterator[Fact]:
    for pair in _drawn(combinations(history.singles, 2), rng):
        earlier, later = (name_of(event) for event in pair)
        one, two = rng.sample((earlier, later), 2)
        slots = {"one": one.the, "two": two.the}
        yield Fact("first", slots, earlier.noun, (later.noun,), (one, two), pair)


def _orders(history: History, rng: Random) -> Iterator[Fact]:
    for triple in _drawn(combinations(history.singles, 3), rng):
        right = [name_of(event) for event in triple]
        asked = rng.sample(right, 3)
        slots = dict(zip(("one", "two", "three"), (reference.the for reference in asked), strict=True))
        answer = ", ".join(reference.noun for reference in right)
        wrong = {", ".join(reference.noun for reference in rng.sample(right, 3)) for _ in range(8)} - {answer}
        yield Fact("order", slots, answer, tuple(sorted(wrong)), tuple(asked), triple)


def _neighbours(kind: str, history: History, rng: Random) -> Iterator[Fact]:
    """What came directly before or after something that was shown once."""
    step = -1 if kind == "before" else 1
    for event in history.singles:
        number = event.number + step
        found = history.events[number] if 0 <= number < len(history.events) else None
        if found and found.change:
            continue  # its name is ambiguous
        answer = name_of(found).noun if found else NOTHING
        others = {name_of(other).noun for other in history.events if other is not event} - {answer}
        about = name_of(event)
        proof = (event, found) if found else (event,)
        yield Fact(kind, {"the": about.the}, answer, tuple(sorted(others)), (about,), proof)


def _durations(history: History, rng: Random) -> Iterator[Fact]:
    for event in history.singles:
        if event.end_s <= history.at_s:
            seconds = round(event.end_s - event.start_s, 1)
            wrong = tuple(length(other) for other in range(1, 8) if other != round(seconds))
            about = name_of(event)
            yield Fact("duration", {"the": about.the}, length(seconds), wrong, (about,), (event,), value=seconds)


def _gaps(history: History, rng: Random) -> Iterator[Fact]:
    """Time between the starts of two things."""
    for pair in _drawn(combinations(history.singles, 2), rng):
        one, two = (name_of(event) for event in pair)
        gap = round(pair[1].start_s - pair[0].start_s, 1)
        wrong = tuple(length(gap * factor) for factor in (0.25, 0.5, 2, 3))
        slots = {"one": one.the, "two": two.the}
        yield Fact("gap", slots, length(gap), wrong, (one, two), pair, value=gap)


def _presents(history: History, rng: Random) -> Iterator[Fact]:
    shown = history.now
    answer = name_of(shown).noun if shown else NOTHING
    others = {name_of(event).noun for event in history.script.events} | {NOTHING}
    yield Fact("now", {}, answer, tuple(sorted(others - {answer})), events=(shown,) if shown else ())


def _scenes_now(history: History, rng: Random) -> Iterator[Fact]:
    yield _scene_fact("scene now", history.scenes[-1])


def _scenes_before(history: History, rng: Random) -> Iterator[Fact]:
    if len(history.scenes) > 1:
        yield _scene_fact("scene before", history.scenes[-2])


def _scene_fact(kind: str, answer: str) -> Fact:
    return Fact(kind, {}, answer, tuple(scene for scene in SCENES if scene != answer))


def _scenes_seen(history: History, rng: Random) -> Iterator[Fact]:
    for scene in SCENES:
        seen = scene in history.scenes
        answer, wrong = ("yes", "no") if seen else ("no", "yes")
        yield Fact("scene seen", {"scene": scene}, answer, (wrong,), seen=seen)


def _showings(history: History, event: Event) -> list[Event]:
    return [other for other in history.events if other.name == event.name]


def _drawn(groups: Iterator[tuple[Event, ...]], rng: Random) -> list[tuple[Event, ...]]:
    every = list(islice(groups, 20_000))
    return every if len(every) <= _MOST else rng.sample(every, _MOST)


_Maker = Callable[[History, Random], Iterator[Fact]]


def _of(maker: Callable[[str, History, Random], Iterator[Fact]], kind: str) -> _Maker:
    return lambda history, rng: maker(kind, history, rng)


_MAKERS: dict[str, _Maker] = {
    **{kind: _of(lambda kind, history, rng: _attribute_facts(kind, history), kind) for kind in _ATTRIBUTES},
    **{kind: _of(lambda kind, history, rng: _card_facts(kind, history), kind) for kind in _CARDS},
    "exists": _existence,
    "count": _counts,
    "when": _of(_times, "when"),
    "last": _of(_times, "last"),
    "first": _firsts,
    "order": _orders,
    "before": _of(_neighbours, "before"),
    "after": _of(_neighbours, "after"),
    "duration": _durations,
    "gap": _gaps,
    "now": _presents,
    "scene now": _scenes_now,
    "scene seen": _scenes_seen,
    "scene before": _scenes_before,
}
KINDS = tuple(_MAKERS)
