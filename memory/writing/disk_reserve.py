"""Room for a full disk. Forgetting and evicting need no free byte (memory.format.in_place), but some small files around them do."""

import os
from pathlib import Path

from afterview.memory.base.durable import unlink
from afterview.memory.format import in_place
from afterview.memory.index.files import forget_all

FILE = "reserve"
RESERVE_BYTES = 1 << 18  # a few small files, and one or two replaced scalar chunks


class Reserve:
    """The reserve of one camera. Best effort: if there is no room now, a later `hold` may succeed."""

    def __init__(self, camera: Path) -> None:
        self._path = camera / FILE
        self.hold()

    def hold(self) -> None:
        """Reserve the space, if there is room. What is reserved already stays so."""
        try:
            with self._path.open("ab") as file:
                if os.fstat(file.fileno()).st_size != RESERVE_BYTES:
                    os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
        except OSError:
            self.release()

    def release(self) -> None:
        """Release the space for something small that a full disk has no room for."""
        release(self._path.parent)


def release(camera: Path) -> None:
    """Release a camera's reserve. Its next command reserves it again."""
    unlink(camera / FILE)


def fixed_bytes(camera: Path) -> int:
    """Bytes that a camera takes for a full disk, however many frames it has."""
    return sum(path.stat().st_size for path in (camera / FILE, camera / in_place.FILE) if path.is_file())


def make_room(camera: Path) -> None:
    """Release the reserve and delete the index, which is a cache: the next question rebuilds it."""
    release(camera)
    forget_all(camera / "index")
