"""Which items of which files a stream reads: one file of annotations, or a mixture of files as both papers' code has them (YAML).

    datasets:
      - {json_path: a.json, sampling_strategy: "first:10%"}
      - {json_path: b.jsonl, sampling_strategy: random:999, data_root: videos/b, media_type: video}

A strategy is all, first:N, end:N or random:N, with a number of items or a share in percent, rounded up. Strategies count the items of
the file as it is, unusable ones included, as the published code does. Random items are drawn from a seed, so every process and every
resumed run has the same ones. A path is relative to the folder of the mixture, or if there is no such file, to the current folder.
"""

import logging
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, field_validator

from afterview.configs import ConfigError, Schema, load
from afterview.training.base.errors import DataError
from afterview.training.base.seeds import seeded

MediaType = Literal["image", "video", "text"]

_FORM: Final = re.compile(r"(first|end|random):(\d+(?:\.\d+)?)(%?)")
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Strategy:
    """How many items of a file are read, and which. count: items, or percent; None: all."""

    kind: Literal["all", "first", "end", "random"] = "all"
    count: float | None = None
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> "Strategy":
        """From `all`, `first:N`, `end:N`, `random:N`, each also with N%. Raises ValueError for other text."""
        if text.strip() == "all":
            return cls()
        found = _FORM.fullmatch(text.replace(" ", ""))
        wrong = f"'{text}' is none of all, first:N, end:N, random:N, first:N%, end:N% and random:N%"
        if found is None:
            raise ValueError(wrong)
        kind, count, percent = found[1], float(found[2]), bool(found[3])
        if not count or (percent and count > 100) or not (percent or count.is_integer()):
            raise ValueError(f"{wrong}; N counts at least 1 item, or a share of up to 100%")
        return cls(kind, count, percent)  # type: ignore[arg-type]  # the pattern allows only these kinds

    def chosen(self, total: int, purpose: str) -> list[int]:
        """Numbers of the items that are read, ascending. purpose: names what is drawn, with its seed."""
        if self.count is None:
            return list(range(total))
        count = math.ceil(self.count * total / 100) if self.percent else int(self.count)
        if count > total:
            _LOGGER.warning("%s: %s:%d is more than its %d items; all are read", purpose, self.kind, count, total)
        count = min(count, total)
        if self.kind == "random":
            return sorted(seeded(f"mixture 1, {purpose}").sample(range(total), count))
        return list(range(count)) if self.kind == "first" else list(range(total - count, total))


class Dataset(Schema):
    """One file of a mixture. data_root: where its media lie, on top of the stream's directories."""

    json_path: str = Field(min_length=1)
    sampling_strategy: str = "all"
    data_root: str | None = None
    media_type: MediaType | None = None
    video_read_type: str | None = None  # how the published reader decodes; here videos come from a bank

    @field_validator("sampling_strategy")
    @classmethod
    def _known(cls, text: str) -> str:
        Strategy.parse(text)
        return text


class Mixture(Schema):
    """Several files as one stream."""

    datasets: tuple[Dataset, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Source:
    """A file of annotations to be read."""

    path: Path
    strategy: Strategy = Strategy()
    data_root: str | None = None
    media_type: MediaType | None = None


def sources_of(annotations: Path, strategy: Strategy) -> list[Source]:
    """The files behind the `annotations` of a stream. Raises DataError for a mixture that is wrong or has a strategy beside its own."""
    if annotations.suffix not in (".yaml", ".yml"):
        return [Source(annotations, strategy)]
    if strategy.count is not None:
        raise DataError(f"{annotations}: is a mixture; give `sampling_strategy` to its datasets, not to the stream")
    try:
        mixture = load(annotations, Mixture)
    except ConfigError as error:
        raise DataError(f"{annotations}: {str(error).removeprefix(f'{annotations.name}: ')}") from None
    return [
        Source(
            _found(annotations.parent, one.json_path),
            Strategy.parse(one.sampling_strategy),
            one.data_root,
            one.media_type,
        )
        for one in mixture.datasets
    ]


def _found(folder: Path, name: str) -> Path:
    beside = folder / name
    return beside if beside.exists() or not Path(name).exists() else Path(name)
