"""Runs one training configuration from start to end: a stage of a published geometry, or the recipe of the small model."""

import logging
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from afterview.configs import ConfigError, UsageError, load, read_yaml
from afterview.memory.base.durable import removed_if_unused, write_file
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.checkpoint.preset import find_preset
from afterview.model.checkpoint.saving import save_pretrained
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.core.curves import draw_curves, new_figure
from afterview.training.core.parts import parts_of
from afterview.training.core.prefetch import Prefetcher
from afterview.training.core.run_configuration import RUN_CONFIGURATION, keep_configuration
from afterview.training.core.stages import StageConfig, StageData, StageObjective, read_streams
from afterview.training.core.trainer import LOG, STATE, Trainer
from afterview.training.data.report import ItemReport
from afterview.training.tiny.make import PARTS, make
from afterview.training.tiny.recipe import Recipe

_LOGGER = logging.getLogger(__name__)

CURVES = "curves.png"
_TRAINING_FILES = (RUN_CONFIGURATION, STATE, f"{STATE}.old", LOG, CURVES, "model", *PARTS)


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training."""

    model: Path
    steps: int
    log: Path
    curves: Path

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"model": str(self.model), "steps": self.steps, "log": str(self.log), "curves": str(self.curves)}


def train(
    config: Path, out: Path, *, resume: bool = False, cpu: bool = False, progress: ShowProgress = unseen
) -> TrainingResult:
    """Train as the configuration says. progress: how long work is shown.

    Raises UsageError if `out` holds a training and resume is False, or if that training started with another
    configuration; ConfigError, DataError, TrainingError.
    """
    if any(path.exists() and not path.is_dir() for path in (out, *out.absolute().parents)):
        raise UsageError(f"{out}: is a file, or lies below one; give a directory as --out")
    in_use = any((out / name).exists() for name in _TRAINING_FILES)
    if in_use and not resume:
        raise UsageError(f"{out}: holds a training already; give --resume to continue it, or another --out")
    if resume and not in_use:
        _LOGGER.info("%s: no checkpoint; training starts at step 0", out)
    with progress("starting"):
        new_figure(1, 1)  # raises if matplotlib is missing, before days of training and not after them
    if is_recipe(config):
        recipe = load(config, Recipe)
        with removed_if_unused(out):
            make(recipe, out, cpu=cpu, progress=progress)
        return _finished(out / "study", out / "model", recipe.study.trainer.steps)
    with removed_if_unused(out):
        return train_stage(load(config, StageConfig), out, cpu=cpu, progress=progress)


def train_stage(
    config: StageConfig, out: Path, *, cpu: bool = False, progress: ShowProgress = unseen
) -> TrainingResult:
    """Train one stage, in as many processes as were launched. Resumes from the checkpoint in `out`, if there is one."""
    find_preset(config.model)  # raises ModelNotFound
    with progress("reading the annotations"):
        report = ItemReport()
        items = read_streams(config, report)
    with progress(f"loading model {config.model}"):
        model = _load(config, device="cpu" if cpu else None)
    trainer = Trainer(
        StageObjective(model, config),
        parts_of(model.video_language, model.vision.tower),
        config.trainer,
        out,
        cpu=cpu,
    )
    processes = trainer.accelerator.num_processes
    data = StageData(config, model, items=items, processes=processes)
    data(0)  # raises DataError for a sample that does not fit, before anything is written
    if trainer.accelerator.is_main_process:
        keep_configuration(config, out)
        if report.problems:
            report.write(out)
    if trainer.resume() and trainer.accelerator.is_main_process:
        _LOGGER.info("%s: resumes after step %d", out, trainer.step)
    batches = Prefetcher(data, stride=processes)
    try:
        with progress("training", "steps", bar=False) as shown:
            trainer.run(batches, report=shown)
    finally:
        batches.close()
    whole = _whole(trainer, model, config)
    if trainer.accelerator.is_main_process:
        # Notice and scope are about what the model knew before.
        learnt = {"forgetting": config.forgetting, "trained": True, "notice": None, "scope": None}
        kept = model.preset.model_copy(update=learnt)
        save_pretrained(replace(whole, preset=kept), out / "model")
        _finished(out, out / "model", trainer.step)
    trainer.accelerator.wait_for_everyone()
    return TrainingResult(out / "model", trainer.step, out / LOG, out / CURVES)


def _load(config: StageConfig, *, device: str | None) -> AfterviewModel:
    return load_pretrained(config.model, init_memaug=config.init_memaug, device=device, dtype="float32")


def _whole(trainer: Trainer, model: AfterviewModel, config: StageConfig) -> AfterviewModel:
    """The trained model with all its parameters, in the main process. If several processes hold pieces of it, they are gathered."""
    if trainer.sharded:
        parameters = trainer.accelerator.get_state_dict(trainer.objective)
        if trainer.accelerator.is_main_process:
            model = _load(config, device="cpu")
            StageObjective(model, config).load_state_dict(parameters)
    model.video_language.eval()
    model.vision.tower.eval()
    return model


def is_recipe(config: Path) -> bool:
    """Whether a configuration is the recipe of the small model: it has the key `architecture`."""
    try:
        found = read_yaml(config)
    except ConfigError:
        return False  # the strict loader reports the error
    return isinstance(found, dict) and "architecture" in found


def _finished(directory: Path, model: Path, steps: int) -> TrainingResult:
    curves = directory / CURVES
    write_file(curves, draw_curves(directory / LOG))
    shutil.copy(curves, model / CURVES)
    return TrainingResult(model, steps, directory / LOG, curves)
