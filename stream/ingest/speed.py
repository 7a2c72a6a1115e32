"""The speed at which a recording is replayed. Decode thread."""

import math
import threading
import time


class Speed:
    """Limits a recording to `speed` times its own pace."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._began: float | None = None

    def skip(self) -> None:
        """The time up to the next frame is not waited for."""
        self._began = None

    def wait_until(self, pts_s: float, stop: threading.Event, *, restarted: bool) -> None:
        """Return when the frame at `pts_s` is due, or when `stop` is set."""
        if math.isinf(self._speed):
            return
        due = pts_s / self._speed
        if self._began is None or restarted:
            self._began = time.monotonic() - due
        stop.wait(max(0.0, self._began + due - time.monotonic()))
