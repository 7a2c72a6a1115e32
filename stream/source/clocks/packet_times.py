"""The times of a connection's packets, verified: lone wrong times are mended, and a live stream's clock is checked against arrivals.

What comes out is one line of time in the stream's own unit, which everything behind it can use: the decoder, the sampler and the time line.

recordings           the packets' own times; packets are read ahead to judge doubtful ones (recorded_times.py)
live                 the same; where the clock jumps, the line goes on by arrivals
live, times repeated  the arrivals since the first packet of that time are added: some cameras give new times to key frames only
live, clock wrong    by arrivals, until the clock is right again (clock_check.py)
formats without times, live (raw H.264, MJPEG)    by arrivals
HLS                  the packets' own times: whole segments arrive at once, so arrivals do not tell

Threads: belongs to the thread of its connection.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import av

from afterview.stream.source.clocks.clock_check import ClockCheck
from afterview.stream.source.clocks.outliers import Outliers, Timed
from afterview.stream.source.clocks.recorded_times import RecordedTimes
from afterview.stream.source.clocks.wrapped_times import WrappedTimes

_LEAST_STEP_S = 0.001
_CATCH_UP = 0.5  # seconds per second by which the line goes faster to make good what a slow clock left out
_STANDS_S = 0.1  # seconds that several packets (fields of a picture, duplicates) may share one time
_MOST_BACK_S = 0.5  # seconds that packets may be out of order
_JITTER_S = 0.5  # seconds that a packet may be less delayed than all before it
_DRIFT = 1e-3  # seconds per second by which the least delay may grow, or the two clocks drift apart

Packet: TypeAlias = "av.Packet[Any]"


class LiveLine:
    """The line of time of a live stream. Pure: `place` every packet, in order of arrival.

    problem: what is wrong with the stream's clock, for people, or ''. repeated: packets that had the time of the one before, and got
    one of their own. changes: how often the line left the stream's clock or came back to another place on it: what was known about that
    clock's wall clock is void.
    """

    def __init__(self, *, without_times: bool) -> None:
        """without_times: the format has none."""
        self._check = None if without_times else ClockCheck()
        self._shift = 0.0  # from the stream's clock to the line, seconds
        self._newest: tuple[float, float] | None = None  # the line's latest time, and when that arrived
        # How far the line was ahead of arrival at most, and when that was seen.
        self._ceiling: tuple[float, float] | None = None
        self._base: float | None = None  # the line's time at arrival 0, while it goes by arrivals
        self._lag = _Lag()
        self._repeats = False  # the line lies beyond the clock, which stood still or went back
        self._stood: tuple[float, float] | None = None  # the stream's latest time, and when its first packet arrived
        self.changes = self.repeated = 0

    @property
    def problem(self) -> str:
        """What is wrong with the stream's clock, for people, or ''."""
        return "" if self._check is None else self._check.problem

    def place(self, item: Timed[Any]) -> tuple[float | None, float | None]:
        """The packet's decoding and presentation time on the line, seconds."""
        arrived = item.arrived
        assert arrived is not None
        if self._check is None:
            return self._by_arrival(arrived)
        self._lag.goes_on(arrived)
        if item.line is not None:
            self._judge(self._check, item, item.line, arrived)
        if self._check.problem:
            return self._by_arrival(arrived)
        shift = self._shift - self._lag.seconds
        if item.line is not None:
            shift += self._apart(item.line, item.line + shift, arrived)
            if self._newest is None or item.line + shift > self._newest[0]:
                self._newest = item.line + shift, arrived
                self._ceiling = max(self._ceiling_at(arrived), item.line + shift - arrived), arrived
        return _moved(item.dts, shift), _moved(item.pts, shift)

    def _apart(self, time: float, line: float, arrived: float) -> float:
        """Seconds to add on the line to a time that stands still, and to later ones that would fall back behind what was made of it."""
        stood, newest = self._stood, self._newest
        if newest is None:
            return 0.0
        least = newest[0] + _LEAST_STEP_S - line  # to lie beyond all before
        if stood is None or time != stood[0]:
            self._stood = time, arrived
            self._repeats = (self._repeats and least > 0) or least > _MOST_BACK_S
            return max(0.0, least) if self._repeats else 0.0
        if arrived - stood[1] <= _STANDS_S:
            return 0.0
        self._repeats, self.repeated = True, self.repeated + 1
        return max(arrived - stood[1], least)

    def _judge(self, check: ClockCheck, item: Timed[Any], time: float, arrived: float) -> None:
        before, jumped = check.problem, item.jumped and not self._is_made_good(time, arrived)
        if item.jumped:
            check.restart()
        if jumped:
            check.jumped(arrived)
        problem = check.see(time, arrived)
        if problem and not before:
            self._leave_clock(arrived, check.since)
        elif before and not problem:
            assert self._base is not None
            self._shift = self._base + arrived - time
            self.changes += 1
        elif jumped and not problem:
            self._shift = self._next(arrived) + self._lag.seconds - time
            self.changes += 1

    def _leave_clock(self, arrived: float, since: tuple[float, float] | None) -> None:
        """The line goes by arrivals from here on; since: when the clock went wrong (arrival, and its time then), if that is known."""
        now = self._next(arrived)
        right = now if since is None else max(now, since[1] + self._shift + arrived - since[0])
        self._base = right - arrived
        self._lag.begin(right - now, arrived)
        self.changes += 1

    def _is_made_good(self, time: float, arrived: float) -> bool:
        """Whether a jump only leaves out what a jam held up: the line then lies no further ahead of arrival than before the jam."""
        line = time + self._shift - self._lag.seconds
        ahead_of_newest = self._newest is None or line > self._newest[0]
        return ahead_of_newest and line - arrived <= self._ceiling_at(arrived) + _JITTER_S

    def _ceiling_at(self, arrived: float) -> float:
        if self._ceiling is None:
            return -math.inf
        ceiling, seen = self._ceiling
        return ceiling - _DRIFT * (arrived - seen)

    def _next(self, arrived: float) -> float:
        """Where the line goes on at an arrival, whatever the stream's clock says."""
        if self._newest is None:
            return 0.0
        return self._newest[0] + max(_LEAST_STEP_S, arrived - self._newest[1])

    def _by_arrival(self, arrived: float) -> tuple[float, float]:
        if self._base is None:
            self._base = -arrived
        line = self._base + arrived - self._lag.seconds
        if self._newest is not None:
            line = max(line, self._newest[0] + _LEAST_STEP_S)
        self._newest = line, arrived
        return line, line


