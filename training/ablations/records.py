"""A finished run of ablations, and how the results file keeps it: answer by answer, so that the file is enough to continue from.

    "questions": {"500/0": "colour: red", ...}                     kind and truth of every question, in the order asked
    "runs": [{"answers": {"right": "1101-...", ...}, ...}, ...]    a character per question: 1, 0, or - where the score does not count

A queue in another directory, or on another machine, does not repeat the runs that the file holds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, Self

from afterview.configs import UsageError
from afterview.training.ablations.ask import SCORES
from afterview.training.evaluation.results import Row, tables

FORMAT: Final = "afterview ablations 2"
_FACTS: Final = ("weights", "finished", "cpu_s", "steps")
_ABSENT: Final = "-"


@dataclass(frozen=True)
class Run:
    """A finished run. made_of: fingerprints of recipe and start, and what else decides its weights. seconds: of the median answer."""

    row: str
    seed: int
    made_of: Mapping[str, Any]
    facts: Mapping[str, Any]  # weights: fingerprint; finished: when; cpu_s: of the training; steps
    rows: Sequence[Row]
    seconds: float | None

    @classmethod
    def of(cls, row: str, seed: int, made_of: Mapping[str, Any], found: Mapping[str, Any], rows: Sequence[Row]) -> Self:
        """Of the document and the rows of its answers."""
        seconds = round(median(one.seconds for one in rows), 3) if rows else None
        return cls(row, seed, made_of, {name: found[name] for name in _FACTS}, rows, seconds)

    @property
    def name(self) -> str:
        """For people, and of its directory."""
        return f"{self.row}-{self.seed}"

    def to_dict(self, ids: Sequence[str]) -> dict[str, Any]:
        """JSON-able. ids: of all questions, in the order of `answers`."""
        found, by_id = tables(self.rows), {row.id: row for row in self.rows}
        kinds = {kind: scores["right"] for kind, scores in found["groups"].get("kind", {}).items()}
        return {
            "row": self.row, "seed": self.seed, "made_of": dict(self.made_of), **self.facts, "answered": len(self.rows),
            "scores": found["scores"], "kinds": kinds, "seconds_median": self.seconds,
            "answers": {name: "".join(_sign(by_id.get(one), name) for one in ids) for name in SCORES},
        }  # fmt: skip


def questions_of(runs: Sequence[Run]) -> dict[str, str]:
    """Kind and truth of every question, by id, in order. All runs are asked the same ones."""
    return {row.id: f"{row.groups['kind']}: {row.truth}" for run in runs[:1] for row in run.rows}


def kept_runs(path: Path) -> tuple[dict[str, Any], list[Run]]:
    """The document of a results file, and its runs; of a file that is not there, empty. Raises UsageError for another kind of file."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}, []
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UsageError(f"{path}: is no file of the format '{FORMAT}'; move it away, or give another --results")
    try:
        return found, [_run(one, found["questions"]) for one in found["runs"]]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: is damaged ({error!r}); restore it, or give another --results") from error


def _run(found: Mapping[str, Any], questions: Mapping[str, str]) -> Run:
    answers, rows = found["answers"], []
    for number, (name, question) in enumerate(questions.items()):
        kind, _, truth = question.partition(": ")
        signs = {score: answers[score][number] for score in SCORES}
        scores = {score: float(sign) for score, sign in signs.items() if sign != _ABSENT}
        if scores:
            rows.append(Row(name, scores, {"kind": kind}, truth=truth))
    facts = {name: found[name] for name in _FACTS}
    return Run(str(found["row"]), int(found["seed"]), found["made_of"], facts, rows, found["seconds_median"])


def _sign(row: Row | None, score: str) -> str:
    return _ABSENT if row is None or score not in row.scores else f"{row.scores[score]:.0f}"
