"""The saved answers of a memory, as files. `answers/ID/` holds one question or one search, with the frames that it showed:

answer.json         what was asked, when and how; nothing that comes from a frame
CAMERA.part.json    what comes from the frames of one camera: text, evidence or hits, coverage
CAMERA-FRAME.jpg    a frame that a part names

A part belongs to one camera, so only the writer of that camera ever changes it again, when frames are forgotten: two writers never
change one file. Earlier versions saved only the images.
"""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from afterview.memory.base.camera import ANSWERS, read_camera
from afterview.memory.base.documents import encode_json, read_json, write_json
from afterview.memory.base.durable import PARTIAL, remove_tree
from afterview.memory.base.errors import RepositoryError
from afterview.memory.plans.removal import Removal

Span = tuple[float, float]  # Unix seconds, both ends included

RECORD = "answer.json"
_PART = ".part.json"
_SETTLED_NS = 2_000_000_000  # two changes within one tick of the file system's clock have one time
_DELETE = "; delete it with `afterview answers ID --delete`"


@dataclass(frozen=True)
class SavedDirectory:
    """One saved answer or search. saved: when, Unix seconds (of the file system). bytes: of its files."""

    id: str
    path: Path
    saved: float
    bytes: int


def saved_directories(memory: Path) -> list[SavedDirectory]:
    """All saved answers and searches, newest first. Every new answer asks, so a directory that did not change is not read again."""
    found = []
    for path in _directories(memory):
        try:
            saved, size = _looked_at(path)
            found.append(SavedDirectory(path.name, path, saved, size))
        except FileNotFoundError:
            continue  # another process deletes it now
        except OSError:  # it must not vanish from the list: opening it says why
            found.append(SavedDirectory(path.name, path, path.stat().st_mtime, 0))
    return sorted(found, key=lambda one: (-one.saved, one.id))


def asked_by(directory: Path) -> str | None:
    """Who asked for a saved answer, as a service knows them; None for the owner, for a command, and where it cannot be read."""
    try:
        state = (directory / RECORD).stat()
        return _asked_by(directory, state.st_mtime_ns, state.st_ino)
    except (OSError, RepositoryError):
        return None


@lru_cache(maxsize=2048)  # more than a memory keeps
def _asked_by(directory: Path, changed: int, inode: int) -> str | None:
    user = read_json(directory / RECORD, missing="deleted meanwhile").get("user")
    return user if isinstance(user, str) else None


def _looked_at(path: Path) -> tuple[float, int]:
    """When an answer was saved, and the bytes of its files."""
    status = path.stat()
    if abs(time.time_ns() - status.st_ctime_ns) < _SETTLED_NS:
        return _read_directory(str(path))
    return _remembered(str(path), status.st_dev, status.st_ino, status.st_ctime_ns)


@lru_cache(maxsize=2048)  # more than a memory keeps
def _remembered(path: str, device: int, inode: int, changed: int) -> tuple[float, int]:
    """The same of a directory in this state. Every file that comes, goes or is replaced changes its `ctime`, which nobody can set."""
    return _read_directory(path)


def _read_directory(path: str) -> tuple[float, int]:
    with os.scandir(path) as entries:
        files = {entry.name: entry.stat() for entry in entries}
    about = files[RECORD] if RECORD in files else os.stat(path)
    return about.st_mtime, sum(file.st_size for file in files.values())


def write_answer(
    directory: Path, record: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]], images: Mapping[str, bytes]
) -> None:
    """Save an answer: images first, so that nothing is named before it is there. parts: by camera. images: by file name."""
    directory.parent.mkdir(exist_ok=True)  # not its parents: where the memory was deleted, nothing is made in its place
    directory.mkdir(exist_ok=True)
    for name, image in images.items():
        (directory / name).write_bytes(image)
    for camera, part in parts.items():
        write_json(directory / f"{camera}{_PART}", dict(part))
    write_json(directory / RECORD, dict(record))


