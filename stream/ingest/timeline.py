"""Canonical times: the place of a frame on the camera's time line. Pure: every time is an argument. See docs/clocks.md.

A recording's frame: the recording's start plus the presentation time, or the time by the recording's own clock (prft) if it has one.
A live frame: its connection's anchor plus the stream's own time. So network jitter never reaches the memory, and a live stream gets the
same spacing as its recording. The anchor is the source's wall clock (RTCP sender reports, the program date of HLS) if it is plausible,
otherwise the arrival of the least delayed frame of the connection.

Anchors change: a camera's first report comes seconds after its first frame; clocks drift and are set. The time line never goes back and
never stops. It follows at once when the anchor moves ahead, but at one and a half times the stream's speed if that moved because arrivals
fell behind while frames came all the time. When the anchor moves back, the time line continues at half the stream's
speed until it agrees: one minute ahead is corrected after two minutes. A stream whose clock runs faster than its frames arrive counts as
no faster than these, so the time line never lies more than 1.5 times _AHEAD (_BURSTS_AHEAD) ahead of arrival, unless it began ahead.
"""

import math

from afterview.memory.base.records import TimeBasis
from afterview.stream.ingest.sampler import REORDER_S

SMALLEST_STEP = 0.001  # seconds between two frames if the source's time stood still or went back
_SLOWEST = 0.5  # seconds of the time line per second of the stream, while the time line is ahead
_TOLERANCE = 0.1  # seconds between anchor and source clock that are ignored: reports jitter by a frame's length
_SLACK = 0.5  # seconds between anchor and arrivals that are ignored ...
_BURSTS_SLACK = 10.0  # ... for HLS, whose segments differ in length
_AHEAD = 2.0  # seconds that a source clock may lie ahead of arrival: clocks of two machines differ ...
_BURSTS_AHEAD = 10.0  # ... and HLS segments may be dated by their publication
_MOST_LAG = 120.0  # seconds that a source clock may lie behind arrival: broadcasts are half a minute late
_HYSTERESIS = 0.5  # a rejected clock is accepted within these bounds times this (hysteresis)
_CATCH_UP = 0.5  # seconds per second by which the time line goes faster if the anchor moves ahead though frames came all the time
_BEHIND = 10.0  # seconds: if stream time and arrivals differ by more between two frames, a clock has jumped
_LONGEST_STEP = 60.0  # seconds between two connections; a longer step may mean that this machine's clock was set
_DRIFT = 1e-4  # seconds per second that the two clocks may drift apart: ten times the drift of quartz
_LEARN_S = 0.5  # seconds without a less delayed frame until the least delay is known (not for bursts)
_LEARN_AT_MOST_S = 8.0  # seconds: frames that wait are not durable yet; meanwhile a clock that runs fast is found
_LESS_S = 0.01  # seconds less delay that count: a machine that empties its buffer gains more with every frame


