"""Makes the small model from start to end, resumable: bank, sight, features, names, sentences, study, published checkpoint.

DIR/bank.pixels     rendered frames            DIR/sentences/   training of the decoder's first answers
DIR/tokenizer/      the tokenizer              DIR/study/       training of MemAug and decoder
DIR/sight/          training of the encoders   DIR/model/       the finished model
"""

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from afterview.memory.base.durable import remove_tree
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.checkpoint.preset import ModelPreset
from afterview.model.checkpoint.saving import save_pretrained
from afterview.model.language.moments import pointer_ids
from afterview.model.vision.tower import GRID, VisionEncoder, pool
from afterview.training.base.progress import Report, ShowProgress, unseen
from afterview.training.core.checkpoints import STATE
from afterview.training.core.parts import parts_of
from afterview.training.core.run_configuration import keep_configuration
from afterview.training.core.trainer import OnLog, Trainer
from afterview.training.tiny.answers import accuracies
from afterview.training.tiny.bank import PIXELS, Bank, BankConfig, index_bank, make_bank, plan_bank, shape_of
from afterview.training.tiny.data_loader import DataLoader
from afterview.training.tiny.device_batch import DeviceBatch, to_device
from afterview.training.tiny.encoders import learn_to_see
from afterview.training.tiny.lessons import Progress
from afterview.training.tiny.naming import learn_names, words_of_frames
from afterview.training.tiny.recipe import Recipe
from afterview.training.tiny.sentences import learn_sentences
from afterview.training.tiny.stage import StageContext, attention_to_train_with
from afterview.training.tiny.stories import StoryBatch
from afterview.training.tiny.study import StudyObjective
from afterview.training.tiny.texts import Words
from afterview.training.tiny.words import train_tokenizer
from afterview.training.world.facts import KINDS

_LOGGER = logging.getLogger(__name__)

TOKENIZER: Final = "tokenizer"
_BANK_DONE = "bank.done"
PARTS: Final = (
    PIXELS,
    _BANK_DONE,
    TOKENIZER,
    "sight",
    "sentences",
    "study",
)  # files and directories that `make` writes
# Frames per batch. The activations of 64 fit a processor's cache, which takes 0.55 of the time of 2,048.
_FRAMES_AT_ONCE: Final = {"cuda": 2048, "cpu": 64}


def _unheard(figures: dict[str, float]) -> None:
    """Hears a line of the log and does nothing."""


def make(
    recipe: Recipe,
    directory: Path,
    *,
    deadline: float = math.inf,
    cpu: bool = False,
    progress: ShowProgress = unseen,
) -> bool:
    """Run all stages that are not done yet. Returns whether the model is finished; if the deadline came first, call it again.

    Raises UsageError if the directory holds a training with another configuration.
    """
    keep_configuration(recipe, directory)
    device = torch.device("cpu" if cpu or not torch.cuda.is_available() else "cuda")
    with progress("initial model"):
        model = initial_model(recipe, directory, device)
    with _timed("bank"), progress("bank", "scenes") as report:
        bank = rendered_bank(recipe.bank, directory, report)
    with _timed("sight"):
        context = StageContext(directory / "sight", recipe.seed, device, deadline, progress)
        if not learn_to_see(model, bank, recipe.sight, context):
            return False
    with _timed("features"), progress("features", "frames") as report:
        features = encode_all(model.vision, torch.from_numpy(bank.pixels), device, report)
    context = StageContext(directory, recipe.seed, device, deadline, progress)
    studying = (directory / "study" / STATE).exists()
    if not studying and not learn_to_speak(recipe, model, bank, features, context):
        return False
    with _timed("study"):
        if not learn_study(recipe, model, bank, features, context):
            return False
    with _timed("model"), progress("model"):
        save_model(recipe, model, directory / "model")
    return True


