"""Answers that take longer than a client waits. Each has a handle, which only the user who asked can use. Bounded in number and time.

Belongs to the event loop.
"""

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from afterview.stream.service.errors import NotFound, TooManyQuestions

KEPT_S = 900.0  # after the last use: an assistant may talk for a while before it asks again
_MOST_WAITING = 8  # of one user; the line of questions bounds those of all
_MOST_OF_USER = 32
_MOST = 256
_RETRY_S = 5


@dataclass
class Held:
    """A question or a search (`what`) that was asked by `user`. pictures: how many its client wants."""

    user: str
    what: str
    task: "asyncio.Task[Any]"
    pictures: int
    end: asyncio.TimerHandle | None = None


class Handles:
    """Holds them, and ends those that nobody uses."""

    def __init__(self, kept_s: float = KEPT_S) -> None:
        self.kept_s = kept_s
        self._held: OrderedDict[str, Held] = OrderedDict()  # the least recently used first

    def require_room(self, user: str) -> None:
        """Raise TooManyQuestions for a user with too many that are not answered."""
        waiting = [handle for handle, held in self._held.items() if held.user == user and not held.task.done()]
        if len(waiting) >= _MOST_WAITING:
            raise TooManyQuestions(
                f"{len(waiting)} of your questions are not answered yet; call answer_status for one of them first",
                _RETRY_S,
            )

    def add(self, held: Held) -> str:
        """Hold one; returns its handle. If there are too many, the least recently used ones end."""
        handle = secrets.token_urlsafe(18)
        self._held[handle] = held
        self._use(handle)
        own = [other for other, one in self._held.items() if one.user == held.user]
        for other in own[: max(0, len(own) - _MOST_OF_USER)]:
            self._end(other)
        while len(self._held) > _MOST:
            self._end(next(iter(self._held)))
        return handle

    def get(self, handle: str, user: str) -> Held:
        """The one of that handle. Raises NotFound, also for a handle of somebody else."""
        held = self._held.get(handle)
        if held is None or held.user != user:
            raise NotFound(
                f"no answer has this handle: handles end {self.kept_s / 60:.0f} minutes after their last use, and when the service "
                "ends; ask again"
            )
        self._use(handle)
        return held

    def __len__(self) -> int:
        return len(self._held)

    def _use(self, handle: str) -> None:
        held = self._held[handle]
        self._held.move_to_end(handle)
        if held.end is not None:
            held.end.cancel()
        held.end = asyncio.get_running_loop().call_later(self.kept_s, self._end, handle)

    def _end(self, handle: str) -> None:
        held = self._held.pop(handle, None)
        if held is None:
            return
        if held.end is not None:
            held.end.cancel()
        if held.task.done():
            held.task.cancelled() or held.task.exception()  # it was seen
        held.task.cancel()
