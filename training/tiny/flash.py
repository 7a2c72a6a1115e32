"""Makes the small VideoChat-Flash: `afterview train configs/training/tiny-flash.yaml --out DIR`. On the CPU; one thread is enough.

It takes the tower, the index and the tokenizer of the small Hour-LLaVA as they are (the published recipe starts from UMT-L). Projector and
decoder are new. Resumable.

DIR/windows.safetensors   merged clips of the world        DIR/sentences/, DIR/study/   training        DIR/model/   the model
"""

import logging
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from afterview.configs import Schema
from afterview.model.base.settings import VisualDropoutConfig
from afterview.model.checkpoint import init
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.checkpoint.preset import LanguageGeometry
from afterview.model.checkpoint.published import VIDEOCHAT_FLASH
from afterview.model.checkpoint.weights import Target, fill, slots_of
from afterview.model.language.decoder import LanguageModel, build_decoder
from afterview.model.memaug.attention import Heads
from afterview.model.memaug.memaug import MemAug
from afterview.model.video_language import VideoLanguageModel
from afterview.model.vision.projector import Projector
from afterview.training.base.progress import Report, ShowProgress, unseen
from afterview.training.core.run_configuration import keep_configuration
from afterview.training.core.trainer import Trainer, TrainerConfig
from afterview.training.tiny.answers import accuracies
from afterview.training.tiny.clip_stories import ClipShelf, FlashWords, clip_shelf, make_clip_batch
from afterview.training.tiny.clip_study import (
    ClipDeviceBatch,
    ClipStudyObjective,
    begin_by_likeness,
    clips_to_device,
)
from afterview.training.tiny.flash_model import save_flash
from afterview.training.tiny.lessons import LessonPlan, Progress
from afterview.training.tiny.naming import NamingConfig, learn_names, words_of_frames
from afterview.training.tiny.stage import attention_to_train_with
from afterview.training.tiny.windows import WindowConfig, labelled, make_windows, plan_windows

_LOGGER = logging.getLogger(__name__)

WINDOWS: Final = "windows.safetensors"


class ClipStageConfig(Schema):
    """Lessons over merged clips. loudness: questions are told in words what proves their answer, with a factor of this range."""

    trainer: TrainerConfig
    lessons: tuple[LessonPlan, ...]
    evidence_weight: float = 0.3
    loudness: tuple[float, float] | None = None


class FlashRecipe(Schema):
    """Everything that determines the small VideoChat-Flash."""

    name: str = "tiny-flash"
    seed: int = 0
    encoders: str = "tiny"  # preset whose tower, index and tokenizer are taken
    language: LanguageGeometry
    dropout: VisualDropoutConfig
    notice: str
    windows: WindowConfig = WindowConfig()
    naming: NamingConfig = NamingConfig()
    sentences: ClipStageConfig
    study: ClipStageConfig


def make_flash(recipe: FlashRecipe, directory: Path, *, progress: ShowProgress = unseen) -> None:
    """Run all stages that are not done yet. progress: how long work is shown."""
    keep_configuration(recipe, directory)
    base = load_pretrained(recipe.encoders, device="cpu", dtype="float32")
    jobs = plan_windows(recipe.windows)
    with progress("clips", "scenes") as report:
        table = make_windows(jobs, recipe.windows, base.vision, directory / WINDOWS, report)
    assert base.tokenizer is not None, "the small model has one"
    network, words, shelf = new_network(recipe, base), FlashWords(base.tokenizer), clip_shelf(jobs)
    labels = labelled(jobs)
    names, shown = words_of_frames(labels, base.tokenizer, table.device)
    learn_names(network, base.tokenizer, labels, table, recipe.naming, seed=recipe.seed)
    begin_by_likeness(network, recipe.seed)
    for stage, config in (("sentences", recipe.sentences), ("study", recipe.study)):
        learner = ClipStudyObjective(
            network, words.head, names, evidence_weight=config.evidence_weight, dropping=recipe.dropout.layers[0]
        )
        with progress(stage, "steps", bar=False) as report:
            _learn(learner, config, directory / stage, (shelf, words, table, shown), recipe.seed, report)
    save_flash(network, base, recipe.dropout, name=recipe.name, notice=recipe.notice, directory=directory / "model")


def new_network(recipe: FlashRecipe, base: AfterviewModel) -> VideoLanguageModel:
    """Projector and decoder with initial weights, in float32, on the CPU."""
    assert base.tokenizer is not None, "the small model has one"
    sizes = recipe.language
    settings = {
        "vocab_size": len(base.tokenizer),
        "hidden_size": sizes.width,
        "intermediate_size": sizes.mlp_width,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.key_value_heads,
        "max_position_embeddings": sizes.positions,
        "rope_theta": sizes.rope_theta,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "hidden_act": "silu",
    }
    decoder = build_decoder(settings, qwen3=False)
    network = VideoLanguageModel(
        Projector(base.vision.spec.width, sizes.width),
        MemAug(Heads(sizes.width, sizes.heads, sizes.key_value_heads), depth=0, rope_theta=sizes.rope_theta),
        None,
        LanguageModel(decoder),
        use_memaug=False,
    )
    slots = {**slots_of(decoder), **slots_of(network.projector, VIDEOCHAT_FLASH.projector)}
    tensors = {name: init.seeded(name, slot, recipe.seed, tower=True) for name, slot in slots.items()}
    fill(slots, tensors, Target(torch.device("cpu"), torch.float32))
    return network


def _learn(
    objective: ClipStudyObjective,
    config: ClipStageConfig,
    directory: Path,
    data: tuple[ClipShelf, FlashWords, Tensor, Tensor],
    seed: int,
    report: Report,
) -> None:
    shelf, words, table, shown = data
    progress = Progress(list(config.lessons))

    def note(figures: dict[str, float]) -> None:
        step = int(figures["step"])
        if progress.note(step, accuracies(figures, tuple(progress.plan.kinds)), config.trainer.log_every):
            _LOGGER.info("step %d: lesson '%s' begins", step, progress.plan.name)

    parts = {
        "projector": list(objective.model.projector.parameters()),
        "language": list(objective.model.language.parameters()),
    }
    trainer = Trainer(objective, parts, config.trainer, directory, cpu=True, on_log=note)
    trainer.resume()
    for figures in trainer.logged():
        note(figures)

    def batch(number: int) -> ClipDeviceBatch:
        drawn = make_clip_batch(progress.plan, shelf, words, seed=seed, number=number)
        return clips_to_device(drawn, table, shown, progress.plan.tokens_read, config.loudness)

    with attention_to_train_with(table.device, objective.model.language.decoder):
        if trainer.step < config.trainer.length:
            trainer.run(batch, report=report)
    objective.eval()