class _Lag:
    """What a slow clock left out before it was found. The line makes it good little by little: a leap would leave out whole pictures."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._at = 0.0  # arrival

    def begin(self, seconds: float, arrived: float) -> None:
        """The line lies so far behind."""
        self.seconds, self._at = seconds, arrived

    def goes_on(self, arrived: float) -> None:
        """A packet arrives."""
        self.seconds = max(0.0, self.seconds - _CATCH_UP * max(0.0, arrived - self._at))
        self._at = arrived


def _moved(time: float | None, shift: float) -> float | None:
    return None if time is None else time + shift


class PacketTimes:
    """Of one connection. mended: how many times were wrong and were replaced.

    latest_wrong_s, earliest_wrong_s: the greatest and the least of these, seconds.
    """

    def __init__(
        self,
        stream: av.VideoStream,
        monotonic: Callable[[], float],
        line: LiveLine | None,
        *,
        recorded: bool = False,
    ) -> None:
        """stream: whose packets are verified. line: of a live stream; None for recordings, HLS and paced sources.

        recorded: all of it is there already, so that packets may be read ahead.
        """
        assert stream.time_base is not None, "every demuxed stream has a time base"
        self._index, self._unit, self._monotonic, self._line = stream.index, float(stream.time_base), monotonic, line
        self._outliers: Outliers[Packet] | RecordedTimes[Packet] = RecordedTimes() if recorded else Outliers()
        self.mended = 0
        self.latest_wrong_s, self.earliest_wrong_s = -math.inf, math.inf
        self._wrapped = WrappedTimes.of(stream) if recorded else None

    @property
    def problem(self) -> str:
        """What is wrong with the stream's clock, for people, or ''; frames are dated by arrival meanwhile."""
        return "" if self._line is None else self._line.problem

    @property
    def note(self) -> str:
        """What users should know of a live stream's times, for people, or ''."""
        if self._line is None or not (self.mended or self._line.repeated):
            return ""
        return "some pictures come with a wrong or repeated time; they get times between those of their neighbours"

    @property
    def length_unknown(self) -> bool:
        """Whether FFmpeg misread the times, and with them the length of the recording."""
        return self._wrapped is not None and self._wrapped.found

    @property
    def changes(self) -> int:
        """See LiveLine."""
        return 0 if self._line is None else self._line.changes

    def verified(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        """The packets, those of the stream with verified times. A packet whose time is in doubt waits for the next ones."""
        for packet in packets:
            last = packet.size == 0 and packet.pts is None and packet.dts is None
            if last:
                yield from map(self._placed, self._outliers.rest())
            if last or packet.size == 0 or packet.stream_index != self._index:
                yield packet
                continue
            arrived = None if self._line is None else self._monotonic()
            item = Timed(packet, self._seconds(packet.dts), self._seconds(packet.pts), arrived)
            item = item if self._wrapped is None else self._wrapped.unwrapped(item)
            yield from map(self._placed, self._outliers.add(item, packet.size))
        yield from map(self._placed, self._outliers.rest())

    def _seconds(self, time: int | None) -> float | None:
        return None if time is None else time * self._unit

    def _placed(self, item: Timed[Packet]) -> Packet:
        if item.mended:
            self.mended += 1
            stated = self._seconds(item.packet.pts)
            if stated is not None:
                self.latest_wrong_s = max(self.latest_wrong_s, stated)
                self.earliest_wrong_s = min(self.earliest_wrong_s, stated)
        dts, pts = (item.dts, item.pts) if self._line is None else self._line.place(item)
        if item.mended or self._wrapped is not None or (dts, pts) != (item.dts, item.pts):
            item.packet.dts, item.packet.pts = self._units(dts), self._units(pts)
        return item.packet

    def _units(self, seconds: float | None) -> int | None:
        return None if seconds is None else round(seconds / self._unit)
