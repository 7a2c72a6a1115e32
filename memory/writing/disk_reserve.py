"""Reserved disk space. Forgetting and evicting write a little before they free space; this makes it possible on a full disk."""

import os
from pathlib import Path

FILE = "reserve"
RESERVE_BYTES = 1 << 18  # a few small files, and one or two replaced scalar chunks


class Reserve:
    """The reserve of one camera. Best effort: if there is no room now, a later `hold` may succeed."""

    def __init__(self, camera: Path) -> None:
        self._path = camera / FILE
        self.hold()

    def hold(self) -> None:
        """Reserve the space, if there is room."""
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
        except OSError:
            self.release()

    def release(self) -> None:
        """Release the space for an operation that frees more."""
        self._path.unlink(missing_ok=True)
