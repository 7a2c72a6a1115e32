"""What happens in the service, for those who listen: cameras that change their state, jobs, answers, reloads.

Publish from the event loop. Each listener has a bounded queue; when it is full, the oldest event goes, and the next one says how many.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["camera", "job", "answer", "configuration", "model", "missed"]

KEPT = 256  # events for listeners that come back
CAPACITY = 256  # events that wait for one listener
MOST_LISTENERS = 64


@dataclass(frozen=True)
class Event:
    """number: ascending, from 1. time: Unix seconds. data: JSON."""

    number: int
    kind: Kind
    time: float
    data: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"number": self.number, "kind": self.kind, "time": self.time, **self.data}


class EventHub:
    """Hands every event to all listeners."""

    def __init__(self) -> None:
        self._number = 0
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._listeners: set[_Listener] = set()
        self.closed = False

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    def publish(self, kind: Kind, data: dict[str, Any]) -> None:
        """Tell everybody who listens."""
        self._number += 1
        event = Event(self._number, kind, time.time(), data)
        self._kept.append(event)
        for listener in self._listeners:
            listener.put(event)

    async def listen(self, after: int | None = None, *, pause_s: float = 15.0) -> AsyncIterator[Event | None]:
        """Events from now on, or those after a number, as far as they are kept. None after every `pause_s` without one."""
        listener = _Listener()
        if after is not None:
            oldest = self._kept[0].number if self._kept else self._number + 1
            if after + 1 < oldest:
                listener.missed = oldest - after - 1
            for event in self._kept:
                if event.number > after:
                    listener.put(event)
        self._listeners.add(listener)
        try:
            while not self.closed or listener.events:
                yield await listener.get(pause_s)
                if self.closed and not listener.events:
                    return
        finally:
            self._listeners.discard(listener)

    def close(self) -> None:
        """End all listeners after what they have not read yet."""
        self.closed = True
        for listener in self._listeners:
            listener.wake.set()


class _Listener:
    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        self.missed = 0
        self.wake = asyncio.Event()

    def put(self, event: Event) -> None:
        if len(self.events) >= CAPACITY:
            self.events.popleft()
            self.missed += 1
        self.events.append(event)
        self.wake.set()

    async def get(self, pause_s: float) -> Event | None:
        if not self.events:
            self.wake.clear()
            try:
                await asyncio.wait_for(self.wake.wait(), pause_s)
            except TimeoutError:
                return None
            if not self.events:
                return None
        if self.missed:
            count, self.missed = self.missed, 0
            return Event(self.events[0].number - 1, "missed", time.time(), {"events": count})
        return self.events.popleft()
