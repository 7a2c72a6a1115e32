"""The growing times of a camera. A snapshot of a month costs no more than one of an hour; evicted frames cost nothing."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from afterview.memory.plans.removal import Removal, evicted_before, present

_FIRST_CAPACITY = 4096

Scalar = TypeVar("Scalar", bound=np.generic)


class GrowingTimes:
    """Times by frame id. Rows are only added after those that a snapshot has seen, so snapshots share one buffer."""

    def __init__(self, first: int = 0) -> None:
        """first: no frame before it is remembered."""
        self.sealed = first  # frames before it have their times from sealed chunks
        self._first = first
        self._rows = np.empty(_FIRST_CAPACITY)
        self._ids = np.arange(first, first + _FIRST_CAPACITY, dtype=np.int64)
        self._lost = np.empty(0, np.int64)  # sealed frames whose time cannot be read

    def seal(self, times: NDArray[np.float64]) -> None:
        """Add the times of newly sealed frames; NaN for evicted or damaged ones."""
        end = self.sealed + len(times)
        self._grow(end)
        rows = self._rows[self.sealed - self._first : end - self._first]
        if not np.array_equal(rows, times):  # otherwise they are known from the journal
            rows[:] = times
        lost = self.sealed + np.flatnonzero(np.isnan(times))
        if len(lost):
            self._lost = np.concatenate([self._lost, lost])
        self.sealed = end

    def remembered(
        self, unsealed: Sequence[float], removed: Sequence[Removal]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """(times, ids, ids of unreadable frames) of the remembered frames. unsealed: times of frames that are not sealed."""
        end = self.sealed + len(unsealed)
        self._grow(end)
        self._rows[self.sealed - self._first : end - self._first] = unsealed
        unreadable = self.sealed + np.flatnonzero(np.isnan(np.array(unsealed, dtype=np.float64)))
        lost = np.concatenate([self._lost, unreadable])
        first = evicted_before(removed)
        if len(removed) <= (first > 0) and not (lost >= first).any():
            rows = slice(max(0, first - self._first), end - self._first)
            return _fixed(self._rows[rows]), _fixed(self._ids[rows]), lost[:0]
        ids = present(end, removed, first=self._first)
        damaged = np.intersect1d(ids, lost, assume_unique=True)
        ids = np.setdiff1d(ids, damaged, assume_unique=True) if len(damaged) else ids
        return _fixed(self._rows[ids - self._first]), _fixed(ids), damaged

    def _grow(self, end: int) -> None:
        rows = end - self._first
        if rows > len(self._rows):
            capacity = max(rows, 2 * len(self._rows))
            self._rows = np.concatenate([self._rows, np.empty(capacity - len(self._rows))])
            self._ids = np.arange(self._first, self._first + capacity, dtype=np.int64)


def _fixed(rows: NDArray[Scalar]) -> NDArray[Scalar]:
    view = rows.view()
    view.flags.writeable = False
    return view
