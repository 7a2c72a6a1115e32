"""The line in which questions wait for a language model: bounded, and fair among clients.

One task is served at a time, or as many as the model takes at once. Clients take turns: a client with ten questions waits behind one with
a single question, and where all places are taken, the newest question of the client with the most gives way to that of a client with fewer.
Belongs to one event loop.
"""

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from afterview.stream.errors import StreamError
from afterview.stream.service.errors import Stopping, TooManyQuestions

_FIRST_GUESS_S = 1.0  # that an answer takes, before the first one
_WEIGHT = 0.3  # of the newest answer in the mean


class QuestionLine:
    """Gives out turns. waiting: how many wait now. refused: how many found it full."""

    def __init__(self, longest: int, *, at_once: int = 1) -> None:
        self._longest, self._at_once, self._free = longest, at_once, at_once
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._why: Callable[[], StreamError] | None = None  # nobody gets a turn
        self._mean_s = _FIRST_GUESS_S
        self.refused = 0

    @property
    def waiting(self) -> int:
        """Without the one that is being answered."""
        return sum(len(own) for own in self._waiting.values())

    @property
    def busy(self) -> bool:
        """Whether a question is being answered."""
        return self._free < self._at_once

    def retry_after_s(self) -> int:
        """When a place may be free again, whole seconds."""
        return max(1, math.ceil(self._mean_s * (self.waiting + 1) / 2))

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn, and hold it. Raises TooManyQuestions, and what `close` was given: Stopping."""
        await self._enter(client)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            yield
        finally:
            self._mean_s += _WEIGHT * (loop.time() - began - self._mean_s)
            self._next()

    async def _enter(self, client: str) -> None:
        if self._why is not None:
            raise self._why()
        if self._free:
            self._free -= 1
            return
        if self.waiting >= self._longest and not self._make_room(client):
            raise self._full()
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(place)
        try:
            await place
        except BaseException:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._next()  # it was given the turn at the moment in which it left
            else:
                self._forget(client, place)
            raise

    def _full(self) -> TooManyQuestions:
        self.refused += 1
        wait = self.retry_after_s()
        return TooManyQuestions(f"{self.waiting} questions are waiting; try again in {wait} s", wait)

    def _make_room(self, client: str) -> bool:
        """Refuse the newest question of the client that has the most, if this one would still have fewer."""
        own = len(self._waiting.get(client, ()))
        greedy = max(self._waiting, key=lambda other: len(self._waiting[other]), default=client)
        if len(self._waiting.get(greedy, ())) <= own + 1:
            return False
        refusal, place = self._full(), self._waiting[greedy].pop()
        if not place.done():
            place.set_exception(refusal)
        return True

    def _forget(self, client: str, place: asyncio.Future[None]) -> None:
        own = self._waiting.get(client)
        if own is not None and place in own:
            own.remove(place)
            if not own:
                del self._waiting[client]

    def _next(self) -> None:
        """Give the turn to the next client that waits."""
        while self._waiting:
            client, own = self._waiting.popitem(last=False)
            place = own.popleft()
            if own:
                self._waiting[client] = own  # at the end: the others first
            if not place.done():
                place.set_result(None)
                return
        self._free += 1

    def close(self, why: Callable[[], StreamError] = lambda: Stopping("the service is ending")) -> None:
        """Refuse everybody who waits, and who comes. why: makes the error of each."""
        self._why = why
        for own in self._waiting.values():
            for place in own:
                if not place.done():
                    place.set_exception(why())
        self._waiting.clear()
