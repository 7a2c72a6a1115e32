"""Times of formats that count in a circle: MPEG-TS and MPEG-PS in one of 26.5 hours, FLV in one of 50 days. Pure.

FFmpeg takes any time that lies before the first one for a time of the next round, and adds the length of a round. If the recording was
far from the end of its round, it is the time of a clock that began anew.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Self

import av

from afterview.stream.source.clocks.outliers import Packet, Timed

_ROUNDS_S: Mapping[str, float] = {"mpegts": 2**33 / 90_000, "mpeg": 2**33 / 90_000, "flv": 2**32 / 1000}
_LONGEST_PAUSE_S = 6 * 3600.0  # within a recording, across the end of a round


class WrappedTimes:
    """Of one stream. `unwrapped` for every packet, in file order. found: FFmpeg was wrong, so that the length it states is wrong, too."""

    def __init__(self, round_s: float) -> None:
        """round_s: after so many seconds the format counts from 0 again."""
        self._round_s = round_s
        self._last: float | None = None
        self.found = False

    @classmethod
    def of(cls, stream: av.VideoStream) -> Self | None:
        """For a stream; None if its format does not count in a circle."""
        round_s = _ROUNDS_S.get(stream.container.format.name)
        return None if round_s is None else cls(round_s)

    def unwrapped(self, item: Timed[Packet]) -> Timed[Packet]:
        """A packet with the times that the file states, unless its round has ended."""
        dts, pts = self._stated(item.dts), self._stated(item.pts)
        self._last = pts if dts is None else dts
        return item if (dts, pts) == (item.dts, item.pts) else replace(item, dts=dts, pts=pts)

    def _stated(self, time: float | None) -> float | None:
        if time is None or self._last is None or time < self._round_s:
            return time
        if time - self._last <= _LONGEST_PAUSE_S:
            return time
        self.found = True
        return time - self._round_s
