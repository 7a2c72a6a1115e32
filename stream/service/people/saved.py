"""Saved answers as somebody may see them: admins all, others their own, as far as they may still see all cameras that it rests on."""

from functools import lru_cache
from pathlib import Path

from afterview.memory.base.documents import read_json
from afterview.memory.base.errors import RepositoryError
from afterview.memory.format.answer_files import RECORD, SavedDirectory, saved_directories
from afterview.stream.service.people.access import Access


def visible_answers(memory: Path, access: Access) -> list[SavedDirectory]:
    """The saved answers and searches that somebody may see, newest first. In a thread."""
    found = saved_directories(memory)
    if access.admin and access.cameras is None:
        return found
    return [one for one in found if _may_see(access, one.path)]


def find_visible(memory: Path, given: str, access: Access) -> SavedDirectory | None:
    """The one of them whose id begins with `given`; None if there is none, or more than one."""
    known = visible_answers(memory, access)
    exact = [one for one in known if one.id == given]
    alike = exact or [one for one in known if given and one.id.startswith(given)]
    return alike[0] if len(alike) == 1 else None


def is_visible(access: Access, user: str | None, cameras: "frozenset[str]") -> bool:
    """Whether they may see an answer that `user` was given, and that rests on these cameras."""
    return all(map(access.sees, cameras)) and (access.admin or user == access.user)


def _may_see(access: Access, path: Path) -> bool:
    try:
        changed = (path / RECORD).stat()
        user, cameras = _about(path, changed.st_mtime_ns, changed.st_ino)
    except (OSError, RepositoryError):
        return False
    return is_visible(access, user, cameras)


@lru_cache(maxsize=2048)  # more than a memory keeps
def _about(path: Path, changed: int, inode: int) -> tuple[str | None, frozenset[str]]:
    """Who asked, and on which cameras the answer rests."""
    record = read_json(path / RECORD, missing="deleted meanwhile")
    cameras, user = record.get("cameras"), record.get("user")
    if not isinstance(cameras, list) or not all(isinstance(camera, str) for camera in cameras):
        raise RepositoryError(f"{path}: not a saved answer")
    return (user if isinstance(user, str) else None), frozenset(cameras)
