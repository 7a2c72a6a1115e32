"""The queue of ablations: one run after another, resumable after a kill at any moment. Several processes may share it.

DIR/features.safetensors   of the bank                       DIR/rows/NAME-SEED/   a run: its study, then its weights and answers
DIR/start.safetensors      weights after "sentences", if     DIR/worlds/           the memories that all runs are asked about
                           none are committed                DIR/.lock             held while what all share is made or written
DIR/claims/NAME-SEED       held by the process that makes the run
"""

import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from afterview.configs import UsageError
from afterview.memory.base.durable import make_directory, write_file
from afterview.memory.base.lock import file_lock
from afterview.memory.base.typed_times import spell_duration
from afterview.training.ablations.ask import ANSWERS, ask
from afterview.training.ablations.plan import Ablations, RowPlan
from afterview.training.ablations.records import Run, kept_runs
from afterview.training.ablations.report import close_rows, document, markdown
from afterview.training.ablations.start import Start, prepare
from afterview.training.ablations.train import STUDY, WEIGHTS, recipe_of, train
from afterview.training.base.errors import ResultsError
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.core.trainer import LOG
from afterview.training.evaluation.fingerprint import values_fingerprint
from afterview.training.evaluation.results import DOCUMENT, read_rows

_LOGGER = logging.getLogger(__name__)

ROWS, WORLDS, LOCK, CLAIMS, MADE_OF = "rows", "worlds", ".lock", "claims", "run.json"
_UNMEASURED_S: Final = 900.0  # of a run, before one was measured
_POLL_S: Final = 5.0  # while other processes make all that is left


@dataclass(frozen=True)
class Planned:
    """A run that is to be made. done: its directory or the results hold its answers."""

    row: RowPlan
    seed: int
    directory: Path
    done: bool

    @property
    def name(self) -> str:
        """Of its directory."""
        return self.directory.name

    @property
    def state(self) -> str:
        """done, trained (it is being asked), begun or waiting."""
        if self.done:
            return "done"
        if (self.directory / WEIGHTS).exists():
            return "trained"
        return "begun" if self.directory.exists() else "waiting"

    @property
    def steps_done(self) -> int:
        """As of the last line of the log; 0 before it."""
        try:
            lines = (self.directory / STUDY / LOG).read_text(encoding="utf-8").split("\n")[:-1]
            return int(json.loads(lines[-1])["step"])
        except (OSError, ValueError, LookupError, TypeError):
            return 0


def planned_runs(ablations: Ablations, directory: Path, results: Path, rows: Sequence[RowPlan]) -> list[Planned]:
    """All runs of the rows, in order: one seed for every row first, then more for those that are within `close` of another.

    Only rows that were compared already can be close, so the list grows while the queue runs.
    """
    config, finished = ablations.config, finished_runs(ablations, directory, results)
    done = {run.name for run in finished}

    def of(row: RowPlan, seed: int) -> Planned:
        name = f"{row.name}-{seed}"
        return Planned(row, seed, directory / ROWS / name, name in done)

    first = [of(row, config.seeds[0]) for row in rows]
    again = close_rows(ablations, finished, rows)
    return [*first, *(of(row, seed) for seed in config.seeds[1:] for row in again)]


def finished_runs(ablations: Ablations, directory: Path, results: Path) -> list[Run]:
    """Every run that is done, in the order of rows and seeds: those of the directory, and those that only the results hold.

    Raises ResultsError for a damaged one, UsageError for one of another recipe, and for results that would be lost.
    """
    kept = {run.name: run for run in _kept(ablations, results)}
    found = []
    for row in ablations.config.rows:
        for seed in ablations.config.seeds:
            place = directory / ROWS / f"{row.name}-{seed}"
            if (place / ANSWERS / DOCUMENT).exists():
                run = _finished(row.name, seed, place)
                _require_same(place, run.made_of, made_of(ablations, row, seed, str(run.made_of.get("start"))))
                found.append(run)
            elif place.name in kept:
                found.append(kept[place.name])
    return found


def _finished(row: str, seed: int, place: Path) -> Run:
    try:
        made_of = json.loads((place / MADE_OF).read_bytes())
        return Run.of(
            row, seed, made_of, json.loads((place / ANSWERS / DOCUMENT).read_bytes()), read_rows(place / ANSWERS)
        )
    except (OSError, ValueError, LookupError) as error:
        raise ResultsError(f"{place}: is damaged; delete it, and the run is made again") from error


def _kept(ablations: Ablations, results: Path) -> list[Run]:
    """The runs of the results, if this configuration would make the same ones."""
    found, runs = kept_runs(results)
    if not runs:
        return []
    remedy = "they would be lost; give another --results, or move it away"
    if found.get("worlds") != json.loads(ablations.config.worlds.model_dump_json()):
        raise UsageError(f"{results}: holds runs that were asked about other worlds, and {remedy}")
    rows = {row.name: row for row in ablations.config.rows}
    for run in runs:
        if run.row not in rows or run.seed not in ablations.config.seeds:
            raise UsageError(f"{results}: holds {run.name}, which this configuration has not, and {remedy}")
        if run.made_of != made_of(ablations, rows[run.row], run.seed, str(run.made_of.get("start"))):
            raise UsageError(f"{results}: holds {run.name} of another recipe, and {remedy}")
    return runs


