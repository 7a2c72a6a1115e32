"""The items of a stage's streams, each with its place in a file, and what shows without a model: whether their media are there."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from afterview.training.base.errors import DataError
from afterview.training.data.conversations import Annotation
from afterview.training.data.features import FeatureBank, FrameBank
from afterview.training.data.report import Happened, ItemProblem, ItemReport, listing, log_problems

BadItems = Literal["refuse", "drop"]
Named = tuple[str, str | None, str | None]  # a video, its data_source and data_root, as a bank is asked for it

Claims = dict[str, tuple[str, str]]
"""Files of banks that items were given -> the name that was asked for, and the folders that are no part of it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One annotation, and where it is: item `number` of `file`, from 0. data_root: where its mixture says that its media are."""

    annotation: Annotation
    file: str
    number: int
    data_root: str | None = None

    def problem(self, why: str, happened: Happened = "dropped") -> ItemProblem:
        """What is wrong with it, before the first step."""
        return ItemProblem(self.file, self.number, why, happened)

    @property
    def video(self) -> Named:
        """What to ask a bank for. Only of an item that has a video."""
        assert self.annotation.video is not None
        return self.annotation.video, self.annotation.data_source, self.data_root

    def picture(self, directory: Path | None, name: str) -> Path:
        """Where a picture of it is. directory: the stream's; None if only data_root says so."""
        root = Path() if directory is None else directory
        return root / self.data_root / name if self.data_root else root / name


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


def missing_media(
    items: Sequence[Item], bank: FeatureBank | FrameBank | None, pictures: Path | None, claims: Claims
) -> Iterator[ItemProblem]:
    """Items whose video the bank of their stream cannot give, or whose pictures are not in its directory.

    claims: files of banks that items were given, which other streams may share.
    Items with a damaged video are among them, as "damaged". Each file of the bank is opened once for its shape; what is wrong with its
    values shows while training.
    """
    known: dict[Path, str | None] = {}
    videos: dict[Named, tuple[str, str]] = {}
    for item in items:
        annotation = item.annotation
        if bank is not None and annotation.video is not None:
            asked = item.video
            if asked not in videos:
                videos[asked] = _video_problem(bank, asked, claims)
            why, damage = videos[asked]
            if why:
                yield item.problem(why)
            elif damage:
                yield item.problem(f"{annotation.video}: is damaged: {damage}", "damaged")
        for name in annotation.pictures:
            path = item.picture(pictures, name)
            if path not in known:
                known[path] = _picture_problem(path, f"{item.data_root or pictures} does not have '{name}'")
            if missing := known[path]:
                yield item.problem(missing)
                break


def _video_problem(bank: FeatureBank | FrameBank, named: Named, claims: Claims) -> tuple[str, str]:
    """Why the bank cannot give a video, and the damage of one that it gives; empty for none.

    claims: gets its file.
    """
    try:
        found = bank.locate(*named)
        damage = bank.check(found.key).damage
    except DataError as error:
        return str(error), ""
    mine = found.asked, found.left
    other = claims.setdefault(os.path.abspath(bank.path(found.key)), mine)
    if other == mine:
        return "", damage
    one, two = (f"'{name}'{f' of {origin!r}' if origin else ''}" for name, origin in (other, mine))
    return (
        f"{one} and {two} would be one video in {bank.directory}; extract each with `--root DIR`, below which they have different paths "
        "(a data_source, and the data_root of a mixture, are folders there)"
    ), ""


def _picture_problem(path: Path, missing: str) -> str | None:
    """Why a picture cannot be read, as far as it shows without reading it."""
    if not os.path.isfile(path):
        return missing
    return None if os.path.getsize(path) else f"{path}: the picture is an empty file"
