"""Mixtures from worlds to a table: one step after another in one process, resumable after a kill at any moment.

DIR/train/videos, DIR/train/set         the worlds to train on, and the pipeline's run about them: train.json is the data set
DIR/held-out/videos, DIR/held-out/set   the same of the worlds that are asked about
DIR/features.safetensors                of the bank; DIR/vectors.safetensors: of the index
DIR/runs/NAME/                          a mixture: its study, then its weights and answers
DIR/.lock                               held while the queue runs
"""

import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from afterview.configs import UsageError
from afterview.memory.base.durable import make_directory, write_file
from afterview.memory.base.lock import file_lock
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.training.ablations.queue import LOCK, keep_made_of
from afterview.training.ablations.start import FEATURES, Start, prepare
from afterview.training.ablations.train import STUDY, WEIGHTS, Trained, recipe_of, train
from afterview.training.base.errors import ResultsError
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.core.trainer import LOG, OnLog
from afterview.training.evaluation.fingerprint import values_fingerprint
from afterview.training.evaluation.results import DOCUMENT, read_rows
from afterview.training.marathon.run import run as run_pipeline
from afterview.training.marathon.stages.files import DataSet
from afterview.training.mixtures.ask import ANSWERS, Table, ask, frame_vectors
from afterview.training.mixtures.lessons import KINDS, lesson
from afterview.training.mixtures.plan import HELD_OUT, TRAIN, LessonConfig, MixturePlan, Mixtures
from afterview.training.mixtures.report import Run, document, markdown
from afterview.training.mixtures.told import ToldSet, read_told
from afterview.training.mixtures.worlds import make_worlds, shelves
from afterview.training.tiny.bank import Bank, plan_bank
from afterview.training.tiny.make import study_with
from afterview.training.tiny.recipe import Recipe
from afterview.training.tiny.stage import StageContext
from afterview.training.tiny.stories import StoryBatch
from afterview.training.tiny.texts import Words

_LOGGER = logging.getLogger(__name__)

RUNS, VIDEOS, SET, PIPELINE = "runs", "videos", "set", "pipeline.json"


@dataclass(frozen=True)
class State:
    """How far a mixture is. state: done, trained (it is being asked), begun or waiting."""

    mixture: MixturePlan
    state: str
    steps_done: int


def states(mixtures: Mixtures, directory: Path) -> list[State]:
    """Of all mixtures, in the configuration's order."""
    return [_state(mixture, directory / RUNS / mixture.name) for mixture in mixtures.config.mixtures]


def _state(mixture: MixturePlan, own: Path) -> State:
    if (own / ANSWERS / DOCUMENT).exists():
        state = "done"
    elif (own / WEIGHTS).exists():
        state = "trained"
    else:
        state = "begun" if own.exists() else "waiting"
    try:
        lines = (own / STUDY / LOG).read_text(encoding="utf-8").split("\n")[:-1]
        return State(mixture, state, int(json.loads(lines[-1])["step"]))
    except (OSError, ValueError, LookupError, TypeError):  # before the first line of the log
        return State(mixture, state, 0)


def run_mixtures(
    mixtures: Mixtures, directory: Path, results: Path, *, command: Sequence[str], minutes: float = math.inf,
    progress: ShowProgress = unseen,
) -> bool:  # fmt: skip
    """Do all that is not done, and write `results` (.json, and .md beside it) after each mixture.

    Returns whether all is done; if `minutes` came first, call it again. Raises UsageError if another process works in the directory, and
    for what was begun with other settings.
    """
    deadline = time.monotonic() + 60 * minutes
    make_directory(directory)
    with _alone(directory):
        keep_made_of(directory, {"settings": values_fingerprint(_settings(mixtures))})
        sets = _sets(mixtures, directory, progress)
        start = _start(mixtures, directory, progress)
        tokenizer = start.shipped.tokenizer
        assert tokenizer is not None, "the shipped model has one"
        told = [_told(mixtures, directory / name, tokenizer) for name in (TRAIN, HELD_OUT)]
        trained: dict[str, Trained] = {}
        for mixture in mixtures.config.mixtures:  # all trainings first: they are what takes long
            found = _train(mixture, mixtures, start, told[0], directory, deadline, progress)
            if found is None:
                return False
            trained[mixture.name] = found
        vectors = frame_vectors(mixtures.recipe(), start.shipped, directory, progress=progress)
        table = Table(start.features, vectors)
        about = _about(mixtures, start, told, sets)
        for mixture in mixtures.config.mixtures:
            if time.monotonic() >= deadline:
                return False
            own = directory / RUNS / mixture.name
            ask(mixture, mixtures, trained[mixture.name], table, told[1], own, command=command, progress=progress)
            write_results(mixtures, directory, results, about)
    return True


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Hold the queue's directory. Raises UsageError if another process does."""
    try:
        with file_lock(directory / LOCK, patience_s=0.0):
            yield
    except TimeoutError:
        raise UsageError(f"{directory}: another process runs this queue; wait for it, or give another --work") from None


def _settings(mixtures: Mixtures) -> dict[str, Any]:
    """What must stay the same while a queue is not done."""
    settings = mixtures.config.model_dump(mode="json", exclude={"mixtures", "paper", "asked", "note"})
    return {**settings, "recipe": mixtures.recipe().model_dump(mode="json")}


