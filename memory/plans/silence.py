"""The usual step between a source's frames, and which silence between two frames is a hole. Pure but for its own few numbers."""

import statistics
from collections import deque
from collections.abc import Iterable

from afterview.memory.base.records import HOLE_STEPS, PACE_STEPS


class SourcePace:
    """The steps between the latest frames of one source. A source slower than the sampling leaves slots empty: that is no hole."""

    def __init__(self, period_s: float) -> None:
        """period_s: seconds between two sampled frames."""
        self._period_s = period_s
        self._steps: deque[float] = deque(
            maxlen=PACE_STEPS
        )  # seconds between the latest frames, as the source gave them
        self._allowed_s = 0.0  # that the next step may be long

    def allow(self, seconds: float) -> None:
        """The next step may be so long. After it the source's own pace is known."""
        self._allowed_s = seconds

    def add(self, seconds: float) -> None:
        """A step between two frames between which nothing is missing."""
        self._steps.append(seconds)
        self._allowed_s = 0.0

    def restart(self, steps: Iterable[float] = ()) -> None:
        """Another source, or another file: only these steps are known of it."""
        self._steps = deque(steps, maxlen=PACE_STEPS)
        if self._steps:
            self._allowed_s = 0.0

    def is_hole(self, silence_s: float) -> bool:
        """Whether frames are missing in a silence of so many seconds."""
        usual = max(self._period_s, self._allowed_s, statistics.median(self._steps or [self._period_s]))
        return silence_s > HOLE_STEPS * usual
