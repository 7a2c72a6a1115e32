"""Asks the questions of one run about the worlds that all rows share. An answer is on disk before the next question is asked."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from afterview.memory.base.durable import make_directory
from afterview.memory.base.lock import file_lock
from afterview.training.ablations.plan import Ablations, RowPlan
from afterview.training.ablations.train import Trained
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.evaluation.fingerprint import model_settings, values_fingerprint
from afterview.training.evaluation.judge import NEEDLES, says_not_seen
from afterview.training.evaluation.plan import WorldTest, questions_for
from afterview.training.evaluation.results import ResultsWriter, Row, RunIdentity
from afterview.training.evaluation.tables import Outcome
from afterview.training.evaluation.worlds import ask_all, ingest_worlds, remove_unfinished

_LOGGER = logging.getLogger(__name__)

ANSWERS: Final = "answers"
SCORES: Final = ("right", "needles", "evidence", "denied")


def ask(
    row: RowPlan,
    seed: int,
    trained: Trained,
    ablations: Ablations,
    directories: tuple[Path, Path],
    *,
    command: Sequence[str],
    progress: ShowProgress = unseen,
) -> Mapping[str, Any]:
    """Ask what was not asked yet, and return the document of the results. directories: of the run, and of the worlds."""
    test, (own, worlds) = ablations.config.worlds.test(), directories
    make_directory(worlds)
    with file_lock(worlds / ".lock"):  # other runs are asked about them, too, maybe now
        if cut := remove_unfinished(test, trained.model.encoders, worlds):
            _LOGGER.info("%s: their recording was cut off; they are recorded again", ", ".join(cut))
        ingest_worlds(test, trained.model.encoders, worlds, progress=progress)
    ids = question_ids(test)
    identity = RunIdentity(
        "ablation", "worlds", f"{row.name}, seed {seed}", trained.model.weights_hash,
        values_fingerprint(ablations.config.worlds.model_dump(mode="json")),
        {"row": row.name, "seed": seed, **model_settings(trained.model)},
    )  # fmt: skip
    with ResultsWriter(own / ANSWERS, identity, command=command) as results:
        with progress(f"ask {row.name}", "questions") as report:
            asked = ask_all(test, trained.model, worlds, report=report, skip=len(results.done))
            for name, outcome in zip(ids[len(results.done) :], asked, strict=True):
                results.add(_row(name, outcome))
        return results.finish(ids, cpu_s=trained.cpu_s, steps=trained.steps)


def question_ids(test: WorldTest) -> list[str]:
    """Ids of all questions, in the order in which they are asked: `500/0`."""
    return [f"{seed}/{number}" for seed in test.seeds for number in range(len(questions_for(test.footage(seed), test)))]


def _row(name: str, outcome: Outcome) -> Row:
    question, right = outcome.question, float(outcome.right)
    scores = {"right": right}
    if question.kind in NEEDLES:
        scores["needles"] = right
        if outcome.right and outcome.evident is not None:
            scores["evidence"] = float(outcome.evident)
    if not question.seen:
        scores["denied"] = float(says_not_seen(outcome.answer))
    return Row(
        name, scores, {"kind": question.kind}, answer=outcome.answer, truth=question.answer,
        seconds=round(outcome.seconds, 3),
    )  # fmt: skip


def majority(rows: Sequence[Row]) -> float:
    """Share of right answers of a model that always gives each kind's most common answer, over the needles."""
    kinds: dict[str, Counter[str]] = {}
    for row in rows:
        if "needles" in row.scores:
            kinds.setdefault(str(row.groups["kind"]), Counter())[row.truth] += 1
    asked = sum(counts.total() for counts in kinds.values())
    return sum(counts.most_common(1)[0][1] for counts in kinds.values()) / asked if asked else 0.0
