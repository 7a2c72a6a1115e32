"""What happens in the service, for those who listen: cameras that change their state, jobs, answers, reloads.

Publish from the event loop. Each listener has a bounded queue; when it is full, the oldest event goes, and the next one says how many.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

from afterview.stream.service.errors import TooManyJobs

Kind = Literal["camera", "job", "answer", "configuration", "model", "missed"]

KEPT = 256  # events for listeners that come back
CAPACITY = 256  # events that wait for one listener
MOST_LISTENERS, MOST_OF_ONE = 64, 32  # of all clients, and of one
_MOST_GONE = 1000
_STAMPS_PER_S = 1_000_000  # so many that no two events of a burst share one: the second would be later than its time


@dataclass(frozen=True)
class Event:
    """number: ascending, from 1. time: Unix seconds. data: JSON. stamp: ascending, too, but made of the time
    alone: who may not know of some events must not learn from the numbers of the others that there are some."""

    number: int
    kind: Kind
    time: float
    data: dict[str, Any]
    stamp: int = 0

    @property
    def about(self) -> tuple[str, str]:
        """The kind, and the camera or the user that decide who may know of it."""
        job = self.data.get("job")
        camera = job.get("camera") if isinstance(job, dict) else self.data.get("camera")
        return self.kind, str(camera or self.data.get("user") or "")

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"number": self.number, "kind": self.kind, "time": self.time, **self.data}


See = Callable[[Event], Event | None]


class EventHub:
    """Hands every event to all listeners."""

    def __init__(self) -> None:
        self._number = self._stamp = 0
        self._gone: OrderedDict[tuple[str, str], Event] = OrderedDict()  # the newest that is not kept, of each camera
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._listeners: set[_Listener] = set()
        self.closed = False

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    def require_room(self, client: str) -> None:
        """Raise TooManyJobs for one listener too many. One client alone does not keep others out."""
        if self.listeners >= MOST_LISTENERS:
            raise TooManyJobs(f"{MOST_LISTENERS} clients listen to events already")
        if sum(listener.client == client for listener in self._listeners) >= MOST_OF_ONE:
            raise TooManyJobs(f"you listen to events {MOST_OF_ONE} times already")

    def publish(self, kind: Kind, data: dict[str, Any]) -> None:
        """Tell everybody who listens."""
        self._number += 1
        now = time.time()
        self._stamp = max(self._stamp + 1, int(now * _STAMPS_PER_S))
        event = Event(self._number, kind, now, data, self._stamp)
        if len(self._kept) == KEPT:
            gone = self._kept[0]
            self._gone[gone.about] = gone
            self._gone.move_to_end(gone.about)
            while len(self._gone) > _MOST_GONE:
                self._gone.popitem(last=False)
        self._kept.append(event)
        for listener in self._listeners:
            listener.put(event)

    async def listen(
        self, after: int | None = None, *, pause_s: float = 15.0, see: See | None = None, client: str = ""
    ) -> AsyncIterator[Event | None]:
        """Events from now on, or those after a number, as far as they are kept. None after every `pause_s` without one.

        see: an event as the listener may know it, None for one that they may not; `after` is one of the numbers that it gives.
        """
        listener = _Listener(see, client)
        if after is not None:
            if see is None:
                oldest = self._kept[0].number if self._kept else self._number + 1
                listener.missed = max(0, oldest - after - 1)
            else:
                gone = (see(event) for event in self._gone.values())
                listener.missed = sum(event is not None and event.number > after for event in gone)  # at least so many
            for event in self._kept:
                listener.put(event, after)
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
    def __init__(self, see: See | None, client: str) -> None:
        self._see, self.client = see, client
        self.events: deque[Event] = deque()
        self.missed = 0
        self.wake = asyncio.Event()

    def put(self, event: Event, after: int = -1) -> None:
        seen = event if self._see is None else self._see(event)
        if seen is None or seen.number <= after:
            return
        if len(self.events) >= CAPACITY:
            self.events.popleft()
            self.missed += 1
        self.events.append(seen)
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
