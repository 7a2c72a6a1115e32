"""How many bytes a camera takes, on the disk and in its bucket: counted once, then updated with each seal."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from afterview.memory.base.errors import Unreadable
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.generations import camera_arrays
from afterview.memory.format.layout import IMAGES, StoredArray
from afterview.memory.format.upload_state import remote_bytes


def bytes_under(path: Path) -> int:
    """Total size of the files under a directory; a file that disappears meanwhile counts 0. Raises Unreadable."""
    total = 0
    try:
        entries = list(os.scandir(path))
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise Unreadable.from_system(error, path) from None
    for entry in entries:
        try:
            folder = entry.is_dir(follow_symlinks=False)
            total += bytes_under(Path(entry.path)) if folder else entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Unreadable.from_system(error, Path(entry.path)) from None
    return total


class Usage:
    """Bytes of one camera. Counted on the first use of `bytes`."""

    def __init__(self, camera: Path) -> None:
        self._camera = camera
        self._change = 0

    @cached_property
    def _counted(self) -> int:
        self._change = 0
        return bytes_under(self._camera) + remote_bytes(self._camera)

    @property
    def bytes(self) -> int:
        """Bytes on the disk, and those that lie in the bucket only, as far as known."""
        return self._counted + self._change

    def sealed(self, first: int) -> None:
        """Add a seal that was written, from frame `first` on."""
        if "_counted" not in self.__dict__:
            return
        arrays = [array for array in camera_arrays(self._camera) if array.chunk <= SEAL_FRAMES]
        self._change += self._size(arrays, first, first + SEAL_FRAMES)
        self._change += bytes_under(self._camera / IMAGES / str(first // SEAL_FRAMES))

    def _size(self, arrays: Sequence[StoredArray], first: int, end: int) -> int:
        files = [array.file(self._camera, chunk) for array in arrays for chunk in array.chunks(first, end)]
        return sum(path.stat().st_size for path in files if path.is_file())

    def freed(self, freed: int) -> None:
        """Subtract bytes that were deleted."""
        self._change -= freed
