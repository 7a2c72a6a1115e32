"""Unfinished files of a process that died. Readers ignore them; the next writer deletes those of the last one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from afterview.memory.base.durable import fsync_directory, unfinished_files, unlink
from afterview.memory.base.errors import StoreUnreachable
from afterview.memory.format.generation_build import building_lock
from afterview.memory.format.upload_state import upload_lock
from afterview.memory.writing.erase import HOLD_FRAMES

_NAMES = (".committed.", ".in-place.", *HOLD_FRAMES)
_PATIENCE_S = 1.0  # to wait for a process that is sending; a file that stays does no harm


@contextmanager
def alone(camera: Path) -> Iterator[None]:
    """Keep all other processes from writing frames of the camera. Raises StoreUnreachable if one holds `uploaded.lock`."""
    with building_lock(camera), upload_lock(camera, patience_s=_PATIENCE_S):
        yield


def drop_unfinished_writes(camera: Path) -> int:
    """Delete what a writer left half written; returns the number of files. Call it as the camera's writer.

    Files that other processes may be writing (settings, the index) stay. While another process holds `uploaded.lock`, all stay.
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