def encode_all(vision: VisionEncoder, pixels: Tensor, device: torch.device, report: Report) -> Tensor:
    """Features of all frames as a memory stores them: float16 [F, P, Dv], on the device. report: frames done, frames in all."""
    parts: list[Tensor] = []
    with torch.inference_mode():
        for part in pixels.split(_FRAMES_AT_ONCE[device.type]):
            images = (part.to(device).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
            parts.append(pool(vision.run(images), GRID).half())
            report(sum(map(len, parts)), len(pixels))
    return torch.cat(parts)


def save_model(recipe: Recipe, model: AfterviewModel, directory: Path) -> None:
    """Save the model in the published layout, in float16: half the bytes, without effect on the answers."""
    for module in (model.video_language, model.vision.tower, model.encoders.index.model):
        module.half()
    index = model.encoders.index
    preset = model.preset.model_copy(update={"trained": True, "notice": recipe.notice})
    save_pretrained(replace(model, preset=preset, load_index=lambda: index), directory)


def initial_model(recipe: Recipe, directory: Path, device: torch.device) -> AfterviewModel:
    """The recipe's model with initial weights, in float32. Trains its tokenizer into `directory` if it is missing."""
    words = kept_tokenizer(directory, train_tokenizer)
    preset = ModelPreset(
        name=recipe.name,
        architecture=recipe.architecture.model_copy(update={"tokenizer": str(words.resolve())}),
        index_encoder=None,
        memaug_depth=recipe.memaug_depth,
        seed=recipe.seed,
        trained=False,
        notice="in training",
        forgetting=recipe.forgetting,
        recall=recipe.recall,
        trained_frames=recipe.trained_frames,
        evidence_blocks=recipe.evidence_blocks,
        max_new_tokens=recipe.max_new_tokens,
    )
    path = directory / "fresh.yaml"
    path.write_text(json.dumps(preset.model_dump(mode="json", exclude_unset=True)), encoding="utf-8")  # JSON is YAML
    return load_pretrained(path, device=device, dtype=torch.float32)


def kept_tokenizer(directory: Path, make: Callable[[], PreTrainedTokenizerBase]) -> Path:
    """The tokenizer in `directory`. It is made if it is not there whole: a kill while its files are written leaves none that counts."""
    place, partial = directory / TOKENIZER, directory / f".{TOKENIZER}.partial"
    if not (place / "tokenizer.json").exists():
        remove_tree(place)
        remove_tree(partial)
        make().save_pretrained(partial)
        partial.rename(place)
    return place


def rendered_bank(config: BankConfig, directory: Path, report: Report | None = None) -> Bank:
    """The bank in `directory`; it is rendered unless it is there already, whole."""
    finished, pixels, jobs = directory / _BANK_DONE, directory / PIXELS, plan_bank(config)
    shape = shape_of(jobs, config)
    if finished.exists() and pixels.exists() and pixels.stat().st_size == math.prod(shape):
        private = np.memmap(pixels, np.uint8, "c", shape=shape)  # torch needs writable memory; the file does not change
        return index_bank(jobs, private)
    bank = make_bank(config, directory, report)
    finished.touch()
    return bank


def learn_to_speak(recipe: Recipe, model: AfterviewModel, bank: Bank, features: Tensor, context: StageContext) -> bool:
    """The stages before the study: words for what frames show, and answers with them. Returns as learn_stage does."""
    vl, tokenizer = model.video_language, PreTrainedTokenizerFast.from_pretrained(context.directory / TOKENIZER)
    with _timed("naming"), context.progress("naming", bar=False):
        learn_names(vl, tokenizer, bank, features, recipe.naming, seed=recipe.seed)
    with _timed("sentences"), _loader(recipe, context.directory) as loader:
        own = replace(context, directory=context.directory / "sentences")
        named = words_of_frames(bank, tokenizer, context.device)
        return learn_sentences(vl.language, Words(tokenizer).head, named, loader.batch, features, recipe.sentences, own)


def learn_study(
    recipe: Recipe, model: AfterviewModel, bank: Bank, features: Tensor, context: StageContext, on_log: OnLog = _unheard
) -> bool:
    """The study: MemAug and decoder learn in `context.directory`/study. on_log: gets the figures of every line of the log.

    Returns whether it is done; if the deadline came first, call it again.
    """
    progress = Progress(list(recipe.study.lessons))

    def note(figures: dict[str, float]) -> None:
        on_log(figures)
        step = int(figures["step"])
        if progress.note(step, accuracies(figures, tuple(progress.plan.kinds)), recipe.study.trainer.log_every):
            _LOGGER.info("step %d: lesson '%s' begins", step, progress.plan.name)

    with _loader(recipe, context.directory) as loader:

        def draw(number: int) -> tuple[StoryBatch, int | None]:
            return loader.batch(progress.plan, number), progress.plan.tokens_read

        return study_with(draw, recipe, model, bank, features, context, note)


def study_with(
    draw: Callable[[int], tuple[StoryBatch, int | None]], recipe: Recipe, model: AfterviewModel, bank: Bank, features: Tensor,
    context: StageContext, note: OnLog = _unheard, *, kinds: Sequence[str] = KINDS,
) -> bool:  # fmt: skip
    """The study with batches by number, and how many tokens of each frame are read (None: all). kinds: what the batches' kinds number.

    note: gets the figures of every line of the log, before an interruption, too. Returns as learn_study does.
    """
    config, directory, device = recipe.study, context.directory / "study", context.device
    tokenizer = PreTrainedTokenizerFast.from_pretrained(context.directory / TOKENIZER)
    names, shown = words_of_frames(bank, tokenizer, device) if config.telling_weight else (None, None)
    objective = StudyObjective(
        model.video_language,
        Words(tokenizer).head,
        forgetting=recipe.forgetting,
        evidence_weight=config.evidence_weight,
        telling_weight=config.telling_weight,
        pointers=pointer_ids(tokenizer).values(),
        names=names,
        kinds=kinds,
    )
    parts = {
        name: part for name, part in parts_of(model.video_language, model.vision.tower).items() if name != "vision"
    }

    trainer = Trainer(objective, parts, config.trainer, directory, cpu=device.type == "cpu", on_log=note)
    trainer.resume()
    for figures in trainer.logged():  # bring the curriculum to the state of the weights
        note(figures)
    with attention_to_train_with(device, model.video_language.language.decoder):

        def batch(number: int) -> DeviceBatch:
            drawn, tokens_read = draw(number)
            return to_device(drawn, features, shown, tokens_read)

        with context.progress("study", "steps", bar=False) as report:
            done = trainer.run(batch, deadline=context.deadline, report=report)
    model.video_language.eval()
    return done


def _loader(recipe: Recipe, directory: Path) -> DataLoader:
    study = recipe.study
    return DataLoader(
        recipe.bank,
        directory / TOKENIZER,
        recipe.forgetting,
        seed=recipe.seed,
        workers=study.workers,
        ahead=study.ahead,
    )


@contextmanager
def _timed(stage: str) -> Iterator[None]:
    """Log how long a stage took."""
    began = time.monotonic()
    _LOGGER.info("%s ...", stage)
    yield
    _LOGGER.info("%s: %.1f s", stage, time.monotonic() - began)
