"""A directory that stays the same one, whatever happens to its name.

The system looks up a path anew at each use. So the path of a camera that was moved names nothing, or whatever was put in its place.
`hold` opens the directories of a camera and of its memory once. `HeldDirectory.path` leads through the open descriptor
(/proc/self/fd/N): what is read and written below it belongs to the directory that was opened.
"""

import os
import re
import weakref
from pathlib import Path, PosixPath

_DESCRIPTORS = "/proc/self/fd"
_PARTS = Path(_DESCRIPTORS).parts
_ROOT = len(_PARTS) + 1  # parts of the path of a held directory itself
_NAMED = re.compile(rf"{_DESCRIPTORS}/(\d+)")

_held: "weakref.WeakValueDictionary[int, HeldDirectory]" = weakref.WeakValueDictionary()  # by descriptor
_memories: "weakref.WeakValueDictionary[str, HeldDirectory]" = weakref.WeakValueDictionary()  # by absolute path


class HeldPath(PosixPath):
    """A path through a descriptor. That of a held camera keeps the camera's name, and its parent is the held memory.

    `HeldDirectory.path` keeps the directory open; paths that are derived from it do not. What keeps such a path keeps `holder(path)`, too.
    """

    __slots__ = ("keeps",)
    keeps: "HeldDirectory"

    @property
    def name(self) -> str:
        """The last part: for the held directory itself its name when it was opened, not the number of the descriptor."""
        return self._opened().place.name if self._is_root else super().name

    @property
    def parent(self) -> Path:  # type: ignore[override]
        """The directory above: for a held camera its memory."""
        if not self._is_root:
            return super().parent
        held = self._opened()
        return held.place.parent if held.above is None else held.above.path

    @property
    def _is_root(self) -> bool:
        """Whether this is a held directory itself, not what lies in it, nor a place that `resolve` has found."""
        return len(self.parts) == _ROOT and self.parts[: len(_PARTS)] == _PARTS

    def _opened(self) -> "HeldDirectory":
        held = holder(self)
        if held is None:  # the number may be another directory's by now
            raise ValueError(f"{self}: the directory was closed; keep its HeldDirectory")
        return held


class HeldDirectory:
    """An open directory. place: its path when it was opened, for people. above: a camera's memory.

    It is closed when nothing refers to it any more.
    """

    def __init__(self, place: Path, *, above: "HeldDirectory | None" = None) -> None:
        """Raises OSError. Where the system has no /proc/self/fd, `path` is `place`, and `is_stable` is False."""
        self.place, self.above = place, above
        self._absolute = place.absolute()
        flags = os.O_PATH | os.O_DIRECTORY
        if above is not None and place.name not in ("", ".."):
            self.descriptor: int = os.open(place.name, flags, dir_fd=above.descriptor)
        else:
            self.descriptor = os.open(place, flags)
        weakref.finalize(self, os.close, self.descriptor).atexit = False  # at exit, other threads may still use it
        _held[self.descriptor] = self
        self.is_stable = os.path.isdir(_DESCRIPTORS)

    @property
    def path(self) -> Path:
        """The path for every access. It keeps the directory open."""
        if not self.is_stable:
            return self.place
        path = HeldPath(f"{_DESCRIPTORS}/{self.descriptor}")
        path.keeps = self
        return path

    @property
    def in_place(self) -> bool:
        """Whether `place` still names this directory, and the memory's place the memory. False if either was deleted."""
        return self.is_named and (self.above is None or self.above.in_place)

    @property
    def is_named(self) -> bool:
        """Whether `place` still leads to this directory, through whatever memory."""
        try:
            return os.path.samestat(os.stat(self._absolute), os.fstat(self.descriptor))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # it cannot be known; if the disk fails, the next write says so

    def is_same(self, other: "HeldDirectory") -> bool:
        """Whether both are one directory."""
        return os.path.samestat(os.fstat(self.descriptor), os.fstat(other.descriptor))

    @property
    def is_deleted(self) -> bool:
        """Whether no path leads to it any more."""
        return os.fstat(self.descriptor).st_nlink == 0

    @property
    def is_replaced(self) -> bool:
        """Whether something else lies in its place."""
        return not self.is_named and os.path.lexists(self._absolute)

    def find(self) -> Path | None:
        """Where it lies now; None if that cannot be told."""
        try:
            found = Path(os.readlink(f"{_DESCRIPTORS}/{self.descriptor}"))
            return found if os.path.samestat(found.stat(), os.fstat(self.descriptor)) else None
        except OSError:
            return None


def hold(directory: Path) -> HeldDirectory:
    """Open a camera's directory and its memory's, or return the holder of `directory` if it is a held path. Raises OSError."""
    return _known(directory) or HeldDirectory(place_of(directory), above=hold_memory(directory.parent))


def hold_memory(place: Path) -> HeldDirectory:
    """Open a memory's directory: one descriptor for all of its cameras. Raises OSError."""
    if (held := _known(place)) is not None:
        return held
    key = str(place.absolute())
    known = _memories.get(key)
    if known is None or not known.in_place:
        known = _memories[key] = HeldDirectory(place)
    return known


def _known(directory: Path) -> HeldDirectory | None:
    """The holder of which this is the path."""
    return holder(directory) if len(directory.parts) == _ROOT else None


def holder(path: Path) -> HeldDirectory | None:
    """The HeldDirectory through which a path leads; None for an ordinary path."""
    parts = path.parts
    if len(parts) < _ROOT or parts[: len(_PARTS)] != _PARTS or not parts[len(_PARTS)].isdigit():
        return None
    return _held.get(int(parts[len(_PARTS)]))


def place_of(path: Path) -> Path:
    """The path as people know it: as it was when the directory was opened."""
    held = holder(path)
    return path if held is None else held.place.joinpath(*path.parts[_ROOT:])


def shown(text: str) -> str:
    """A text for people, such as an error message: paths through descriptors are replaced by those that people know."""

    def place(match: re.Match[str]) -> str:
        held = _held.get(int(match[1]))
        return match[0] if held is None else str(held.place)

    return _NAMED.sub(place, text) if _DESCRIPTORS in text else text
