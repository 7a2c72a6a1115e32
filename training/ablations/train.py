"""Trains MemAug and decoder of one run: a row with a seed. Resumable: a run that was killed continues from its last checkpoint."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from afterview.memory.base.durable import replacing, write_file
from afterview.model.checkpoint.models import AfterviewModel
from afterview.training.ablations.plan import Ablations, RowPlan
from afterview.training.ablations.start import Start, new_network
from afterview.training.base.errors import TrainingError
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.core.checkpoints import STATE
from afterview.training.core.trainer import OnLog
from afterview.training.evaluation.fingerprint import files_fingerprint
from afterview.training.tiny.bank import Bank
from afterview.training.tiny.make import kept_tokenizer, learn_study
from afterview.training.tiny.naming import start_memaug, words_of_frames
from afterview.training.tiny.recipe import Recipe
from afterview.training.tiny.stage import StageContext

WEIGHTS: Final = "weights.safetensors"
STUDY: Final = "study"
_TIMES: Final = "cpu.json"
_CPU: Final = torch.device("cpu")
Learn = Callable[[Recipe, AfterviewModel, Bank, Tensor, StageContext, OnLog], bool]  # as learn_study


@dataclass(frozen=True)
class Trained:
    """A model that can be asked. cpu_s: seconds of one core that its training took, without steps that were repeated after a kill."""

    model: AfterviewModel
    cpu_s: float
    steps: int


def recipe_of(ablations: Ablations, row: RowPlan, seed: int) -> Recipe:
    """The recipe of a run: the seed decides MemAug's initial weights and the stories."""
    recipe = ablations.recipe(row)
    trainer = recipe.study.trainer.model_copy(update={"seed": seed})
    return recipe.model_copy(update={"seed": seed, "study": recipe.study.model_copy(update={"trainer": trainer})})


def train(
    row: RowPlan, recipe: Recipe, start: Start, directory: Path, *, deadline: float, progress: ShowProgress = unseen,
    learn: Learn = learn_study,
) -> Trained | None:  # fmt: skip
    """Train the run in `directory`, or load its weights if they are there. None if the deadline (time.monotonic()) came first."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = start.shipped.tokenizer
    assert tokenizer is not None, "the shipped model has one"
    kept_tokenizer(directory, lambda: tokenizer)
    model = new_network(start, recipe, directory)
    network = model.video_language
    network.use_memaug, network.rotary = row.use_memaug, row.rotary
    path, clock = directory / WEIGHTS, CpuClock(directory / _TIMES)
    if not path.exists():
        start_memaug(network, _names(start, model.tokenizer), torch.Generator().manual_seed(recipe.seed))
        context = StageContext(directory, recipe.seed, _CPU, deadline, progress)
        if not learn(recipe, model, start.bank, start.features, context, clock.note):
            return None
        state = {name: value.half().contiguous() for name, value in network.state_dict().items()}
        with replacing(path) as partial:
            save_file(state, partial, metadata={"format": "pt"})
            partial.chmod(0o644)  # safetensors creates files that only their owner can read
    shutil.rmtree(directory / STUDY / STATE, ignore_errors=True)  # 36 MB, and no more needed
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise TrainingError(f"{path}: is damaged; delete {directory} to train this row again") from error
    preset = model.preset.model_copy(update={"use_memaug": row.use_memaug, "rotary": row.rotary})
    made = replace(model, preset=preset, weights_hash=files_fingerprint([path], directory))
    return Trained(made, clock.total_s, recipe.study.trainer.length)


class CpuClock:
    """Seconds of CPU time of every logged step, kept in a file: repeated steps count once."""

    def __init__(self, path: Path) -> None:
        self._path, self._last = path, time.process_time()
        self._of: dict[str, float] = {}
        if path.exists():
            try:
                self._of = {str(step): float(seconds) for step, seconds in json.loads(path.read_bytes()).items()}
            except (ValueError, AttributeError, TypeError) as error:
                raise TrainingError(f"{path}: is damaged; delete {path.parent} to train this row again") from error

    def note(self, figures: dict[str, float]) -> None:
        """A line of the log was written. Lines of before an interruption are read again, and do not count."""
        now, step = time.process_time(), f"{figures['step']:.0f}"
        if step not in self._of:
            self._of[step] = round(now - self._last, 2)
            write_file(self._path, json.dumps(self._of).encode())
        self._last = now

    @property
    def total_s(self) -> float:
        """Of all steps."""
        return round(sum(self._of.values()), 1)


def _names(start: Start, tokenizer: PreTrainedTokenizerBase | None) -> torch.Tensor:
    assert tokenizer is not None, "the shipped model has one"
    return words_of_frames(start.bank, tokenizer, _CPU)[0]
