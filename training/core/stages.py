"""A training stage of the paper: model, data, and the rate of each part. Configurations: configs/training/hour-llava-*.yaml."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator
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
from afterview.training.data.conversations import Annotation, read_annotations, read_conversation
from afterview.training.data.examples import Example, perceive, read_picture
from afterview.training.data.features import FeatureBank, FrameBank, require_videos


class DataStream(Schema):
    """Annotations and the media they describe. weight: uses of an item per epoch (0.5: a new random half in each epoch)."""

    annotations: Path
    features: Path | None = None  # cached features of its videos; see training.data.features
    frames: Path | None = None  # frames of its videos, instead of features: for stages that train the vision tower
    pictures: Path | None = None  # directory of its pictures
    weight: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _one_kind(self) -> "DataStream":
        if self.features and self.frames:
            raise ValueError("features and frames are given; give one of them")
        return self


class StageConfig(Schema):
    """One stage."""

    name: str
    model: str  # preset, directory or hub id of the initial model
    init_memaug: bool = False  # stage 1 starts from a LLaVA without MemAug
    trainer: TrainerConfig
    streams: tuple[DataStream, ...] = Field(min_length=1)
    batch: int = Field(ge=1)  # samples per device, before accumulation
    # One-stream: all batches of an optimizer step come from one stream.
    batching: Literal["random", "one-stream"] = "random"
    forgetting: ForgettingConfig = ForgettingConfig()
    max_length: int = Field(default=32_768, ge=1)  # tokens of the decoder's input; a longer sample is an error
    gradient_checkpointing: bool = True
    # Labels of the published code, which supervises control tokens and newlines, too; see training.data.conversations.
    supervise_roles: bool = False
    # Whether prompts of videos say how long these are, and the trained checkpoint says so; null: as the initial one does. The published
    # first stage leaves it out, the others have it.
    time_instruction: bool | None = None

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
        items: Sequence[list[Annotation]] | None = None,
        processes: int = 1,
    ) -> None:
        """items: the annotations of each stream, if `read_streams` has read them already. processes: number of processes that train
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
        annotation, seed = self._items[stream][item], stream << 32 | item
        if annotation.video is not None:
            return self._video(annotation, self._banks[stream], seed)
        directory = self._config.streams[stream].pictures
        prompt, labels = self._text(annotation)
        _require_length(
            annotation.name, len(labels), self._config
        )  # the objective checks again, with the tokens of the pictures
        pictures = tuple(read_picture(directory / name) for name in annotation.pictures) if directory else ()
        return Example(annotation.name, prompt, labels, seed, pictures=pictures)

    def _video(self, annotation: Annotation, bank: FeatureBank | FrameBank | None, seed: int) -> Example:
        assert bank is not None, "checked in __init__"
        assert annotation.video is not None
        config, preset = self._config, self._model.preset
        seen, seconds = bank.load(annotation.video)
        stated = {"frames": len(seen), "seconds": seconds} if self._model.time_instruction else {}  # as in asking
        prompt, labels = self._text(annotation, **stated)
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


def read_streams(config: StageConfig) -> list[list[Annotation]]:
    """The annotations of each stream. Raises DataError for those that cannot be read, and for media that are not there.

    Needs no model, so a mistake shows before gigabytes are loaded.
    """
    streams = []
    for stream in config.streams:
        items = read_annotations(stream.annotations)
        _require_media(stream, items)
        if stream.features:
            FeatureBank(stream.features)
        if stream.frames:
            FrameBank(stream.frames)
        if bank := stream.features or stream.frames:
            require_videos(bank, (item.video for item in items if item.video is not None))
        streams.append(items)
    return streams


def _require_media(stream: DataStream, items: list[Annotation]) -> None:
    """Raise DataError if a stream lacks the media of its annotations."""
    for item in items:
        if item.video is not None and not (stream.features or stream.frames):
            raise DataError(
                f"{stream.annotations}: has videos ('{item.video}'); give the stream `features` or `frames`"
            )
        if item.pictures and not stream.pictures:
            raise DataError(f"{stream.annotations}: has pictures ('{item.pictures[0]}'); give the stream `pictures`")
    named = {name for item in items for name in item.pictures}
    missing = sorted(name for name in named if stream.pictures and not (stream.pictures / name).is_file())
    if missing:
        more = f", nor {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(f"{stream.pictures}: does not have '{missing[0]}'{more}, which {stream.annotations} names")


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
