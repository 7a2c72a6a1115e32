"""Times of a camera's frames as they grow: a snapshot of a month must cost no more than one of an hour."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from memory.removal import Removal, present

_FIRST_CAPACITY = 4096

Scalar = TypeVar("Scalar", bound=np.generic)


class GrowingTimes:
    """Times by frame id. Rows are only ever added behind those that a snapshot has seen, so that snapshots may share the memory."""

    def __init__(self) -> None:
        self.sealed = 0  # frames whose times came from sealed chunks
        self._rows = np.empty(_FIRST_CAPACITY)
        self._ids = np.arange(_FIRST_CAPACITY, dtype=np.int64)
        self._lost: list[int] = []  # sealed frames whose time cannot be read

    def seal(self, times: NDArray[np.float64]) -> None:
        """These frames are sealed now; NaN where a time is evicted or damaged."""
        end = self.sealed + len(times)
        self._grow(end)
        if not np.array_equal(self._rows[self.sealed : end], times):  # else they were known from the journal
            self._rows[self.sealed : end] = times
        self._lost += (self.sealed + np.flatnonzero(np.isnan(times))).tolist()
        self.sealed = end

    def remembered(
        self, pending: Sequence[float], removed: Sequence[Removal]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """(times, ids, ids of frames that cannot be read) of what is remembered; pending: times of frames not sealed yet."""
        end = self.sealed + len(pending)
        self._grow(end)
        self._rows[self.sealed : end] = pending
        lost = np.array(
            [*self._lost, *(self.sealed + np.flatnonzero(np.isnan(np.array(pending, dtype=np.float64))))],
            dtype=np.int64,
        )
        first = removed[0].end if removed and removed[0].first == 0 else 0
        if len(removed) <= (first > 0) and not (lost >= first).any():
            return _fixed(self._rows[first:end]), _fixed(self._ids[first:end]), lost[:0]
        ids = present(end, removed)
        damaged = np.intersect1d(ids, lost, assume_unique=True)
        ids = np.setdiff1d(ids, damaged, assume_unique=True) if len(damaged) else ids
        return _fixed(self._rows[ids]), _fixed(ids), damaged

    def _grow(self, rows: int) -> None:
        if rows > len(self._rows):
            capacity = max(rows, 2 * len(self._rows))
            self._rows = np.concatenate([self._rows, np.empty(capacity - len(self._rows))])
            self._ids = np.arange(capacity, dtype=np.int64)


def _fixed(rows: NDArray[Scalar]) -> NDArray[Scalar]:
    view = rows.view()
    view.flags.writeable = False
    return view
