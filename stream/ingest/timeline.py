"""Canonical times: where on the camera's time line a frame lies. Pure: every time is an argument.

A recording's frame lies at the recording's start plus its presentation time, and where its own clock says when it was taken (prft), there.
A live frame lies at its connection's anchor plus the stream's own time, so that network jitter never reaches the memory and a live
stream gets the same spacing as its recording. The anchor is the source's own wall clock where it gives one (RTCP sender reports, the
program date of HLS, prft boxes) that can be believed, and else the moment at which the least delayed frame of the connection arrived.

Anchors change: a camera's first report comes seconds after its first frame, clocks drift and are set. The time line never goes
back and never stands still. Where the anchor moved ahead, it follows at once. Where it moved back, the time line goes on at half
the stream's speed until it is where it should be: whoever is a minute ahead is right again two minutes later.
"""

import math

from afterview.memory.base.records import TimeBasis
from afterview.stream.ingest.sampler import REORDER_S

SMALLEST_STEP = 0.001  # seconds between two frames whose source says that time stood still or went back
_SLOWEST = 0.5  # seconds of the time line per second of the stream, while the line is ahead
_TOLERANCE = 0.1  # seconds between anchor and source clock that change nothing: reports jitter by a frame's length
_SLACK = 0.5  # seconds between anchor and arrivals that change nothing ...
_BURSTS_SLACK = 10.0  # ... of HLS, whose segments differ in length
_AHEAD = 2.0  # seconds that a picture may seem to have been taken after it arrived: clocks of two machines ...
_BURSTS_AHEAD = 10.0  # ... and HLS segments that are dated by when they were published
_MOST_LAG = 120.0  # seconds that it may have been taken before: broadcasts are half a minute late
_DOUBT = 0.5  # a clock that is not believed is, once it keeps these bounds times this: it must not be doubted every other frame
_BEHIND = 10.0  # seconds: where the stream's own time and arrivals part by more between two frames, a clock has jumped
_LONGEST_STEP = 60.0  # seconds between two connections that count as waited: more may as well be our clock that was set
_DRIFT = 1e-4  # seconds per second that the two clocks may drift apart: ten times what quartz does
_LEARN_S = 0.5  # seconds without a less delayed frame until the least delay is known (not where frames come in bursts)
_LEARN_AT_MOST_S = 2.0  # seconds: frames that wait for their times are not durable yet
_LESS_S = 0.01  # seconds less that count: a machine that catches up with what was buffered gains more with every frame


class RecordedClock:
    """Times of a recording that began at `start` (Unix seconds). `observe` for every decoded frame, `time_of` for chosen ones."""

    def __init__(self, start: float, *, fps: float = 1.0, own_clock: bool = False) -> None:
        """fps: frames sampled per second; where the recording's clock restarts, its next frame comes one period after the last.

        own_clock: the recording says by the source's own clock when its frames were taken (prft).
        """
        self._start, self._period, self._own_clock = start, 1 / fps, own_clock
        self._anchor: float | None = (
            None  # Unix seconds at presentation time 0 by the source's own clock, at the latest frame
        )
        self._given: tuple[float, float] | None = (
            None  # presentation time and canonical time of the latest chosen frame
        )
        self.basis = TimeBasis.SOURCE if own_clock else TimeBasis.FILE

    def observe(self, pts_s: float | None, source_time: float | None) -> None:
        """Learn when a frame was taken: recordings drift by the source's own clock, and may leave out what lies between."""
        if self._own_clock:
            self._anchor = None if pts_s is None or source_time is None else source_time - pts_s

    def time_of(self, pts_s: float, arrival_time: float, *, restarted: bool = False) -> float:
        """Canonical time of the frame at `pts_s`; restarted: `pts_s` cannot be compared with those before."""
        if self._anchor is not None and (restarted or abs(self._anchor - self._start) > _TOLERANCE):
            self._start = self._anchor
        elif restarted and self._given is not None:
            self._start = self._given[1] + self._period - pts_s
        when = self._start + pts_s
        if self._given is not None:
            step = 0.0 if restarted else pts_s - self._given[0]
            when = max(when, self._given[1] + max(SMALLEST_STEP, _SLOWEST * step))
        self._given = pts_s, when
        return when


