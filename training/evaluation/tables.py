"""Results of an evaluation: accuracies with Wilson intervals, chance, majority, evidence, mistakes. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from afterview.training.evaluation.intervals import Share, rounded
from afterview.training.evaluation.judge import NEEDLES, is_right, plain, says_not_seen
from afterview.training.evaluation.plan import WorldTest
from afterview.training.world import WorldQuestion


@dataclass(frozen=True)
class Outcome:
    """One question asked of one memory under one recall mode, and its answer."""

    seed: int
    frames: int
    recall: str
    question: WorldQuestion
    answer: str
    evidence_time: float | None  # story time of the frame with the largest evidence weight
    seconds: float  # duration of answering

    @property
    def right(self) -> bool:
        """Whether the answer is true."""
        return is_right(self.question, self.answer)

    @property
    def evident(self) -> bool | None:
        """Whether the first evidence frame lies in an event that proves the answer. None if no single event does."""
        if self.evidence_time is None or not self.question.spans or not self.question.seen:
            return None
        return any(start <= self.evidence_time < end for start, end in self.question.spans)


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation of one model."""

    test: WorldTest
    model: str  # as the caller named it
    weights: str  # the model's fingerprint
    outcomes: Sequence[Outcome]
    seconds: float
    untrained: tuple[str, ...] = ()  # parts of the model that nothing was learnt in: then the answers mean nothing

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: the test, and one summary per recall mode."""
        test = self.test
        return {
            "benchmark": "world",
            "model": self.model,
            "weights": self.weights,
            "untrained": list(self.untrained),
            "seeds": [test.seeds[0], test.seeds[-1]],
            "world": test.variant,
            "frames": test.frames,
            "questions": test.questions,
            "kinds": list(test.kinds),
            "pairs": test.pairs,
            "held_out_wordings": test.held_out_wordings,
            "reworded": test.reworded,
            "choices": test.choices,
            "seconds": round(self.seconds, 1),
            "recall": self.summaries,
        }

    @property
    def summaries(self) -> dict[str, dict[str, Any]]:
        """The summary of each recall mode."""
        return {
            mode: summary([outcome for outcome in self.outcomes if outcome.recall == mode]) for mode in self.test.recall
        }


def share(outcomes: Sequence[Outcome]) -> Share:
    """The share of right answers."""
    return Share(sum(outcome.right for outcome in outcomes), len(outcomes))


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The table of outcomes that differ only in seed and question. JSON-able."""
    kinds = sorted({outcome.question.kind for outcome in outcomes})
    proven = [
        outcome
        for outcome in outcomes
        if outcome.question.kind in NEEDLES and outcome.right and outcome.evident is not None
    ]
    unseen = [outcome for outcome in outcomes if not outcome.question.seen]
    denied = Share(sum(says_not_seen(outcome.answer) for outcome in unseen), len(unseen))
    times = sorted(outcome.seconds for outcome in outcomes)
    return {
        "all": share(outcomes).to_dict(),
        "needles": share([outcome for outcome in outcomes if outcome.question.kind in NEEDLES]).to_dict(),
        "kinds": {kind: _kind([outcome for outcome in outcomes if outcome.question.kind == kind]) for kind in kinds},
        "evidence": Share(sum(bool(outcome.evident) for outcome in proven), len(proven)).to_dict(),
        "not_seen": denied.to_dict(),
        "worlds": {seed: _of_world(outcomes, seed) for seed in sorted({outcome.seed for outcome in outcomes})},
        "seconds_median": round(times[len(times) // 2], 3) if times else None,
    }


def _of_world(outcomes: Sequence[Outcome], seed: int) -> dict[str, int]:
    counted = share([outcome for outcome in outcomes if outcome.seed == seed])
    return {"right": counted.right, "asked": counted.asked}


def _kind(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    truths = Counter(plain(outcome.question.answer) for outcome in outcomes)
    chances = [1 / (1 + len(set(outcome.question.wrong))) for outcome in outcomes]
    wrong = Counter((plain(o.question.answer), plain(o.answer)) for o in outcomes if not o.right)
    return {
        **share(outcomes).to_dict(),
        "chance": rounded(sum(chances) / len(chances)),
        "majority": rounded(truths.most_common(1)[0][1] / len(outcomes)),
        "mistakes": [{"truth": truth, "said": said, "times": times} for (truth, said), times in wrong.most_common(3)],
    }


def markdown(table: dict[str, Any]) -> str:
    """The table of one summary as Markdown, for people and the model card."""
    lines = ["| kind | accuracy | 95 % interval | asked | chance | majority |", "|---|---|---|---|---|---|"]
    for kind, row in table["kinds"].items():
        lines.append(f"{_cells(kind, row)} {row['chance']:.2f} | {row['majority']:.2f} |")
    for name in ("all", "needles", "evidence", "not_seen"):
        if table[name]["asked"]:
            lines.append(_cells("*" + name.replace("_", " ") + "*", table[name]) + " | |")
    return "\n".join(lines)


def _cells(name: str, row: dict[str, Any]) -> str:
    return f"| {name} | {row['accuracy']:.2f} | {row['low']:.2f}-{row['high']:.2f} | {row['asked']} |"
