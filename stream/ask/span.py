"""The span of time of a question: which frames of a snapshot lie in it, and why there may be none. Pure."""

import math
from typing import Protocol

from afterview.configs import UsageError
from afterview.memory.base.errors import NoLongerRemembered, NothingRecorded
from afterview.memory.base.records import Gap
from afterview.memory.plans.removal import describe_removal, touching
from afterview.memory.reading.reader import frames_between, gaps_touching
from afterview.memory.reading.snapshot import MemorySnapshot


class TimeSpan(Protocol):
    """The bounds of a span. Times are Unix seconds; None leaves a side open; last_s counts back from `at` (or now)."""

    @property
    def start(self) -> float | None: ...
    @property
    def at(self) -> float | None: ...
    @property
    def last_s(self) -> float | None: ...


def find_span(snapshot: MemorySnapshot, question: TimeSpan, now: float) -> tuple[int, int]:
    """The rows [first, end) of the snapshot in a question's span. Raises NothingRecorded, which names what was recorded, or UsageError."""
    at = question.at
    start = question.start if question.last_s is None else span_start(question, now)
    if start is not None and at is not None and start > at:
        raise UsageError(
            f"the span ends before it begins: from {snapshot.info.show(start)} to {snapshot.info.show(at)}"
        )
    first, end = frames_between(snapshot.times, start, at)
    if end > first:
        return first, end
    info, times = snapshot.info, snapshot.times
    gone = touching(snapshot.removed, -math.inf if start is None else start, math.inf if at is None else at)
    if gone:
        raise NoLongerRemembered(f"camera '{info.id}': {describe_removal(gone[-1], info)}")
    if not len(times):
        raise NothingRecorded(f"camera '{info.id}' holds no frame yet")
    if at is not None and at < times[0]:
        raise NothingRecorded(f"camera '{info.id}': nothing was recorded before {info.show(times[0])}, its first frame")
    raise NothingRecorded(
        f"camera '{info.id}': nothing was recorded in that span; its frames lie between "
        f"{info.show(times[0])} and {info.show(times[-1])}"
    )


def span_start(question: TimeSpan, now: float) -> float:
    if question.last_s is not None:
        return (now if question.at is None else question.at) - question.last_s
    return question.start or 0.0


def span_gaps(snapshot: MemorySnapshot, start: float, end: float) -> tuple[Gap, ...]:
    """Gaps in the span; the time before the first frame is one, if the span includes it."""
    earliest = float(snapshot.times[0])
    gone = touching(snapshot.removed, start, earliest)
    before = [Gap(start, earliest, "not recording", 0)] if start < earliest and not gone else []
    return (*before, *gaps_touching(snapshot, start, end))
