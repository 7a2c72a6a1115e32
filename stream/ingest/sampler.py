"""Chooses the frames that are remembered: by presentation time, the first frame at or after each slot of the stream. Pure.

Slot k of a stream sampled at `fps` begins k / fps seconds after the stream's first frame. At most one frame is chosen per slot,
and slot numbers only rise. A stream's clock may misbehave; what then happens:

    variable rate, dropped frames    slots without a frame are skipped: their numbers are missing
    forward jump                     the same: the slot number jumps as far as the clock did
    repeats, small steps back        the frame belongs to a slot that is taken, and is not chosen
    step back (the clock restarted)  a discontinuity: the frame takes the next slot number, and slots are counted from it anew
    forward jump of years            the same: caused by a damaged time or a clock that was set, not by a recording that leaves time out
    no time at all                   the time is estimated from the last step, or from the nominal rate
"""

import copy
import math
from dataclasses import dataclass

from afterview.configs import UsageError

# A frame this little before its slot belongs to it: containers cut times to whole milliseconds, RTP to 1/90000 s. Half a millisecond
# more than needed, so that no whole millisecond lies on the edge.
TOLERANCE_S = 0.0015
REORDER_S = 0.5  # steps back up to here are frames out of order (B-frames, jitter); beyond, the clock restarted
STUCK_S = (
    2.0  # seconds of frames without progress that count as a restart: the clock stopped, or loops within REORDER_S
)
LONGEST_JUMP_S = 1e8  # seconds (three years) ahead; beyond, the clock restarted
IMPOSSIBLE_S = 1e12  # seconds: an impossible time, from a damaged stream; it counts as none
DEFAULT_RATE = 25.0  # frames per second assumed of a stream that states neither times nor a rate


@dataclass(frozen=True, slots=True)
class Chosen:
    """A frame that is to be remembered.

    slot: number of the sampling slot, strictly ascending over the whole life of the sampler.
    pts_s: its presentation time on the stream's own clock, estimated where the stream gave none.
    discontinuity: a new stretch of time begins here; `pts_s` cannot be compared with those before.
    """

    slot: int
    pts_s: float
    discontinuity: bool = False


class Sampler:
    """Chooses `fps` frames per second of one stream. Not thread-safe: it belongs to the thread that decodes.

    `nominal_rate` is the frame rate that the stream states; it is used only until two frames had a time.
    Raises UsageError unless `fps` is positive and finite.
    """

    def __init__(self, fps: float, *, nominal_rate: float | None = None) -> None:
        if not (math.isfinite(fps) and fps > 0):
            raise UsageError(f"sampling rate {fps:g} is not a positive number of frames per second")
        self.fps = fps
        self.discontinuities = 0  # since the sampler was made
        self._next_slot = 0
        self.restart(nominal_rate=nominal_rate)

    def restart(self, *, nominal_rate: float | None = None) -> None:
        """A new connection, whose clock has nothing to do with the old one: its first frame takes the next slot number."""
        rate = nominal_rate if nominal_rate and math.isfinite(nominal_rate) and nominal_rate > 0 else DEFAULT_RATE
        self._steps = (1.0 / rate, 1.0 / rate)  # seconds: the last two forward steps between known times
        self._last_known: float | None = None  # the last time that the stream itself gave
        self._anchored = False
        self._anchor = 0.0  # time of the frame that slots are counted from ...
        self._anchor_slot = 0  # ... and its slot
        self._newest = 0.0  # the latest time since the anchor
        self._idle = 0  # frames in a row that were not later than the newest

    def admit(self, pts_s: float | None) -> Chosen | None:
        """The slot that this frame is the first of, or None. pts_s: presentation time in seconds on any origin; None if unknown."""
        time = self._time_of(pts_s)
        discontinuity = False
        if not self._anchored or self._clock_restarted(time):
            discontinuity = self._next_slot > 0
            self._anchor_at(time)
        else:
            self._idle = 0 if time > self._newest else self._idle + 1
        self._newest = max(time, self._newest)
        slot = self._slot_at(time)
        if slot < self._next_slot:
            return None
        self._next_slot = slot + 1
        self.discontinuities += discontinuity
        return Chosen(slot, time, discontinuity)

    def due(self, pts_s: float | None) -> bool:
        """Whether `admit` would choose this frame, if it were the next one."""
        return copy.copy(self).admit(pts_s) is not None

    def is_same_slot(self, pts_s: float) -> bool:
        """Whether a frame at this time lies in the slot of the frame that was chosen last."""
        if not (self._anchored and abs(pts_s) < IMPOSSIBLE_S) or self._clock_restarted(pts_s):
            return False
        return self._slot_at(pts_s) == self._next_slot - 1

    def _slot_at(self, time: float) -> int:
        return self._anchor_slot + math.floor((time - self._anchor + TOLERANCE_S) * self.fps)

    def _anchor_at(self, time: float) -> None:
        self._anchored = True
        self._anchor, self._anchor_slot = time, self._next_slot
        self._newest = time
        self._idle = 0

    def _clock_restarted(self, time: float) -> bool:
        jumped = not -REORDER_S <= time - self._newest <= LONGEST_JUMP_S
        idle = self._idle + 1  # with this one; a single repeat is none, however slow the stream
        return jumped or (time <= self._newest and idle >= 2 and idle * self._step() >= STUCK_S)

    def _time_of(self, pts_s: float | None) -> float:
        if pts_s is None or not abs(pts_s) < IMPOSSIBLE_S:  # NaN included
            return self._newest + self._step() if self._anchored else 0.0
        if self._last_known is None and self._anchored:
            self._move_onto(pts_s)
        elif self._last_known is not None and pts_s > self._last_known:
            self._steps = (self._steps[1], pts_s - self._last_known)
        self._last_known = pts_s
        return pts_s

    def _step(self) -> float:
        return min(self._steps)  # the smaller of two, so that one gap in the stream is not taken for its rate

    def _move_onto(self, pts_s: float) -> None:
        """The first known time after frames without one, which were counted from 0: move that count onto the stream's clock."""
        shift = pts_s - (self._newest + self._step())
        self._anchor += shift
        self._newest += shift
