"""A training stage of the paper: model, data, and the rate of each part. Configurations: configs/training/hour-llava-*.yaml."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import nn
from torch.nn import functional

from afterview.configs import Schema
from afterview.memory.plans.positions import plan_layout
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.batch import assemble
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.prompt import IGNORED_LABEL, Prompt, require_tokenizer
from afterview.model.vision.tiles import Tiling
from afterview.training.base.errors import DataError
from afterview.training.base.seeds import seeded
from afterview.training.core.parts import MODEL_PARTS, fault_of
from afterview.training.core.trainer import StepOutput, TrainerConfig
from afterview.training.data import streams
from afterview.training.data.conversations import Annotation, read_conversation
from afterview.training.data.examples import Example, perceive, read_picture
from afterview.training.data.features import FeatureBank, FrameBank
from afterview.training.data.items import BadItems, Item
from afterview.training.data.report import ItemReport
from afterview.training.data.streams import DataStream


class StageConfig(Schema):
    """One stage."""

    name: str
    model: str  # preset, directory or hub id of the initial model
    init_memaug: bool = False  # stage 1 starts from a LLaVA without MemAug
    trainer: TrainerConfig
    streams: tuple[DataStream, ...] = Field(min_length=1)
    # Items whose media are missing, or would be left out. drop: train without them, and report them.
    bad_items: BadItems = "refuse"
    batch: int = Field(ge=1)  # samples per device, before accumulation
    # One-stream: all batches of an optimizer step come from one stream.
    batching: Literal["random", "one-stream"] = "random"
    forgetting: ForgettingConfig = ForgettingConfig()
    max_length: int = Field(default=32_768, ge=1)  # tokens of the decoder's input; a longer sample is an error
    gradient_checkpointing: bool = True
    # Labels of the published code, which supervises control tokens and newlines, too; see training.data.conversations.
    supervise_roles: bool = False

    @field_validator("trainer")
    @classmethod
    def _rates_of_parts(cls, trainer: TrainerConfig) -> TrainerConfig:
        if fault := fault_of(trainer.learning_rates, MODEL_PARTS):  # before gigabytes are loaded
            raise ValueError(fault)
        return trainer

    @property
    def trains_vision(self) -> bool:
        """Whether the vision tower is trained."""
        return self.trainer.learning_rates.get("vision", 0.0) > 0


class StageObjective(nn.Module):
    """Cross-entropy of the supervised tokens."""

    def __init__(self, model: AfterviewModel, config: StageConfig) -> None:
        """The tower is a submodule only if it is trained. Checkpoints then do not contain a frozen tower."""
        super().__init__()
        self.model, self._vision, self._config = model.video_language, model.vision, config
        self._tiling = Tiling.of(model.config)
        learns = config.trains_vision
        self.tower = model.vision.tower if learns else None
        if config.gradient_checkpointing:
            model.video_language.language.decoder.activation_checkpointing_enable({"use_reentrant": False})
            if learns:
                model.vision.tower.activation_checkpointing_enable({"use_reentrant": False})

    def forward(self, examples: list[Example]) -> StepOutput:
        """Loss over all supervised tokens of the batch."""
        forgetting, tiling = self._config.forgetting, self._tiling
        samples = [perceive(example, self.model, self._vision, forgetting, tiling) for example in examples]
        batch = assemble(self.model, samples)
        for example, length in zip(examples, batch.lengths, strict=True):
            _require_length(example.name, length, self._config)
        hidden, labels = self.model.language.learn(batch.inputs_embeds, batch.lengths, batch.labels, batch.visual)
        supervised = labels[:, 1:] != IGNORED_LABEL
        logits = self.model.language.logits(hidden[:, :-1][supervised]).float()
        targets = labels[:, 1:][supervised]
        right = (logits.argmax(-1) == targets).sum()
        figures = {"tokens/right": right, "tokens/asked": torch.tensor(float(len(targets)), device=right.device)}
        return StepOutput(functional.cross_entropy(logits, targets), figures)


class StageData:
    """The batches of a stage by number. They depend on the configuration only."""

    def __init__(
        self,
        config: StageConfig,
        model: AfterviewModel,
        *,
        items: Sequence[list[Item]] | None = None,
        processes: int = 1,
    ) -> None:
        """items: of each stream, if `read_streams` has read them already. processes: number of processes that train
        together, each on its own batches of a step. Raises DataError for unusable data."""
        self._config, self._model = config, model
        self._tokenizer = require_tokenizer(model.tokenizer)
        self._group = config.trainer.accumulate * processes
        self._items = read_streams(config) if items is None else items
        self._banks = [self._bank(stream) for stream in config.streams]
        self._epoch: tuple[int, list[list[tuple[int, int]]]] = (-1, [])
        self.batches = len(self._order(0))  # per epoch

    def __call__(self, number: int) -> list[Example]:
        """Batch `number`, counted over all epochs."""
        batch = self._order(number // self.batches)[number % self.batches]
        return [self._example(stream, item) for stream, item in batch]

    def _bank(self, stream: DataStream) -> FeatureBank | FrameBank | None:
        spec = self._model.vision.spec
        if stream.frames:
            frames = FrameBank(stream.frames)
            frames.require(spec.resolution)
            return frames
        if stream.features is None:
            return None
        if self._config.trains_vision:
            raise DataError(
                f"{stream.features}: the vision tower cannot learn from cached features; give the stream `frames` instead "
                "(`afterview extract --frames`), or leave `vision` out of learning_rates"
            )
        bank = FeatureBank(stream.features)
        bank.require(bank.spec.model_copy(update={"tokens": spec}))
        return bank

    def _order(self, epoch: int) -> list[list[tuple[int, int]]]:
        if self._epoch[0] != epoch:
            weights = [stream.weight for stream in self._config.streams]
            sizes = [len(items) for items in self._items]
            group = self._group if self._config.batching == "one-stream" else None
            order = plan_epoch(
                sizes, weights, self._config.batch, apart=group, seed=self._config.trainer.seed, epoch=epoch
            )
            self._epoch = epoch, order
        return self._epoch[1]

    def _example(self, stream: int, item: int) -> Example:
        one, seed = self._items[stream][item], stream << 32 | item
        annotation = one.annotation
        if annotation.video is not None:
            return self._video(one, self._banks[stream], seed)
        directory = self._config.streams[stream].pictures
        prompt, labels = self._text(annotation)
        _require_length(
            annotation.name, len(labels), self._config
        )  # the objective checks again, with the tokens of the pictures
        pictures = tuple(read_picture(one.picture(directory, name)) for name in annotation.pictures)
        return Example(annotation.name, prompt, labels, seed, pictures=pictures)

    def _video(self, item: Item, bank: FeatureBank | FrameBank | None, seed: int) -> Example:
        assert bank is not None, "checked in __init__"
        annotation = item.annotation
        config, preset = self._config, self._model.preset
        seen, seconds = bank.load(*item.video)
        prompt, labels = self._text(annotation, frames=len(seen), seconds=seconds)
        layout = plan_layout(
            len(seen), config=config.forgetting, policy=preset.positions, trained_frames=preset.trained_frames,
            random_constant=seed, grid=math.isqrt(self._model.vision.spec.tokens_per_frame),
        )  # fmt: skip
        _require_length(annotation.name, len(labels) + len(layout.query_tokens()), config)
        if isinstance(bank, FrameBank):
            return Example(annotation.name, prompt, labels, seed, layout, frames=seen)
        return Example(annotation.name, prompt, labels, seed, layout, features=seen)

    def _text(self, annotation: Annotation, **about: Any) -> tuple[Prompt, NDArray[np.int64]]:
        roles = self._config.supervise_roles
        return read_conversation(self._tokenizer, annotation, supervise_roles=roles, **about)


def _require_length(name: str, length: int, config: StageConfig) -> None:
    if length > config.max_length:
        raise DataError(f"{name}: {length} tokens, but max_length is {config.max_length}")


def read_streams(config: StageConfig, report: ItemReport | None = None) -> list[list[Item]]:
    """The items of each stream. report: for those that are dropped. Raises DataError (training.data.streams)."""
    return streams.read_streams(config.streams, bad_items=config.bad_items, seed=config.trainer.seed, report=report)


def plan_epoch(
    sizes: list[int], weights: list[float], batch: int, *, apart: int | None = None, seed: int, epoch: int
) -> list[list[tuple[int, int]]]:
    """The batches of one epoch, each a list of (stream, item). Pure.

    A stream of weight w gives each item floor(w) times, plus a random share of its items once more. The last batch may
    be short. apart: this many consecutive batches (one optimizer step) come from one stream; the last of them are
    filled with items drawn again.
    """
    rng = seeded(f"epoch 1, seed {seed}, epoch {epoch}")
    per_stream: list[list[tuple[int, int]]] = []
    for stream, (size, weight) in enumerate(zip(sizes, weights, strict=True)):
        whole, rest = divmod(weight, 1)
        items = list(range(size)) * int(whole) + rng.sample(range(size), round(size * rest))
        rng.shuffle(items)
        lacking = -len(items) % (apart * batch) if apart and apart > 1 and items else 0
        items += rng.choices(range(size), k=lacking)
        per_stream.append([(stream, item) for item in items])
    if not apart:
        mixed = [pair for pairs in per_stream for pair in pairs]
        rng.shuffle(mixed)
        per_stream = [mixed]
    batches = [pairs[at : at + batch] for pairs in per_stream for at in range(0, len(pairs), batch)]
    steps = [batches[at : at + (apart or 1)] for at in range(0, len(batches), apart or 1)]
    rng.shuffle(steps)
    if not steps:
        raise DataError("the weights of the streams leave no item for an epoch")
    return [batch for step in steps for batch in step]
