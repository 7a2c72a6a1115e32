"""A memory: a directory of cameras."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from afterview.memory.base.camera_names import camera_ids, find_camera
from afterview.memory.base.errors import MemoryNotFound, RepositoryError, Unreadable, in_words
from afterview.memory.base.held_directory import hold_memory
from afterview.memory.reading.reader import CameraReader

if TYPE_CHECKING:
    from afterview.memory.index.frame_index import FrameIndex

_MOST_REASONS = 8  # in one error; further cameras are named without theirs
_MOST_FOUND = 4096  # texts given for cameras whose ids are remembered

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class EachCamera(Generic[_Result]):
    """What a function returned for each camera by id, and why each other camera was left out."""

    results: dict[str, _Result]
    skipped: dict[str, str]


class Memory:
    """Reads every camera of a memory, from any number of threads.

    The next `cameras` or `camera` finds cameras that appear later, and opens those anew whose directory was replaced.
    """

    def __init__(self, path: Path) -> None:
        """Raises MemoryNotFound unless `path` is a directory that holds at least one camera, Unreadable if it cannot be listed.

        The camera may be one that cannot be read: `each` names it, and `camera` raises the reason.
        """
        self._given, self._working = path, _working_directory()
        self._absolute = self._working / path
        self._readers: dict[str, CameraReader] = {}
        self._indexes: dict[str, FrameIndex] = {}
        self._found: dict[str, str] = {}  # ids of cameras by the texts that were given for them
        self._lock = threading.Lock()  # of these dictionaries
        if not self.camera_ids():
            raise MemoryNotFound(f"{path} holds no camera; `afterview watch` or `afterview replay` records one")
        self.held = hold_memory(path)  # what to write the files beside the cameras through

    @property
    def path(self) -> Path:
        """Where it lies: as it was given, or, once the process has changed its working directory, from the root."""
        return self._given if self._given.is_absolute() or _working_directory() == self._working else self._absolute

    def camera_ids(self) -> list[str]:
        """Ids of the cameras, sorted; also of those that cannot be read."""
        return camera_ids(self.path)

    def camera(self, name: str) -> CameraReader:
        """The camera with this id or name, or with one that differs only in case or white space (then a note in the log says which).

        Raises MemoryNotFound, which names the existing ones, or what opening the camera raises. memory.base.camera_names has the rules.
        """
        with self._lock:
            wanted = self._found.get(name, name)
            if not self._is_open(wanted):
                wanted = find_camera(self.path, name)
                if len(self._found) >= _MOST_FOUND:  # a name has any number of spellings
                    self._found.clear()
                self._found[name] = wanted
            if not self._is_open(wanted):
                self._readers[wanted] = CameraReader(self.path / wanted)
            return self._readers[wanted]

    def _is_open(self, name: str) -> bool:
        """Whether there is a reader of the directory that lies there now."""
        reader = self._readers.get(name)
        return reader is not None and reader.held.in_place

    def cameras(self) -> list[CameraReader]:
        """Every camera that can be opened; `skipped` names the others. Raises RepositoryError, which names each, if there is none."""
        return list(self.each(lambda reader: reader).results.values())

    def skipped(self) -> dict[str, str]:
        """The cameras that cannot be opened now, by id, and why."""
        return {name: str(error) for name, error in self._all(lambda reader: reader)[1].items()}

    def each(self, act: Callable[[CameraReader], _Result], names: Sequence[str] = ()) -> EachCamera[_Result]:
        """Call `act` for each named camera, or for all. A failure costs its camera alone, unless it is named: then it is raised.

        Failures are RepositoryError and OSError. Raises RepositoryError, which names each camera, if all fail.
        """
        if names:
            named = dict.fromkeys(self.camera(name).info.id for name in names)
            return EachCamera({name: act(self.camera(name)) for name in named}, {})
        results, failures = self._all(act)
        if not results:
            raise none_left(self.path, failures)
        return EachCamera(results, {name: str(error) for name, error in failures.items()})

    def _all(self, act: Callable[[CameraReader], _Result]) -> tuple[dict[str, _Result], dict[str, RepositoryError]]:
        results: dict[str, _Result] = {}
        failures: dict[str, RepositoryError] = {}
        for name in self.camera_ids():
            try:
                results[name] = act(self.camera(name))
            except (RepositoryError, OSError) as error:
                failures[name] = in_words(error)
        return results, failures

    def index(self, name: str) -> "FrameIndex":
        """The frame index of a camera: one for all callers. Call its `catch_up` before `search`. Raises MemoryNotFound."""
        from afterview.memory.index.frame_index import FrameIndex  # late: it loads faiss, which `info` does not need

        reader = self.camera(name)
        with self._lock:
            known = self._indexes.get(reader.info.id)
            if known is None or known.held not in (None, reader.held):
                known = self._indexes[reader.info.id] = FrameIndex(reader.held.path / "index")
            return known


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except OSError:
        return Path()  # it was deleted


def none_left(memory: Path, failures: dict[str, RepositoryError]) -> RepositoryError:
    """The error where every camera failed: the only one's own, or one that names each."""
    if not failures:
        return MemoryNotFound(f"{memory} holds no camera; `afterview watch` or `afterview replay` records one")
    if len(failures) == 1:
        return next(iter(failures.values()))
    each = [f"{name}: {error}" for name, error in failures.items()]
    if len(each) > _MOST_REASONS:
        each[_MOST_REASONS:] = [f"and also {', '.join(list(failures)[_MOST_REASONS:])}"]
    what = f"none of its {len(failures)} cameras can be used"
    if all(isinstance(error, Unreadable) for error in failures.values()):
        what = "these directories may be cameras, but none can be read"  # nobody can tell
    return RepositoryError(f"{memory}: {what}: {'; '.join(each)}")
