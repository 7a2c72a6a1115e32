"""Canonical times: where on the camera's time line a frame lies. Pure: every time is an argument.

A recording's frame lies at the recording's start plus its presentation time. A live frame lies where the first frame of its
connection arrived, plus the stream's own time since: network jitter never reaches the memory, and a live stream gets the same
spacing as its recording. Times are strictly ascending per camera, whatever the source does.
"""

import math

SMALLEST_STEP = 0.001  # seconds between two frames whose source says that time stood still or went back
_AHEAD = 2.0  # seconds that a live frame's time may run ahead of its arrival before its connection is anchored anew
_BURSTS_AHEAD = 10.0  # the same for HLS, whose segments differ in length
_BEHIND = 10.0  # seconds that it may lag behind: a delay beyond it is a clock gone wrong


class RecordedClock:
    """Times of a recording that began at `start` (Unix seconds)."""

    def __init__(self, start: float, *, fps: float = 1.0) -> None:
        """fps: frames sampled per second; where the recording's clock restarts, its next frame comes one period after the last."""
        self._start, self._period, self._last = start, 1 / fps, -math.inf
        self.settled = True  # a recording's first frame says it all

    def observe(self, pts_s: float | None, arrival_time: float) -> None:
        """Nothing to learn: when a recorded frame arrives says nothing."""

    def time_of(self, pts_s: float, arrival_time: float, *, restarted: bool = False) -> float:
        """Canonical time of the frame at `pts_s`; restarted: `pts_s` cannot be compared with those before."""
        if restarted:
            self._start = self._last + self._period - pts_s
        self._last = max(self._start + pts_s, self._last + SMALLEST_STEP)
        return self._last


class LiveClock:
    """Times of a live stream. `connected` at every (re)connection, `observe` for every decoded frame, `time_of` for chosen ones.

    What a connection delivers first was buffered while it was being opened (RTSP probes for seconds, HLS sends whole segments), so its
    frames arrive faster than their own clock runs. Until one arrives no faster than that, the clock is not `settled`: it still learns
    which frame came with the least delay, and that one anchors the connection. Hold chosen frames back until then.
    """

    def __init__(self, *, after: float | None = None, bursts: bool = False) -> None:
        """after: time of the camera's newest frame. bursts: the source delivers whole segments at once (HLS)."""
        self._newest = -math.inf if after is None else after
        self._ahead = _BURSTS_AHEAD if bursts else _AHEAD
        self.connected()

    def connected(self) -> None:
        """A new connection has its own presentation clock."""
        self.settled = False
        self._offset = math.inf
        self._last: tuple[float, float] | None = None  # presentation and arrival time of the latest frame

    def observe(self, pts_s: float | None, arrival_time: float) -> None:
        """Learn from a decoded frame, chosen or not."""
        if self.settled:
            return
        if pts_s is None:
            self.settled = True  # nothing to learn from: the first chosen frame anchors the connection
            return
        if self._last is not None:
            step, waited = pts_s - self._last[0], arrival_time - self._last[1]
            self.settled = waited >= step / 2 or step < 0
        if not self.settled:
            self._offset = min(self._offset, arrival_time - pts_s)
        self._last = pts_s, arrival_time

    def time_of(self, pts_s: float, arrival_time: float, *, restarted: bool = False) -> float:
        """Canonical time of the frame at `pts_s` that came in at `arrival_time`; restarted: its stream's clock began anew."""
        late = arrival_time - (self._offset + pts_s)
        if restarted or not -self._ahead <= late <= _BEHIND:
            self._offset = arrival_time - pts_s
        self._newest = max(self._offset + pts_s, self._newest + SMALLEST_STEP)
        return self._newest
