"""A quiz on a world during live recording: when each question is asked, about which time, and its truth. Pure; drawn from the seed.

Every answer is about `question.at_s`, so the time that an answer takes and later changes do not matter.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from afterview.training.base.errors import WorldError
from afterview.training.base.seeds import seeded
from afterview.training.world import QuestionPlan, WorldQuestion, questions_at, settled_time
from afterview.training.world.story import Script

QUIZ_KINDS: Final = (
    "colour", "shape", "where", "scene", "exists", "digit", "size", "scene seen", "now", "scene now",
)  # fmt: skip
_PRESENT: Final = ("now", "scene now")  # true at one time only, so never asked about the past
_JOIN_S: Final = 5.0  # seconds of live video before the first question
_LEAVE_S: Final = 3.0  # after the last question
_BEFORE_END_S: Final = 0.5  # "now" is asked this long before a thing disappears
_SHARE_OF_PAST: Final = 0.2  # of the questions, but at least one, are about the past
_PAST: Final = (0.25, 0.9)  # in this range of the time before the live minute
_SHARE_VISIBLE: Final = 0.6  # of "now" questions are asked while something is visible, if possible


@dataclass(frozen=True)
class Put:
    """A question and the story time at which it is asked. `question.at_s` is never later."""

    put_s: float
    question: WorldQuestion


def draw_quiz(script: Script, live_s: float, *, count: int = 10) -> list[Put]:
    """`count` different questions, asked between story time `live_s` and the story's end, in order of time.

    Kinds alternate. At least one question is about a time before `live_s`. Raises WorldError if there is not enough
    time for them.
    """
    first, last = live_s + _JOIN_S, script.duration_s - _LEAVE_S
    if count < 1 or not 0 < live_s < first < last:
        raise WorldError(f"no room for {count} questions between {live_s:g} and {script.duration_s:g} s of a story")
    rng = seeded(f"quiz 1, world {script.seed}")
    kinds = list(_in_turn(rng, count))
    lasting = [number for number, kind in enumerate(kinds) if kind not in _PRESENT]
    past = rng.sample(lasting, min(len(lasting), max(1, round(count * _SHARE_OF_PAST))))
    step = (last - first) / count
    puts: list[Put] = []
    for number, kind in enumerate(kinds):
        put_s = round(first + step * (number + rng.random()), 1)
        if kind == "now":
            put_s = _while_something_is_visible(script, first, last, rng) or put_s
        at_s = round(rng.uniform(*_PAST) * live_s, 1) if number in past else put_s
        puts.append(_put(script, kind, put_s, at_s, puts))
    return sorted(puts, key=lambda put: put.put_s)


def _in_turn(rng: Random, count: int) -> Iterator[str]:
    """Kinds in random order; each occurs once before any is repeated."""
    for start in range(0, count, len(QUIZ_KINDS)):
        yield from rng.sample(QUIZ_KINDS, min(len(QUIZ_KINDS), count - start))


def _while_something_is_visible(script: Script, first: float, last: float, rng: Random) -> float | None:
    ends = [event.end_s - _BEFORE_END_S for event in script.events if event.end_s - event.start_s >= 3]
    fitting = [moment for moment in ends if first <= moment <= last]
    return rng.choice(fitting) if fitting and rng.random() < _SHARE_VISIBLE else None


def _put(script: Script, kind: str, put_s: float, at_s: float, earlier: list[Put]) -> Put:
    at_s = settled_time(script, at_s)
    known = {(put.question.kind, put.question.about) for put in earlier}
    candidates = questions_at(script, at_s, QuestionPlan(count=1 + len(earlier), kinds=(kind,), seed=len(earlier)))
    new = [question for question in candidates if (kind, question.about) not in known]
    return Put(put_s, (new or candidates)[0])
