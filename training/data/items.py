"""The items of a stage's streams, each with its place in a file, and what shows without a model: whether their media are there."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from afterview.training.base.errors import DataError
from afterview.training.data.conversations import Annotation
from afterview.training.data.features import feature_path
from afterview.training.data.report import ItemProblem, ItemReport, listing, log_problems

BadItems = Literal["refuse", "drop"]


@dataclass(frozen=True, slots=True)
class Item:
    """One annotation, and where it is: item `number` of `file`, from 0."""

    annotation: Annotation
    file: str
    number: int

    def problem(self, why: str) -> ItemProblem:
        """What is wrong with it, before the first step."""
        return ItemProblem(self.file, self.number, why, "dropped")


def without_bad(
    streams: Sequence[list[Item]], problems: Sequence[ItemProblem], bad_items: BadItems, report: ItemReport
) -> list[list[Item]]:
    """The streams without the items that have a problem, which is logged and reported. Raises DataError if they are to be refused."""
    if not problems:
        return list(streams)
    if bad_items == "refuse":
        several = f"{len(problems)} items cannot be used: " if len(problems) > 1 else ""
        raise DataError(f"{several}{listing(problems)} (`bad_items: drop` trains without them and reports them)")
    log_problems(report.add(problems))
    bad = {(problem.file, problem.item) for problem in problems}
    return [[item for item in items if (item.file, item.number) not in bad] for items in streams]


def missing_media(items: Sequence[Item], bank: Path | None, pictures: Path | None) -> Iterator[ItemProblem]:
    """Items whose video is not in the bank of their stream, or whose pictures are not in its directory."""
    there = _files_below(bank) if bank else set()
    known: dict[str, bool] = {}
    for item in items:
        video = item.annotation.video
        if bank and video is not None and os.path.relpath(feature_path(bank, video), bank) not in there:
            yield item.problem(f"{bank} does not have '{video}'; `afterview extract VIDEO --out {bank}` adds it")
        for name in item.annotation.pictures if pictures else ():
            if name not in known:
                known[name] = pictures is not None and (pictures / name).is_file()
            if not known[name]:
                yield item.problem(f"{pictures} does not have '{name}'")
                break


def _files_below(directory: Path) -> set[str]:
    """Paths of all files below a directory, relative to it. One scan is faster than a look for each video."""
    return {
        os.path.relpath(os.path.join(place, name), directory)
        for place, _, names in os.walk(directory)
        for name in names
    }
