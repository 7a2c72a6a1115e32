"""How an item of an online benchmark is asked while its video passes: once, polled, or as a standing question.

    Once      about all that was seen, and about the last minute
    Polled    as the official harness does: whether now is the moment to output the truth, again and again, until the answer is yes
    Watching  as a standing question: set once, checked at every frame, told neither the output nor when it is due

An item may have several tasks. Its row is made when all have ended.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final, Protocol

from afterview.stream.ask.standing import StandingQuestion
from afterview.training.evaluation.benchmarks.asking import Asked, Reply
from afterview.training.evaluation.benchmarks.base import Item, Standing
from afterview.training.evaluation.benchmarks.proactive import is_on_time, judge_alarms
from afterview.training.evaluation.benchmarks.running import Work
from afterview.training.evaluation.benchmarks.scoring import yes_or_no

LAST_S: Final = 60.0
CONTEXTS: Final[Mapping[str, float]] = {
    "": math.inf,
    " last 60 s": LAST_S,
}  # what stands after a score's name -> seconds that are seen
CHECK_TOKENS: Final = 16  # of the answer to a check of a standing question: yes or no
# Which answer to a poll says that now is the moment: clearly yes; officially any `yes` in it.
_YES: Final[Mapping[str, Callable[[str], bool]]] = {
    "strict": lambda text: yes_or_no(text) == "yes",
    "official": lambda text: "yes" in text.strip().lower(),
}

Ask = Callable[[Asked], Reply]
Replies = Mapping[str, tuple[float, Reply]]  # by name: when it was asked, and what was said
Steps = Mapping[str, Sequence[tuple[float, Reply]]]  # the same of each step, by kind


class Task(Protocol):
    """One way in which an item is asked."""

    item: Item

    def times(self, frames: Sequence[float]) -> Sequence[float]:
        """When it is asked. frames: times of the video's frames."""
        ...

    @property
    def ended(self) -> bool:
        """Whether nothing is left to ask."""
        ...

    def step(self, ask: Ask, time: float) -> None:
        """Ask as of one of its moments. Raises what `ask` raises."""
        ...

    def scores(self) -> dict[str, float]:
        """Its scores."""
        ...

    @property
    def answer(self) -> str:
        """The answer that the row quotes."""
        ...

    def replies(self) -> Replies:
        """The answers that are scored, each of which is logged."""
        ...

    def steps(self) -> Steps:
        """The polls or checks before them, whose times are logged."""
        ...

    def details(self) -> dict[str, Any]:
        """What else is kept, JSON-able."""
        ...


def tasks_of(work: Work, item: Item) -> list[Task]:
    """The ways in which an item is asked."""
    tasks: list[Task] = [Polled(work, item)] if item.polls else []
    if item.standing is not None:
        tasks.append(Watching(work, item, item.standing))
    return tasks or [Once(work, item)]


def moments(tasks: Sequence[Task], frames: Sequence[float] = ()) -> Iterator[tuple[float, Task]]:
    """All moments of one video in order of time. A task that has ended is asked no more."""
    every = [(time, order) for order, task in enumerate(tasks) for time in task.times(frames)]
    for time, order in sorted(every):
        if not tasks[order].ended:
            yield time, tasks[order]


@dataclass
class Once:
    """Asked once, in both contexts."""

    work: Work
    item: Item
    _said: dict[str, tuple[float, Reply]] = field(default_factory=dict)

    def times(self, frames: Sequence[float]) -> Sequence[float]:
        """See Task."""
        return (self.item.at_s or 0.0,)

    @property
    def ended(self) -> bool:
        """See Task."""
        return len(self._said) == len(CONTEXTS)

    def step(self, ask: Ask, time: float) -> None:
        """See Task."""
        item = self.item
        for name, seen_s in CONTEXTS.items():
            start = None if math.isinf(seen_s) else max(0.0, time - seen_s)
            asked = Asked(
                item.prompt, item.question, start, time, item.subtitles, max_new_tokens=_most(self.work, item),
                options=item.options,
            )  # fmt: skip
            self._said[name] = (time, ask(asked))

    def scores(self) -> dict[str, float]:
        """See Task."""
        return {
            f"{score}{name}": value
            for name, (_, reply) in self._said.items()
            for score, value in self.work.benchmark.score(self.item, reply.text).items()
        }

    @property
    def answer(self) -> str:
        """See Task."""
        return self._said[""][1].text

    def replies(self) -> Replies:
        """See Task."""
        return {name.strip() or "all": said for name, said in self._said.items()}

    def steps(self) -> Steps:
        """See Task."""
        return {}

    def details(self) -> dict[str, Any]:
        """See Task."""
        return {}


