"""What every request passes before the API sees it: Host and Origin, who sends it, size and time of its body.

Browsers of this machine can be led to any address by a web page, so a service without a token answers only to the names of this machine
(against DNS rebinding) and to pages of its own (against requests forged by others).
"""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response

from afterview.stream.service.admission import Visit
from afterview.stream.service.http.errors import error_response
from afterview.stream.service.http.exchange import App, Exchange, Message, Receive, Send
from afterview.stream.service.http.gate import Gate
from afterview.stream.service.http_address import OWN_SOCKET, is_loopback

LARGEST_BODY = 1 << 20  # bytes
_LARGEST_DISCARDED = (
    16 << 20
)  # bytes of a larger body that are read: a client that is still sending would not see the refusal
LONGEST_HEAD = 16 << 10  # bytes
_LOCAL = frozenset(("localhost", "127.0.0.1", "::1"))

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rules:
    """How the service may be called. hosts: its names, lower case.

    any_address: whether an IP address may stand for a name: on a network; a page cannot rebind one. own_socket: requests come by the
    socket in the memory, which this user alone can open: neither name nor token is asked for.
    """

    hosts: frozenset[str]
    any_address: bool
    body_timeout_s: float = 20.0
    own_socket: bool = False

    @classmethod
    def of(cls, bind: str, allowed: tuple[str, ...], *, body_timeout_s: float) -> "Rules":
        """The rules of a service that listens on `bind`."""
        local = is_loopback(bind)
        own = _LOCAL if local else {*_LOCAL, socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"}
        hosts = frozenset({*own, bind.lower(), *(host.lower() for host in allowed)})
        return cls(hosts, not local, body_timeout_s)


class Guard:
    """Middleware around the API."""

    def __init__(self, app: App, rules: Rules, gate: Gate) -> None:
        self._app, self._rules, self._gate = app, rules, gate

    def for_this_user(self) -> "Guard":
        """The same API for requests that come by the socket in the memory."""
        return Guard(self._app, replace(self._rules, own_socket=True), self._gate)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One request. Never raises: what goes wrong unexpectedly is logged, and answered with status 500."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        exchange = Exchange(send)
        headers = Headers(scope=scope)
        scope[OWN_SOCKET] = self._rules.own_socket
        visit = self._enter(scope, headers)
        refusal = visit if isinstance(visit, Response) else await self._body(headers, receive)
        if refusal is None:
            return  # the client left
        if isinstance(refusal, bytes):
            assert isinstance(visit, Visit)
            try:
                with self._gate.admission.staying(visit) as ended:
                    await exchange.until(ended, self._app(scope, _replay(refusal, receive), exchange.send))
                    return
            except Exception:
                _LOGGER.exception("%s %s failed", scope["method"], scope["path"])
                if exchange.begun:
                    raise
            refusal = error_response(500, "unexpected", "this is a bug; the service's log has more")
        refusal.headers["Connection"] = "close"
        await refusal(scope, receive, exchange.send)

    def _enter(self, scope: MutableMapping[str, Any], headers: Headers) -> Visit | Response:
        """Who comes, or the refusal."""
        if self._rules.own_socket:
            return self._gate.enter_own(scope)
        return self._refusal(scope, headers) or self._gate.enter(scope, headers)

    def _refusal(self, scope: MutableMapping[str, Any], headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if not self._is_own(host):
            return error_response(
                421, "host_refused", f"Host '{host}' is not a name of this service; http.allowed_hosts adds names"
            )
        origin = headers.get("origin")
        if origin is not None and not self._is_own_origin(origin, host):
            return error_response(403, "origin_refused", f"requests from pages of '{origin}' are not accepted")
        foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        if foreign and not (scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"):
            return error_response(403, "origin_refused", "requests from pages of other sites are not accepted")
        return None

    def _is_own(self, host: str) -> bool:
        name = _name_of(host)
        return name in self._rules.hosts or (self._rules.any_address and _is_address(name))

    def _is_own_origin(self, origin: str, host: str) -> bool:
        """Whether a page is one of this service, or of a name that was allowed."""
        try:
            place = urlsplit(origin).netloc
        except ValueError:
            return False
        return bool(place) and (place.lower() == host.lower() or _name_of(place) in self._rules.hosts - _LOCAL)

    async def _body(self, headers: Headers, receive: Receive) -> bytes | Response | None:
        """The body, or the refusal; None for a client that left."""
        too_large = error_response(413, "too_large", f"a request has at most {LARGEST_BODY} bytes")
        stated = headers.get("content-length", "")
        if stated.isdecimal() and int(stated) > _LARGEST_DISCARDED:
            return too_large
        parts, size = [], 0
        try:
            async with asyncio.timeout(self._rules.body_timeout_s):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        return None
                    part = message.get("body", b"")
                    size += len(part)
                    if size <= LARGEST_BODY:
                        parts.append(part)
                    if not message.get("more_body", False) or size > _LARGEST_DISCARDED:
                        return b"".join(parts) if size <= LARGEST_BODY else too_large
        except TimeoutError:
            if size > LARGEST_BODY:
                return too_large
            why = f"the body did not come within {self._rules.body_timeout_s:g} s"
            return error_response(408, "too_slow", why)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body at once, then what comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _name_of(host: str) -> str:
    """The name in a Host header, without its port; empty if there is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower().rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