class RecordedClock:
    """Times of a recording that began at `start` (Unix seconds). `observe` for every decoded frame, `time_of` for chosen ones."""

    def __init__(self, start: float, *, fps: float = 1.0, own_clock: bool = False) -> None:
        """fps: frames sampled per second; when the recording's clock restarts, its next frame comes one period after the last.

        own_clock: the recording states by the source's own clock when its frames were taken (prft).
        """
        self._start, self._period, self.own_clock = start, 1 / fps, own_clock
        # Unix seconds at presentation time 0 by the source's own clock, at the latest frame.
        self._anchor: float | None = None
        # Presentation time and canonical time of the latest chosen frame.
        self._given: tuple[float, float] | None = None
        self.basis = TimeBasis.SOURCE if own_clock else TimeBasis.FILE

    def observe(self, pts_s: float | None, source_time: float | None) -> None:
        """Learn when a frame was taken: by the source's own clock, recordings drift and may leave time out."""
        if self.own_clock:
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

    The first frames of a connection were buffered while it was being opened (RTSP probes for seconds, HLS sends whole segments), so they
    arrive faster than their own clock runs. Until a frame arrives no faster, or the source's clock is known, the clock is not `settled`:
    its anchor may still change. Hold chosen frames back until then. The same happens when frames suddenly come faster than ever before.

    basis: whose clock gave the latest time. rejected: seconds that the source's clock lay ahead of arrival when it was first rejected;
    None if it never was.
    """

    def __init__(self, *, after: float | None = None, bursts: bool = False) -> None:
        """after: time of the camera's newest frame. bursts: the source delivers whole segments at once (HLS)."""
        self._newest = -math.inf if after is None else after
        self._bursts = bursts
        self._slack, self._ahead = (_BURSTS_SLACK, _BURSTS_AHEAD) if bursts else (_SLACK, _AHEAD)
        self._learn_s, self._learn_at_most_s = (0.0, math.inf) if bursts else (_LEARN_S, _LEARN_AT_MOST_S)
        self._wanted = math.inf  # where the latest frame should lie
        self._credit = self._ahead  # seconds of the stream that may come at once
        self._latency = 0.0  # seconds from the source's clock to arrivals; bursts only
        self._lag = (
            0.0  # seconds that the time line makes good little by little: a leap would look as if frames were missing
        )
        self.rejected: float | None = None
        self.connected()

    def connected(self, *, by_arrival: bool = False, goes_on: bool = False) -> None:
        """A new connection has its own presentation clock, and so has a stream whose clock began anew. Date held frames first.

        by_arrival: presentation times are the arrivals of single pictures: nothing needs to be learnt from later ones.
        goes_on: the same connection goes on: its segments come as late as before.
        """
        self._by_arrival = by_arrival
        self._latency = self._latency if goes_on else 0.0
        self.settled, self.basis = False, TimeBasis.ARRIVAL
        self._stamped = False  # the source gives presentation times
        self._began: float | None = None  # when the first frame arrived
        self._improved = -math.inf  # when the latest frame arrived that was clearly less delayed than all before it
        self._seen: tuple[float, float] | None = None  # presentation and arrival time of the latest frame
        # Three candidates of Unix seconds at presentation time 0:
        self._arrivals = math.inf  # by the frame with the least delay
        self._source: float | None = None  # by the source's clock, while it is known and accepted
        self._offset: float | None = None  # in use
        # Presentation and arrival time of the latest frame that got a time.
        self._given: tuple[float, float] | None = None

    def observe(
        self,
        pts_s: float | None,
        arrival_time: float,
        source_time: float | None = None,
        reached_s: float | None = None,
    ) -> None:
        """Learn from a decoded frame, chosen or not. source_time: the source's own wall clock for it, Unix seconds.

        reached_s: the time on the stream's own clock that the source had reached by then; later than the frame if decoding delayed it.
        """
        if pts_s is None:
            self.settled = True  # no time to learn from: the chosen frames themselves anchor the connection
            return
        self._stamped = True
        on_time = self._follow(pts_s, arrival_time, pts_s if reached_s is None else reached_s)
        accepted = source_time is not None and self._accepts(source_time - arrival_time)
        self._source = source_time - pts_s if source_time is not None and accepted else None
        if self._bursts and self._source is not None:
            self._latency = max(0.0, self._arrivals - self._source)
        if self._began is None or (self.settled and self._rushes()):
            self._began, self.settled = arrival_time, False
        known = on_time and arrival_time - self._improved >= self._learn_s
        late = arrival_time - self._began >= self._learn_at_most_s
        told = accepted and (on_time or self._bursts)  # else a clock of many times its rate may be about to be found
        self.settled = self.settled or told or known or late or self._by_arrival

    def _follow(self, pts_s: float, arrival_time: float, reached_s: float) -> bool:
        """Learn from an arrival. Returns whether the frame came no faster than the stream's own time."""
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

    def _rushes(self) -> bool:
        """Whether frames come earlier than the anchor in use allows: what was held up comes now, or a clock begins to run fast."""
        if self._bursts or self._source is not None or self._offset is None:
            return False
        return self._arrivals < self._offset - self._slack

    def _accepts(self, ahead: float) -> bool:
        bounds = 1.0 if self._source is not None else _HYSTERESIS
        if -_MOST_LAG * bounds <= ahead <= self._ahead * bounds:
            return True
        self.rejected = ahead if self.rejected is None else self.rejected
        return False

    def time_of(self, pts_s: float, arrival_time: float, *, restarted: bool = False) -> float:
        """Canonical time of the frame at `pts_s` that came in at `arrival_time`; restarted: its stream's clock began anew."""
        if not self._stamped:
            self._follow(pts_s, arrival_time, pts_s)
        restarted = (
            restarted and self._given is not None
        )  # else `connected` has been told, and what was observed counts
        if restarted or math.isinf(self._arrivals):
            self._arrivals = arrival_time - pts_s
        self.basis = TimeBasis.ARRIVAL if self._source is None else TimeBasis.SOURCE
        anchor, tolerance = (
            (self._arrivals - self._latency, self._slack) if self._source is None else (self._source, _TOLERANCE)
        )
        self._make_good(pts_s, arrival_time, None if restarted or self._source is not None else anchor - tolerance)
        if restarted or self._offset is None or abs(anchor - self._offset) > tolerance:
            self._offset = anchor
        wanted = min(self._offset + pts_s, arrival_time + self._ahead) - self._lag
        step = min(wanted - self._wanted, _LONGEST_STEP)
        if self._given is not None:
            waited = arrival_time - self._given[1]
            step = min(step, max(0.0, waited) + self._ahead)
            if not restarted:
                step = self._arrived_step(pts_s - self._given[0], waited, step)
        self._newest = max(wanted, self._newest + max(SMALLEST_STEP, _SLOWEST * step))
        self._given, self._wanted = (pts_s, arrival_time), wanted
        return self._newest

    def _make_good(self, pts_s: float, arrival_time: float, least: float | None) -> None:
        """least: the anchor in use moves ahead if it lies before this, because arrivals fell behind; None if it moves for other reasons."""
        if least is None or self._given is None or self._offset is None:
            self._lag = 0.0
            return
        step, waited = pts_s - self._given[0], max(0.0, arrival_time - self._given[1])
        self._lag = max(0.0, self._lag - _CATCH_UP * waited)
        if self._offset < least and 0 <= step < _BEHIND:
            silence = max(0.0, waited - step)  # nothing came for so long: these seconds are missing indeed
            self._lag = max(self._lag, self._arrivals - self._latency - self._offset - silence)

    def _arrived_step(self, step: float, waited: float, wanted: float) -> float:
        """The stream's step (also where the anchor has just moved), as far as arrivals bear it out; `wanted` where a clock has jumped."""
        if step >= _BEHIND + waited:
            return wanted
        bearable = self._credit + max(0.0, waited)
        self._credit = min(self._ahead, bearable - min(step, bearable))
        return min(step, bearable)
