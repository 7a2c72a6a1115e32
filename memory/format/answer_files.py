"""The saved answers of a memory, as files. `answers/ID/` holds one question or one search, with the frames that it showed:

answer.json         what was asked, when and how; nothing that comes from a frame
CAMERA.part.json    what comes from the frames of one camera: text, evidence or hits, coverage
CAMERA-FRAME.jpg    a frame that a part names

A part belongs to one camera, so only the writer of that camera ever changes it again, when frames are forgotten: two writers never
change one file. Earlier versions saved only the images.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from afterview.memory.base.camera import ANSWERS
from afterview.memory.base.documents import encode_json, read_json, write_json
from afterview.memory.base.durable import PARTIAL, remove_tree
from afterview.memory.base.errors import RepositoryError
from afterview.memory.plans.removal import Removal

RECORD = "answer.json"
_PART = ".part.json"
_DELETE = "; delete it with `afterview answers ID --delete`"


@dataclass(frozen=True)
class SavedDirectory:
    """One saved answer or search. saved: when, Unix seconds (of the file system). bytes: of its files."""

    id: str
    path: Path
    saved: float
    bytes: int


def saved_directories(memory: Path) -> list[SavedDirectory]:
    """All saved answers and searches, newest first."""
    found = []
    for path in _directories(memory):
        try:
            files = [entry.stat() for entry in path.iterdir()]
            about = path / RECORD if (path / RECORD).exists() else path
            found.append(SavedDirectory(path.name, path, about.stat().st_mtime, sum(file.st_size for file in files)))
        except OSError:
            continue  # another process deletes it now
    return sorted(found, key=lambda one: (-one.saved, one.id))


def write_answer(
    directory: Path, record: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]], images: Mapping[str, bytes]
) -> None:
    """Save an answer: images first, so that nothing is named before it is there. parts: by camera. images: by file name."""
    directory.mkdir(parents=True, exist_ok=True)
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


def plan_answer_erasure(memory: Path, camera: str, removal: Removal, *, only: str | None = None) -> AnswerErasure:
    """What saved answers hold of removed frames of a camera. Once it is carried out, a second plan is empty.

    Images and mentions of these frames go. So does the text of an answer whose span included them, as it may describe them. An answer that
    was given after they had been removed never saw them and stays, and so does one that ends before them. only: one id; None: all.
    """
    delete: list[Path] = []
    rewrite: dict[Path, bytes] = {}
    for directory in _directories(memory):
        if only is not None and directory.name != only:
            continue
        for path in sorted(directory.iterdir()):
            name = path.name
            if name.startswith(f".{camera}{_PART}.") and name.endswith(PARTIAL):
                delete.append(path)  # a crash left it
            elif name.startswith(f"{camera}-") and name.endswith(".jpg"):
                number = name[len(camera) + 1 : -4]
                if number.isdecimal() and removal.first <= int(number) < removal.end:
                    delete.append(path)
            elif name == f"{camera}{_PART}" and (concerned := _concerned(path)):
                if concerned.damaged:
                    delete.append(path)  # what it says cannot be separated
                elif concerned.holds(removal):
                    rewrite[path] = encode_json(without_frames(read_json(path, missing=""), removal))
    return AnswerErasure(tuple(delete), rewrite)


def without_frames(part: dict[str, Any], removal: Removal) -> dict[str, Any]:
    """A part of an answer without the text and the mentions of removed frames. `forgotten` counts what is left out."""
    gone = part.get("forgotten") or {"frames": 0, "shown": 0}
    unseen, shown = _unseen(part, removal), 0
    kept: dict[str, Any] = {}
    for key in ("evidence", "hits"):
        if key in part:
            kept[key] = [item for item in part[key] if not removal.first <= item["frame"] < removal.end]
            shown += len(part[key]) - len(kept[key])
    text = {"answer": None} if unseen and part.get("answer") is not None else {}
    known = [*part.get("removed", []), [removal.first, removal.end]]
    counted = {"frames": gone["frames"] + (unseen or shown), "shown": gone["shown"] + shown}
    return {**part, **kept, **text, "removed": known, "forgotten": counted}


def _unseen(part: Mapping[str, Any], removal: Removal) -> int:
    """How many frames of a removal an answer could see: those in its span that had not been removed before."""
    first, end = part.get("frames") or (0, 0)
    low, high = max(first, removal.first), min(end, removal.end)
    unseen, at = 0, low
    for start, stop in sorted(part.get("removed", [])):  # they may overlap
        unseen += max(0, min(start, high) - at)
        at = max(at, stop)
    return unseen + max(0, high - at)


@dataclass(frozen=True)
class _Concerned:
    """What matters of a part for an erasure."""

    damaged: bool
    part: Mapping[str, Any]
    shown: Sequence[int]

    def holds(self, removal: Removal) -> bool:
        if any(removal.first <= frame < removal.end for frame in self.shown):
            return True
        return self.part.get("answer") is not None and _unseen(self.part, removal) > 0


def _concerned(path: Path) -> _Concerned | None:
    """None if the file is gone."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return _read_concerned(path, status.st_mtime_ns, status.st_size, status.st_ino)


@lru_cache(maxsize=4096)  # a memory of many forgotten spans asks of every answer once for each of them
def _read_concerned(path: Path, changed: int, size: int, inode: int) -> _Concerned:
    try:
        part = read_json(path, missing="")
        shown = [item["frame"] for key in ("evidence", "hits") for item in part.get(key, [])]
        about: dict[str, Any] = {key: part[key] for key in ("frames", "removed") if key in part}
        about["answer"] = None if part.get("answer") is None else ""
        _unseen(about, Removal(0, 1, 0.0, 0.0, "forgotten", 0.0))  # raises for what is no list of ranges
        return _Concerned(False, about, [int(frame) for frame in shown])
    except (RepositoryError, LookupError, TypeError, ValueError):
        return _Concerned(True, {}, ())


def _directories(memory: Path) -> Iterable[Path]:
    """Directories of saved answers, also those that a crash left unfinished; links are not followed."""
    answers = memory / ANSWERS
    try:
        return [entry for entry in sorted(answers.iterdir()) if entry.is_dir() and not entry.is_symlink()]
    except (FileNotFoundError, NotADirectoryError):
        return []
