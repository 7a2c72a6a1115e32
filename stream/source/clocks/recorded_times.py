"""Mends wrong times of a recording, which can be read ahead. Pure.

Decoding and presentation times are two series, and are judged apart: reordered pictures and pauses move them at different packets. A
packet whose two times go on from the last ones is right. A doubtful one waits for the next ones. Its time is wrong if

- a later packet is back on the old line, and comes from elsewhere: those between are wrong, however many;
- it stands alone, and the packets after it, which are of one line, lie before it, or begin that line anew;
- it is one of the last few of a recording whose steps were all alike, and lies far from them (ten minutes, if both times may be a pause);
- the other time goes on, and this one leads further than pictures are reordered: before a pause the decoding times reach it.

Otherwise the recording leaves time out, or its clock began anew: the times are left as they are.
"""

import itertools
import math
import statistics
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Generic

from afterview.stream.source.clocks.outliers import Packet, Timed

_AHEAD = 32  # packets that are looked at before a doubtful one is judged
_MOST_AHEAD_BYTES = 32 << 20  # ... unless they are this large: raw video
_REORDERED = 16  # pictures that may be decoded before an earlier one is: the limit of H.264 and H.265
_ON_LINE_S, _ON_LINE_STEPS = 1.0, 4.0  # a step of so many seconds, or of so many usual steps, needs no explanation
_BACK_S = 0.5  # seconds that times may step back
_SHIFTED_S, _SHIFTED_STEPS = 10.0, 50.0  # a longer usual lead is one that the format adds to all
_FEW = 3  # packets that are few enough to be wrong where nothing but their number tells
_LINE = 4  # packets that follow one another are a line
_LONGEST_FIRST_S = 60.0  # the longest step after a first packet that stands alone, before alike steps
_LONGEST_LAST_S = (
    10.0  # the longest step of one of the two times alone before the last few packets, after alike steps ...
)
_LONGEST_LAST_PAUSE_S = 600.0  # ... and of both, which may be a pause
_RECENT = 16  # latest packets that show what is usual


def _usual_step(times: Sequence[float]) -> float:
    """The median step between times, whatever their order; 0 if there is none."""
    steps = _steps(times)
    return statistics.median(steps) if steps else 0.0


def _steps(times: Sequence[float]) -> list[float]:
    ordered = sorted(times)
    return [after - before for before, after in itertools.pairwise(ordered) if after > before]


class _Series:
    """The decoding or the presentation times of a stream. last: the latest, None before the first."""

    def __init__(self, reordered: int) -> None:
        """reordered: how many steps a time may go back."""
        self._reordered = reordered
        self._usual, self._most, self._back = 0.0, _ON_LINE_S, _BACK_S
        self.recent: deque[float] = deque(maxlen=_RECENT)
        self.last: float | None = None

    def learn(self, usual: float) -> None:
        """The usual step, seconds."""
        self._usual, self._most = usual, max(_ON_LINE_S, _ON_LINE_STEPS * usual)
        self._back = max(_BACK_S, self._reordered * usual)

    def goes_on(self, time: float | None) -> bool:
        """Whether a time follows the last one."""
        return time is None or (self.last is not None and self._follows(self.last, time, 1))

    def take(self, time: float | None) -> None:
        """A time that is right, or was mended."""
        if time is not None:
            self.last = time
            self.recent.append(time)

    def mended(self, times: Sequence[float | None], *, even: bool, ended: bool, pauses: bool) -> float | None:
        """What the first of these times should be; None if it is right.

        even: steps are all alike. ended: no more follow. pauses: the other time, if there is one, moves with it.
        """
        if times[0] is None or self.goes_on(times[0]):
            return None
        known = [(place, time) for place, time in enumerate(times) if time is not None]
        between = self._between(known)
        if between is not None:
            return between
        lone = self._lone(known, even=even)
        if lone is None and ended and len(known) <= _FEW and self.last is not None:
            step = known[0][1] - self.last
            longest = _LONGEST_LAST_PAUSE_S if pauses else _LONGEST_LAST_S
            far = step < -self._back or step > max(longest, self._most)
            return self.last + self._usual if far and even else None
        return lone

    def _follows(self, before: float, after: float, count: int) -> bool:
        """count: how many packets later."""
        return -self._back <= after - before <= self._most + self._usual * (count - 1)

    def _between(self, known: Sequence[tuple[int, float]]) -> float | None:
        """The first time's place on the old line, if a later one is back on it."""
        first, last = known[0][1], self.last
        if last is None:
            return None
        for (earlier, before), (place, time) in itertools.pairwise(known):
            back = self._follows(last, time, place + 1) and not self._follows(before, time, place - earlier)
            if back and not last - self._back <= first <= time + self._back:  # otherwise a long step
                return last + (time - last) / (place + 1)
        return None

    def _lone(self, known: Sequence[tuple[int, float]], *, even: bool) -> float | None:
        """What the first time should be if it stands alone before a line."""
        counts = [self._followers(known[number:]) for number in range(len(known))]
        best = max(counts)
        root, line = known[counts.index(best)]
        if best < _LINE - 1 or counts[0] >= _FEW or best <= 2 * counts[0]:
            return None
        step = line - known[0][1]
        if self.last is not None:
            wrong = known[0][1] < self.last - self._back or step < -self._back
            return self.last + self._usual if wrong else None
        first_s = max(_LONGEST_FIRST_S, self._most)
        alone = counts[0] == 0 and step > first_s and even
        return line - self._usual * root if alone or step < -self._back else None

    def _followers(self, known: Sequence[tuple[int, float]]) -> int:
        """How many of these times are on one line with the first."""
        (at, newest), count = known[0], 0
        for place, time in known[1:]:
            if self._follows(newest, time, place - at):
                count += 1
                at, newest = (place, time) if time > newest else (at, newest)
        return count