def run_queue(
    ablations: Ablations, directory: Path, results: Path, rows: Sequence[RowPlan], *, command: Sequence[str],
    minutes: float = math.inf, progress: ShowProgress = unseen,
) -> bool:  # fmt: skip
    """Make all runs of the rows that are not done, and write `results` (.json, and .md beside it) after each.

    Other processes may do the same in the directory: each takes runs that no other makes, and waits for theirs in the end. Returns
    whether all are done; if `minutes` came first, call it again. Raises UsageError for a run that was begun with other settings.
    """
    deadline = time.monotonic() + 60 * minutes
    make_directory(directory / CLAIMS)
    with _together(directory):
        planned_runs(ablations, directory, results, rows)  # refuses results of other runs before anything is made
        start = prepare(ablations, directory, progress=progress)
        write_results(ablations, directory, results, start)
    took, told = list[float](), False
    while waiting := [run for run in planned_runs(ablations, directory, results, rows) if run.state != "done"]:
        with _claimed(waiting, directory) as run:
            if run is None:
                if not told:
                    _LOGGER.info("%s: other processes make all that is left", ", ".join(one.name for one in waiting))
                told = True
                time.sleep(_POLL_S)
            else:
                began, left = time.monotonic(), len(waiting) * (fmean(took) if took else _UNMEASURED_S)
                _LOGGER.info("%s: %d runs left, about %s of one process", run.name, len(waiting), spell_duration(left))
                if not _make(run, ablations, start, directory, command, deadline, progress):
                    return False
                took.append(time.monotonic() - began)
                told = False
                with _together(directory):
                    write_results(ablations, directory, results, start)
        if time.monotonic() >= deadline:
            return all(one.state == "done" for one in planned_runs(ablations, directory, results, rows))
    with _together(directory):
        write_results(ablations, directory, results, start)  # the last run may be another process's, with other results
    return True


@contextmanager
def _claimed(waiting: Sequence[Planned], directory: Path) -> Iterator[Planned | None]:
    """Hold the first run that no other process holds or has finished by now. None: there is none."""
    with ExitStack() as stack:
        for run in waiting:
            try:
                stack.enter_context(file_lock(directory / CLAIMS / run.name, patience_s=0.0))
            except TimeoutError:
                continue
            if not (run.directory / ANSWERS / DOCUMENT).exists():
                yield run
                return
        yield None


@contextmanager
def _together(directory: Path) -> Iterator[None]:
    """Hold what the processes of a queue share, as soon as no other does."""
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(directory / LOCK, patience_s=_POLL_S))
        except TimeoutError:
            _LOGGER.info("%s: waits until another process has made what all runs share", directory)
            stack.enter_context(file_lock(directory / LOCK))
        yield


def write_results(ablations: Ablations, directory: Path, results: Path, start: Start) -> list[Run]:
    """Write what is done: the document, and the tables beside it. Returns the runs. Raises UsageError if one began with other weights."""
    runs = finished_runs(ablations, directory, results)
    for run in runs:
        if run.made_of.get("start") != start.fingerprint:
            raise UsageError(
                f"{results}: {run.name} began with other weights; give another --results and another --work"
            )
    shared = {"steps": ablations.recipe().study.trainer.length, "start": start.fingerprint}
    write_file(results, _encoded(document(ablations, runs, shared)))
    write_file(results.with_suffix(".md"), markdown(ablations, runs, shared).encode())
    return runs


def made_of(ablations: Ablations, row: RowPlan, seed: int, start: str) -> dict[str, Any]:
    """What decides the weights of a run. start: fingerprint of the weights that it begins with."""
    recipe = recipe_of(ablations, row, seed)
    return {
        "recipe": values_fingerprint(recipe.model_dump(mode="json")), "start": start,
        "rotary": row.rotary, "use_memaug": row.use_memaug,
    }  # fmt: skip


def _make(
    run: Planned, ablations: Ablations, start: Start, directory: Path, command: Sequence[str], deadline: float,
    progress: ShowProgress,
) -> bool:  # fmt: skip
    recipe = recipe_of(ablations, run.row, run.seed)
    keep_made_of(run.directory, made_of(ablations, run.row, run.seed, start.fingerprint))
    trained = train(run.row, recipe, start, run.directory, deadline=deadline, progress=progress)
    if trained is None:
        return False
    places = (run.directory, directory / WORLDS)
    found = ask(run.row, run.seed, trained, ablations, places, command=command, progress=progress)
    needles = found["scores"]["needles"]
    _LOGGER.info(
        "%s: needles %.3f of %d, after %.1f minutes of one core",
        run.name,
        needles["value"],
        needles["n"],
        trained.cpu_s / 60,
    )
    return True


def keep_made_of(directory: Path, values: Mapping[str, Any]) -> None:
    """Note what a run is made of. Raises UsageError if it was begun with something else."""
    path = directory / MADE_OF
    try:
        there = json.loads(path.read_bytes())
    except FileNotFoundError:
        make_directory(directory)
        return write_file(path, _encoded(values))
    except ValueError:
        there = None
    return _require_same(directory, there, values)


def _require_same(directory: Path, there: Mapping[str, Any] | None, values: Mapping[str, Any]) -> None:
    if there != values:
        raise UsageError(
            f"{directory}: was begun with another recipe or start; delete it to make this run again, or give another --work"
        )


def _encoded(value: Mapping[str, Any]) -> bytes:
    """JSON that people read, too."""
    return (json.dumps(dict(value), indent=1, allow_nan=False) + "\n").encode()
