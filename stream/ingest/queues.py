"""Bounded queues between threads. Each says in its name what happens when it is full, and counts what it drops."""

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """The queue was closed: nothing more goes in, and what was in it is taken out."""


class BoundedQueue(ABC, Generic[T]):
    """Base: a deque under a condition. Queues that one thread serves together share its condition. Safe from any thread."""

    def __init__(self, capacity: int, condition: threading.Condition | None = None) -> None:
        self.capacity = capacity
        self.dropped = 0  # items, since the start
        self._items: deque[T] = deque()
        self._changed = condition or threading.Condition()
        self._closed = False

    def put(self, item: T) -> None:
        """Add an item. Raises Closed when nobody will take it."""
        with self._changed:
            if not self._closed:
                self._make_room()
            if self._closed:
                raise Closed
            self._items.append(item)
            self._changed.notify_all()

    @abstractmethod
    def _make_room(self) -> None:
        """Called under the condition before an item goes in: drop, or wait."""

    def take(self, most: int = 1, *, timeout: float | None = None) -> list[T]:
        """Wait for at least one item, return up to `most`; empty after `timeout` seconds. Raises Closed when closed and empty."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._items:
                if self._closed:
                    raise Closed
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return []
                self._changed.wait(left)
            return self.take_now(most)

    def take_now(self, most: int) -> list[T]:
        """Up to `most` items, without waiting."""
        with self._changed:
            taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
            if taken:
                self._changed.notify_all()
            return taken

    def close(self) -> None:
        """Let nothing more in and wake everybody; what is in it can still be taken."""
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
    """For live frames: fresh beats complete. When full, the oldest item goes and is counted."""

    def _make_room(self) -> None:
        while len(self._items) >= self.capacity:
            self._items.popleft()
            self.dropped += 1


class Blocking(BoundedQueue[T]):
    """For the disk and for recordings: complete beats fresh. When full, the producer waits."""

    def _make_room(self) -> None:
        while len(self._items) >= self.capacity and not self._closed:
            self._changed.wait()
