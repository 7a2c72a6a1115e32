"""Frames that were on their way to the disk when their span was forgotten (in a queue, or waiting for their clip): forgotten, too."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from afterview.memory.base.records import FrameRecord


@dataclass(frozen=True)
class OnTheWay:
    """A span that was forgotten, and when. Unix seconds. Frames that come in later are recorded, whatever their times are."""

    start: float
    stop: float
    asked: float

    @classmethod
    def of(cls, command: Mapping[str, Any]) -> "OnTheWay | None":
        """What a command `forget` says now; None if it says nothing."""
        try:
            return cls(float(command["start"]), float(command["stop"]), time.time())
        except (KeyError, TypeError, ValueError, OverflowError):
            return None

    def frames(self, clip: Sequence[object]) -> int:
        """How many frames of a clip (or one frame) are not to be recorded: all, if one is of the span, because they share their tokens."""
        frames = [item for item in clip if isinstance(item, FrameRecord)]
        forgotten = any(self.start <= frame.time <= self.stop and frame.arrival_time <= self.asked for frame in frames)
        return len(frames) if forgotten else 0
