"""Which camera of a memory a text means.

Different names can lead to one id ('../x' and '-x', 'FRONT door' and 'front  door', long names that share their first 120 bytes). An id
belongs to the first name that was recorded under it (`camera.json` keeps the name). The rules, in this order:

1. The text is exactly the id of a camera: that camera.
2. It is exactly the name of a camera: that camera, in whatever directory it lies.
3. Reading and managing: it differs from the name or the id of exactly one camera only in case or white space: that camera, and a note in
   the log names it. A recorder does not do this, because there another spelling may be meant as another camera.
4. Anything else is not that camera. Readers raise MemoryNotFound. Recorders create a camera, or raise NameTaken where its id is in use.
"""

import logging
import os
import stat
import unicodedata
from collections.abc import Collection
from pathlib import Path

from afterview.configs import UsageError
from afterview.configs.suggestions import did_you_mean
from afterview.configs.system_errors import is_misplaced, reason
from afterview.memory.base.camera import ANSWERS, SETTINGS, camera_id, read_camera
from afterview.memory.base.documents import exists
from afterview.memory.base.errors import DamagedMemory, MemoryNotFound, NameTaken, RepositoryError, Unreadable

_LOGGER = logging.getLogger(__name__)

EMPTY_JOURNAL = 8  # bytes: its first line; see memory.format.journal
PROBLEM = "problem"  # a file of a replica: why the camera cannot be read from its store (memory.sync.replica)
_NO_CAMERA = (ANSWERS, "lost+found")  # `lost+found`: of a file system that is mounted here


def camera_ids(memory: Path, only: Collection[str] | None = None) -> list[str]:
    """Ids of the cameras of a memory, sorted: the names of their directories, readable or not. only, errors: those of `find_cameras`."""
    return sorted(find_cameras(memory, only))


def find_cameras(memory: Path, only: Collection[str] | None = None) -> dict[str, RepositoryError | None]:
    """Every camera of a memory by id, sorted; the error of each that certainly cannot be read, and None for the others.

    only: the ids of those that may be found; the others are not even looked at.

    A camera is a directory with `camera.json`, or one that holds what only a camera has. A directory that may not be entered, and a link
    that leads nowhere, count: they may well be cameras. A directory whose creation was cut off before its first frame does not. Raises
    MemoryNotFound if there is no such directory, Unreadable if it cannot be listed.
    """
    try:
        names = sorted(os.listdir(memory))
    except OSError as error:
        raise no_memory(memory, error) from None
    possible = (name for name in names if not name.startswith(".") and name not in _NO_CAMERA)
    found = {name: _look_at(memory / name) for name in possible if only is None or name in only}
    return {name: error for name, error in found.items() if not isinstance(error, _NoCamera)}


def no_memory(memory: Path, error: OSError) -> RepositoryError:
    """The error for a memory's directory that cannot be listed."""
    if isinstance(error, FileNotFoundError) and not memory.is_symlink():
        return MemoryNotFound(f"no memory at {memory}; `afterview watch` or `afterview replay` makes one")
    if is_misplaced(error):
        return MemoryNotFound(f"no memory at {memory}: {reason(error, memory)}; give the memory's directory")
    return Unreadable.from_system(error, memory)


class _NoCamera(RepositoryError):
    """What lies there is no camera."""


def _look_at(directory: Path) -> RepositoryError | None:
    """Why this cannot be read as a camera, or None."""
    try:
        if not stat.S_ISDIR(directory.stat().st_mode):
            return _NoCamera()
        described = exists(directory / "camera.json")  # first: an error about it names a file that people know
        if exists(directory / PROBLEM):
            return DamagedMemory((directory / PROBLEM).read_text())
        return None if described else _without_description(directory)
    except Unreadable as error:
        return error
    except FileNotFoundError as error:  # removed at this moment, if it is no link
        return Unreadable.from_system(error, directory) if directory.is_symlink() else _NoCamera()
    except OSError as error:
        return Unreadable.from_system(error, directory)