class LiveClock:
    """Times of a live stream. `connected` at every (re)connection, `observe` for every decoded frame, `time_of` for chosen ones.

    What a connection delivers first was buffered while it was being opened (RTSP probes for seconds, HLS sends whole segments), so its
    frames arrive faster than their own clock runs. Until one arrives no faster than that, or the source's clock is known, the clock
    is not `settled`: it still learns what anchors the connection. Hold chosen frames back until then.

    basis: whose clock gave the latest time. disbelieved: seconds that the source's clock lay ahead of arrival when it was first not
    believed; None while it never happened.
    """

    def __init__(self, *, after: float | None = None, bursts: bool = False) -> None:
        """after: time of the camera's newest frame. bursts: the source delivers whole segments at once (HLS)."""
        self._newest = -math.inf if after is None else after
        self._slack, self._ahead = (_BURSTS_SLACK, _BURSTS_AHEAD) if bursts else (_SLACK, _AHEAD)
        self._learn_s, self._learn_at_most_s = (0.0, math.inf) if bursts else (_LEARN_S, _LEARN_AT_MOST_S)
        self._wanted = math.inf  # where the latest frame should lie
        self.disbelieved: float | None = None
        self.connected()

    def connected(self) -> None:
        """A new connection has its own presentation clock."""
        self.settled, self.basis = False, TimeBasis.ARRIVAL
        self._stamped = False  # the source gives presentation times
        self._began: float | None = None  # when the first frame arrived
        self._improved = -math.inf  # when the latest frame arrived that was clearly less delayed than all before it
        self._seen: tuple[float, float] | None = None  # presentation and arrival time of the latest frame
        # Three candidates of Unix seconds at presentation time 0:
        self._arrivals = math.inf  # by the frame with the least delay
        self._source: float | None = None  # by the source's clock, while it is known and believed
        self._offset: float | None = None  # in use
        self._given: tuple[float, float] | None = (
            None  # presentation and arrival time of the latest frame that got a time
        )

    def observe(
        self,
        pts_s: float | None,
        arrival_time: float,
        source_time: float | None = None,
        reached_s: float | None = None,
    ) -> None:
        """Learn from a decoded frame, chosen or not. source_time: the source's own wall clock for it, Unix seconds.

        reached_s: where on the stream's own clock the source was by then, at least: later than the frame, where decoding held it back.
        """
        if pts_s is None:
            self.settled = True  # nothing to learn from: the chosen frames themselves anchor the connection
            return
        self._stamped = True
        on_time = self._follow(pts_s, arrival_time, pts_s if reached_s is None else reached_s)
        believed = source_time is not None and self._believe(source_time - arrival_time)
        self._source = source_time - pts_s if source_time is not None and believed else None
        self._began = arrival_time if self._began is None else self._began
        known = on_time and arrival_time - self._improved >= self._learn_s
        self.settled = self.settled or believed or known or arrival_time - self._began >= self._learn_at_most_s

    def _follow(self, pts_s: float, arrival_time: float, reached_s: float) -> bool:
        """Learn from an arrival. Returns whether the frame came no faster than its stream's own time."""
        offset, first = arrival_time - reached_s, self._seen is None
        last_pts, last_arrival = self._seen or (pts_s, arrival_time)
        self._seen = pts_s, arrival_time
        step, waited = pts_s - last_pts, arrival_time - last_arrival
        if offset < self._arrivals - _LESS_S:
            self._improved = arrival_time
        if step < -REORDER_S or offset - self._arrivals > _BEHIND:
            self._arrivals = offset
        else:
            self._arrivals = min(offset, self._arrivals + _DRIFT * max(0.0, waited))
        return not first and (waited >= step / 2 or step < 0)

    def _believe(self, ahead: float) -> bool:
        bounds = 1.0 if self._source is not None else _DOUBT
        if -_MOST_LAG * bounds <= ahead <= self._ahead * bounds:
            return True
        self.disbelieved = ahead if self.disbelieved is None else self.disbelieved
        return False

    def time_of(self, pts_s: float, arrival_time: float, *, restarted: bool = False) -> float:
        """Canonical time of the frame at `pts_s` that came in at `arrival_time`; restarted: its stream's clock began anew."""
        if not self._stamped:
            self._follow(pts_s, arrival_time, pts_s)
        if restarted or math.isinf(self._arrivals):
            self._arrivals = arrival_time - pts_s
        self.basis = TimeBasis.ARRIVAL if self._source is None else TimeBasis.SOURCE
        anchor, tolerance = (self._arrivals, self._slack) if self._source is None else (self._source, _TOLERANCE)
        if restarted or self._offset is None or abs(anchor - self._offset) > tolerance:
            self._offset = anchor
        wanted = min(self._offset + pts_s, arrival_time + self._ahead)
        step = min(wanted - self._wanted, _LONGEST_STEP)
        if (
            self._given is not None
            and not restarted
            and pts_s - self._given[0] < _BEHIND + arrival_time - self._given[1]
        ):
            step = pts_s - self._given[0]  # also where the anchor has just moved
        self._newest = max(wanted, self._newest + max(SMALLEST_STEP, _SLOWEST * step))
        self._given, self._wanted = (pts_s, arrival_time), wanted
        return self._newest
