"""Mends lone wrong times in a stream: packets whose time lies far from those before and after them. Pure.

A packet whose time does not follow the last one waits for the next packets. If one of these is back on the old line, the packets that
waited were wrong and get times between their neighbours. Otherwise the clock has jumped, and their times are left as they are. If only the
presentation time is off and the decoding time goes on, it is wrong at once.
"""

import statistics
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

Packet = TypeVar("Packet")

_MOST_WAITING = 4  # packets on another line that are a jump; so many wrong times in a row are taken for one
_MOST_WAIT_S = 2.0  # seconds that the packets of a live stream wait
_ON_LINE_S = 1.0  # a step of so many seconds is none of another clock ...
_ON_LINE_STEPS = 4.0  # ... nor one of so many usual steps
_FIRST_STEP_S = 60.0  # the longest first step
_BACK_S = 0.5  # seconds that a time may step back (packets out of order) ...
_BACK_STEPS = 8.0  # ... or so many usual steps, where only presentation times are known
_FARTHEST_S = 10.0  # seconds between presentation and decoding, beyond which the presentation time is wrong ...
_FARTHEST_STEPS = 50.0  # ... if it also is more than so many usual steps
_STEPS = 9  # latest steps, of which the median is the usual one


@dataclass(frozen=True, slots=True)
class Timed(Generic[Packet]):
    """A packet. dts, pts: decoding and presentation time, seconds; None if unknown. arrived: seconds of any clock, None for recordings.

    jumped: the stream's clock jumped before it. mended: its time was wrong and was replaced.
    """

    packet: Packet
    dts: float | None
    pts: float | None
    arrived: float | None = None
    jumped: bool = False
    mended: bool = False

    @property
    def line(self) -> float | None:
        """The time that lies on one line with those of the packets before and after: the decoding time, if there is one."""
        return self.pts if self.dts is None else self.dts


class Outliers(Generic[Packet]):
    """Of one stream. `add` every packet in file order, `rest` at the end; both give packets that are ready, in the same order."""

    def __init__(self) -> None:
        self._last: Timed[Packet] | None = None  # the latest packet on the line
        self._offset = 0.0  # of its presentation time from its decoding time
        self._steps: deque[float] = deque(maxlen=_STEPS)
        self._waiting: list[Timed[Packet]] = []

    def add(self, item: Timed[Packet], size: int = 0) -> Iterator[Timed[Packet]]:
        """The packets that are ready now. size: bytes; a few packets are never too large."""
        item = self._mend_presentation(item)
        if item.line is None:  # no time to judge by
            if not self._waiting:
                yield item
            else:
                self._waiting.append(item)
        elif self._last is None or self._follows(item):
            yield from self._mend_waiting(item)
            yield self._take(item)
        else:
            self._waiting.append(item)
            if self._is_jump(item):
                yield from self.rest()

    def rest(self) -> Iterator[Timed[Packet]]:
        """The packets that still wait, as they came: nothing shows that they are wrong."""
        waiting, self._waiting = self._waiting, []
        jumped = bool(waiting)
        for item in waiting:
            if item.line is not None:
                item, jumped = replace(item, jumped=jumped or not self._follows(item)), False
                self._take(item)
            yield item

    def _usual(self) -> float:
        return statistics.median(self._steps) if self._steps else 0.0

    def _take(self, item: Timed[Packet]) -> Timed[Packet]:
        line, last = item.line, self._last
        assert line is not None
        if last is not None and last.line is not None and not item.jumped and line > last.line:
            self._steps.append(line - last.line)
        self._last = item
        if item.dts is not None and item.pts is not None:
            self._offset = item.pts - item.dts
        return item

    def _follows(self, item: Timed[Packet]) -> bool:
        """Whether an item is on the line of the last one."""
        last, line = self._last, item.line
        assert last is not None
        assert last.line is not None
        assert line is not None
        count = 1 + len(self._waiting)
        # The first step says how long steps are.
        most = max(_ON_LINE_S, _ON_LINE_STEPS * self._usual()) * count if self._steps else _FIRST_STEP_S
        if item.arrived is not None and last.arrived is not None:
            most += item.arrived - last.arrived  # so long nothing came, or something wrong
        back = _BACK_S if item.dts is not None else max(_BACK_S, _BACK_STEPS * self._usual())
        return -back <= line - last.line <= most

    def _is_jump(self, item: Timed[Packet]) -> bool:
        first = self._waiting[0]
        waited = 0.0 if item.arrived is None or first.arrived is None else item.arrived - first.arrived
        timed = sum(waiting.line is not None for waiting in self._waiting)
        return timed >= _MOST_WAITING or waited >= _MOST_WAIT_S

    def _mend_waiting(self, item: Timed[Packet]) -> Iterator[Timed[Packet]]:
        """The packets that waited get times between those of the last one and of `item`."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        assert self._last is not None
        assert self._last.line is not None
        assert item.line is not None
        begin, step = self._last.line, (item.line - self._last.line) / (len(waiting) + 1)
        for number, wrong in enumerate(waiting, 1):
            if wrong.line is None or begin <= wrong.line <= item.line:  # a long step, not a wrong time
                yield wrong
                continue
            line = begin + number * step
            pts = line if wrong.dts is None else line + self._offset
            yield replace(wrong, dts=None if wrong.dts is None else line, pts=pts, mended=True)

    def _mend_presentation(self, item: Timed[Packet]) -> Timed[Packet]:
        if item.dts is None or item.pts is None or self._last is None:
            return item
        farthest = max(_FARTHEST_S, _FARTHEST_STEPS * self._usual())
        if abs(item.pts - item.dts - self._offset) <= farthest or not self._follows(item):
            return item
        return replace(item, pts=item.dts + self._offset, mended=True)