@dataclass
class Polled:
    """Polled until yes. _said: answers to the polls. _outputs: by rule, what it said at the first yes, and when."""

    work: Work
    item: Item
    _said: list[tuple[float, Reply]] = field(default_factory=list)
    _outputs: dict[str, tuple[float, Reply]] = field(default_factory=dict)

    def times(self, frames: Sequence[float]) -> Sequence[float]:
        """See Task."""
        return self.item.polls

    @property
    def ended(self) -> bool:
        """See Task."""
        return len(self._outputs) == len(_YES) or len(self._said) == len(self.item.polls)

    def step(self, ask: Ask, time: float) -> None:
        """Ask whether now is the moment. At the first yes by either rule the output is asked for, at once."""
        item = self.item
        said = ask(Asked(item.poll_prompt, item.question, None, time, max_new_tokens=self.work.max_new_tokens))
        self._said.append((time, said))
        now = [rule for rule, is_yes in _YES.items() if rule not in self._outputs and is_yes(said.text)]
        if now:
            most = _most(self.work, item)
            reply = ask(Asked(item.prompt, item.question, None, time, max_new_tokens=most, options=item.options))
            self._outputs |= dict.fromkeys(now, (time, reply))

    def scores(self) -> dict[str, float]:
        """On time, and the right output."""
        scores: dict[str, float] = {}
        for rule in _YES:
            time, reply = self._outputs.get(rule, (math.inf, Reply("")))
            on_time = is_on_time(time, self._truth)
            right = on_time and self.work.benchmark.score(self.item, reply.text)[rule]
            scores |= {f"{rule} time": float(on_time), rule: float(right)}
        return scores

    @property
    def answer(self) -> str:
        """See Task."""
        return self._outputs["strict"][1].text if "strict" in self._outputs else ""

    def replies(self) -> Replies:
        """See Task."""
        return self._outputs

    def steps(self) -> Steps:
        """See Task."""
        return {"polls": self._said}

    def details(self) -> dict[str, Any]:
        """See Task."""
        lags = {
            rule: round(self._outputs[rule][0] - self._truth[0], 3) if rule in self._outputs else None for rule in _YES
        }
        return {
            "polls": [[round(time, 3), said.text[:80]] for time, said in self._said], "polled_lag_s": lags,
            "poll_s": round(median(said.seconds for _, said in self._said), 4) if self._said else None,
        }  # fmt: skip

    @property
    def _truth(self) -> tuple[float, float]:
        assert self.item.truth_s is not None, "the reader gives it to every item that is polled"
        return self.item.truth_s


@dataclass
class Watching:
    """A standing question. The output is asked for at the first alarm, where the item has one."""

    work: Work
    item: Item
    standing: Standing
    _planned: list[float] = field(default_factory=list)
    _said: list[tuple[float, Reply]] = field(default_factory=list)  # answers to the checks
    _output: dict[str, tuple[float, Reply]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.question = StandingQuestion(self.standing.set_s, self.standing.until_s)

    def times(self, frames: Sequence[float]) -> Sequence[float]:
        """See Task."""
        self._planned = self.question.frames(frames)
        return self._planned

    @property
    def ended(self) -> bool:
        """See Task."""
        return bool(self._planned) and len(self._said) == len(self._planned)

    def step(self, ask: Ask, time: float) -> None:
        """Check at one frame."""
        most = self.work.max_new_tokens
        limit = CHECK_TOKENS if most is None else min(most, CHECK_TOKENS)
        reply = ask(Asked(self.standing.check, self.item.question, None, time, max_new_tokens=limit))
        said = yes_or_no(reply.text)
        if (
            self.question.hear(time, None if said is None else said == "yes")
            and self.standing.output
            and not self._output
        ):
            asked = Asked(
                self.standing.output, self.item.question, None, time, max_new_tokens=_most(self.work, self.item),
                options=self.item.options,
            )  # fmt: skip
            self._output["standing"] = (time, ask(asked))
        self._said.append((time, reply))

    def scores(self) -> dict[str, float]:
        """Those of the alarms; with an output also `standing`: the first alarm on time, with the right output."""
        judged = judge_alarms(self.question.alarms, self.standing.truths)
        scores = judged.scores()
        if self.standing.output:
            text = self._output["standing"][1].text if self._output else ""
            for rule, name in (("strict", "standing"), ("official", "standing official")):
                right = judged.first_on_time and self.work.benchmark.score(self.item, text)[rule]
                scores[name] = float(right)
        return scores

    @property
    def answer(self) -> str:
        """The moments of its alarms."""
        return ", ".join(f"{time:g} s" for time in self.question.alarms)

    def replies(self) -> Replies:
        """See Task."""
        return self._output

    def steps(self) -> Steps:
        """See Task."""
        return {"checks": self._said}

    def details(self) -> dict[str, Any]:
        """Its alarms and what became of each moment of the truth. watched_s: from the first frame checked to the last."""
        judged, question = judge_alarms(self.question.alarms, self.standing.truths), self.question
        check_s = median(said.seconds for _, said in self._said)
        return {
            "standing": {
                "set_at_s": question.set_at, "checks": question.checks, "unclear": question.unclear,
                "alarms_s": [round(time, 3) for time in question.alarms], "lags_s": list(judged.lags_s),
                "false_alarms": judged.false, "repeated_alarms": judged.repeated,
                "watched_s": round(self._planned[-1] - self._planned[0], 3), "check_s": round(check_s, 4),
            }
        }  # fmt: skip


def _most(work: Work, item: Item) -> int | None:
    return item.max_new_tokens or work.max_new_tokens