def _are_alike(steps: Sequence[float]) -> bool:
    """Whether these steps are many, and those of an even rate."""
    if len(steps) < _RECENT // 2:
        return False
    usual = statistics.median(steps)
    return min(steps) >= usual / 2 and max(steps) <= 2 * usual


def _common_times(items: deque[Timed[Any]]) -> tuple[float | None, float | None] | None:
    """The times that all these packets have; None if they differ."""
    times = {(item.dts, item.pts) for item in items}
    return times.pop() if len(times) == 1 and (None, None) not in times else None


class RecordedTimes(Generic[Packet]):
    """Of one stream. `add` every packet in file order, `rest` at the end; both give packets that are ready, in the same order."""

    def __init__(self) -> None:
        self._ahead: deque[Timed[Packet]] = deque()
        self._bytes: deque[int] = deque()
        self._total = 0  # of _bytes
        self._dts, self._pts = _Series(0), _Series(_REORDERED)
        self._leads: deque[float] = deque(maxlen=_RECENT)  # from decoding to presentation, where nothing was wrong
        self._lead = self._least_lead = self._longest_lead = self._usual = 0.0
        self._even = False  # steps are all alike
        self._begun = False
        self._stuck: tuple[float | None, float | None] | None = None  # the times of all packets: the file has none

    def add(self, item: Timed[Packet], size: int = 0) -> Iterator[Timed[Packet]]:
        """The packets that are ready now. size: bytes."""
        if self._stuck == (item.dts, item.pts) and not self._ahead:
            yield replace(item, dts=None, pts=None, mended=True)
            return
        self._ahead.append(item)
        self._bytes.append(size)
        self._total += size
        while self._ahead and (
            self._is_right(self._ahead[0]) or len(self._ahead) > _AHEAD or self._total > _MOST_AHEAD_BYTES
        ):
            yield self._next(ended=False)

    def rest(self) -> Iterator[Timed[Packet]]:
        """The packets that still wait."""
        while self._ahead:
            yield self._next(ended=True)

    def _is_right(self, item: Timed[Packet]) -> bool:
        """Whether nothing about it is in doubt."""
        return self._begun and self._dts.goes_on(item.dts) and self._pts.goes_on(item.pts) and self._is_lead_usual(item)

    def _is_lead_usual(self, item: Timed[Any]) -> bool:
        if item.dts is None or item.pts is None:
            return True
        slack = max(_ON_LINE_S, _REORDERED * self._usual)
        far = max(_SHIFTED_S, _SHIFTED_STEPS * self._usual)
        least = self._lead if self._lead > far else min(0.0, self._lead)
        return least - slack <= item.pts - item.dts <= self._lead + slack

    def _next(self, *, ended: bool) -> Timed[Packet]:
        """The first packet that waits, with the times that it should have."""
        item = self._ahead[0]
        if not self._begun and len(self._ahead) > _AHEAD:
            self._stuck = _common_times(self._ahead)
        if self._stuck is not None and self._stuck == (item.dts, item.pts):
            item = replace(item, dts=None, pts=None, mended=True)
        elif not self._is_right(item):
            self._learn()
            item = self._judged(item, ended=ended)
        self._ahead.popleft()
        self._total -= self._bytes.popleft()
        self._begun = True
        self._dts.take(item.dts)
        self._pts.take(item.pts)
        if item.dts is not None and item.pts is not None and self._is_lead_usual(item):
            self._leads.append(item.pts - item.dts)
        return item

    def _learn(self) -> None:
        """What is usual."""
        ahead = [] if self._begun and len(self._pts.recent or self._dts.recent) == _RECENT else list(self._ahead)
        dts = [*self._dts.recent, *(item.dts for item in ahead if item.dts is not None)]
        pts = [*self._pts.recent, *(item.pts for item in ahead if item.pts is not None)]
        leads = list(self._leads)
        leads += [item.pts - item.dts for item in ahead if item.pts is not None and item.dts is not None]
        self._usual = _usual_step(dts) or _usual_step(pts)
        self._lead = statistics.median_low(leads) if leads else 0.0
        usual_leads = [lead for lead in leads if abs(lead - self._lead) <= max(_ON_LINE_S, _REORDERED * self._usual)]
        self._least_lead, self._longest_lead = min(usual_leads, default=0.0), max(usual_leads, default=0.0)
        self._even = _are_alike(_steps(dts[not self._begun :] or pts[not self._begun :]))
        for series in (self._dts, self._pts):
            series.learn(self._usual)

    def _judged(self, item: Timed[Packet], *, ended: bool) -> Timed[Packet]:
        if item.dts is None:
            pts = self._pts.mended([one.pts for one in self._ahead], even=self._even, ended=ended, pauses=True)
            return item if pts is None else replace(item, pts=pts, mended=True)
        pauses = item.pts is None or self._is_lead_usual(item)
        dts = self._dts.mended([one.dts for one in self._ahead], even=self._even, ended=ended, pauses=pauses)
        if dts is not None:  # if both are wrong, they are so by the same
            both = item.pts is not None and self._is_lead_usual(item)
            pts = item.pts + dts - item.dts if item.pts is not None and both else item.pts
            item = replace(item, dts=dts, pts=pts, mended=True)
        if item.pts is None or self._is_lead_usual(item) or (dts is None and self._is_reached(item, ended=ended)):
            return item
        if dts is None and not self._dts.goes_on(item.dts) and self._pts.goes_on(item.pts):
            return replace(item, dts=item.pts - self._lead, mended=True)
        return self._shown(item)

    def _is_reached(self, item: Timed[Any], *, ended: bool) -> bool:
        """Whether decoding times come to this presentation time soon: before a pause, they still are those of earlier pictures."""
        assert item.dts is not None
        assert item.pts is not None
        off = item.pts - item.dts - self._lead
        later = [one.dts for one in list(self._ahead)[1:] if one.dts is not None]
        if off < 0:
            return False
        reached = item.pts - max(_ON_LINE_S, _ON_LINE_STEPS * self._usual)
        beyond = [dts >= reached for dts in later]
        if any(beyond[: _REORDERED + 1]) and all(beyond[beyond.index(True) :]):
            return True
        delay = round(self._longest_lead / self._usual) if self._usual else 0
        few = ended and len(later) <= min(delay, _FEW - 1)  # those that would tell do not come
        return few and not (self._even and off > _LONGEST_LAST_S)

    def _shown(self, item: Timed[Packet]) -> Timed[Packet]:
        """A packet with the presentation time that no other packet has."""
        dts = item.dts
        assert dts is not None
        known = [*self._pts.recent, *(one.pts for one in list(self._ahead)[1:] if one.pts is not None)]
        usual = self._usual or 1.0
        places = range(round(self._least_lead / usual), round(self._longest_lead / usual) + 1)
        free = [
            time
            for time in (dts + place * usual for place in places)
            if all(abs(time - other) > usual / 2 for other in known)
        ]
        if not self._begun:  # the picture that is decoded first is shown first
            earlier = [time for time in free if time < min(known, default=0.0)]
            return replace(item, pts=max(earlier, default=dts + self._lead), mended=True)
        after = [time for time in free if time > min(self._pts.recent, default=-math.inf)]
        pts = min(after, key=lambda time: abs(time - dts - self._lead), default=dts + self._lead)
        return replace(item, pts=pts, mended=True)
