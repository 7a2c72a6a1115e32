"""One request and its answer: what every answer carries, and its end when the client may come in no longer."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from afterview.stream.service.asgi import Message, Send
from afterview.stream.service.http.errors import error_response

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_WHY = "you were signed out, your token was revoked or has expired, or your rights were changed"
_LAST_S = 5.0  # for the app to end

_LOGGER = logging.getLogger(__name__)


def error_event(document: Mapping[str, Any]) -> str:
    """The last server-sent event of a stream that fails."""
    return f"event: error\ndata: {json.dumps(document)}\n\n"


class Exchange:
    """Sends an answer. begun: something was sent. status: of what was sent, else 0."""

    def __init__(self, send: Send, failed: Callable[[Mapping[str, Any]], str] = error_event) -> None:
        """failed: makes the last event of a stream from the document of an error."""
        self._send, self._failed, self.status = send, failed, 0
        self.begun = self._complete = self._closed = self._streams = False

    async def send(self, message: Message) -> None:
        """As ASGI's. After the end of the visit nothing is sent any more."""
        if self._closed:
            return
        if message["type"] == "http.response.start":
            self.begun, self.status = True, message["status"]
            headers = {name.lower(): value for name, value in message.get("headers", ())}
            self._streams = headers.get(b"content-type", b"").startswith(b"text/event-stream")
            message["headers"] = [*message.get("headers", ()), *(one for one in _HEADERS if one[0] not in headers)]
            if b"cache-control" not in headers:
                message["headers"].append((b"cache-control", b"no-store"))
        elif message["type"] == "http.response.body":
            self._complete = not message.get("more_body", False)
        await self._send(message)

    async def until(self, ended: asyncio.Event, work: Awaitable[None]) -> None:
        """Wait for the app; once `ended` is set, cancel it, and tell the client why. Raises what the app raises."""
        task, end = asyncio.ensure_future(work), asyncio.ensure_future(ended.wait())
        try:
            await asyncio.wait({task, end}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
                return
            self._closed = True
            task.cancel()
            await asyncio.wait({task}, timeout=_LAST_S)
            if task.done() and not task.cancelled() and task.exception() is not None:
                _LOGGER.debug("at the end of a visit", exc_info=task.exception())
            await self._tell()
        finally:
            end.cancel()
            task.cancel()

    async def _tell(self) -> None:
        self._closed = False
        refusal = error_response(401, "token_required", _WHY, {"WWW-Authenticate": "Bearer", "Connection": "close"})
        if not self.begun:
            await self.send({"type": "http.response.start", "status": 401, "headers": refusal.raw_headers})
            await self.send({"type": "http.response.body", "body": bytes(refusal.body)})
        elif self._streams and not self._complete:
            text = f"\n\n{self._failed(json.loads(bytes(refusal.body)))}"
            await self.send({"type": "http.response.body", "body": text.encode(), "more_body": False})