def read_answer(directory: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The record and the parts by camera, in the order of the record. Raises MemoryNotFound if there is none, DamagedMemory."""
    record = read_json(directory / RECORD, missing=f"{directory}: no saved answer, only its images", remedy=_DELETE[2:])
    paths = {path.name.removesuffix(_PART): path for path in sorted(directory.glob(f"*{_PART}"))}
    order = [camera for camera in record.get("cameras", []) if camera in paths]
    missing = "deleted meanwhile"
    return record, {camera: read_json(paths[camera], missing=missing, remedy=_DELETE[2:]) for camera in order}


def image_file(camera: str, frame: int) -> str:
    """The name of a saved frame."""
    return f"{camera}-{frame}.jpg"


def delete_answer(directory: Path) -> None:
    """Delete a saved answer; another process may do so at the same time."""
    try:
        remove_tree(directory)
    except FileNotFoundError:
        pass


@dataclass(frozen=True)
class AnswerErasure:
    """What must happen to saved answers so that they hold nothing of some frames. rewrite: new contents by file."""

    delete: tuple[Path, ...]
    rewrite: Mapping[Path, bytes]

    @property
    def files(self) -> list[Path]:
        """Every file that still holds something."""
        return sorted([*self.delete, *self.rewrite])


def plan_answer_erasure(
    memory: Path, camera: str, removal: Removal, *, within: Span | None = None, only: str | None = None
) -> AnswerErasure:
    """What saved answers hold of removed frames of a camera. Once it is carried out, a second plan is empty.

    Images and mentions of these frames go. So does the text of an answer whose span included them, as it may describe them. An answer that
    was given after they had been removed never saw them and stays, and so does one that ends before them.

    within: only frames of these times. The memory no longer has the times of evicted frames, but answers have those of the frames that they
    name; an image that no answer names goes in any case. only: one id; None: all answers.

    A camera whose directory was renamed is found by its time of creation in what was saved under its former names.
    """
    delete: list[Path] = []
    rewrite: dict[Path, bytes] = {}
    created = _created(memory / camera)
    for directory in _directories(memory):
        if only is None or directory.name == only:
            for name in (camera, *_former_names(memory, directory, camera, created)):
                _plan_directory(directory, name, _Gone(removal, within), delete, rewrite)
    return AnswerErasure(tuple(delete), rewrite)


def _created(camera: Path) -> float | None:
    try:
        return read_camera(camera).created
    except (RepositoryError, OSError):
        return None


def _former_names(memory: Path, directory: Path, camera: str, created: float | None) -> list[str]:
    """Names in one saved answer that the camera had before its directory was renamed. A copy that lies there now keeps its own."""
    found = []
    for path in sorted(directory.glob(f"*{_PART}")) if created is not None else ():
        name = path.name.removesuffix(_PART)
        about = None if name == camera else _about(path)
        if about is not None and about.part.get("created") == created and _created(memory / name) != created:
            found.append(name)
    return found


@dataclass(frozen=True)
class _Gone:
    """Removed frames; of those, the ones at these times."""

    removal: Removal
    within: Span | None

    def has(self, frame: int, time: float | None) -> bool:
        """Whether a frame is one of them. time: None if unknown."""
        if not self.removal.first <= frame < self.removal.end:
            return False
        return self.within is None or time is None or self.within[0] <= time <= self.within[1]

    def seen_by(self, part: Mapping[str, Any]) -> int:
        """How many of them an answer may have seen: those in its span that had not been removed before."""
        if self.within is not None:
            coverage = part.get("coverage") or {}
            if coverage and not (coverage["first_time"] <= self.within[1] and coverage["last_time"] >= self.within[0]):
                return 0
        first, end = part.get("frames") or (0, 0)
        low, high = max(first, self.removal.first), min(end, self.removal.end)
        unseen, at = 0, low
        for start, stop in sorted(part.get("removed", [])):  # they may overlap
            unseen += max(0, min(start, high) - at)
            at = max(at, stop)
        return unseen + max(0, high - at)


def _plan_directory(directory: Path, camera: str, gone: _Gone, delete: list[Path], rewrite: dict[Path, bytes]) -> None:
    times: dict[int, float] = {}
    path = directory / f"{camera}{_PART}"
    if about := _about(path):
        times = dict(about.shown)
        if about.damaged:
            delete.append(path)  # what it says cannot be separated
        elif about.holds(gone):
            rewrite[path] = encode_json(_without(read_json(path, missing=""), gone))
    for path in sorted(directory.iterdir()):
        name = path.name
        if name.startswith(f".{camera}{_PART}.") and name.endswith(PARTIAL):
            delete.append(path)  # a crash left it
        elif name.startswith(f"{camera}-") and name.endswith(".jpg"):
            number = name[len(camera) + 1 : -4]
            if number.isdecimal() and gone.has(int(number), times.get(int(number))):
                delete.append(path)


def _without(part: dict[str, Any], gone: _Gone) -> dict[str, Any]:
    """A part of an answer without the text and the mentions of removed frames. `forgotten` counts what is left out."""
    before = part.get("forgotten") or {"frames": 0, "shown": 0}
    seen, shown = gone.seen_by(part), 0
    kept: dict[str, Any] = {}
    for key in ("evidence", "hits"):
        if key in part:
            kept[key] = [item for item in part[key] if not gone.has(item["frame"], item["time"])]
            shown += len(part[key]) - len(kept[key])
    text: dict[str, Any] = {"answer": None} if seen and part.get("answer") is not None else {}
    if text and "verdict" in (
        part.get("provenance") or {}
    ):  # its reason is part of the text, and the frames that it cites are told by it
        text["provenance"] = {**part["provenance"], "verdict": None, "cited": [], "cited_unknown": []}
    known = part.get("removed", []) + ([] if gone.within else [[gone.removal.first, gone.removal.end]])
    counted = {"frames": before["frames"] + (seen or shown), "shown": before["shown"] + shown}
    return {**part, **kept, **text, "removed": known, "forgotten": counted}


@dataclass(frozen=True)
class _About:
    """What matters of a part for an erasure. shown: the frames that it names, and their times."""

    damaged: bool
    part: Mapping[str, Any]
    shown: Sequence[tuple[int, float]]

    def holds(self, gone: _Gone) -> bool:
        if any(gone.has(frame, time) for frame, time in self.shown):
            return True
        return bool(self.part.get("text")) and gone.seen_by(self.part) > 0


def _about(path: Path) -> _About | None:
    """None if there is no such file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return _read_about(path, status.st_mtime_ns, status.st_size, status.st_ino)


@lru_cache(maxsize=4096)  # a memory of many forgotten spans asks of every answer once for each of them
def _read_about(path: Path, changed: int, size: int, inode: int) -> _About:
    try:
        part = read_json(path, missing="")
        shown = [
            (int(item["frame"]), float(item["time"])) for key in ("evidence", "hits") for item in part.get(key, [])
        ]
        about: dict[str, Any] = {key: part[key] for key in ("frames", "removed") if key in part}
        about["created"] = (part.get("camera") or {}).get("created")
        about["text"] = part.get("answer") is not None
        if about["text"]:
            about["coverage"] = {key: float(part["coverage"][key]) for key in ("first_time", "last_time")}
        _Gone(Removal(0, 1, 0.0, 0.0, "forgotten", 0.0), None).seen_by(about)  # raises for what is no list of ranges
        return _About(False, about, shown)
    except (RepositoryError, LookupError, TypeError, ValueError):
        return _About(True, {}, ())


def _directories(memory: Path) -> Iterable[Path]:
    """Directories of saved answers, also those that a crash left unfinished; links are not followed."""
    answers = memory / ANSWERS
    try:
        with os.scandir(answers) as entries:
            return [
                answers / name
                for name in sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []
