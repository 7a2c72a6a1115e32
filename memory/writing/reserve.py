"""A little space set aside, so that a full disk can be made emptier: forgetting and evicting must first write what they are about to do."""

import os
from pathlib import Path

FILE = "reserve"
RESERVE_BYTES = 1 << 18  # a few small files, and a scalar chunk or two written anew


class Reserve:
    """One camera's. Holding it is best effort: where there is no room for it now, there may be later."""

    def __init__(self, camera: Path) -> None:
        self._path = camera / FILE
        self.hold()

    def hold(self) -> None:
        """Set the space aside, where there is room."""
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
        except OSError:
            self.release()

    def release(self) -> None:
        """Give the space back, for something that frees more."""
        self._path.unlink(missing_ok=True)
