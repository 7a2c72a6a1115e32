"""A memory: a directory of cameras."""

from pathlib import Path
from typing import TYPE_CHECKING

from afterview.memory.base.camera import camera_id
from afterview.memory.base.errors import MemoryNotFound
from afterview.memory.reading.reader import CameraReader

if TYPE_CHECKING:
    from afterview.memory.index.frame_index import FrameIndex


class Memory:
    """Reads every camera of a memory. Cameras that appear later are found by the next `cameras` or `camera`."""

    def __init__(self, path: Path) -> None:
        """Raises MemoryNotFound unless `path` is a directory that holds at least one camera."""
        self.path = path
        self._readers: dict[str, CameraReader] = {}
        self._indexes: dict[str, FrameIndex] = {}
        if not path.is_dir():
            raise MemoryNotFound(f"no memory at {path}; `afterview watch` or `afterview replay` makes one")
        if not self.camera_ids():
            raise MemoryNotFound(f"{path} holds no camera; `afterview watch` or `afterview replay` records one")

    def camera_ids(self) -> list[str]:
        """Ids of the cameras, sorted."""
        return sorted(entry.parent.name for entry in self.path.glob("*/camera.json"))

    def camera(self, name: str) -> CameraReader:
        """The camera called `name` (its display name or its id). Raises MemoryNotFound naming those that exist."""
        wanted = camera_id(name)
        if wanted not in self._readers:
            if not (self.path / wanted / "camera.json").is_file():
                raise MemoryNotFound(f"no camera '{name}' in {self.path}; there are: {', '.join(self.camera_ids())}")
            self._readers[wanted] = CameraReader(self.path / wanted)
        return self._readers[wanted]

    def cameras(self) -> list[CameraReader]:
        """Every camera."""
        return [self.camera(name) for name in self.camera_ids()]

    def index(self, name: str) -> "FrameIndex":
        """The frame index of a camera, shared by all who ask for it here."""
        from afterview.memory.index.frame_index import FrameIndex  # late: it loads faiss, which `info` does without

        reader = self.camera(name)
        return self._indexes.setdefault(reader.info.id, FrameIndex(reader.directory / "index"))
