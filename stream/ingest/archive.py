"""Recording several files into one camera: which of their frames it has already, and what became of each file. Decode thread.

A camera's times only rise. So the newest frame says how far an archive was recorded: earlier frames are left out, and counted.
"""

import copy
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

from afterview.configs import UsageError
from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.counts import counted
from afterview.memory.base.records import PACE_STEPS
from afterview.memory.base.typed_times import spell_duration
from afterview.stream.ingest.items import Joint
from afterview.stream.ingest.sampler import TOLERANCE_S, Sampler
from afterview.stream.ingest.timeline import SMALLEST_STEP, LiveClock, RecordedClock
from afterview.stream.source.events import WHOLE, Opened
from afterview.stream.source.recordings.archive import ArchivedFile, Clock

_LOGGER = logging.getLogger(__name__)

FileState = Literal["recorded", "present", "older", "failed", "unfinished", "waiting", "interrupted"]
"""recorded: frames of it are new. present: the camera had all of it. older: it lies before the newest frame, and the camera has nothing of
it. failed: it cannot be read. unfinished: it is still being written. waiting: for an
unfinished one before it. interrupted: it was not read to its end."""


@dataclass
class FileOutcome:
    """What became of one file. start: Unix seconds, by `clock`; None if unknown. recorded: new frames. skipped: those that the camera had,
    or that lie before its newest frame. detail: for people."""

    file: str
    state: FileState
    start: float | None = None
    clock: Clock = "none"
    recorded: int = 0
    skipped: int = 0
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class ArchiveReading:
    """The files of one camera as they are read, one after the other."""

    def __init__(
        self, files: Sequence[ArchivedFile], newest: float | None, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """files: those that will begin. newest: time of the camera's newest frame, Unix seconds."""
        self._newest, self._monotonic = newest, monotonic
        self.outcomes: list[FileOutcome] = []
        self._count, self._total_s = len(files), sum(file.length_s or 0.0 for file in files)
        self._began, self._done_s = monotonic(), 0.0  # _done_s: seconds of recordings before the present one
        self._skipped: deque[float] = deque(
            maxlen=PACE_STEPS + 1
        )  # the latest times of the present file that were skipped
        self.file: ArchivedFile | None = None

    def begin(self, file: ArchivedFile) -> FileOutcome:
        """The next file."""
        self._done_s += self.file.length_s or 0.0 if self.file is not None else 0.0
        self.file = file
        self._skipped.clear()
        self.outcomes.append(FileOutcome(file.address.redacted, "interrupted", file.start, file.clock))
        return self.outcomes[-1]

    def ended(self, reason: str, *, grew: bool) -> None:
        """The present file was read to its end."""
        outcome = self.outcomes[-1]
        outcome.state = "unfinished" if grew else "recorded" if outcome.recorded else "present"
        outcome.detail = f"still being written (it grew while it was read); {reason}" if grew else reason
        self._say(outcome)

    def require_new(self, info: CameraInfo, last: float | None) -> None:
        """Raise UsageError if the present file has nothing new for the camera, whose newest frame lies at `last`."""
        outcome = self.outcomes[-1]
        if outcome.skipped and not outcome.recorded and last is not None:
            raise UsageError(
                f"{outcome.file}: all of it lies before the newest frame of camera '{info.id}' ({info.show(last)}), which may have it "
                "already; give a later --start or another --camera"
            )

    def failed(self, reason: str) -> None:
        """The present file cannot be read (any further)."""
        outcome = self.outcomes[-1]
        outcome.state, outcome.detail = "failed", reason
        _LOGGER.error("%s: %s; going on with the next file", outcome.file, reason)

    def _say(self, outcome: FileOutcome) -> None:
        whole = outcome.detail == WHOLE
        _LOGGER.log(
            logging.DEBUG if whole else logging.WARNING, "%s: %s, %s, %d skipped (%s)",
            outcome.file, outcome.state, counted(outcome.recorded, "new frame"), outcome.skipped, outcome.detail,
        )  # fmt: skip

    def typed_start(self, event: Opened) -> float | None:
        """Unix seconds of the first frame by a clock that is not in the recording; None: the recording states it."""
        file = self.file
        if (
            file is None
            or file.start is None
            or file.clock in ("stated", "none")
            or (event.own_clock and not file.forced)
        ):
            return None
        return file.start + event.delay_s

    def summary(self) -> str:
        """What was read, when all files were."""
        states = [outcome.state for outcome in self.outcomes]
        parts = [f"{counted(len(states), 'file')} read"]
        parts += [f"{states.count(state)} {state}" for state in ("present", "unfinished", "failed") if state in states]
        return ", ".join(parts)

    # --- frames ---

    def has(self, when: float) -> bool:
        """Whether a frame at this time cannot be recorded any more; it is counted."""
        if self._newest is None or when > self._newest + SMALLEST_STEP / 2:
            return False
        self.outcomes[-1].skipped += 1
        self._skipped.append(when)
        return True

    def joint(self) -> Joint | None:
        """A new frame follows. What comes before the first one of a file: how it continues what the camera has."""
        outcome = self.outcomes[-1]
        if outcome.recorded:
            return None
        if not outcome.skipped:
            return Joint("not recording")
        return Joint("jump", tuple(after - before for before, after in pairwise(self._skipped)))

    def recorded(self, when: float) -> None:
        """The new frame at `when` is on its way."""
        self._newest = when
        self.outcomes[-1].recorded += 1

    def wants(self, pts_s: float | None, sampler: Sampler, clock: LiveClock | RecordedClock | None) -> bool:
        """Whether the frame at `pts_s` must be decoded: the sampler chooses it, and the camera may not have it."""
        chosen = copy.copy(sampler).admit(pts_s)
        if chosen is None:
            return False
        if chosen.discontinuity or self._newest is None or not isinstance(clock, RecordedClock) or clock.own_clock:
            return True
        return copy.copy(clock).time_of(chosen.pts_s, 0.0) > self._newest + SMALLEST_STEP / 2

    # --- progress ---

    def progress(self) -> str:
        """`file 3 of 120, 2 min 10 s left`, when a file begins; empty for a single one."""
        number, left_s = len(self.outcomes), self._total_s - self._done_s
        if self._count == 1:
            return ""
        left = ""
        if left_s > 0 and self._done_s > 0:
            left = f", {spell_duration((self._monotonic() - self._began) / self._done_s * left_s)} left"
        return f"file {number} of {self._count}{left}"


def has_grown(file: ArchivedFile) -> bool:
    """Whether a file is larger than when it was looked at."""
    try:
        return 0 < file.size < os.stat(file.address.url).st_size
    except OSError:
        return False


def is_complete(file: ArchivedFile, later: float | None, newest: float, fps: float) -> bool:
    """Whether a camera whose newest frame lies at `newest` can take nothing more of a file.

    later: Unix seconds by which a file whose length is unknown was over. The next file may begin a little before that.
    """
    if file.start is None or newest < file.start:
        return False
    if file.end is None:
        return later is not None and later <= newest
    slots = math.floor((newest - file.start + TOLERANCE_S) * fps) + 1
    return file.start + slots / fps >= file.end + file.unsure_s - TOLERANCE_S
