"""Further kinds of questions, which the small model was not trained on: changes in view, covers, and summaries.

Every kind can be asked about any story. Without changes or covers, most answers are "nothing", "no" and "not seen".
"""

from collections.abc import Callable, Iterator
from itertools import islice
from random import Random

from afterview.training.world import facts as core
from afterview.training.world.config import WorldConfig
from afterview.training.world.facts import NOT_SEEN, NOTHING, Fact, absent
from afterview.training.world.history import History, Reference, name_of
from afterview.training.world.story import Event
from afterview.training.world.truth import clip_caption, whole_caption
from afterview.training.world.vocabulary import COLOURS, COVERS, SIZES

_VALUES = {"colour": tuple(COLOURS), "size": tuple(SIZES)}
_KEYS = {  # references without the changed attribute, shortest first
    "colour": (("shape",), ("size", "shape"), ("shape", "place"), ("shape", "scene")),
    "size": (("colour", "shape"), ("colour", "shape", "scene")),
}
_MOST_WRONG = 6


def facts(kind: str, history: History, rng: Random) -> list[Fact]:
    """All facts of a kind, from here or from training.world.facts. KeyError for an unknown kind."""
    return list(_MAKERS[kind](history, rng)) if kind in _MAKERS else core.facts(kind, history, rng)


def kinds_of(config: WorldConfig) -> tuple[str, ...]:
    """The kinds worth asking about such stories."""
    changing = ("change", "at first", "afterwards") if config.changing else ()
    return (*core.KINDS, *changing, *(("hidden", "behind") if config.hidden else ()))


def _changes(history: History, rng: Random) -> Iterator[Fact]:
    """Which attribute of a thing changed while it was visible."""
    for event in history.events:
        about = name_of(event)
        if event.kind == "object" and len(denoted := history.denoted(about)) == 1:
            answer = event.change.attribute if event.change else NOTHING
            yield _fact_about("change", about, answer, ("colour", "size", NOTHING), denoted)
    for about in _unseen(history):
        yield _fact_about("change", about, NOT_SEEN, ("colour", "size", NOTHING), [])


def _looks(kind: str, history: History) -> Iterator[Fact]:
    """The colour or size of a changing thing before or after the change."""
    for event in history.events:
        for keys in _KEYS[event.change.attribute] if event.change else ():
            about = Reference(**{key: getattr(event, key) for key in keys})
            if None not in (getattr(about, key) for key in keys) and len(denoted := history.denoted(about)) == 1:
                attribute = event.change.attribute if event.change else ""
                answer = event.looks(attribute)[0 if kind == "at first" else 1] or ""
                fact = _fact_about(kind, about, answer, _VALUES[attribute], denoted)
                yield Fact(kind, {**fact.slots, "attribute": attribute}, answer, fact.wrong, fact.about, fact.events)
                break


def _hidings(kind: str, history: History) -> Iterator[Fact]:
    """Whether a thing was partly hidden, or behind what."""
    values = ("yes", "no") if kind == "hidden" else (*COVERS, NOTHING)
    used = set()
    for event in history.events:
        about = name_of(event)
        denoted = history.denoted(about)
        answers = {_hiding(kind, one) for one in denoted}
        if event.kind == "object" and len(answers) == 1 and about not in used:
            used.add(about)
            yield _fact_about(kind, about, answers.pop(), values, denoted)
    for about in _unseen(history):
        yield _fact_about(kind, about, NOT_SEEN, values, [])


def _hiding(kind: str, event: Event) -> str:
    if kind == "hidden":
        return "yes" if event.cover else "no"
    return event.cover.thing if event.cover else NOTHING


def _summary(history: History, rng: Random) -> Iterator[Fact]:
    """The story so far. Wrong answers omit things or change their order."""
    right = whole_caption(history.script, history.at_s)
    numbers = [event.number for event in history.events]
    wrong = {
        whole_caption(history.script, history.at_s, rng.sample(numbers, rng.randint(1, len(numbers))))
        for _ in range(_MOST_WRONG if numbers else 0)
    }
    yield Fact("summary", {}, right, tuple(sorted(wrong - {right})), events=history.events)


def _scene_summaries(history: History, rng: Random) -> Iterator[Fact]:
    """What happened in a scene that was shown once and is over."""
    over = [segment for segment in history.script.segments if segment.end_s <= history.at_s]
    captions = {segment.start_s: clip_caption(history.script, segment) for segment in over}
    for segment in over:
        if history.scenes.count(segment.scene) == 1:
            right = captions[segment.start_s]
            others = sorted(set(captions.values()) - {right})
            events = tuple(e for e in history.events if segment.start_s <= e.start_s < segment.end_s)
            wrong = tuple(rng.sample(others, min(_MOST_WRONG, len(others))))
            yield Fact("scene summary", {"scene": segment.scene}, right, wrong, events=events)


def _fact_about(kind: str, about: Reference, answer: str, values: tuple[str, ...], denoted: list[Event]) -> Fact:
    wrong = tuple(value for value in (*values, NOT_SEEN) if value != answer)
    return Fact(kind, {"the": about.the}, answer, wrong, (about,), tuple(denoted), seen=answer not in (NOT_SEEN, "no"))


def _unseen(history: History) -> Iterator[Reference]:
    return islice(absent(("colour", "shape"), history), 12)


_Maker = Callable[[History, Random], Iterator[Fact]]
_MAKERS: dict[str, _Maker] = {
    "change": _changes,
    "at first": lambda history, rng: _looks("at first", history),
    "afterwards": lambda history, rng: _looks("afterwards", history),
    "hidden": lambda history, rng: _hidings("hidden", history),
    "behind": lambda history, rng: _hidings("behind", history),
    "summary": _summary,
    "scene summary": _scene_summaries,
}
TWIST_KINDS = tuple(_MAKERS)
EVERY_KIND = (*core.KINDS, *TWIST_KINDS)
