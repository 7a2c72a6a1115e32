"""Which frames of a camera to show: one at a time, one by its number, or some of a span. Works on a snapshot; reads no frame."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from afterview.configs import UsageError
from afterview.memory.base.errors import DamagedFrames, NoLongerRemembered, NothingRecorded
from afterview.memory.plans.removal import Removal, describe_removal, touching
from afterview.memory.reading.reader import frames_between, gaps_touching
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.stream.ask.span import find_span

_SAME_S = 0.001  # times are printed to the millisecond: a printed time finds its frame


@dataclass(frozen=True)
class Chosen:
    """Frames to show, ascending, and what a user should know of the choice. before_s: seconds from the frame to the time asked for."""

    frames: Sequence[int]
    notes: tuple[str, ...] = ()
    before_s: float | None = None


def newest_frame(snapshot: MemorySnapshot) -> Chosen:
    """The newest frame. Raises NothingRecorded."""
    if not snapshot.frames:
        _raise_empty(snapshot)
    return Chosen([int(snapshot.ids[-1])])


def frame_at(snapshot: MemorySnapshot, at: float) -> Chosen:
    """The frame at a time, or the last one before it. Raises NothingRecorded, which says since when there are frames."""
    row = int(np.searchsorted(snapshot.times, at + _SAME_S, side="right")) - 1
    if row < 0:
        find_span(snapshot, _Until(at), at)  # raises what there is instead
        _raise_empty(snapshot)
    time = float(snapshot.times[row])
    return Chosen([int(snapshot.ids[row])], tuple(_why_not_then(snapshot, time, at)), max(0.0, at - time))


def frame_numbered(snapshot: MemorySnapshot, number: int) -> Chosen:
    """The frame of that number. Raises UsageError, NoLongerRemembered, NothingRecorded, DamagedFrames."""
    info = snapshot.info
    row = int(np.searchsorted(snapshot.ids, number))
    if row < snapshot.frames and snapshot.ids[row] == number:
        return Chosen([number])
    for gone in snapshot.removed:
        if gone.first <= number < gone.end:
            raise NoLongerRemembered(f"camera '{info.id}': frame {number}: {describe_removal(gone, info)}")
    if not snapshot.frames:
        _raise_empty(snapshot)
    if number in snapshot.damaged:
        raise DamagedFrames(
            f"camera '{info.id}': frame {number} cannot be read; `afterview fsck` says why", np.array([number])
        )
    raise UsageError(
        f"camera '{info.id}' has no frame {number}; its frames are {snapshot.ids[0]} to {snapshot.ids[-1]}"
    )


def frames_of_span(snapshot: MemorySnapshot, start: float | None, end: float | None, count: int) -> Chosen:
    """At most `count` frames of a span, evenly spaced among its frames; the first and the last are among them. Raises as `find_span`."""
    if start is not None and end is not None and start > end:
        info = snapshot.info
        raise UsageError(f"the span ends before it begins: from {info.show(start)} to {info.show(end)}")
    first, stop = frames_between(snapshot.times, start, None if end is None else end + _SAME_S)
    if stop == first:
        find_span(snapshot, _Until(end, start), math.inf if end is None else end)
        _raise_empty(snapshot)
    rows = np.unique(np.linspace(first, stop - 1, min(count, stop - first)).round().astype(int))
    notes = []
    if stop - first < count:
        notes.append(f"only {stop - first} frames lie in that span")
    low, high = float(snapshot.times[first]), float(snapshot.times[stop - 1])
    low = low if start is None else min(low, start)
    high = high if end is None else max(high, end)
    if gaps := len(gaps_touching(snapshot, low, high)):
        notes.append(f"{gaps} gap{'s lie' if gaps > 1 else ' lies'} in that span; `afterview info --json` lists all")
    notes += [_describe(gone, snapshot) for gone in touching(snapshot.removed, low, high)]
    return Chosen(snapshot.ids[rows].tolist(), tuple(notes))


@dataclass(frozen=True)
class _Until:
    """A span for `find_span`."""

    at: float | None
    start: float | None = None
    last_s: float | None = None


def _why_not_then(snapshot: MemorySnapshot, time: float, at: float) -> list[str]:
    """Why there is no frame just before `at`: the time lies in a gap, after the record, or is no longer remembered."""
    info = snapshot.info
    if at - time <= 1 / info.fps + _SAME_S:
        return []
    found = [_describe(gone, snapshot) for gone in touching(snapshot.removed, time, at)]
    for gap in gaps_touching(snapshot, time, at):
        if gap.lasts:
            found.append(f"{info.show(at)} is after the record, which ends at {info.show(gap.start)} ({gap.reason})")
        elif gap.end > at:
            found.append(
                f"{info.show(at)} lies in a gap: {info.show(gap.start)} to {info.show(gap.end)} ({gap.reason})"
            )
    if not found and time == snapshot.times[-1]:
        found.append(f"{info.show(at)} is after the record, whose newest frame is of {info.show(time)}")
    damaged = int(np.count_nonzero(snapshot.damaged > snapshot.ids[np.searchsorted(snapshot.times, time)]))
    if not found and damaged:
        found.append("the frames just before that time cannot be read; `afterview fsck` says why")
    return found


def _describe(gone: Removal, snapshot: MemorySnapshot) -> str:
    return describe_removal(gone, snapshot.info)


def _raise_empty(snapshot: MemorySnapshot) -> None:
    raise NothingRecorded(f"camera '{snapshot.info.id}' holds no frame yet")
