"""A memory of which only some cameras are visible. What it says of the others is what it says of cameras that do not exist."""

import threading
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from afterview.memory.base.camera_names import camera_ids, find_camera
from afterview.memory.base.errors import MemoryNotFound
from afterview.memory.directory import Memory
from afterview.memory.reading.reader import CameraReader

if TYPE_CHECKING:
    from afterview.memory.index.frame_index import FrameIndex

_MOST_VIEWS = 256


class LimitedMemory(Memory):
    """Reads the visible cameras of a memory, with the readers and indexes of the whole one. It may hold none: reading says so."""

    def __init__(self, whole: Memory, visible: Collection[str]) -> None:
        """visible: ids of cameras; those that do not exist yet are visible once they do."""
        self.whole, self._visible = whole, frozenset(visible)
        self.held = whole.held

    @property
    def path(self) -> Path:
        """Where the whole memory lies."""
        return self.whole.path

    def camera_ids(self) -> list[str]:
        """Ids of the visible cameras, sorted; also of those that cannot be read."""
        return camera_ids(self.path, only=self._visible)

    def camera(self, name: str) -> CameraReader:
        """The visible camera with this id or name. Raises MemoryNotFound, which names the visible ones, or what opening it raises."""
        found = find_camera(self.path, name, only=self._visible)
        try:
            reader = self.whole.camera(found)
        except MemoryNotFound:
            reader = None
        if (
            reader is None or reader.info.id != found
        ):  # it was removed at this moment; the whole memory would say what there is instead
            raise MemoryNotFound(f"no camera '{name}' in {self.path}")
        return reader

    def index(self, name: str) -> "FrameIndex":
        """The frame index of a visible camera: one for all callers. Raises MemoryNotFound."""
        return self.whole.index(self.camera(name).info.id)


class Limits:
    """Gives the same limited memory for the same cameras, so that what is remembered of it counts again. From any thread."""

    def __init__(self) -> None:
        self._views: dict[frozenset[str], LimitedMemory] = {}
        self._lock = threading.Lock()

    def of(self, whole: Memory, visible: frozenset[str]) -> LimitedMemory:
        """`whole`, of which only these cameras are visible."""
        with self._lock:
            found = self._views.get(visible)
            if found is None or found.whole is not whole:
                if len(self._views) >= _MOST_VIEWS:
                    self._views.clear()
                found = self._views[visible] = LimitedMemory(whole, visible)
            return found
