"""The wall clock of a live source: what its packets report (RTCP), and the program date of HLS, which is read again when it is void.

Threads: belongs to the thread of its connection.
"""

import math
from collections.abc import Callable

from afterview.stream.source.clocks.clock import SourceClock
from afterview.stream.source.clocks.program_date import read_program_date

# The program date of HLS is read again for the drift of clocks: seconds.
_DATE_EVERY_S = 3600.0
_DATE_AGAIN_S = 10.0  # ... after a read that failed; twice as long each time if there never was a date
_ROUND_S = (
    2**33 / 90_000
)  # MPEG-TS times count so far, then begin anew; FFmpeg goes on counting, also after a discontinuity that goes back
_LONGEST_PLAYLIST_S = 120.0  # from the picture that is shown to the newest segment; more apart are times of two clocks


class LiveWall:
    """Of one connection."""

    def __init__(self, clock: SourceClock, playlist: str | None, unit: float, monotonic: Callable[[], float]) -> None:
        """playlist: its address; None for a source that is no HLS. unit: seconds of a presentation time."""
        self._clock, self._playlist, self._unit, self._monotonic = clock, playlist or "", unit, monotonic
        self._due = math.inf if playlist is None else -math.inf  # monotonic
        self._again_s = _DATE_AGAIN_S
        self._dated = self._known = False  # the date was known once, and at the latest picture

    def at(self, pts: int | None) -> float | None:
        """Unix seconds of the picture at pts; None if they are unknown."""
        now = self._monotonic()
        if now >= self._due:
            self._read(pts, now)
        wall = self._clock.wall(pts)
        if (
            wall is None and self._known and self._playlist
        ):  # the stream's clock restarted; the date belongs to the old one
            self._read(pts, now)
            wall = self._clock.wall(pts)
        if wall is None and self._dated:
            self._due = min(self._due, now + _DATE_AGAIN_S)
        self._known = wall is not None
        return wall

    def _read(self, pts: int | None, now: float) -> None:
        date = read_program_date(self._playlist)
        if date is not None and pts is not None:
            ahead_s = date.pts_s - pts * self._unit
            rounds = round(ahead_s / _ROUND_S)
            date = date._replace(pts_s=date.pts_s - rounds * _ROUND_S)
            if abs(ahead_s - rounds * _ROUND_S) > _LONGEST_PLAYLIST_S:
                date = None  # of the clock before or after a restart
        if date is not None:
            self._clock.learn_wall_clock(round(date.pts_s / self._unit), round(date.unix_s * 1e6))
        self._dated = self._dated or date is not None
        self._due = now + (_DATE_EVERY_S if date else self._again_s)
        self._again_s = _DATE_AGAIN_S if self._dated else min(_DATE_EVERY_S, 2 * self._again_s)
