"""A training stage of either paper: model, data, and the rate of each part. Configurations: configs/training/.

training.core.stage_data reads its batches.
"""

import logging
from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import nn
from torch.nn import functional

from afterview.configs import Schema
from afterview.memory.plans.clip_sampling import ClipSampling
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.base.settings import TowerName, VisualDropoutConfig
from afterview.model.batch import Sample, assemble
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.prompt import IGNORED_LABEL
from afterview.model.vision.tiles import Tiling
from afterview.training.core.lora import LoraSettings
from afterview.training.core.parts import MODEL_PARTS, fault_of
from afterview.training.core.trainer import StepOutput
from afterview.training.core.trainer_config import TrainerConfig
from afterview.training.data.examples import Example, perceive, too_long
from afterview.training.data.items import BadItems
from afterview.training.data.report import ItemProblem
from afterview.training.data.streams import DataStream

_LOGGER = logging.getLogger(__name__)

_OF_THE_PRESET = ("use_memaug", "rotary", "memaug_depth", "visual_dropout", "tower")


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
    # Of a VideoChat-Flash: how many frames of a video are seen, by its duration; null: all of the bank's.
    sampling: ClipSampling | None = None
    max_length: int = Field(default=32_768, ge=1)  # tokens of the decoder's input
    truncate: bool = False  # cut a longer sample at its end, as the published code does; otherwise it is a bad item
    # Items that are found to be unusable before the first step: refuse to start, or drop and report them.
    bad_items: BadItems = "refuse"
    # Share of the items that may turn out to be unusable while training (damaged files); they are left out and reported. None: 1 %, and
    # ten items in small sets.
    max_skipped: float | None = Field(default=None, ge=0, le=1)
    gradient_checkpointing: bool = True
    # Labels of the published code, which supervises control tokens and newlines, too; see training.data.conversations.
    supervise_roles: bool = False
    # Ablations of the paper; None: as the preset says. What is trained is saved with the result, so that it is asked in the same way.
    use_memaug: bool | None = None  # false: the decoder receives the decayed tokens as they are
    rotary: bool | None = None  # false: MemAug without rotary positions
    memaug_depth: int | None = Field(default=None, ge=1)  # blocks of a new MemAug, or how many of the checkpoint's
    # Of a VideoChat-Flash: visual dropout while training, which its config.json then asks for, too; null: as the initial model does.
    visual_dropout: VisualDropoutConfig | None = None
    tower: TowerName | None = None  # of a VideoChat-Flash: its tower for another size of pictures (umt-hd-large: 448)
    lora: LoraSettings | None = (
        None  # the decoder learns by low-rank updates, at its learning rate; see training.core.lora
    )
    # Whether prompts of videos say how long these are, and the trained checkpoint says so; null: as the initial one does. The published
    # first stage leaves it out, the others have it.
    time_instruction: bool | None = None

    @field_validator("trainer")
    @classmethod
    def _rates_of_parts(cls, trainer: TrainerConfig) -> TrainerConfig:
        if fault := fault_of(trainer.learning_rates, MODEL_PARTS):  # before gigabytes are loaded
            raise ValueError(fault)
        return trainer

    @model_validator(mode="after")
    def _learns_what_is_used(self) -> "StageConfig":
        if self.use_memaug is False and self.trainer.learning_rates.get("memaug"):
            raise ValueError("use_memaug is false, so MemAug cannot learn; leave it out of learning_rates")
        if self.lora is not None and not self.trainer.learning_rates.get("language"):
            raise ValueError("lora: its updates learn at the rate of language, which learning_rates does not have")
        return self

    @property
    def ablations(self) -> dict[str, Any]:
        """Keys of the preset that this stage sets."""
        given = {name: getattr(self, name) for name in _OF_THE_PRESET}
        return {name: value for name, value in given.items() if value is not None}

    def most_skipped(self, items: int) -> int:
        """How many of the items may be left out while training."""
        return max(10, items // 100) if self.max_skipped is None else int(self.max_skipped * items)

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

    def forward(self, examples: Sequence[Example | ItemProblem]) -> StepOutput:
        """Mean loss over all supervised tokens of the batch. Examples that cannot be used are left out and named.

        If none is left, the loss and all gradients are zero: in a step of several processes, each must take part.
        """
        problems, samples, most = list[ItemProblem](), list[Sample](), self._config.max_length
        for example in examples:
            found = example if isinstance(example, ItemProblem) else self._perceive(example)
            if isinstance(found, ItemProblem):
                problems.append(found)
                continue
            samples.append(found)
            if isinstance(example, Example) and (length := self._length(found)) > most:
                problems.append(
                    example.problem(f"{example.name}: {length} tokens, cut at max_length {most}", "truncated")
                )
        batch = assemble(self.model, samples or [self._seen(Example.empty())])
        if self._config.truncate:
            batch = batch.cut(self._config.max_length)
        hidden, labels = self.model.language.learn(batch.inputs_embeds, batch.lengths, batch.labels, batch.visual)
        supervised = labels[:, 1:] != IGNORED_LABEL
        logits = self.model.language.logits(hidden[:, :-1][supervised]).float()
        targets = labels[:, 1:][supervised]
        right = (logits.argmax(-1) == targets).sum()
        figures = {"tokens/right": right, "tokens/asked": torch.tensor(float(len(targets)), device=right.device)}
        loss = functional.cross_entropy(logits, targets, reduction="sum") / max(1, len(targets))
        return StepOutput(loss, figures, len(targets), problems)

    def _perceive(self, example: Example) -> Sample | ItemProblem:
        """The sample, or why it cannot be used."""
        try:
            sample = self._seen(example)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # one bad item must not end a training, nor leave other processes waiting
            _LOGGER.debug("%s: item %d", example.file, example.item, exc_info=True)
            return example.problem(str(error) or type(error).__name__, "skipped")
        if not self._config.truncate and (length := self._length(sample)) > self._config.max_length:
            return example.problem(too_long(example.name, length, self._config.max_length), "skipped")
        return sample

    def _seen(self, example: Example) -> Sample:
        return perceive(example, self.model, self._vision, self._config.forgetting, self._tiling)

    def _length(self, sample: Sample) -> int:
        """Tokens of the decoder's input."""
        prompt = sample.prompt
        seen = 0 if sample.text_only else len(sample.layout.query_tokens())
        return len(prompt.before) + seen + len(prompt.after)
