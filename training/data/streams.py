"""A stream of a stage: annotations and where their media are. Reads its items and checks what can be checked without a model."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from afterview.configs import Schema
from afterview.training.base.errors import DataError
from afterview.training.data.annotation_files import Reading, read_items
from afterview.training.data.features import FeatureBank, FrameBank
from afterview.training.data.items import BadItems, Claims, Item, missing_media, without_bad
from afterview.training.data.mixtures import Strategy
from afterview.training.data.report import ItemProblem, ItemReport, listing, log_problems

_LOGGER = logging.getLogger(__name__)


class DataStream(Schema):
    """Annotations and the media they describe. weight: uses of an item per epoch (0.5: a new random half in each epoch)."""

    annotations: Path  # JSON, JSON lines, or a mixture of such files (YAML): training.data.mixtures
    sampling_strategy: str = "all"  # which items of the file: all, first:N, end:N, random:N, also with N%
    features: Path | None = None  # cached features of its videos; see training.data.features
    frames: Path | None = None  # frames of its videos, instead of features: for stages that train the vision tower
    pictures: Path | None = None  # directory of its pictures
    ignored_keys: tuple[str, ...] = ()  # keys of the annotations that name media which are not meant to be seen
    damaged_videos: Literal["keep", "refuse"] = (
        "keep"  # those of which the bank says so: train on them and name them, or not
    )
    weight: float = Field(default=1.0, gt=0)

    @field_validator("sampling_strategy")
    @classmethod
    def _known(cls, text: str) -> str:
        Strategy.parse(text)
        return text

    @model_validator(mode="after")
    def _one_kind(self) -> "DataStream":
        if self.features and self.frames:
            raise ValueError("features and frames are given; give one of them")
        return self

    def bank(self) -> FeatureBank | FrameBank | None:
        """Where its videos are. Raises DataError if that is no bank."""
        if self.frames:
            return FrameBank(self.frames)
        return FeatureBank(self.features) if self.features else None


def read_streams(
    streams: Sequence[DataStream], *, bad_items: BadItems = "refuse", seed: int = 0, report: ItemReport | None = None
) -> list[list[Item]]:
    """The items of each stream that can be trained on, as far as it shows without a model.

    Conversations that nothing can be learnt from are dropped and counted. Media that are missing, or that would be left out, are refused,
    or with bad_items "drop" dropped and counted, too. report: names every item. seed: of random strategies. Raises DataError for them, for
    files that cannot be read, and for a stream of which nothing is left. Needs no model, so a mistake shows before gigabytes are loaded.
    """
    report = ItemReport() if report is None else report
    read, problems, damaged = [], list[ItemProblem](), list[ItemProblem]()
    claims: Claims = {}
    for stream in streams:
        reading = read_items(
            stream.annotations,
            strategy=Strategy.parse(stream.sampling_strategy),
            seed=seed,
            ignored_keys=stream.ignored_keys,
        )
        read.append(reading)
        problems += reading.media
        problems += _missing(stream, reading.items, damaged, claims)
    kept = without_bad([reading.items for reading in read], problems, bad_items, report)
    for stream, reading, items in zip(streams, read, kept, strict=True):
        if reading.conversations:
            _LOGGER.warning(
                "%s: %d items cannot be learnt from and are dropped", stream.annotations, len(reading.conversations)
            )
            log_problems(report.add(reading.conversations))
        report.add(reading.shortened)
        used = {(item.file, item.number) for item in items}
        if own := [problem for problem in damaged if (problem.file, problem.item) in used]:
            _LOGGER.warning("%s: %d items are about damaged videos, and are used", stream.annotations, len(own))
            log_problems(report.add(own))
        if not items:
            raise DataError(f"{stream.annotations}: no item is left{_why(reading, problems)}")
    return kept


def _missing(stream: DataStream, items: list[Item], damaged: list[ItemProblem], claims: Claims) -> list[ItemProblem]:
    """What a stream lacks of the media of its items. damaged: gets those that are used although their videos are damaged.

    Raises DataError if the stream does not say where its media are.
    """
    for item in items:
        video, pictures = item.annotation.video, item.annotation.pictures
        if video is not None and not (stream.features or stream.frames):
            raise DataError(f"{item.file}: has videos ('{video}'); give the stream `features` or `frames`")
        if pictures and not stream.pictures and not item.data_root:
            raise DataError(f"{item.file}: has pictures ('{pictures[0]}'); give the stream `pictures`")
    if stream.pictures and not stream.pictures.is_dir():
        named = next((name for item in items for name in item.annotation.pictures), "any picture")
        raise DataError(f"{stream.pictures}: there is no such directory, so it does not have '{named}'")
    found = list(missing_media(items, stream.bank(), stream.pictures, claims))
    if stream.damaged_videos == "keep":
        damaged += [replace(problem, happened="damaged") for problem in found if problem.happened == "damaged"]
        return [problem for problem in found if problem.happened != "damaged"]
    return [replace(problem, happened="dropped") for problem in found]


def _why(reading: Reading, problems: list[ItemProblem]) -> str:
    found = [*reading.conversations, *problems]
    return f": {listing(found)}" if found else ""
