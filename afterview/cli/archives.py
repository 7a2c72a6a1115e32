"""What `replay` is asked to record: which files, in which order, and which of them the camera has already."""

import argparse
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from afterview.cli.arguments import positive_duration
from afterview.cli.progress import progress
from afterview.configs import UsageError
from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.counts import counted
from afterview.memory.base.typed_times import find_zone, spell_duration
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.stream.ingest.archive import FileOutcome, is_complete
from afterview.stream.source.address.address import SourceAddress, parse_source
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.recordings.archive import ArchivedFile, BrokenFile, look_at, overlapping
from afterview.stream.source.recordings.dated_pictures import joined, look_at_pictures
from afterview.stream.source.recordings.found_files import FoundFiles, find_files, is_picture, names_several

_LOGGER = logging.getLogger(__name__)
_MOST_NAMED = 5  # files in one note


@dataclass(frozen=True)
class Archive:
    """The files that `replay` was given. address: stands for all of them; found: None for a single file that was named."""

    address: SourceAddress
    found: FoundFiles | None = None

    @property
    def addresses(self) -> Sequence[SourceAddress]:
        """Of its recordings."""
        return (self.address,) if self.found is None else self.found.videos


@dataclass(frozen=True)
class ArchivePlan:
    """files: to record, in order of time. outcomes: of those that are not read. left_out: files that are no videos. several: these are not
    one file that was named, nor the pictures of one time-lapse."""

    info: CameraInfo
    files: tuple[ArchivedFile, ...]
    several: bool = False
    outcomes: tuple[FileOutcome, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def resumable(self) -> bool:
        """Whether the same command goes on where it stopped: the files have times of their own."""
        return all(file.clock != "none" for file in self.files)


def find_archive(texts: Sequence[str]) -> Archive:
    """The files behind the arguments of `replay`. Raises BadUrl, SourceNotFound, NotAVideo."""
    if len(texts) == 1 and not (names_several(texts[0]) or is_picture(texts[0])):
        return Archive(parse_source(texts[0]))
    found = find_files(texts)
    shown = ", ".join(texts[:3]) + (", ..." if len(texts) > 3 else "")
    paths = [os.path.dirname(os.path.abspath(address.url)) for address in (*found.videos, *found.pictures)]
    folder = texts[0] if len(texts) == 1 and os.path.isdir(texts[0]) else os.path.commonpath(paths)
    address = SourceAddress("file", folder, shown, live=False, suggested_name=Path(os.path.abspath(folder)).name)
    return Archive(address, found)


def plan_archive(
    archive: Archive,
    arguments: argparse.Namespace,
    reader: CameraReader | None,
    info: CameraInfo,
    start: float | None,
    source: SourceConfig,
) -> ArchivePlan:
    """Which of the files are to be read. info: of the camera, which may be new (reader None). Raises UsageError."""
    found = archive.found
    if start is not None and arguments.date != "auto":
        raise UsageError(f"--start and --date {arguments.date} both say when the files were recorded; give one of them")
    if found is not None and not found.videos:
        return _plan_pictures(archive, found, arguments, reader, info, start)
    if arguments.interval is not None:
        raise UsageError("--interval: is for pictures only; recordings say how long they are")
    left_out = (*found.left_out, *(picture.redacted for picture in found.pictures)) if found is not None else ()
    if left_out:
        _LOGGER.warning("note: %s left out: %s", counted(len(left_out), "other file"), _some(left_out))
    with progress("looking at the files", "files") as report:
        files, broken = look_at(
            archive.addresses, source, zone=find_zone(info.timezone), dating=arguments.date, start=start, now=time.time(), report=report
        )  # fmt: skip
    if found is None:
        _note_conflicts(files, info)
        return ArchivePlan(info, _alone(files, archive.address, reader))
    _note_clocks(files, info)
    todo, outcomes = _split(files, reader)
    todo, waiting = _until_unfinished(todo, broken)
    outcomes = [*outcomes, *map(_outcome_of_broken, broken), *waiting]
    for outcome in outcomes:
        _LOGGER.log(
            logging.DEBUG if outcome.state == "present" else logging.WARNING,
            "%s: %s",
            outcome.file,
            outcome.detail or outcome.state,
        )
    return ArchivePlan(info, tuple(todo), True, tuple(outcomes), left_out)


def _plan_pictures(
    archive: Archive, found: FoundFiles, arguments: argparse.Namespace, reader: CameraReader | None, info: CameraInfo,
    start: float | None,
) -> ArchivePlan:  # fmt: skip
    """Pictures are one recording: a time-lapse."""
    if found.left_out:
        _LOGGER.warning("note: %s left out: %s", counted(len(found.left_out), "other file"), _some(found.left_out))
    interval_s = None if arguments.interval is None else positive_duration("--interval", arguments.interval)
    if interval_s is not None and start is None:
        raise UsageError("--interval: needs --start TIME, the time of the first picture")
    with progress("looking at the pictures", "pictures") as report:
        pictures = look_at_pictures(
            found.pictures, zone=find_zone(info.timezone), dating=arguments.date, start=start, interval_s=interval_s,
            now=time.time(), report=report,
        )  # fmt: skip
    _note_clocks(pictures, info)
    todo, outcomes = _split([joined(pictures, archive.address)], reader)
    return ArchivePlan(info, tuple(todo), False, tuple(outcomes), found.left_out)


def _alone(
    files: Sequence[ArchivedFile], address: SourceAddress, reader: CameraReader | None
) -> tuple[ArchivedFile, ...]:
    """A single file. One that cannot be opened fails when it is read, with its own message."""
    if not files:
        return (ArchivedFile(address, None, "none"),)
    file = files[0]
    if reader is not None and file.start is not None:
        snapshot = reader.snapshot()
        if len(snapshot.times) and is_complete(file, None, float(snapshot.times[-1]), reader.info.fps):
            here = "; the camera has it already" if _has_any(snapshot, file, None) else ""
            raise UsageError(
                f"{address.redacted}: a recording that starts at {reader.info.show(file.start)} lies before the newest frame of camera "
                f"'{reader.info.id}' ({reader.info.show(float(snapshot.times[-1]))}){here}; give a later --start or another --camera"
            )
    if file.clock in ("name", "modified"):
        by = "its name" if file.clock == "name" else "when it was last written"
        _LOGGER.info("note: %s is dated by %s; --start names another time", address.redacted, by)
    return (file,)


def _split(files: Sequence[ArchivedFile], reader: CameraReader | None) -> tuple[list[ArchivedFile], list[FileOutcome]]:
    """Those to read, and what is known of the others."""
    snapshot = None if reader is None else reader.snapshot()
    if reader is None or snapshot is None or not len(snapshot.times):
        return list(files), []
    newest, todo, outcomes = float(snapshot.times[-1]), [], []
    for number, file in enumerate(files):
        later = files[number + 2].start if number + 2 < len(files) else None
        if not is_complete(file, later, newest, reader.info.fps):
            todo.append(file)
            continue
        outcome = FileOutcome(file.address.redacted, "present", file.start, file.clock)
        if not _has_any(snapshot, file, later):
            outcome.state = "older"
            outcome.detail = (
                f"lies before the newest frame of camera '{reader.info.id}' ({reader.info.show(newest)}), which has nothing of it; "
                "frames can only be added at the end, so record it into another camera"
            )
        outcomes.append(outcome)
    return todo, outcomes


def _has_any(snapshot: MemorySnapshot, file: ArchivedFile, later: float | None) -> bool:
    """Whether the camera has, or had, a frame of this file's time, or was recording then without a gap. later: see is_complete."""
    start = file.start or 0.0
    end = next(time for time in (file.end, later, float("inf")) if time is not None)
    times = snapshot.times
    first = int(np.searchsorted(times, start - 1e-3))
    if first < len(times) and times[first] <= end:
        return True
    if any(gone.start <= end and gone.stop >= start for gone in snapshot.removed):
        return True
    return first > 0 and not any(gap.start < end and gap.end > start for gap in snapshot.gaps)


def _until_unfinished(
    files: Sequence[ArchivedFile], broken: Sequence[BrokenFile]
) -> tuple[list[ArchivedFile], list[FileOutcome]]:
    """Those before a file that is still being written, and those that must wait for it: it could not be recorded after them."""
    first = min(
        (file for file in broken if file.unfinished and file.start is not None),
        key=lambda file: file.start or 0.0, default=None,
    )  # fmt: skip
    if first is None or first.start is None:
        return list(files), []
    detail = f"waits until {first.address} is complete"
    return [file for file in files if (file.start or 0.0) < first.start], [
        FileOutcome(file.address.redacted, "waiting", file.start, file.clock, detail=detail)
        for file in files
        if (file.start or 0.0) >= first.start
    ]


def _outcome_of_broken(file: BrokenFile) -> FileOutcome:
    return FileOutcome(file.address.redacted, "unfinished" if file.unfinished else "failed", detail=file.reason)


def _note_clocks(files: Sequence[ArchivedFile], info: CameraInfo) -> None:
    """Say which clocks date the files, and what is suspicious about them."""
    words = {
        "stated": "the creation times in the files",
        "name": "their names",
        "modified": "when they were last written",
    }
    for clock, by in words.items():
        dated = [file for file in files if file.clock == clock]
        if dated:
            example = dated[0]
            _LOGGER.info(
                "note: %d of %d files dated by %s, e.g. %s at %s",
                len(dated), len(files), by, example.address, info.show(example.start or 0.0),
            )  # fmt: skip
    _note_conflicts(files, info)
    if (many := overlapping(files)) > len(files) / 10:
        _LOGGER.warning(
            "note: %d of %d files begin before half of the one before is over; if these are several cameras, record each with a pattern "
            "of its own, such as 'front*.mp4' in quotes", many, len(files),
        )  # fmt: skip


def _note_conflicts(files: Sequence[ArchivedFile], info: CameraInfo) -> None:
    """Say whose clocks contradict each other, and whose names have two meanings."""
    if strange := [file for file in files if file.conflict_s]:
        first = strange[0]
        zone = "; it looks as if one of them were in another time zone" if first.may_be_a_zone else ""
        _LOGGER.warning(
            "%s: the time that the file states is %s %s than that in its name%s (so it is with %d of %d files); the stated one is used: "
            "--date name uses the names, in the zone %s (--timezone)",
            first.address, spell_duration(abs(first.conflict_s)), "later" if first.conflict_s > 0 else "earlier", zone,
            len(strange), len(files), info.timezone,
        )  # fmt: skip
    if unsure := [file for file in files if file.unsure]:
        _LOGGER.warning(
            "%s: the time in the name comes twice, or never, in %s, because its clocks were changed then; %s dated by when they were "
            "written, or else by the first meaning", unsure[0].address, info.timezone, counted(len(unsure), "such file"),
        )  # fmt: skip


def _some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _MOST_NAMED} more" if len(paths) > _MOST_NAMED else ""
    return ", ".join(paths[:_MOST_NAMED]) + more
