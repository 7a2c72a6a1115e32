"""Asks every needle of every cell. Results are kept answer by answer, so a run that was killed continues where it was."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afterview.model.checkpoint.models import AfterviewModel
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.evaluation.fingerprint import model_settings
from afterview.training.evaluation.needle.asking import NeedleAsker, Said
from afterview.training.evaluation.needle.haystack import Table, make_table
from afterview.training.evaluation.needle.heatmap import draw_heatmap
from afterview.training.evaluation.needle.items import ItemSet
from afterview.training.evaluation.needle.plan import Asked, Cell, NeedleItem, NeedleTest, Way, places
from afterview.training.evaluation.needle.report import summary
from afterview.training.evaluation.results import ResultsWriter, Row, RunIdentity

_LOGGER = logging.getLogger(__name__)

CACHE = "features"  # directory of encoded frames beside the results


@dataclass(frozen=True)
class _Question:
    """One question of one item in one cell."""

    cell: Cell
    item: NeedleItem
    asked: Asked

    @property
    def unit(self) -> str:
        return f"{self.cell.name}/{self.item.id}"

    @property
    def id(self) -> str:
        return f"{self.unit}/{self.asked.name}"


def search(
    test: NeedleTest,
    model: AfterviewModel,
    name: str,
    items: ItemSet,
    directory: Path,
    *,
    command: Sequence[str],
    progress: ShowProgress = unseen,
) -> dict[str, Any]:
    """Ask what is not answered yet, and write results.json and a heat map for every way of running the model. name: of the model.

    Returns the document. Raises ResultsError for a directory of another run, BenchmarkError for unusable data.
    """
    identity = RunIdentity(
        "needle", items.name, name, model.weights_hash, items.fingerprint,
        {**test.settings(), **model_settings(model)},
    )  # fmt: skip
    questions = list(_questions(test, items))
    if test.left_out:
        _LOGGER.info("full recall reads every frame; it is not asked at %s frames", ", ".join(map(str, test.left_out)))
    with ResultsWriter(directory, identity, command=command) as results:
        left = [question for question in questions if question.id not in results.done]
        if results.resumed:
            _LOGGER.info("%d of %d questions were answered before", len(questions) - len(left), len(questions))
        if left:
            with progress("encode", "frames") as report:
                table = make_table(
                    items, model.encoders, directory / CACHE, bank=test.bank, report=report,
                    keys=[key for question in left for key in question.item.pictures],
                )  # fmt: skip
            with progress("ask", "questions") as report:
                for done, row in enumerate(_answers(left, model, table, test), 1):
                    results.add(row)
                    report(len(questions) - len(left) + done, len(questions))
        # What was asked before in this directory stays in its tables.
        ids = [*dict.fromkeys([*results.done, *(question.id for question in questions)])]
        needle = summary([results.done[one] for one in ids], test)
        document = results.finish(
            ids, problems=items.problems, needle=needle, items_not_asked=_not_asked(test, items, questions, results.done.values()),
            haystack={"bank": test.bank, "frames": _haystack_frames(results.done.values())},
        )  # fmt: skip
    document["pictures"] = [str(path) for path in _heatmaps(needle, name, directory)]
    return document


def _questions(test: NeedleTest, items: ItemSet) -> Iterator[_Question]:
    for cell in test.cells():
        of_task = items.single if cell.task == "single" else [item for item in items.multi if item.hops == cell.hops]
        for item in of_task[: test.count(cell)]:
            for asked in item.asked:
                yield _Question(cell, item, asked)


def _not_asked(test: NeedleTest, items: ItemSet, questions: Sequence[_Question], rows: Iterable[Row]) -> dict[str, int]:
    """Of each task that is asked, how many items were asked in no cell, now or before: a cell takes the first ones only."""
    asked: set[tuple[Any, Any]] = {(one.cell.task, one.item.id) for one in questions}
    asked |= {(row.groups["task"], row.details.get("item")) for row in rows}
    those: dict[str, list[NeedleItem]] = {
        "single": items.single,
        "multi": [one for one in items.multi if one.hops in test.hops],
    }
    return {task: sum((task, item.id) not in asked for item in those[task]) for task in test.tasks}


def _haystack_frames(rows: Iterable[Row]) -> int | None:
    """Different frames of the haystack, as the rows say it: where none is left to ask, nothing is encoded. None without rows."""
    return next((row.details["haystack_frames"] for row in rows if "haystack_frames" in row.details), None)


def _answers(questions: Sequence[_Question], model: AfterviewModel, table: Table, test: NeedleTest) -> Iterator[Row]:
    askers: dict[Way, NeedleAsker] = {}
    for question in questions:
        cell, item = question.cell, question.item
        asker = askers.get(cell.way)
        if asker is None:
            asker = askers[cell.way] = NeedleAsker(model, cell.way, table, test.scoring)
        at = places(cell, len(item.pictures))
        rows = table.haystack(cell.frames, list(zip(at, item.pictures, strict=True)))
        began = time.perf_counter()
        said = asker.ask(rows, question.asked)
        yield _row(question, said, time.perf_counter() - began, table.background)


def _row(question: _Question, said: Said, seconds: float, haystack_frames: int) -> Row:
    cell, item, asked = question.cell, question.item, question.asked
    groups = {"task": cell.task, "recall": cell.way.recall, "positions": cell.way.positions, "frames": str(cell.frames)}
    groups |= {"depth": f"{cell.depth:g}", "kind": item.kind} if cell.task == "single" else {"hops": str(cell.hops)}
    scores = {"strict": float(said.letter == asked.letter), "official": float(said.official == asked.letter)}
    if asked.decoy:
        scores["decoy"] = float(said.letter == asked.decoy)
    return Row(
        question.id,
        scores,
        groups=groups | {"question": asked.name},
        unit=question.unit if cell.task == "multi" else "",
        unit_size=len(item.asked) if cell.task == "multi" else 0,
        answer=said.text,
        truth=asked.letter,
        seconds=round(seconds, 3),
        details={
            "recalled": round(said.recalled, 3),
            "options": len(asked.options),
            "item": item.id,
            "haystack_frames": haystack_frames,
        },
    )


def _heatmaps(needle: dict[str, Any], name: str, directory: Path) -> Iterator[Path]:
    for way in needle["single"]:
        path = directory / f"heatmap-{way['recall']}-{way['positions']}.png"
        draw_heatmap(way, name, path)
        yield path
