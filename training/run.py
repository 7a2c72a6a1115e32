"""Runs one training configuration from start to end: a stage of a published geometry, or the recipe of the small model."""

import logging
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from accelerate import PartialState
from torch import nn

from afterview.configs import ConfigError, UsageError, load, read_yaml
from afterview.memory.base.durable import removed_if_unused, write_file
from afterview.model.base.errors import NotSaved
from afterview.model.checkpoint.config_keys import TIME_INSTRUCTION
from afterview.model.checkpoint.flash import dropout_keys
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.checkpoint.preset import ModelPreset, find_preset
from afterview.model.checkpoint.saving import save_pretrained
from afterview.model.vision.clip_encoder import ClipEncoder
from afterview.training.base.errors import TrainingError
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.core.checkpoints import STATE, accumulation, global_batch_of
from afterview.training.core.curves import draw_curves, new_figure
from afterview.training.core.lora import ADAPTER, add_lora, finish_lora
from afterview.training.core.parts import parts_of
from afterview.training.core.prefetch import Prefetcher
from afterview.training.core.processes import require_same
from afterview.training.core.run_configuration import RUN_CONFIGURATION, keep_configuration, read_configuration
from afterview.training.core.stage_data import StageData, read_streams
from afterview.training.core.stages import StageConfig, StageObjective
from afterview.training.core.trainer import LOG, Trainer
from afterview.training.data.report import REPORT, ItemReport
from afterview.training.tiny.flash import WINDOWS, FlashRecipe, make_flash
from afterview.training.tiny.make import PARTS, make
from afterview.training.tiny.needle_lessons import BANK, NeedleRecipe, teach_needles
from afterview.training.tiny.recipe import Recipe

_LOGGER = logging.getLogger(__name__)

