"""Runs one training configuration from beginning to end: a stage of a published geometry, or the making of the small model."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from configs import UsageError, load
from model.checkpoint import load_pretrained
from model.save import save_pretrained
from training.curves import draw_curves
from training.errors import TrainingError
from training.parts import parts_of
from training.stages import StageConfig, StageData, StageLearner
from training.tiny.make import make
from training.tiny.recipe import Recipe
from training.trainer import LOG, STATE, Trainer


@dataclass(frozen=True)
class Trained:
    """What came of a training."""

    model: Path
    steps: int
    log: Path
    curves: Path


def train(config: Path, out: Path, *, resume: bool = False, cpu: bool = False) -> Trained:
    """Train as the configuration says. Raises UsageError for an `out` in use that is not to be resumed, ConfigError, DataError."""
    if not resume and any((out / name).exists() for name in (STATE, "study", "model")):
        raise UsageError(f"{out}: a training lies there already; give --resume to go on, or another --out")
    if is_recipe(config):
        recipe = load(config, Recipe)
        make(recipe, out, cpu=cpu)
        return _finished(out / "study", out / "model", recipe.study.trainer.steps)
    return train_stage(load(config, StageConfig), out, cpu=cpu)


def train_stage(config: StageConfig, out: Path, *, cpu: bool = False) -> Trained:
    """One stage; where `out` holds a checkpoint, from there on."""
    if config.trainer.learning_rates.get("vision", 0) > 0:
        raise TrainingError(
            "learning_rates.vision: the tower cannot learn from cached features; set it to 0, and train the tower on frames"
        )
    model = load_pretrained(
        config.model, init_memaug=config.init_memaug, device="cpu" if cpu else None, dtype="float32"
    )
    learner = StageLearner(model.video_language, gradient_checkpointing=config.gradient_checkpointing)
    parts = parts_of(model.video_language, model.vision.tower)
    trainer = Trainer(learner, parts, config.trainer, out, cpu=cpu)
    trainer.resume()
    trainer.run(StageData(config, model))
    model.video_language.eval()
    kept = model.preset.model_copy(update={"forgetting": config.forgetting, "trained": True, "notice": None})
    save_pretrained(replace(model, preset=kept), out / "model")
    return _finished(out, out / "model", trainer.step)


def is_recipe(config: Path) -> bool:
    """Whether a configuration makes the small model: it has an architecture of its own."""
    try:
        found = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return False  # the strict loader says what is wrong
    return isinstance(found, dict) and "architecture" in found


def _finished(directory: Path, model: Path, steps: int) -> Trained:
    curves = directory / "curves.png"
    curves.write_bytes(draw_curves(directory / LOG))
    shutil.copy(curves, model / "curves.png")
    return Trained(model, steps, directory / LOG, curves)
