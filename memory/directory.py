"""A memory: a directory of cameras."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from afterview.memory.base.camera import camera_id
from afterview.memory.base.errors import MemoryNotFound
from afterview.memory.reading.reader import CameraReader

if TYPE_CHECKING:
    from afterview.memory.index.frame_index import FrameIndex


class Memory:
    """Reads every camera of a memory, from any number of threads. The next `cameras` or `camera` finds cameras that appear later."""

    def __init__(self, path: Path) -> None:
        """Raises MemoryNotFound unless `path` is a directory that holds at least one camera."""
        self.path = path
        self._readers: dict[str, CameraReader] = {}
        self._indexes: dict[str, FrameIndex] = {}
        self._lock = threading.Lock()  # of the two dictionaries
        if not path.is_dir():
            raise MemoryNotFound(f"no memory at {path}; `afterview watch` or `afterview replay` makes one")
        if not self.camera_ids():
            raise MemoryNotFound(f"{path} holds no camera; `afterview watch` or `afterview replay` records one")

    def camera_ids(self) -> list[str]:
        """Ids of the cameras, sorted."""
        return sorted(entry.parent.name for entry in self.path.glob("*/camera.json"))

    def camera(self, name: str) -> CameraReader:
        """The camera called `name` (display name or id). Raises MemoryNotFound, which names the existing ones."""
        wanted = camera_id(name)
        with self._lock:
            if wanted not in self._readers:
                if not (self.path / wanted / "camera.json").is_file():
                    known = ", ".join(self.camera_ids())
                    raise MemoryNotFound(f"no camera '{name}' in {self.path}; there are: {known}")
                self._readers[wanted] = CameraReader(self.path / wanted)
            return self._readers[wanted]

    def cameras(self) -> list[CameraReader]:
        """Every camera."""
        return [self.camera(name) for name in self.camera_ids()]

    def index(self, name: str) -> "FrameIndex":
        """The frame index of a camera: one for all callers. Call its `catch_up` before `search`. Raises MemoryNotFound."""
        from afterview.memory.index.frame_index import FrameIndex  # late: it loads faiss, which `info` does not need

        reader = self.camera(name)
        with self._lock:
            return self._indexes.setdefault(reader.info.id, FrameIndex(reader.directory / "index"))
