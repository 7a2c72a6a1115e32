"""Asks a trained mixture about worlds that no mixture was trained on. An answer is on disk before the next questions are asked.

MemAug attends to the frames that the shipped index encoder recalls for each question, by the rule and the budget of the shipped model.
A question is right if a greedy decoder would give the answer token for token; a time, if the most evidence lies on a frame of what is
asked about (training.tiny.study).
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from afterview.memory.base.durable import replacing
from afterview.memory.plans.recall import plan_recall
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.moments import pointer_ids
from afterview.training.ablations.train import Trained
from afterview.training.base.errors import TrainingError
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.base.seeds import seeded
from afterview.training.evaluation.fingerprint import model_settings, values_fingerprint
from afterview.training.evaluation.results import ResultsWriter, Row, RunIdentity
from afterview.training.mixtures.lessons import batch_of, visible_frames
from afterview.training.mixtures.plan import MixturePlan, Mixtures
from afterview.training.mixtures.told import Asked, Told, ToldSet
from afterview.training.tiny.bank import PIXELS
from afterview.training.tiny.device_batch import to_device
from afterview.training.tiny.make import rendered_bank
from afterview.training.tiny.recipe import Recipe
from afterview.training.tiny.study import StudyObjective
from afterview.training.tiny.texts import Words

_LOGGER = logging.getLogger(__name__)

ANSWERS: Final = "answers"
VECTORS: Final = "vectors.safetensors"
_AT_ONCE: Final = 8  # questions
_FRAMES_AT_ONCE: Final = 64


@dataclass(frozen=True)
class Table:
    """The bank's frames: tokens float16 [F, P, Dv], and unit vectors of the index float32 [F, De]."""

    tokens: Tensor
    vectors: NDArray[np.float32]


def frame_vectors(
    recipe: Recipe,
    shipped: AfterviewModel,
    directory: Path,
    *,
    keep_pixels: bool = False,
    progress: ShowProgress = unseen,
) -> NDArray[np.float32]:
    """The index's vector of every frame of the bank, made in `directory` if they are missing. Raises TrainingError for a damaged file."""
    path, index = directory / VECTORS, shipped.encoders.index
    made_of = values_fingerprint({"bank": recipe.bank.model_dump(mode="json"), "index": index.spec.weights})
    if path.exists():
        try:
            found = load_file(path)
        except (OSError, SafetensorError) as error:
            raise TrainingError(f"{path}: is damaged; delete it, and it is made again") from error
        if made_of in found:
            return found[made_of].float().numpy()
        _LOGGER.info("%s: is of another bank or index, and is made again", path)
    with progress("bank", "scenes") as report:
        bank = rendered_bank(recipe.bank, directory, report)
    parts = []
    with progress("index", "frames") as report:
        for first in range(0, len(bank.pixels), _FRAMES_AT_ONCE):
            parts.append(index.encode_images(np.ascontiguousarray(bank.pixels[first : first + _FRAMES_AT_ONCE])))
            report(min(first + _FRAMES_AT_ONCE, len(bank.pixels)), len(bank.pixels))
    vectors = np.concatenate(parts)
    with replacing(path) as partial:
        save_file({made_of: torch.from_numpy(vectors).half()}, partial)
    if not keep_pixels:
        (directory / PIXELS).unlink()
    return torch.from_numpy(vectors).half().float().numpy()


def chosen_questions(held_out: ToldSet, count: int, seed: int) -> list[tuple[Told, list[Asked]]]:
    """Up to `count` questions of each form about each world."""
    found = []
    for world in (world for worlds in held_out.worlds.values() for world in worlds):
        rng = seeded(f"mixtures 1, asked, {world.video}, seed {seed}")
        mixed, asked = rng.sample(world.asked, len(world.asked)), list[Asked]()
        for form in ("open", "choice"):
            asked += [one for one in mixed if one.form == form][:count]
        found.append((world, sorted(asked, key=lambda one: one.key)))
    return found


def ask(
    mixture: MixturePlan, mixtures: Mixtures, trained: Trained, table: Table, held_out: ToldSet, directory: Path, *,
    command: Sequence[str], progress: ShowProgress = unseen,
) -> Mapping[str, Any]:  # fmt: skip
    """Ask what was not asked yet, and return the document of the results."""
    config = mixtures.config
    questions = chosen_questions(held_out, config.asked, config.seed)
    ids = [one.key for world, asked in questions for one in asked]
    identity = RunIdentity(
        "mixture", "worlds", f"{mixture.name}, seed {config.seed}", trained.model.weights_hash,
        values_fingerprint([ids, [one.truth for _, asked in questions for one in asked]]),
        {"mixture": mixture.name, "seed": config.seed, **model_settings(trained.model)},
    )  # fmt: skip
    with ResultsWriter(directory / ANSWERS, identity, command=command) as results:
        asker = _Asker(trained.model, mixtures.recipe(), table)
        with progress(f"ask {mixture.name}", "questions") as report:
            for world, asked in questions:
                for row in asker.rows(world, [one for one in asked if one.key not in results.done]):
                    results.add(row)
                    report(len(results.done), len(ids))
        return results.finish(ids, cpu_s=trained.cpu_s, steps=trained.steps)


class _Asker:
    """One trained model."""

    def __init__(self, model: AfterviewModel, recipe: Recipe, table: Table) -> None:
        assert model.tokenizer is not None, "the shipped model has one"
        self._model, self._recipe, self._table = model, recipe, table
        self._objective = StudyObjective(
            model.video_language,
            Words(model.tokenizer).head,
            forgetting=recipe.forgetting,
            pointers=pointer_ids(model.tokenizer).values(),
        ).eval()

    def rows(self, world: Told, asked: Sequence[Asked]) -> Iterator[Row]:
        """Rows of these questions, some at a time."""
        for first in range(0, len(asked), _AT_ONCE):
            some, began = asked[first : first + _AT_ONCE], time.monotonic()
            frames = self._recalled(world, some)
            batch = batch_of([world] * len(some), [[one] for one in some], frames, self._recipe.forgetting)
            with torch.inference_mode():
                right = self._objective.answered(to_device(batch, self._table.tokens)).tolist()
            seconds = round((time.monotonic() - began) / len(some), 3)
            for one, kept, good in zip(some, frames, right, strict=True):
                yield _row(world, one, kept, bool(good), seconds)

    def _recalled(self, world: Told, asked: Sequence[Asked]) -> list[NDArray[np.int64]]:
        """For each question the frames that MemAug may attend to."""
        recall, visible = self._recipe.recall, visible_frames(world.span, self._recipe.forgetting)
        texts = self._model.encoders.index.encode_texts([one.question for one in asked])
        alike = self._table.vectors[world.rows] @ texts.T
        nearest = np.argsort(-alike, axis=0, kind="stable")[: recall.nearest].T
        return [plan_recall(world.span, visible, numbers, recall).frames for numbers in nearest]


def _row(world: Told, one: Asked, frames: NDArray[np.int64], right: bool, seconds: float) -> Row:
    scores = {"right": float(right)}
    if len(one.proof):
        scores["recalled"] = float(np.isin(one.proof, frames).mean())
    groups = {
        "length": world.length, "form": one.form, "cell": f"{world.length} {one.form}", "task": one.task, "reach": one.reach,
        "length and reach": f"{world.length} {one.reach}",
    }  # fmt: skip
    details = {"options": one.options} if one.options else {}
    return Row(one.key, scores, groups, truth=one.truth, seconds=seconds, details=details)
