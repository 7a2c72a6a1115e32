"""Bounded queues between threads. The name of each says what happens when it is full; dropped frames are counted."""

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from afterview.memory.base.records import GapReason
from afterview.stream.ingest.items import Dropped, Marker

T = TypeVar("T")


class Closed(Exception):
    """The queue is closed: nothing more goes in, and (when taking) nothing is left in it."""


class BoundedQueue(ABC, Generic[T]):
    """Base: a deque under a condition. Queues that one thread serves together share its condition. Safe from any thread."""

    def __init__(self, capacity: int, condition: threading.Condition | None = None) -> None:
        self.capacity = capacity
        self.dropped = 0  # frames, since the start
        self._items: deque[T] = deque()
        self._changed = condition or threading.Condition()
        self._closed = self._woken = False

    def put(self, item: T) -> None:
        """Add an item. Raises Closed when the queue is closed."""
        with self._changed:
            if not self._closed:
                self._make_space()
            if self._closed:
                raise Closed
            self._items.append(item)
            self._changed.notify_all()

    @abstractmethod
    def _make_space(self) -> None:
        """Drop an item, or wait. Called under the condition before an item goes in."""

    def take(self, most: int = 1, *, timeout: float | None = None) -> list[T]:
        """Wait for at least one item, return up to `most`; empty after `timeout` seconds, or after `wake`.

        Raises Closed when closed and empty.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not (self._items or self._woken):
                if self._closed:
                    raise Closed
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return []
                self._changed.wait(left)
            self._woken = False
            return self.take_now(most)

    def take_now(self, most: int) -> list[T]:
        """Up to `most` items, without waiting."""
        with self._changed:
            taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
            if taken:
                self._changed.notify_all()
            return taken

    def wake(self) -> None:
        """Make the consumer's present or next wait return at once: there is something else to do."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def wait_for_wake(self, timeout: float) -> None:
        """Wait for `wake` or `close`, `timeout` seconds at most. For a consumer that cannot take items at present."""
        with self._changed:
            self._changed.wait_for(lambda: self._woken or self._closed, timeout)
            self._woken = False

    def close(self) -> None:
        """Let nothing more in and wake all threads that wait; what is in the queue can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Nothing more will go in."""
        return self._closed

    @property
    def ended(self) -> bool:
        """Closed, and everything taken."""
        with self._changed:
            return self._closed and not self._items

    def __len__(self) -> int:
        return len(self._items)


class DropOldest(BoundedQueue[T]):
    """For live frames: latency matters more than completeness. When full, the oldest frame goes; a Dropped in its place counts such frames.

    Markers between the frames (stream.ingest.items) stay and take no capacity: of those before the oldest frame, one of each kind.
    """

    def __init__(
        self,
        capacity: int,
        condition: threading.Condition | None = None,
        *,
        reason: Callable[[], GapReason] = lambda: "dropped",
    ) -> None:
        """reason: why a frame that is dropped at this moment is."""
        super().__init__(capacity, condition)
        self._reason = reason

    def _make_space(self) -> None:
        while sum(not isinstance(item, Marker) for item in self._items) >= self.capacity:
            markers = self._take_markers()
            self._items.popleft()
            self.dropped += 1
            markers += [Dropped(1, self._reason()), *self._take_markers()]
            self._items.extendleft(reversed(_merged(markers)))

    def _take_markers(self) -> list[Any]:
        """Those before the oldest frame."""
        markers: list[Any] = []
        while self._items and isinstance(self._items[0], Marker):
            markers.append(self._items.popleft())
        return markers


def _merged(markers: list[Marker]) -> list[Any]:
    """Neighbours without a frame between them: drops are added up, and only the first interruption says something."""
    merged: dict[type, Marker] = {}
    for marker in markers:
        first = merged.setdefault(type(marker), marker)
        if first is not marker and isinstance(first, Dropped) and isinstance(marker, Dropped):
            merged[Dropped] = Dropped(first.frames + marker.frames, first.reason)
    return list(merged.values())


class Blocking(BoundedQueue[T]):
    """For the disk and for recordings: completeness matters more than latency. When full, the producer waits."""

    def _make_space(self) -> None:
        while len(self._items) >= self.capacity and not self._closed:
            self._changed.wait()
