"""A memory: a directory of cameras."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from afterview.memory.base.camera_names import camera_ids, find_camera
from afterview.memory.base.errors import MemoryNotFound
from afterview.memory.base.held_directory import hold_memory
from afterview.memory.reading.reader import CameraReader

if TYPE_CHECKING:
    from afterview.memory.index.frame_index import FrameIndex


class Memory:
    """Reads every camera of a memory, from any number of threads.

    The next `cameras` or `camera` finds cameras that appear later, and opens those anew whose directory was replaced.
    """

    def __init__(self, path: Path) -> None:
        """Raises MemoryNotFound unless `path` is a directory that holds at least one camera."""
        self.path = path
        self._readers: dict[str, CameraReader] = {}
        self._indexes: dict[str, FrameIndex] = {}
        self._found: dict[str, str] = {}  # ids of cameras by the texts that were given for them
        self._lock = threading.Lock()  # of these dictionaries
        if not path.is_dir():
            raise MemoryNotFound(f"no memory at {path}; `afterview watch` or `afterview replay` makes one")
        self.held = hold_memory(path)  # what to write the files beside the cameras through
        if not self.camera_ids():
            raise MemoryNotFound(f"{path} holds no camera; `afterview watch` or `afterview replay` records one")

    def camera_ids(self) -> list[str]:
        """Ids of the cameras, sorted."""
        return camera_ids(self.path)

    def camera(self, name: str) -> CameraReader:
        """The camera with this id or name, or with one that differs only in case or white space (then a note in the log says which).

        Raises MemoryNotFound, which names the existing ones. memory.base.camera_names has the rules.
        """
        with self._lock:
            wanted = self._found.get(name, name)
            if not self._is_open(wanted):
                wanted = self._found[name] = find_camera(self.path, name)
            if not self._is_open(wanted):
                self._readers[wanted] = CameraReader(self.path / wanted)
            return self._readers[wanted]

    def _is_open(self, name: str) -> bool:
        """Whether there is a reader of the directory that lies there now."""
        reader = self._readers.get(name)
        return reader is not None and reader.held.in_place

    def cameras(self) -> list[CameraReader]:
        """Every camera."""
        return [self.camera(name) for name in self.camera_ids()]

    def index(self, name: str) -> "FrameIndex":
        """The frame index of a camera: one for all callers. Call its `catch_up` before `search`. Raises MemoryNotFound."""
        from afterview.memory.index.frame_index import FrameIndex  # late: it loads faiss, which `info` does not need

        reader = self.camera(name)
        with self._lock:
            known = self._indexes.get(reader.info.id)
            if known is None or known.held not in (None, reader.held):
                known = self._indexes[reader.info.id] = FrameIndex(reader.held.path / "index")
            return known
