"""Questions about a story that several cameras share: which camera saw a thing, where it went, and what one camera saw."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from afterview.training.base.errors import WorldError
from afterview.training.base.seeds import seeded
from afterview.training.world.cameras import SharedStory
from afterview.training.world.facts import NOT_SEEN
from afterview.training.world.history import History, Reference, history_at, name_of, settled_time
from afterview.training.world.phrasing import word, wordings
from afterview.training.world.questions import QuestionPlan, WorldQuestion, questions_at
from afterview.training.world.story import Event
from afterview.training.world.vocabulary import listing

CAMERA_KINDS: Final = ("camera", "first camera", "next camera", "on camera")
_ORDINARY: Final = ("colour", "shape", "where", "motion", "scene", "exists", "count", "now", "scene now")
_UNSEEN_SHARE: Final = 0.15


@dataclass(frozen=True)
class _CameraFact:
    """A question without words, its answer, and its proof: events with their cameras."""

    slots: dict[str, str]
    answer: str
    wrong: tuple[str, ...]
    about: tuple[Reference, ...]
    proof: tuple[tuple[str, Event], ...]
    value: float | None = None


def shared_settled_time(story: SharedStory, at_s: float) -> float:
    """The last time up to `at_s` at which the answers of all cameras are certain; see `settled_time`."""
    while (settled := min(settled_time(script, at_s) for script in story.scripts)) < at_s:
        at_s = settled
    return at_s


def shared_questions_at(
    story: SharedStory, at_s: float, *, count: int = 10, kinds: tuple[str, ...] = CAMERA_KINDS, seed: int = 0,
    held_out_wordings: bool = False,
) -> list[WorldQuestion]:  # fmt: skip
    """Up to `count` different questions with one true answer at `at_s`. WorldQuestion.cameras: the cameras that prove it.

    Raises WorldError if an answer is uncertain on some camera (see shared_settled_time), and for an unknown kind.
    """
    if unknown := [kind for kind in kinds if kind not in CAMERA_KINDS]:
        raise WorldError(f"no question about cameras is of kind '{unknown[0]}'; there are: {', '.join(CAMERA_KINDS)}")
    histories = {script.camera or "": history_at(script, at_s) for script in story.scripts}
    rng = seeded(f"camera questions 1, world {story.seed}, at {at_s!r}, seed {seed}")
    pools = {kind: _shuffled(_MAKERS[kind](story, histories, rng), rng) for kind in kinds}
    asked: list[WorldQuestion] = []
    while len(asked) < count and any(pools.values()):
        for kind, pool in pools.items():
            if pool and len(asked) < count:
                number = rng.choice(wordings(kind, held_out=held_out_wordings))
                asked.append(_put(kind, pool.pop(), number, at_s, held_out_wordings))
    return asked


def _shuffled(found: Iterator[_CameraFact], rng: Random) -> list[_CameraFact]:
    """Facts in random order, with a limited share of unseen things."""
    every = list(found)
    seen, unseen = [one for one in every if one.proof], [one for one in every if not one.proof]
    kept = seen + rng.sample(unseen, min(len(unseen), round(len(seen) * _UNSEEN_SHARE) + 1))
    return rng.sample(kept, len(kept))


def _showings(histories: dict[str, History]) -> dict[Reference, list[tuple[str, Event]]]:
    """Every object that was seen and has a unique name, with its cameras and events, in order of time."""
    found: dict[Reference, list[tuple[str, Event]]] = {}
    for camera, history in histories.items():
        for event in history.events:
            if event.kind == "object":
                found.setdefault(name_of(event), []).append((camera, event))
    denoted = {about: sum(len(history.denoted(about)) for history in histories.values()) for about in found}
    return {
        about: sorted(places, key=lambda place: place[1].start_s)
        for about, places in found.items()
        if len(places) == denoted[about]  # no other thing takes this look later
    }


def _which(story: SharedStory, histories: dict[str, History], rng: Random) -> Iterator[_CameraFact]:
    for about, places in _showings(histories).items():
        yield _which_fact(story, about, [camera for camera in story.cameras if camera in dict(places)], tuple(places))
    for colour, shape in next(iter(histories.values())).script.config.colour_shape_pairs():
        about = Reference(colour=colour, shape=shape)
        if not any(history.denoted(about) for history in histories.values()):
            yield _which_fact(story, about, [], ())


def _which_fact(
    story: SharedStory, about: Reference, cameras: list[str], proof: tuple[tuple[str, Event], ...]
) -> _CameraFact:
    answer = listing(cameras) if cameras else NOT_SEEN
    wrong = tuple(one for one in (*story.cameras, listing(story.cameras), NOT_SEEN) if one != answer)
    return _CameraFact({"the": about.the}, answer, wrong, (about,), proof)


def _first(story: SharedStory, histories: dict[str, History], rng: Random) -> Iterator[_CameraFact]:
    for about, places in _showings(histories).items():
        if len({camera for camera, _ in places}) > 1 and places[0][1].start_s < places[1][1].start_s:
            wrong = tuple(camera for camera in story.cameras if camera != places[0][0])
            yield _CameraFact({"the": about.the}, places[0][0], wrong, (about,), tuple(places))


def _next(story: SharedStory, histories: dict[str, History], rng: Random) -> Iterator[_CameraFact]:
    """From one camera of a journey to the next, if both have seen the thing."""
    for journey in story.journeys:
        for here, there in zip(journey.legs, journey.legs[1:], strict=False):
            started = histories[there.camera].events
            if there.event < len(started):
                proof = (here.camera, histories[here.camera].events[here.event]), (there.camera, started[there.event])
                about = name_of(started[there.event])
                wrong = tuple(camera for camera in story.cameras if camera != there.camera)
                yield _CameraFact({"the": about.the, "camera": here.camera}, there.camera, wrong, (about,), proof)


def _on(story: SharedStory, histories: dict[str, History], rng: Random) -> Iterator[_CameraFact]:
    """Ordinary questions about one of the cameras."""
    for camera, history in histories.items():
        plan = QuestionPlan(count=2 * len(_ORDINARY), kinds=_ORDINARY, seed=rng.getrandbits(32))
        for question in questions_at(history.script, history.at_s, plan):
            proof = tuple((camera, history.events[number]) for number in question.events)
            slots = {"camera": camera, "question": question.text}
            yield _CameraFact(slots, question.answer, question.wrong, (), proof, question.value)


_Maker = Callable[[SharedStory, dict[str, History], Random], Iterator[_CameraFact]]
_MAKERS: dict[str, _Maker] = {"camera": _which, "first camera": _first, "next camera": _next, "on camera": _on}


def _put(kind: str, fact: _CameraFact, number: int, at_s: float, held_out: bool) -> WorldQuestion:
    return WorldQuestion(
        kind=kind,
        text=word(kind, number, fact.slots),
        answer=fact.answer,
        wrong=fact.wrong,
        at_s=at_s,
        value=fact.value,
        seen=fact.answer not in (NOT_SEEN, "no"),
        about=tuple(reference.noun for reference in fact.about),
        events=tuple(event.number for _, event in fact.proof),
        spans=tuple((event.start_s, min(event.end_s, at_s)) for _, event in fact.proof),
        cameras=tuple(camera for camera, _ in fact.proof),
        names_camera=fact.slots.get("camera"),
        wording=number,
        held_out_wording=held_out,
    )