def _sets(mixtures: Mixtures, directory: Path, progress: ShowProgress) -> dict[str, Any]:
    """Make both sets of worlds and run the pipeline about them. Returns its statistics of each."""
    config, recipe, found = mixtures.config, mixtures.recipe(), dict[str, Any]()
    shelf_of_set = dict(zip((TRAIN, HELD_OUT), shelves(plan_bank(recipe.bank), config.held_out_scenery), strict=True))
    counts = {TRAIN: config.worlds, HELD_OUT: config.held_out}
    first = config.first_seed
    for name, shelf in shelf_of_set.items():
        place, out = directory / name, directory / name / SET
        if not DataSet(out).done("checks"):
            make_worlds(config.lengths, counts[name], shelf, place / VIDEOS, first_seed=first, progress=progress)
        first += counts[name] * len(config.lengths)
        write_file(place / PIPELINE, config.pipeline.model_dump_json().encode())  # JSON is YAML
        ran = run_pipeline(place / PIPELINE, place / VIDEOS, out, progress=progress)
        assert ran.exported is not None, "it ran to its end"
        statistics = json.loads(ran.exported.statistics.read_bytes())
        found[name] = {
            key: statistics[key] for key in ("videos", "hours", "questions", "open", "choice", "rejected", "tasks")
        }
    return found


def _start(mixtures: Mixtures, directory: Path, progress: ShowProgress) -> Start:
    """What all mixtures start from. If the bank is rendered for it, the index sees the same pictures, before they are deleted."""
    if not (directory / FEATURES).exists():
        shipped = load_pretrained("tiny", device=torch.device("cpu"), dtype=torch.float32)
        frame_vectors(mixtures.recipe(), shipped, directory, keep_pixels=True, progress=progress)
    return prepare(mixtures.ablations, directory, progress=progress)


def _told(mixtures: Mixtures, place: Path, tokenizer: PreTrainedTokenizerBase) -> ToldSet:
    told = read_told(place / VIDEOS, place / SET, Words(tokenizer), mixtures.config)
    _LOGGER.info(
        "%s: %d worlds, %d questions (%s), %d too long",
        place.name, told.count, told.questions.total(), ", ".join(f"{n} {cell}" for cell, n in sorted(told.questions.items())),
        told.left_out.total(),
    )  # fmt: skip
    return told


def _train(
    mixture: MixturePlan, mixtures: Mixtures, start: Start, told: ToldSet, directory: Path, deadline: float,
    progress: ShowProgress,
) -> Trained | None:  # fmt: skip
    config, row = mixtures.config, mixtures.row(mixture)
    recipe, own = recipe_of(mixtures.ablations, row, config.seed), directory / RUNS / mixture.name
    keep_made_of(
        own,
        {
            "recipe": values_fingerprint(recipe.model_dump(mode="json")),
            "start": start.fingerprint,
            "shares": mixture.shares,
        },
    )
    draw = partial(_draw, mixture, told, config.lesson, recipe, config.seed)

    def learn(
        recipe: Recipe, model: AfterviewModel, bank: Bank, features: Tensor, context: StageContext, on_log: OnLog
    ) -> bool:
        return study_with(draw, recipe, model, bank, features, context, on_log, kinds=KINDS)

    trained = train(row, recipe, start, own, deadline=deadline, progress=progress, learn=learn)
    if trained is not None:
        _LOGGER.info("%s: %d steps, %.1f minutes of one core", mixture.name, trained.steps, trained.cpu_s / 60)
    return trained


def _draw(
    mixture: MixturePlan, told: ToldSet, config: LessonConfig, recipe: Recipe, seed: int, number: int
) -> tuple[StoryBatch, int | None]:
    return lesson(mixture, told.worlds, config, recipe.forgetting, seed=seed, number=number), config.tokens_read


def _about(mixtures: Mixtures, start: Start, told: Sequence[ToldSet], sets: dict[str, Any]) -> dict[str, Any]:
    """What holds for all mixtures, JSON-able."""
    config = mixtures.config
    return {
        "steps": mixtures.recipe().study.trainer.length, "seed": config.seed, "start": start.fingerprint,
        "lesson": config.lesson.model_dump(mode="json"),
        "lengths": {name: list(plan.seconds) for name, plan in config.lengths.items()},
        "sets": {
            name: {
                **sets[name], "worlds": {length: len(worlds) for length, worlds in one.worlds.items()},
                "questions_used": dict(sorted(one.questions.items())), "left_out": dict(sorted(one.left_out.items())),
            }
            for name, one in zip((TRAIN, HELD_OUT), told, strict=True)
        },
    }  # fmt: skip


def finished_runs(mixtures: Mixtures, directory: Path) -> list[Run]:
    """Every mixture that is done. Raises ResultsError for a damaged one."""
    found = []
    for mixture in mixtures.config.mixtures:
        path = directory / RUNS / mixture.name / ANSWERS / DOCUMENT
        if path.exists():
            try:
                found.append(Run(mixture, json.loads(path.read_bytes()), read_rows(path.parent)))
            except ValueError as error:
                raise ResultsError(f"{path}: is damaged; delete it, and it is written again") from error
    return found


def write_results(mixtures: Mixtures, directory: Path, results: Path, about: dict[str, Any]) -> None:
    """Write what is done: the document, and the table beside it."""
    runs = finished_runs(mixtures, directory)
    encoded = json.dumps(document(mixtures.config, runs, about), indent=1, allow_nan=False) + "\n"
    write_file(results, encoded.encode())
    write_file(results.with_suffix(".md"), markdown(mixtures.config, runs, about).encode())
