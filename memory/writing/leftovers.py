"""What a process that died was writing at that moment. Nobody reads such files; the next writer removes those of the last."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from afterview.memory.base.durable import fsync_directory, unfinished_files, unlink
from afterview.memory.base.errors import StoreUnreachable
from afterview.memory.format.generation_build import building_lock
from afterview.memory.format.upload_state import locked
from afterview.memory.writing.erase import HOLD_FRAMES

_NAMES = (".committed.", *HOLD_FRAMES)
_PATIENCE_S = 1.0  # for others who send to the store at this moment; a file that stays does no harm


@contextmanager
def alone(camera: Path) -> Iterator[None]:
    """For the camera's writer: meanwhile nobody else writes frames of it. Raises StoreUnreachable while somebody keeps the store's lock."""
    with building_lock(camera), locked(camera, patience_s=_PATIENCE_S):
        yield


def drop_unfinished_writes(camera: Path) -> int:
    """Remove what a writer left half written; returns how many files went. Call it as the camera's writer.

    What others may be writing (settings, the index) stays; and all of it, while somebody keeps the store's lock.
    """
    left = [path for path in unfinished_files(camera) if path.name.startswith(_NAMES)]
    if not left:
        return 0
    try:
        with alone(camera):
            gone = [path for path in left if unlink(path)]
            for directory in {path.parent for path in gone}:
                fsync_directory(directory)
    except StoreUnreachable:
        return 0
    return len(gone)
