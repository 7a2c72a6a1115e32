"""What a writer that died was writing at that moment. Nobody reads such files; the next writer removes them."""

from contextlib import nullcontext
from pathlib import Path

from memory.building import building_lock
from memory.durable import fsync_directory, unfinished_files, unlink
from memory.erase import HOLD_FRAMES
from memory.errors import StoreUnreachable
from memory.uploaded import FILE, locked

_NAMES = (".committed.", *HOLD_FRAMES)
_PATIENCE_S = 1.0  # for the store's lock: a file that stays does no harm


def drop_unfinished_writes(camera: Path) -> int:
    """Remove what a writer left half written; returns how many files went. Call it as the camera's writer.

    Others write such files under the locks that are taken here. While somebody keeps the store's lock they stay.
    """
    left = [path for path in unfinished_files(camera) if path.name.startswith(_NAMES)]
    if not left:
        return 0
    store = locked(camera, patience_s=_PATIENCE_S) if (camera / FILE).exists() else nullcontext()
    try:
        with building_lock(camera), store:
            gone = [path for path in left if unlink(path)]
            for directory in {path.parent for path in gone}:
                fsync_directory(directory)
    except StoreUnreachable:
        return 0
    return len(gone)
