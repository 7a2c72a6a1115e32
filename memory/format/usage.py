"""How many bytes a camera takes, on the disk and on its store: counted once, then kept up as seals come and go."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.generations import camera_arrays
from afterview.memory.format.layout import IMAGES, StoredArray
from afterview.memory.format.upload_state import remote_bytes


def bytes_under(path: Path) -> int:
    """Size of every file under a directory; what vanishes meanwhile counts nothing."""
    total = 0
    try:
        entries = list(os.scandir(path))
    except FileNotFoundError:
        return 0
    for entry in entries:
        try:
            total += bytes_under(Path(entry.path)) if entry.is_dir(follow_symlinks=False) else entry.stat().st_size
        except FileNotFoundError:
            continue
    return total


class Usage:
    """Bytes of one camera. Nothing is counted until somebody asks."""

    def __init__(self, camera: Path) -> None:
        self._camera = camera
        self._change = 0

    @cached_property
    def _counted(self) -> int:
        self._change = 0
        return bytes_under(self._camera) + remote_bytes(self._camera)

    @property
    def bytes(self) -> int:
        """On the disk now, and on a store alone, as far as known."""
        return self._counted + self._change

    def sealed(self, first: int) -> None:
        """One more seal was written, from frame `first` on."""
        if "_counted" not in self.__dict__:
            return
        arrays = [array for array in camera_arrays(self._camera) if array.chunk <= SEAL_FRAMES]
        self._change += self._size(arrays, first, first + SEAL_FRAMES)
        self._change += bytes_under(self._camera / IMAGES / str(first // SEAL_FRAMES))

    def _size(self, arrays: Sequence[StoredArray], first: int, end: int) -> int:
        files = [array.file(self._camera, chunk) for array in arrays for chunk in array.chunks(first, end)]
        return sum(path.stat().st_size for path in files if path.is_file())

    def freed(self, freed: int) -> None:
        """So many bytes were deleted."""
        self._change -= freed
