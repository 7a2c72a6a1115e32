"""Reads the body of a request, bounded in size, in time, and in how many large ones are in memory at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response

from afterview.stream.service.http.errors import error_response

LARGEST_BODY = 1 << 20  # bytes
# Bytes of a larger body that are read: a client that is still sending would not see the refusal.
_LARGEST_DISCARDED = 16 << 20
_MOST_LARGE = 4  # bodies of more than LARGEST_BODY at once, until their requests are answered
_SLOWEST = 1 << 20  # bytes per second, of large bodies
_RETRY_S = 5


class Bodies:
    """larger: by path, how large a body may be where it may be larger than LARGEST_BODY. counted: bodies that were refused."""

    def __init__(self, timeout_s: float, larger: Mapping[str, int], counted: Counter[str]) -> None:
        self._timeout_s, self._larger, self.counted = timeout_s, larger, counted
        self._large = 0

    @asynccontextmanager
    async def read(
        self, path: str, headers: Headers, receive: Callable[[], Awaitable[MutableMapping[str, Any]]]
    ) -> AsyncIterator[bytes | Response | None]:
        """The body, or the refusal; None for a client that left. A large body counts as in memory until leaving."""
        body = _Body(self, self._larger.get(path, LARGEST_BODY))
        try:
            yield await body.read(self._timeout_s, headers, receive)
        finally:
            self._large -= body.is_large

    def admit(self) -> bool:
        """Room for one more large body."""
        if self._large >= _MOST_LARGE:
            self.counted["too many bodies"] += 1
            return False
        self._large += 1
        return True


class _Body:
    def __init__(self, bodies: Bodies, limit: int) -> None:
        self._bodies, self._limit = bodies, limit
        self._parts: list[bytes] = []
        self._size = 0
        self._refusal: Response | None = None
        self.is_large = False

    async def read(
        self, timeout_s: float, headers: Headers, receive: Callable[[], Awaitable[MutableMapping[str, Any]]]
    ) -> bytes | Response | None:
        discarded = max(self._limit, _LARGEST_DISCARDED)
        stated = headers.get("content-length", "")
        size = int(stated) if stated.isdecimal() else 0
        if size > discarded:
            return self._too_large()
        timeout_s += min(size, self._limit) / _SLOWEST if size > LARGEST_BODY else 0.0
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        return None
                    self._add(message.get("body", b""))
                    if not message.get("more_body", False) or self._size > discarded:
                        return self._refusal or b"".join(self._parts)
        except TimeoutError:
            why = f"the body did not come within {timeout_s:g} s"
            return self._refusal or error_response(408, "too_slow", why)

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        if self._refusal is None and self._size > self._limit:
            self._refusal = self._too_large()
        if self._refusal is None and self._size > LARGEST_BODY and not self.is_large:
            self.is_large = self._bodies.admit()
            if not self.is_large:
                why = f"{_MOST_LARGE} large requests are being answered; try again in {_RETRY_S} s"
                self._refusal = error_response(429, "too_many_uploads", why, {"Retry-After": str(_RETRY_S)})
        if self._refusal is None:
            self._parts.append(part)
        else:
            self._parts.clear()

    def _too_large(self) -> Response:
        self._bodies.counted["too large"] += 1
        return error_response(413, "too_large", f"a request has at most {self._limit} bytes here")
