"""Judges the clock of a live stream by the arrivals of its packets: does it run too fast, too slowly, or not at all? Pure.

lead = the stream's time minus the arrival time. With a right clock the lead has a ceiling: the packet that was delayed least. Bursts (a GOP
at the start, what a jam held up) come nearer to the ceiling, and jams fall away from it. A wrong clock moves the lead evenly, in every
second, without end. Packets are grouped by arrival, and each group counts by its greatest lead. A clock is wrong if the lead moves the
same way from group to group, as far as no buffer and no jam explains. docs/clocks.md lists the bounds.
"""

import math
from collections import deque
from dataclasses import dataclass

_FINE_S, _COARSE_S = 0.25, 1.0  # seconds of arrivals in one group
_LEAST_GROUPS, _LEAST_COARSE = 5, 6  # groups in a row that show the same
_LEAST_MOVE = (
    0.2  # seconds per second that the lead moves; a clock that is up to 20 % wrong is only corrected (timeline.py)
)
_FAST_S, _FAST_COARSE_S = 10.0, 6.0  # seconds of lead that no buffer explains
_SLOW_S = 1.5  # seconds of lag, if packets come as often as before: what a jam delays comes less often
_SLOW_RATE = 0.6  # ... and the clock is at most so fast
_SLOW_COARSE_S = 10.0  # seconds of lag, however often packets come
_STANDS = -0.95  # the lead of a clock that stands still falls by a second per second
_USUAL_S = 5.0  # seconds of arrivals after which it is known how often packets come
_OFTEN = 0.8  # so much of the usual number of packets is as often as before
_RIGHT_S = 10.0  # seconds during which a wrong clock must be right to be used again
_MOST_JUMPS, _JUMPS_WITHIN_S = 3, 30.0  # a clock that jumps so often is none
_LEAST_APART_S = 1.0  # seconds between two jumps that count
_CALM_S = 60.0  # seconds without a jump after which such a clock is used again
_RIGHT_SPREAD_S = 0.7  # seconds that the lead may vary meanwhile


@dataclass(slots=True)
class _Group:
    """Packets that arrived one after the other. lead: the greatest."""

    began: float
    ended: float
    lead: float
    packets: int = 1


@dataclass(slots=True)
class _Run:
    """Groups in a row whose lead moves one way: from where, by how much, and how many."""

    since: float
    from_lead: float
    groups: int = 0
    packets: int = 0


class _Trend:
    """Groups packets by arrival, and follows runs of a rising ceiling and of a falling lead."""

    def __init__(self, width_s: float) -> None:
        self._width_s = width_s
        self._group: _Group | None = None
        self.last: _Group | None = None
        self._ceiling = -math.inf
        self.stands = False  # whether the clock stood still between the latest two groups
        self.rising, self.falling = _Run(0.0, 0.0), _Run(0.0, 0.0)

    def add(self, lead: float, arrived: float) -> _Group | None:
        """A packet; the group that it closes."""
        group = self._group
        if group is not None and arrived - group.began < self._width_s:
            group.lead, group.ended, group.packets = max(group.lead, lead), arrived, group.packets + 1
            return None
        self._group = _Group(arrived, arrived, lead)
        if group is not None:
            self._close(group)
        return group

    def _close(self, group: _Group) -> None:
        last, self.last = self.last, group
        if last is None:
            self._ceiling = group.lead
            self.rising = self.falling = _Run(group.began, group.lead)
            return
        span = max(1e-9, group.began - last.began)
        self.stands = group.lead - last.lead < _STANDS * span
        least = _LEAST_MOVE * span
        self.rising = self._follow(self.rising, group, group.lead - self._ceiling >= least)
        self.falling = self._follow(self.falling, group, last.lead - group.lead >= least)
        self._ceiling = max(self._ceiling, group.lead)

    @staticmethod
    def _follow(run: _Run, group: _Group, goes_on: bool) -> _Run:
        if not goes_on:
            return _Run(group.began, group.lead)
        return _Run(run.since, run.from_lead, run.groups + 1, run.packets + group.packets)

    def risen(self, groups: int, least_s: float) -> bool:
        """Whether the ceiling rose so far in so many groups."""
        return self.rising.groups >= groups and self._ceiling - self.rising.from_lead >= least_s

    def fallen(self, groups: int, least_s: float) -> bool:
        """Whether the lead fell so far in so many groups."""
        last = self.last
        return last is not None and self.falling.groups >= groups and self.falling.from_lead - last.lead >= least_s