def _without_description(directory: Path) -> RepositoryError:
    """The error for a directory without `camera.json`: a camera that lost it, unless it never held a frame. Raises OSError."""
    names, images = os.listdir(directory), directory / "frames" / "images"
    journals = [name for name in names if name == "journal" or name.startswith("journal-")]
    frames = any((directory / name).stat().st_size > EMPTY_JOURNAL for name in journals)
    frames = frames or any(name.isdigit() for name in (os.listdir(images) if exists(images) else ()))
    if not frames and SETTINGS not in names:
        return _NoCamera()
    return DamagedMemory(
        f"{directory}: camera.json is missing, but a camera's files are there; `afterview fsck --repair` rebuilds it"
    )


def find_camera(memory: Path, given: str, only: Collection[str] | None = None) -> str:
    """The id of the camera to read or to manage (rules 1 to 3). Raises MemoryNotFound, which names the existing ones, or the error of one
    that cannot be read. only: the ids of those that may be found; the others do not exist."""
    found = find_cameras(memory, only)
    ids = list(found)
    names = _names(memory, ids)
    known = given if given in ids else _named(names, given)
    if known is not None:
        if (error := found[known]) is not None:
            raise error
        return known
    plain = _plain(given)
    alike = [known for known in ids if plain in (_plain(known), _plain(names[known] or known))]
    if len(alike) == 1:
        _LOGGER.warning("note: no camera '%s'; this is camera '%s', named '%s'", given, alike[0], names[alike[0]])
        return alike[0]
    if alike:
        raise MemoryNotFound(f"'{given}' may be any of these cameras in {memory}: {', '.join(alike)}; give the id")
    raise MemoryNotFound(f"no camera '{given}' in {memory}{_hint(memory, given, names)}")


def _hint(memory: Path, given: str, names: dict[str, str | None]) -> str:
    """What there is instead."""
    other = _id_or_none(given)
    why = f" (camera '{other}' is named '{names[other]}')" if other is not None and names.get(other) else ""
    if other is not None and (memory / other).is_file():
        why = f" ({memory / other} is a file, not a directory)"
    unknown = [known for known, name in names.items() if name is None]
    meant = did_you_mean(given, {name or known for known, name in names.items()})
    there = f"{why}{meant} There are" if meant else f"{why}; there are"
    return f"{there}: {', '.join(names)}" + (f"; the names of {', '.join(unknown)} cannot be read" if unknown else "")


def directory_to_record(memory: Path, given: str, *, by_id: bool = True) -> Path:
    """The directory of the camera to record into (rules 1 and 2), or that of a new camera.

    by_id: False for a text that nobody gave as `--camera`, such as the name in an exported span: rule 1 does not apply to it. Raises
    NameTaken if the id of a new camera belongs to another name, UsageError if there is no id for the name.
    """
    try:
        found = find_cameras(memory)
    except MemoryNotFound:
        if memory.is_symlink() or os.path.lexists(memory):  # not a directory
            raise
        found = {}
    ids = list(found)
    if by_id and given in ids:
        return memory / given
    names = _names(memory, ids)
    exact = _named(names, given)
    if exact is not None:
        return memory / exact
    identity = camera_id(given)
    if identity in names:
        raise name_taken(given, identity, names[identity] or identity)
    return memory / identity


def name_taken(given: str, identity: str, owner: str) -> NameTaken:
    """The error for a name whose id belongs to the camera named `owner`."""
    return NameTaken(
        f"camera name '{given}' leads to the id '{identity}', which belongs to the camera named '{owner}'; give another name, or "
        f"--camera {identity} to record into that camera"
    )


def _names(memory: Path, ids: list[str]) -> dict[str, str | None]:
    """Names by id; None where `camera.json` cannot be read."""
    names: dict[str, str | None] = {}
    for known in ids:
        try:
            names[known] = read_camera(memory / known).name
        except RepositoryError:
            names[known] = None
    return names


def _named(names: dict[str, str | None], given: str) -> str | None:
    """The id of the camera with exactly this name. Of several copies, the one in the directory that belongs to the name.

    A camera whose name cannot be read counts as the one that has the id: opening it then reports the damage.
    """
    own = _id_or_none(given)
    if own is not None and own in names and names[own] in (None, given):
        return own
    found = [known for known, name in names.items() if name == given]
    if len(found) > 1:
        raise MemoryNotFound(f"several cameras are named '{given}': {', '.join(found)}; give the id")
    return found[0] if found else None


def _id_or_none(name: str) -> str | None:
    try:
        return camera_id(name)
    except UsageError:
        return None


def _plain(text: str) -> str:
    """Equal for texts that differ only in case and white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