CURVES = "curves.png"
_TRAINING_FILES = (RUN_CONFIGURATION, STATE, f"{STATE}.old", LOG, CURVES, "model", ADAPTER, WINDOWS, BANK, *PARTS)
_DIVISION = ("batch", "accumulate")  # how the samples of a step are divided; may change when a training is resumed


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training."""

    model: Path
    steps: int
    log: Path
    curves: Path
    items: dict[str, int] = field(
        default_factory=dict
    )  # how many were dropped, skipped or truncated; REPORT beside the log names them
    untrained: tuple[str, ...] = ()  # parts of the model that are as they were drawn: no stage has trained them

    @property
    def report(self) -> Path:
        """Which items were not trained on, or not whole. There is no such file if all were."""
        return self.log.parent / REPORT

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        named: dict[str, Any] = {
            "model": str(self.model),
            "steps": self.steps,
            "log": str(self.log),
            "curves": str(self.curves),
        }
        named["untrained"] = list(self.untrained)
        return named | ({"items": self.items, "report": str(self.report)} if self.items else {"items": {}})


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
        return _finished(out / "study", out / "model", recipe.study.trainer.length)
    if is_recipe(config, "windows"):
        small = load(config, FlashRecipe)
        with removed_if_unused(out):
            make_flash(small, out, progress=progress)
        return _finished(out / "study", out / "model", small.study.trainer.length)
    if is_recipe(config, "needle_bank"):
        lessons = load(config, NeedleRecipe)
        with removed_if_unused(out):
            teach_needles(lessons, out, progress=progress)
        return _finished(out / "study", out / "model", lessons.study.trainer.length)
    with removed_if_unused(out):
        return train_stage(load(config, StageConfig), out, cpu=cpu, progress=progress)


def train_stage(
    config: StageConfig, out: Path, *, cpu: bool = False, progress: ShowProgress = unseen
) -> TrainingResult:
    """Train one stage, in as many processes as were launched. Resumes from the checkpoint in `out`, if there is one."""
    find_preset(config.model)  # raises ModelNotFound
    given, config = config, _as_started(config, out, PartialState(cpu=cpu).num_processes)
    items = ItemReport()
    with progress("reading the annotations"):
        streams = read_streams(config, items)
    with progress(f"loading model {config.model}"):
        model = _load(config, device="cpu" if cpu else None)
    if config.trainer.learning_rates.get("memaug") and not model.video_language.use_memaug:
        raise UsageError(f"{config.model}: use_memaug is false, so MemAug cannot learn; leave it out of learning_rates")
    processes = PartialState().num_processes
    with progress("checking the items"):
        data = StageData(config, model, items=streams, processes=processes, report=items)
    del streams
    config = _with_steps(config, data.samples, processes)
    trainer = Trainer(
        StageObjective(model, config),
        parts_of(model.video_language, model.vision.tower),
        config.trainer,
        out,
        cpu=cpu,
        batch=config.batch,
        report=items,
        most_skipped=config.most_skipped(sum(map(len, data.items))),
    )
    require_same(trainer.accelerator, data.fingerprint, "items")
    if trainer.accelerator.is_main_process:
        keep_configuration(given, out, free=_DIVISION)
    if trainer.resume() and trainer.accelerator.is_main_process:
        _LOGGER.info("%s: resumes after step %d", out, trainer.step)
    if items.problems and trainer.accelerator.is_main_process:
        items.write(out)
    batches = Prefetcher(data, stride=processes)
    try:
        with progress("training", "steps", bar=False) as shown:
            trainer.run(batches, report=shown)
    finally:
        batches.close()
    whole = _whole(trainer, model, config)
    kept = learnt_preset(model.preset, config).found_at((out / "model").resolve())
    if trainer.accelerator.is_main_process:
        if kept.caution is not None:
            _LOGGER.warning("%s: %s", out / "model", kept.caution)
        with _model_saved(out):
            if config.lora is not None:
                finish_lora(whole, config.lora, _learned_whole(whole, config), out / ADAPTER)
            save_pretrained(replace(whole, preset=kept), out / "model")
        _finished(out, out / "model", trainer.step)
    trainer.accelerator.wait_for_everyone()
    return TrainingResult(out / "model", trainer.step, out / LOG, out / CURVES, items.counts, kept.new_parts)


def learnt_preset(preset: ModelPreset, config: StageConfig) -> ModelPreset:
    """The preset of what a stage has learnt. Notice and scope are about what was known before. What was new and frozen stays untrained."""
    rates = config.trainer.learning_rates
    still = tuple(part for part in preset.new_parts if not rates.get(part))
    learnt = {"forgetting": config.forgetting, "trained": not still, "untrained": still, "notice": None, "scope": None}
    return preset.model_copy(update=learnt | {"encoder": None, "decoder": None, "tower": None})


def _as_started(config: StageConfig, out: Path, processes: int) -> StageConfig:
    """The configuration that continues the training in `out`: with its global batch, whatever the number of processes.

    Raises UsageError if that global batch cannot be divided among them.
    """
    saved = read_configuration(out)
    trainer: dict[str, Any] = {}
    if saved is not None and "loss_over" not in saved.get("trainer", {}) | config.trainer.model_dump(
        exclude_unset=True
    ):
        trainer["loss_over"] = "batches"  # what a version without this key did
        _LOGGER.info("%s: started by an earlier version, so the loss stays the mean of its batches' means", out)
    global_batch = global_batch_of(out, saved)
    if global_batch is not None:
        accumulate = accumulation(global_batch, config.batch, processes)
        if accumulate != config.trainer.accumulate:
            _LOGGER.info(
                "%s: accumulates %d batches instead of %d, so that a step keeps its %d samples in %d process(es)",
                out, accumulate, config.trainer.accumulate, global_batch, processes,
            )  # fmt: skip
            trainer["accumulate"] = accumulate
    return config.model_copy(update={"trainer": config.trainer.model_copy(update=trainer)}) if trainer else config


def _with_steps(config: StageConfig, samples: int, processes: int) -> StageConfig:
    """The configuration with its epochs as steps. samples: of an epoch."""
    epochs, together = config.trainer.epochs, config.batch * config.trainer.accumulate * processes
    if epochs is None:
        return config
    steps = math.ceil(round(epochs * samples / together, 6))
    _LOGGER.info("%g epochs of %d samples, %d a step, are %d steps", epochs, samples, together, steps)
    return config.model_copy(update={"trainer": config.trainer.model_copy(update={"steps": steps, "epochs": None})})


@contextmanager
def _model_saved(out: Path) -> Iterator[None]:
    """Save the model of a complete training. Raises TrainingError, which says how to save it later."""
    try:
        yield
    except NotSaved as error:
        raise TrainingError(
            f"{error}. The training itself is complete in {out / STATE}: then --resume saves the model"
        ) from None


def _load(config: StageConfig, *, device: str | None) -> AfterviewModel:
    model = load_pretrained(
        config.model, init_memaug=config.init_memaug, device=device, dtype="float32", changes=config.ablations
    )
    if not isinstance(model.vision, ClipEncoder) and (config.sampling or config.tower):
        key = "tower" if config.tower else "sampling"
        raise UsageError(f"{config.model}: is no VideoChat-Flash, which {key} is for; remove the key")
    if (
        isinstance(model.vision, ClipEncoder) and config.visual_dropout is not None
    ):  # so that any reader of its files drops tokens, too
        model = replace(model, config={**model.config, **dropout_keys(config.visual_dropout)})
    if config.lora is not None:
        add_lora(model.video_language.language.decoder, config.lora, seed=config.trainer.seed)
    if config.time_instruction is None:
        return model
    stated = {**model.config, TIME_INSTRUCTION: config.time_instruction}
    return replace(model, config=stated, time_instruction=config.time_instruction)


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


def _learned_whole(model: AfterviewModel, config: StageConfig) -> list[nn.Parameter]:
    """Parameters that were learned besides LoRA's."""
    parts = parts_of(model.video_language, model.vision.tower)
    learned = [name for name, rate in config.trainer.learning_rates.items() if rate and name != "language"]
    return [value for name in learned for value in parts[name]]


def is_recipe(config: Path, key: str = "architecture") -> bool:
    """Whether a configuration is the recipe of the small model: it has this key. That of the small VideoChat-Flash has `windows`."""
    try:
        found = read_yaml(config)
    except ConfigError:
        return False  # the strict loader reports the error
    return isinstance(found, dict) and key in found


def _finished(directory: Path, model: Path, steps: int) -> TrainingResult:
    curves = directory / CURVES
    write_file(curves, draw_curves(directory / LOG))
    shutil.copy(curves, model / CURVES)
    return TrainingResult(model, steps, directory / LOG, curves)