class ClockCheck:
    """Of one connection. `see` every packet of a live stream, in order of arrival.

    problem: what is wrong with the clock, for people, or ''. since: when the packets that showed it began to come (arrival, and the
    stream's time then); None if there is no problem, or if the clock jumps.
    """

    def __init__(self) -> None:
        self.problem = ""
        self.since: tuple[float, float] | None = None
        self._jumps: deque[float] = deque(maxlen=_MOST_JUMPS)  # arrivals of the latest
        self._right_s = _RIGHT_S  # how long it must be right to be used again
        self.restart()

    def restart(self) -> None:
        """The clock begins anew: what it showed before says nothing about it. A problem stays until the clock is right again."""
        self._fine, self._coarse = _Trend(_FINE_S), _Trend(_COARSE_S)
        self._steady: tuple[float, float, float] | None = (
            None  # when the lead began to be steady; its least and greatest
        )
        self._usual: tuple[float, int] | None = None  # since when packets come as the clock says, and how many

    def jumped(self, arrived_s: float) -> None:
        """The clock jumps here (after `restart`). Once is a clock that was set; again and again is no clock."""
        if self._jumps and arrived_s - self._jumps[-1] < _LEAST_APART_S:
            return
        self._jumps.append(arrived_s)
        if not self.problem and len(self._jumps) == _MOST_JUMPS and arrived_s - self._jumps[0] <= _JUMPS_WITHIN_S:
            self.problem, self._right_s = "jumps again and again", _CALM_S

    def see(self, time_s: float, arrived_s: float) -> str:
        """A packet with this time on the stream's clock arrived then (any origins). Returns `problem`."""
        lead = time_s - arrived_s
        group = self._fine.add(lead, arrived_s)
        coarse = self._coarse.add(lead, arrived_s)
        if self.problem:
            if coarse is not None and self._is_right(coarse):
                self.problem, self.since = "", None
                self.restart()
        elif group is not None:
            self._judge()
            self._count(group)
        return self.problem

    def _count(self, group: _Group) -> None:
        """How often packets come while nothing is suspicious."""
        if self._fine.falling.groups == 0:
            began, packets = self._usual or (group.began, 0)
            self._usual = began, packets + group.packets

    def _judge(self) -> None:
        if self._too_fast():
            self._found("too fast", self._fine.rising if self._fine.rising.groups else self._coarse.rising)
        elif self._too_slow():
            self._found("too slow", self._fine.falling if self._fine.falling.groups else self._coarse.falling)

    def _too_fast(self) -> bool:
        return self._fine.risen(_LEAST_GROUPS, _FAST_S) or self._coarse.risen(_LEAST_COARSE, _FAST_COARSE_S)

    def _too_slow(self) -> bool:
        quick = self._fine.fallen(_LEAST_GROUPS, _SLOW_S) and self._rate() <= _SLOW_RATE and self._as_often()
        return quick or self._coarse.fallen(_LEAST_COARSE, _SLOW_COARSE_S)

    def _rate(self) -> float:
        """Seconds of the stream per second of arrivals while the lead fell."""
        run, last = self._fine.falling, self._fine.last
        assert last is not None
        return 1 + (last.lead - run.from_lead) / max(1e-9, last.began - run.since)

    def _as_often(self) -> bool:
        """Whether packets come as often as before the lead fell; what a jam delays does not."""
        run, last = self._fine.falling, self._fine.last
        assert last is not None
        if self._usual is None or run.since - self._usual[0] < _USUAL_S:
            return True
        usual = self._usual[1] / (run.since - self._usual[0])
        return run.packets / max(1e-9, last.began - run.since) >= _OFTEN * usual

    def _found(self, how: str, run: _Run) -> None:
        last = self._fine.last
        assert last is not None
        span = max(1e-9, last.began - run.since)
        rate = (last.lead - run.from_lead + span) / span
        self.problem = "stands still" if self._fine.stands else f"runs {how}, at {rate:.1f} times its rate"
        self.since = run.since, run.from_lead + run.since
        self._steady, self._right_s = None, _RIGHT_S

    def _is_right(self, group: _Group) -> bool:
        began, least, most = self._steady or (group.began, group.lead, group.lead)
        least, most = min(least, group.lead), max(most, group.lead)
        if most - least > _RIGHT_SPREAD_S:
            began, least, most = group.began, group.lead, group.lead
        self._steady = began, least, most
        return group.began - began >= self._right_s
