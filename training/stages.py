"""A stage of training as the paper has it: which model, which data, which parts at which rate. configs/training/hour-llava-*.yaml."""

from pathlib import Path
from random import Random
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn
from torch.nn import functional

from configs import Schema
from memory.forgetting import ForgettingConfig
from memory.positions import plan_layout
from model.batch import Sample, assemble
from model.loaded import AfterimageModel
from model.prompt import IGNORED_LABEL, Prompt, require_tokenizer
from model.video_language import VideoLanguageModel
from training.conversations import Annotation, read_annotations, read_conversation
from training.errors import DataError
from training.features import FeatureBank
from training.trainer import Lesson, TrainerConfig


class DataStream(Schema):
    """Annotations with their features. `weight`: how often an item comes in an epoch (0.5: every other one, drawn anew)."""

    annotations: Path
    features: Path
    weight: float = Field(default=1.0, gt=0)


class StageConfig(Schema):
    """One stage."""

    name: str
    model: str  # preset, directory or hub id to start from
    init_memaug: bool = False  # the first stage starts from a LLaVA without MemAug
    trainer: TrainerConfig
    streams: tuple[DataStream, ...] = Field(min_length=1)
    batch: int = Field(ge=1)  # samples per device and step, before accumulation
    batching: Literal["random", "one-stream"] = "random"  # one-stream: every batch from one stream
    forgetting: ForgettingConfig = ForgettingConfig()
    max_length: int = 32_768  # tokens of the decoder's input; longer samples are an error
    gradient_checkpointing: bool = True
    supervise_roles: bool = False


class StageLearner(nn.Module):
    """Cross-entropy of the supervised tokens."""

    def __init__(self, model: VideoLanguageModel, *, gradient_checkpointing: bool) -> None:
        super().__init__()
        self.model = model
        if gradient_checkpointing:
            model.language.decoder.gradient_checkpointing_enable({"use_reentrant": False})

    def forward(self, samples: list[Sample]) -> Lesson:
        """Loss over every supervised token of the batch."""
        batch = assemble(self.model, samples)
        hidden = self.model.language(batch.inputs_embeds, batch.attention_mask)
        taught = batch.labels[:, 1:] != IGNORED_LABEL
        logits = self.model.language.logits(hidden[:, :-1][taught]).float()
        truth = batch.labels[:, 1:][taught]
        right = (logits.argmax(-1) == truth).sum()
        figures = {"tokens/right": right, "tokens/asked": torch.tensor(float(len(truth)), device=right.device)}
        return Lesson(functional.cross_entropy(logits, truth), figures)


class StageData:
    """Batches of a stage, by number: a function of the configuration alone."""

    def __init__(self, config: StageConfig, model: AfterimageModel) -> None:
        """Raises DataError for annotations or features that cannot be used."""
        self._config, self._model = config, model
        self._tokenizer = require_tokenizer(model.tokenizer)
        self._items = [read_annotations(stream.annotations) for stream in config.streams]
        self._banks = [FeatureBank(stream.features) for stream in config.streams]
        for bank in self._banks:
            bank.require(bank.spec.model_copy(update={"tokens": model.vision.spec}))
        self._epoch: tuple[int, list[list[tuple[int, int]]]] = (-1, [])
        self.batches = len(self._order(0))  # of one epoch

    def __call__(self, number: int) -> list[Sample]:
        """Batch `number`, counted over all epochs."""
        batch = self._order(number // self.batches)[number % self.batches]
        return [self._sample(stream, item) for stream, item in batch]

    def _order(self, epoch: int) -> list[list[tuple[int, int]]]:
        if self._epoch[0] != epoch:
            weights = [stream.weight for stream in self._config.streams]
            sizes = [len(items) for items in self._items]
            order = plan_epoch(
                sizes, weights, self._config.batch, apart=self._config.batching == "one-stream",
                seed=self._config.trainer.seed, epoch=epoch,
            )  # fmt: skip
            self._epoch = epoch, order
        return self._epoch[1]

    def _sample(self, stream: int, item: int) -> Sample:
        annotation, config = self._items[stream][item], self._config
        features, seconds = self._banks[stream].load(annotation.video)
        prompt, labels = self._text(annotation, len(features), seconds)
        preset = self._model.preset
        layout = plan_layout(
            len(features), config=config.forgetting, policy=preset.positions, trained_frames=preset.trained_frames,
            random_constant=stream << 32 | item,
        )  # fmt: skip
        length = len(labels) + len(layout.query_tokens())
        if length > config.max_length:
            raise DataError(f"{annotation.video}: {length} tokens, but max_length is {config.max_length}")
        return Sample(features, layout, prompt, labels)

    def _text(self, annotation: Annotation, frames: int, seconds: float) -> tuple[Prompt, NDArray[np.int64]]:
        return read_conversation(
            self._tokenizer, annotation.pairs, frames=frames, seconds=seconds,
            supervise_roles=self._config.supervise_roles,
        )  # fmt: skip


def plan_epoch(
    sizes: list[int], weights: list[float], batch: int, *, apart: bool, seed: int, epoch: int
) -> list[list[tuple[int, int]]]:
    """Batches of (stream, item) for one epoch; the last ones may be short. Pure.

    A stream of weight w gives each of its items floor(w) times, and a drawn share of them once more. apart: no batch mixes streams.
    """
    rng = Random(f"afterimage epoch 1, seed {seed}, epoch {epoch}")
    per_stream: list[list[tuple[int, int]]] = []
    for stream, (size, weight) in enumerate(zip(sizes, weights, strict=True)):
        whole, rest = divmod(weight, 1)
        items = list(range(size)) * int(whole) + rng.sample(range(size), round(size * rest))
        rng.shuffle(items)
        per_stream.append([(stream, item) for item in items])
    if not apart:
        mixed = [pair for pairs in per_stream for pair in pairs]
        rng.shuffle(mixed)
        per_stream = [mixed]
    batches = [pairs[at : at + batch] for pairs in per_stream for at in range(0, len(pairs), batch)]
    rng.shuffle(batches)
    if not batches:
        raise DataError("the streams' weights leave no item for an epoch")
    return batches
