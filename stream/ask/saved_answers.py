"""Keeps answers and searches in `answers/ID/` of a memory, and opens them again.

A memory keeps the newest; what is deleted for that is said. Where the memory cannot be written, an answer goes to a temporary directory.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from afterview.configs import UsageError
from afterview.memory.base.camera import ANSWERS
from afterview.memory.base.durable import unlink, write_file
from afterview.memory.base.errors import MemoryNotFound, RepositoryError
from afterview.memory.base.held_directory import place_of, shown
from afterview.memory.base.lock import file_lock
from afterview.memory.format.answer_files import (
    SavedDirectory,
    asked_by,
    delete_answer,
    image_file,
    plan_answer_erasure,
    read_answer,
    saved_directories,
    write_answer,
)
from afterview.memory.plans.removal import Removal
from afterview.stream.ask.answer_record import Images, Record, opened

_LOCK, _PATIENCE_S = ".lock", 5.0
KEPT, KEPT_BYTES = 500, 1_000_000_000  # per memory; about a hundred kilobytes each are common


@dataclass(frozen=True)
class Saved:
    """Where an answer was saved. images: by camera and frame. kept: in the memory, so that it can be opened again by its id.

    notes: what a user should know of it, in sentences.
    """

    directory: Path | None
    images: Images
    kept: bool
    notes: tuple[str, ...]


def save(record: Record, memory: Path) -> Saved:
    """Save an answer or a search in the memory that it is about.

    memory: a path, or that of a held directory, which is the one that was asked whatever happens to its name. Nothing is saved in the
    local copy of a memory that is read from its store: `forget` on the recording machine would not reach it.
    """
    from afterview.memory.sync.replica import (
        is_replica,
    )  # late: it loads zarr, which reading a saved answer does not need

    notes: list[str] = []
    directory: Path | None = None
    if is_replica(memory):
        why = "a memory that is read from its store takes no answers"
    else:
        why, directory = _write(record, memory / ANSWERS / record.about.id)
    kept = directory is not None
    if directory is None:
        directory = _write_elsewhere(record, why, notes)
    else:
        if _erase_forgotten(record, memory):
            notes.append("frames of this answer were forgotten meanwhile; what was saved of them is deleted")
        notes += _prune(memory, fair=record.about.user is not None)
    images = _images(record, directory) if directory else {}
    return Saved(directory and place_of(directory), images, kept, tuple(shown(note) for note in notes))


def open_saved(directory: Path, *, images: bool = True) -> tuple[Record, Images]:
    """A saved answer or search, and where its images are. Raises MemoryNotFound (only images are saved) and DamagedMemory."""
    document, parts = read_answer(directory)

    def image(camera: str, frame: int) -> bytes:
        try:
            return (directory / image_file(camera, frame)).read_bytes() if images else b""
        except OSError:
            return b""

    record = opened(str(directory), document, parts, image)
    return record, _images(record, directory)


def find_saved(memory: Path, given: str) -> SavedDirectory:
    """The saved answer whose id begins with `given`. Raises UsageError if there is none, or more than one."""
    known = saved_directories(memory)
    exact = [one for one in known if one.id == given]
    alike = exact or [one for one in known if given and one.id.startswith(given)]
    if len(alike) == 1:
        return alike[0]
    if not alike:
        raise UsageError(f"no saved answer '{given}' in {memory}; `afterview answers` lists them")
    some = ", ".join(one.id for one in alike[:5]) + (f" and {len(alike) - 5} more" if len(alike) > 5 else "")
    raise UsageError(f"'{given}' may be any of these answers: {some}; give more of the id")


def changes_since(record: Record, memory: Path) -> list[str]:
    """What became of the frames that an answer showed, in sentences. What was forgotten is not among them: it is in `about.forgotten`."""
    from afterview.memory.format.manifest import Manifest  # late: opening an answer does not need it

    found = []
    for camera, info in record.about.cameras.items():
        try:
            manifest = Manifest.read(memory / camera)
        except MemoryNotFound:
            found.append(f"camera '{camera}' is no longer in this memory")
            continue
        except RepositoryError as error:
            found.append(f"camera '{camera}': {error}")
            continue
        for reason, verb in (("evicted", "were evicted by retention"), ("damaged", "were lost to damage")):
            gone = [removal for removal in manifest.removed if removal.reason == reason]
            count = sum(any(one.first <= frame < one.end for one in gone) for frame in record.shown(camera))
            if count:
                found.append(
                    f"camera '{info.id}': {count} of the frames shown {verb} since; only the images here are left"
                )
    return found


def _write(record: Record, directory: Path) -> tuple[str, Path | None]:
    """Save in a directory; returns it, or why that failed."""
    document, parts = record.documents()
    try:
        images = {image_file(*key): data for key, data in record.pictures.items()}
        write_answer(directory, document, parts, images)
    except OSError as error:
        try:
            delete_answer(directory)  # what a full disk left
        except OSError:
            pass
        return f"{error.filename or directory}: {error.strerror}", None
    return "", directory


def _write_elsewhere(record: Record, why: str, notes: list[str]) -> Path | None:
    try:
        directory = Path(tempfile.mkdtemp(prefix=f"afterview-{record.about.id}-"))
        failed, written = _write(record, directory)
    except OSError as error:
        failed, written = str(error), None
    if written is None:
        notes.append(
            f"the answer was saved nowhere: not in the memory ({why}), not in a temporary directory ({failed})"
        )
        return None
    notes.append(
        f"saved in {written}, outside the memory ({why}); `afterview answers` does not list it, and `forget` does not reach it"
    )
    return written


def _erase_forgotten(record: Record, memory: Path) -> bool:
    """Delete what was forgotten while the answer was made and saved. Any order of the two is safe.

    `forget` commits first and then searches the saved answers; this writes first and then reads what is committed.
    """
    found = False
    for camera in record.about.cameras:
        for gone in _removed(memory, camera):
            if gone.reason == "forgotten":
                plan = plan_answer_erasure(memory, camera, gone, only=record.about.id)
                for path in plan.delete:
                    unlink(path)
                for path, data in plan.rewrite.items():
                    write_file(path, data)
                found = found or bool(plan.files)
    return found


def _removed(memory: Path, camera: str) -> Sequence[Removal]:
    from afterview.memory.format.manifest import Manifest

    try:
        return Manifest.read(memory / camera).removed
    except RepositoryError:
        return ()  # damaged: nothing can be forgotten there either


def _images(record: Record, directory: Path) -> Images:
    paths = {key: directory / image_file(*key) for key in record.pictures}
    return {key: str(place_of(path)) for key, path in paths.items() if path.exists()}


def _prune(memory: Path, *, fair: bool) -> list[str]:
    """Delete the oldest answers beyond the limits; what to say about it. The newest one always stays: one process deletes at a time.

    fair: those of whoever has the most, so that one user of a service cannot push out the answers of the others.
    """
    if not _beyond_limits(memory, fair=False):
        return []
    try:
        with file_lock(memory / ANSWERS / _LOCK, patience_s=_PATIENCE_S):
            oldest = _beyond_limits(memory, fair=fair)
            for one in oldest:
                delete_answer(one.path)
    except TimeoutError:
        return []  # the process that holds the lock deletes them
    except OSError as error:
        return [f"old saved answers could not be deleted ({error.filename}: {error.strerror})"]
    if not oldest:
        return []
    gone = f"{len(oldest)} saved answers" if len(oldest) > 1 else "saved answer"
    whose = " of whoever has the most" if fair else ""
    verb = "were" if len(oldest) > 1 else "was"
    return [f"the oldest {gone}{whose} {verb} deleted: a memory keeps {KEPT} of them, up to {KEPT_BYTES / 1e9:g} GB"]


def _beyond_limits(memory: Path, *, fair: bool) -> list[SavedDirectory]:
    """The answers that a memory does not keep."""
    known, size = saved_directories(memory), 0
    if fair:
        return _greediest(known)
    for kept, one in enumerate(known):
        size += one.bytes
        if kept and (kept >= KEPT or size > KEPT_BYTES):
            return known[kept:]
    return []


def _greediest(known: Sequence[SavedDirectory]) -> list[SavedDirectory]:
    """One after another, the oldest answer of whoever has the most, or the most bytes, until the rest is within the limits.

    known: newest first; the first one stays.
    """
    count, size, gone = len(known), sum(one.bytes for one in known), list[SavedDirectory]()
    if count <= KEPT and size <= KEPT_BYTES:
        return []
    of_user: dict[str | None, list[SavedDirectory]] = {}
    for one in known:
        of_user.setdefault(asked_by(one.path), []).append(one)

    def share(user: str | None) -> tuple[float, float]:
        """How much is theirs, and how old the oldest of it is."""
        own = of_user[user]
        return len(own) if count > KEPT else sum(one.bytes for one in own), -own[-1].saved

    while (count > KEPT or size > KEPT_BYTES) and count > 1:
        oldest = of_user[max((user for user, own in of_user.items() if own and own != known[:1]), key=share)].pop()
        gone.append(oldest)
        count, size = count - 1, size - oldest.bytes
    return gone
