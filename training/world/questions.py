"""Questions about a story at a given time, with their true answers. A pure function of (script, at, seed).

Answers are short and closed: a colour, a shape, `yes`, `00:04:12`, `3 seconds`, `red circle, digit 7, blue star`, or
`not seen`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from afterview.configs import Schema
from afterview.training.base.errors import WorldError
from afterview.training.base.seeds import seeded
from afterview.training.world.facts import KINDS, Fact
from afterview.training.world.history import History, history_at
from afterview.training.world.phrasing import word, wordings
from afterview.training.world.story import Script
from afterview.training.world.twist_facts import EVERY_KIND, facts
from afterview.training.world.vocabulary import HELD_OUT_PAIRS

_LETTERS = "ABCDEFGH"
MOST_CHOICES = len(_LETTERS)
# Balanced, so that guessing "yes" or "no" does not pay.
_UNSEEN_SHARE = {
    "exists": 0.5,
    "scene seen": 0.5,
    "hidden": 0.5,
}
_UNSEEN_SHARE_ELSEWHERE = 0.15


class WorldQuestion(Schema):
    """A question asked at `at_s`, and its true answer."""

    kind: str
    text: str
    answer: str
    wrong: tuple[str, ...]  # possible but wrong answers
    at_s: float  # story time of the question; the answer is about everything until then
    # The answer as a number: seconds since the start of the story, a length in seconds, or a count.
    value: float | None = None
    seen: bool = True  # False if the truth is "not seen" or "no"
    about: tuple[str, ...] = ()  # the things asked about: "red circle"
    events: tuple[int, ...] = ()  # numbers of the events that prove the answer
    spans: tuple[tuple[float, float], ...] = ()  # when those events were visible, up to at_s
    cameras: tuple[str, ...] = ()  # for a shared story: the camera of each of these events
    names_camera: str | None = None  # for a shared story: the camera that the question names
    wording: int = 0
    held_out_wording: bool = False
    held_out_pair: bool = False  # about a colour-shape pair that training never shows
    multiple_choice: bool = False


@dataclass(frozen=True)
class QuestionPlan:
    """Which questions to ask. Kinds alternate, as far as the story has facts of them."""

    count: int = 10
    kinds: Sequence[str] = KINDS
    held_out_wordings: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in EVERY_KIND]
        if unknown or not self.kinds:
            raise WorldError(f"no question is of kind '{''.join(unknown[:1])}'; there are: {', '.join(EVERY_KIND)}")


def questions_at(script: Script, at_s: float, plan: QuestionPlan | None = None) -> list[WorldQuestion]:
    """Up to plan.count different questions with one true answer at story time `at_s`.

    Raises WorldError if answers are uncertain because something has just changed: see `settled_time`.
    """
    plan = plan or QuestionPlan()
    history = history_at(script, at_s)
    rng = seeded(f"questions 1, world {script.seed}, at {at_s!r}, seed {plan.seed}")
    pools = {kind: facts(kind, history, rng) for kind in rng.sample(list(plan.kinds), len(plan.kinds))}
    asked: list[WorldQuestion] = []
    while len(asked) < plan.count and any(pools.values()):
        for kind, pool in pools.items():
            if pool and len(asked) < plan.count:
                fact = _draw(kind, pool, rng)
                pool.remove(fact)
                number = rng.choice(wordings(kind, held_out=plan.held_out_wordings))
                asked.append(_put(fact, number, history, plan))
    return asked


def multiple_choice(question: WorldQuestion, *, options: int = 4, seed: int = 0) -> WorldQuestion:
    """The same question with lettered answers. Its answer is the letter.

    Offers fewer than `options` if the question has fewer answers. Raises WorldError if it has only one.
    """
    if not question.wrong or not 2 <= options <= MOST_CHOICES:
        raise WorldError(f"'{question.text}' has {len(question.wrong) + 1} answers to offer, {options} were asked for")
    rng = seeded(f"choices 1, {question.text}, {question.answer}, seed {seed}")
    offered = rng.sample(question.wrong, min(options - 1, len(question.wrong)))
    offered.insert(rng.randint(0, len(offered)), question.answer)
    lines = [f"{letter}. {offer}" for letter, offer in zip(_LETTERS, offered, strict=False)]
    letters = dict(zip(offered, _LETTERS, strict=False))
    return question.model_copy(
        update={
            "text": "\n".join([question.text, *lines]),
            "answer": letters[question.answer],
            "wrong": tuple(letter for offer, letter in letters.items() if offer != question.answer),
            "multiple_choice": True,
        }
    )


def _draw(kind: str, pool: list[Fact], rng: Random) -> Fact:
    """One fact: "not seen" and "no" have the share above, all other answers are equally likely."""
    seen = [fact for fact in pool if fact.seen]
    unseen = [fact for fact in pool if not fact.seen]
    want_unseen = rng.random() < _UNSEEN_SHARE.get(kind, _UNSEEN_SHARE_ELSEWHERE)
    drawn_from = (unseen if want_unseen else seen) or seen or unseen
    answer = rng.choice(list(dict.fromkeys(fact.answer for fact in drawn_from)))
    return rng.choice([fact for fact in drawn_from if fact.answer == answer])


def _put(fact: Fact, number: int, history: History, plan: QuestionPlan) -> WorldQuestion:
    pairs = {(reference.colour, reference.shape) for reference in fact.about}
    pairs |= {(event.colour, event.shape) for event in fact.events}
    return WorldQuestion(
        kind=fact.kind,
        text=word(fact.kind, number, fact.slots),
        answer=fact.answer,
        wrong=fact.wrong,
        at_s=history.at_s,
        value=fact.value,
        seen=fact.seen,
        about=tuple(reference.noun for reference in fact.about),
        events=tuple(event.number for event in fact.events),
        spans=tuple((event.start_s, min(event.end_s, history.at_s)) for event in fact.events),
        wording=number,
        held_out_wording=plan.held_out_wordings,
        held_out_pair=any(pair in HELD_OUT_PAIRS for pair in pairs),
    )
