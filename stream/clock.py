"""Canonical times: where on the camera's time line a frame lies. Pure: every time is an argument.

A recording's frame lies at the recording's start plus its presentation time. A live frame lies where the first frame of its
connection arrived, plus the stream's own time since: network jitter never reaches the memory, and a live stream gets the same
spacing as its recording. Times are strictly ascending per camera, whatever the source does.
"""

import math

SMALLEST_STEP = 0.001  # seconds between two frames whose source says that time stood still or went back
_FORWARD = 2.0  # seconds that a live frame's time may run ahead of the clock before its connection is anchored anew
_BEHIND = 10.0  # seconds that it may lag behind: an encoder or network delay beyond it is a clock gone wrong
_HLS_SEGMENT = 20.0  # seconds ahead allowed for HLS: a segment of several seconds arrives at once


class RecordedClock:
    """Times of a recording that began at `start` (Unix seconds)."""

    def __init__(self, start: float, *, fps: float = 1.0) -> None:
        """fps: frames sampled per second; where the recording's clock restarts, its next frame comes one period after the last."""
        self._start, self._period, self._last = start, 1 / fps, -math.inf

    def time_of(self, pts_s: float, arrival_time: float, *, restarted: bool = False) -> float:
        """Canonical time of the frame at `pts_s`; restarted: `pts_s` cannot be compared with those before."""
        if restarted:
            self._start = self._last + self._period - pts_s
        self._last = max(self._start + pts_s, self._last + SMALLEST_STEP)
        return self._last


class LiveClock:
    """Times of a live stream; `connected` is called at every (re)connection."""

    def __init__(self, *, after: float | None = None, bursts: bool = False) -> None:
        """after: time of the camera's newest frame. bursts: the source delivers whole segments at once (HLS)."""
        self._last = -math.inf if after is None else after
        self._ahead = _HLS_SEGMENT if bursts else _FORWARD
        self._offset: float | None = None

    def connected(self) -> None:
        """A new connection has its own presentation clock."""
        self._offset = None

    def time_of(self, pts_s: float, arrival_time: float, *, restarted: bool = False) -> float:
        """Canonical time of the frame at `pts_s` that came in at `arrival_time`; restarted: its stream's clock began anew."""
        if self._offset is None or restarted or not -self._ahead <= arrival_time - (self._offset + pts_s) <= _BEHIND:
            self._offset = arrival_time - pts_s
        self._last = max(self._offset + pts_s, self._last + SMALLEST_STEP)
        return self._last
