"""The door at /mcp: the Model Context Protocol over streamable HTTP, behind the guard of the API. Its SDK is loaded at the first request.

No state of a client is kept between requests, in neither era of the protocol: each request carries its token, and its rights are those of
this moment. A client of the handshake era gets a session id, only so that it can cancel its own calls. There is no stream to listen on.
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from afterview.stream.service.asgi import replay
from afterview.stream.service.aside import in_daemon_thread
from afterview.stream.service.engine import Engine
from afterview.stream.service.errors import Stopping
from afterview.stream.service.mcp.tools import Caller, Tools
from afterview.stream.service.people.access import Access

if TYPE_CHECKING:
    from mcp import types
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

PATHS = ("/mcp", "/mcp/")  # people type both
_SESSION = "mcp-session-id"
_CALL = "afterview.mcp.cancelled"  # in the scope: the event that is set when the client cancels this call

CallKey = tuple[str, str, str]


class McpDoor:
    """An ASGI application."""

    def __init__(self, engine: Engine, tools: Tools, access_of: Callable[[Request], Access], url: str) -> None:
        """access_of: who sent a request. url: address of the service, for links in answers to clients that name no host."""
        self._engine, self._tools, self._access_of, self._url = engine, tools, access_of, url
        self._manager: asyncio.Future[StreamableHTTPSessionManager] | None = None
        self._calls: dict[CallKey, asyncio.Event] = {}  # of the handshake era, while they run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["method"] != "POST":
            why = "MCP clients POST here; there is no stream to listen on, and no session to end\n"
            await Response(why, 405, {"Allow": "POST"}, "text/plain")(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        message = _message(body)
        session = request.headers.get(_SESSION, "")
        key = (self._access_of(request).user, session, str(message.get("id"))) if session else None
        manager = await self._started()
        cancelled = scope[_CALL] = asyncio.Event()
        if session and message.get("method") == "notifications/cancelled":
            self._cancel(key[0] if key else "", session, message)
        if key is not None and message.get("method") == "tools/call":
            self._calls[key] = cancelled
        try:
            await manager.handle_request(scope, replay(body, receive), _with_session(send, message))
        finally:
            if key is not None and self._calls.get(key) is cancelled:
                del self._calls[key]

    def _cancel(self, user: str, session: str, message: Mapping[str, Any]) -> None:
        params = message.get("params")
        call = self._calls.get((user, session, str(params.get("requestId")))) if isinstance(params, dict) else None
        if call is not None:
            call.set()

    async def _started(self) -> "StreamableHTTPSessionManager":
        """The SDK's manager, which runs until the service ends. Raises Stopping."""
        if self._manager is None:
            self._manager = asyncio.get_running_loop().create_future()
            self._engine.spawn(self._serve(self._manager))
        return await asyncio.shield(self._manager)

    async def _serve(self, started: "asyncio.Future[Any]") -> None:
        try:
            manager = await in_daemon_thread("mcp", self._make)
            async with manager.run():
                started.set_result(manager)
                await asyncio.get_running_loop().create_future()
        except Exception as error:
            self._manager = None  # the next request tries again
            started.set_exception(error)
        finally:
            if not started.done():
                started.set_exception(Stopping("the service is ending"))

    def _make(self) -> "StreamableHTTPSessionManager":
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager  # late: it takes most of a second

        from afterview.stream.service.mcp.protocol import make_server, tool_result

        async def call(name: str, given: Mapping[str, Any] | None, context: Any) -> "types.CallToolResult":
            return tool_result(await self._tools.call(name, given, self._caller(context.request)))

        # Without settings the SDK checks no Host and no Origin: the guard has done so, by the rules of the whole service.
        return StreamableHTTPSessionManager(make_server(call, self._engine.version), stateless=True)

    def _caller(self, request: Request) -> Caller:
        server = request.scope.get("server")
        named = server is not None and server[1] is not None  # else a Unix socket, whose clients name no host
        base = f"{request.url.scheme}://{request.url.netloc}" if named else self._url
        return Caller(replace(self._access_of(request), door="mcp"), base or None, request.scope.get(_CALL))


def _message(body: bytes) -> dict[str, Any]:
    """The message of a request, or nothing; the SDK says what is wrong with it."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _with_session(send: Send, message: Mapping[str, Any]) -> Send:
    """Gives a client that says hello a session id."""
    if message.get("method") != "initialize":
        return send

    async def named(sent: MutableMapping[str, Any]) -> None:
        if sent["type"] == "http.response.start" and sent["status"] == 200:
            sent["headers"] = [*sent.get("headers", ()), (_SESSION.encode(), secrets.token_hex(16).encode())]
        await send(sent)

    return named
