"""The batches of a stage by number, and the checks of its items before the first step.

An item that cannot be read while training leaves its batch, which is then smaller; the trainer counts and names it.
"""

import hashlib
import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afterview.memory.plans.clips import ClipLayout
from afterview.memory.plans.positions import VideoLayout, plan_layout
from afterview.memory.plans.visibility import ForgettingConfig, plan_visible
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.prompt import Prompt, require_tokenizer
from afterview.model.vision.clip_encoder import ClipEncoder
from afterview.training.base.errors import DataError
from afterview.training.core.epochs import Drawn, SampleOrder
from afterview.training.core.lengths import Lengths
from afterview.training.core.stages import StageConfig
from afterview.training.data import streams as data_streams
from afterview.training.data.clip_rows import SeenRows, clip_rows
from afterview.training.data.conversations import Annotation, read_conversation
from afterview.training.data.examples import Example, read_picture
from afterview.training.data.features import FeatureBank, FrameBank
from afterview.training.data.items import Item, without_bad
from afterview.training.data.report import ItemProblem, ItemReport
from afterview.training.data.streams import DataStream

_LOGGER = logging.getLogger(__name__)

Bank = FeatureBank | FrameBank


class StageData:
    """The batches of a stage by number. They depend on the configuration only."""

    def __init__(
        self,
        config: StageConfig,
        model: AfterviewModel,
        *,
        items: Sequence[list[Item]] | None = None,
        processes: int = 1,
        report: ItemReport | None = None,
    ) -> None:
        """items: of each stream, if `read_streams` has read them already. processes: number of processes that train together, each on its
        own batches of a step. report: for items that are dropped. Raises DataError for unusable data."""
        self._config, self._model = config, model
        self._tokenizer = require_tokenizer(model.tokenizer)
        report = ItemReport() if report is None else report
        streams = read_streams(config, report) if items is None else items
        self._banks = [self._bank(stream) for stream in config.streams]
        self._lengths = Lengths(config, model, self._text)
        too_long = [] if config.truncate else self._too_long(streams)
        self.items = without_bad(streams, too_long, config.bad_items, report)
        together = config.batch * config.trainer.accumulate * processes
        self._order = SampleOrder(
            [len(own) for own in self.items],
            [stream.weight for stream in config.streams],
            together=together if config.batching == "one-stream" else None,
            seed=config.trainer.seed,
        )
        self.samples = self._order.epoch  # per epoch
        self.batches = -(-self.samples // config.batch)  # per epoch; the last may reach into the next one

    @property
    def fingerprint(self) -> str:
        """Which items there are: the same in two processes that draw the same batches."""
        hashed = hashlib.sha256()
        for items in self.items:
            hashed.update(json.dumps([[item.file, item.number] for item in items]).encode())
        return hashed.hexdigest()

    def __call__(self, number: int) -> list[Example | ItemProblem]:
        """Batch `number`, counted over all epochs. What could not be read is named in the place of its example."""
        size = self._config.batch
        return [self._example(self._order(sample)) for sample in range(number * size, (number + 1) * size)]

    def _bank(self, stream: DataStream) -> Bank | None:
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

    def _too_long(self, streams: Sequence[list[Item]]) -> list[ItemProblem]:
        """Items that are longer than max_length, or of which that cannot be read."""
        found = []
        for items, stream, bank in zip(streams, self._config.streams, self._banks, strict=True):
            for item in items:
                try:
                    why = self._lengths.fault(item, bank, stream.pictures)
                except DataError as error:
                    why = str(error)
                if why is not None:
                    found.append(item.problem(why))
        return found

    def _example(self, drawn: Drawn) -> Example | ItemProblem:
        item = self.items[drawn.stream][drawn.item]
        # Random choices are drawn anew whenever an item comes up.
        seed = (self._config.trainer.seed & 0xFFFFFFFF) << 64 | drawn.number
        try:
            if item.annotation.video is not None:
                return self._video(item, self._banks[drawn.stream], seed)
            directory = self._config.streams[drawn.stream].pictures
            prompt, labels = self._text(item.annotation)
            pictures = tuple(read_picture(item.picture(directory, name)) for name in item.annotation.pictures)
            example = Example(
                item.annotation.name, prompt, labels, seed, pictures=pictures, file=item.file, item=item.number
            )
        except Exception as error:  # a codec or a file system may raise any type; one bad file must not end a training
            _LOGGER.debug("%s: item %d", item.file, item.number, exc_info=True)
            return ItemProblem(item.file, item.number, str(error) or type(error).__name__, "skipped")
        return example

    def _video(self, item: Item, bank: Bank | None, seed: int) -> Example:
        assert bank is not None, "checked by read_streams"
        if isinstance(self._model.vision, ClipEncoder):
            return self._clips(item, bank, seed)
        seen, seconds = bank.load(*item.video)
        stated = {"frames": len(seen), "seconds": seconds} if self._model.time_instruction else {}  # as in asking
        prompt, labels = self._text(item.annotation, **stated)
        layout = partial(
            plan_layout, len(seen), policy=self._model.preset.positions, trained_frames=self._model.preset.trained_frames,
            random_constant=seed, grid=math.isqrt(self._model.vision.spec.tokens_per_frame),
        )  # fmt: skip
        forgetting, choose = self._config.forgetting, None
        if (
            forgetting.looks_at_frames
        ):  # the objective chooses, when it has features and weights; the number of tokens is the same
            choose = partial(_chosen, layout, forgetting, len(seen))
            forgetting = forgetting.model_copy(update={"temporal": "uniform"})
        example = Example(
            item.annotation.name, prompt, labels, seed, layout(config=forgetting), choose=choose, file=item.file,
            item=item.number,
        )  # fmt: skip
        return replace(example, frames=seen) if isinstance(bank, FrameBank) else replace(example, features=seen)

    def _clips(self, item: Item, bank: Bank, seed: int) -> Example:
        """A video for a VideoChat-Flash: clips of the frames that dense sampling takes."""
        plans: list[SeenRows] = []

        def take(rows: int, seconds: float) -> NDArray[np.int64]:
            plans.append(clip_rows(rows, seconds, self._config.sampling, merged=isinstance(bank, FeatureBank)))
            return plans[-1].rows

        seen, seconds = bank.load(*item.video, take=take)
        stated = {"frames": len(seen), "seconds": seconds} if self._model.time_instruction else {}
        prompt, labels = self._text(item.annotation, **stated)
        per_frame, layout = self._model.vision.spec.tokens_per_frame, None
        if self._model.video_language.use_memaug:
            layout = plan_layout(
                len(seen), policy=self._model.preset.positions, trained_frames=self._model.preset.trained_frames,
                random_constant=seed, grid=math.isqrt(per_frame), config=self._config.forgetting,
            )  # fmt: skip
        example = Example(
            item.annotation.name, prompt, labels, seed, layout or ClipLayout(len(seen), per_frame, plans[0].sizes),
            file=item.file, item=item.number,
        )  # fmt: skip
        return replace(example, frames=seen) if isinstance(bank, FrameBank) else replace(example, features=seen)

    def _text(self, annotation: Annotation, **about: Any) -> tuple[Prompt, NDArray[np.int64]]:
        roles = self._config.supervise_roles
        return read_conversation(
            self._tokenizer, annotation, supervise_roles=roles, family=self._model.time_sentence, **about
        )


def _chosen(
    layout: Callable[..., VideoLayout],
    forgetting: ForgettingConfig,
    frames: int,
    frame_vectors: NDArray[np.floating],
    question_vector: NDArray[np.floating] | None,
) -> VideoLayout:
    """The layout under a rule that looks at the frames."""
    visible = plan_visible(frames, forgetting, frame_vectors=frame_vectors, question_vector=question_vector)
    return layout(visible=visible, config=forgetting)


def read_streams(config: StageConfig, report: ItemReport | None = None) -> list[list[Item]]:
    """The items of each stream. report: for those that are dropped. Raises DataError (training.data.streams)."""
    return data_streams.read_streams(
        config.streams, bad_items=config.bad_items, seed=config.trainer.seed, report=report
    )
