"""What every request passes before the API sees it: Host and Origin, who sends it, size and time of its body.

Browsers of this machine can be led to any address by a web page, so a service without a token answers only to the names of this machine
(against DNS rebinding) and to pages of its own (against requests forged by others).
"""

import ipaddress
import logging
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response

from afterview.stream.service.asgi import App, Receive, Send, replay
from afterview.stream.service.http.bodies import Bodies
from afterview.stream.service.http.errors import error_response
from afterview.stream.service.http.exchange import Exchange, error_event
from afterview.stream.service.http.gate import Gate
from afterview.stream.service.http.openai.errors import failed_event, openai_shaped
from afterview.stream.service.http_address import OWN_SOCKET, is_loopback
from afterview.stream.service.people.access import Access
from afterview.stream.service.people.admission import Visit
from afterview.stream.service.refusals import Refusals

LONGEST_HEAD = 16 << 10  # bytes
_LONGEST_PATH = 200  # characters, in the audit
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

    def __init__(self, app: App, rules: Rules, gate: Gate, bodies: Bodies, refusals: Refusals) -> None:
        self._app, self._rules, self._gate, self._bodies, self._refusals = app, rules, gate, bodies, refusals

    def for_this_user(self) -> "Guard":
        """The same API for requests that come by the socket in the memory."""
        return Guard(self._app, replace(self._rules, own_socket=True), self._gate, self._bodies, self._refusals)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One request. Never raises: what goes wrong unexpectedly is logged, and answered with status 500."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        exchange = Exchange(openai_shaped(scope, send), failed_event(scope["path"]) or error_event)
        headers = Headers(scope=scope)
        scope[OWN_SOCKET] = self._rules.own_socket
        visit = self._enter(scope, headers)
        refusal: Response | None = None
        if isinstance(visit, Response):
            refusal = visit
        else:
            async with self._bodies.read(scope["path"], headers, receive) as body:
                if isinstance(body, bytes):
                    refusal = await self._answered(scope, visit, body, receive, exchange)
                else:
                    refusal = body
        if refusal is not None:  # else it was answered, or the client left
            refusal.headers["Connection"] = "close"
            await refusal(scope, receive, exchange.send)
        self._note(scope, exchange.status)

    async def _answered(
        self, scope: MutableMapping[str, Any], visit: Visit, body: bytes, receive: Receive, exchange: Exchange
    ) -> Response | None:
        """Let the API answer; what to say if that fails."""
        try:
            with self._gate.admission.staying(visit) as ended:
                await exchange.until(ended, self._app(scope, replay(body, receive), exchange.send))
                return None
        except Exception:
            _LOGGER.exception("%s %s failed", scope["method"], scope["path"])
            if exchange.begun:
                raise
        return error_response(500, "unexpected", "this is a bug; the service's log has more")

    def _note(self, scope: MutableMapping[str, Any], status: int) -> None:
        """Tell the audit of what was refused."""
        access = scope.get("state", {}).get("access")
        if status == 403:
            asked = f"{scope['method']} {scope['path'][:_LONGEST_PATH]}"
            self._refusals.note(access or _stranger(scope), "request", "forbidden", request=asked)
        elif status == 429 and access is None:
            self._refusals.note(_stranger(scope), "token", "too_many_guesses")

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


def _stranger(scope: MutableMapping[str, Any]) -> Access:
    return Access("unknown", address=scope["client"][0] if scope.get("client") else "")


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
