"""Who comes in over HTTP: the token or the cookie of a request, and what a request with a cookie must show besides."""

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response

from afterview.stream.service.http.errors import error_response
from afterview.stream.service.http.guesses import Guesses
from afterview.stream.service.http.proxies import Network, see_through
from afterview.stream.service.people.access import nobody, owner
from afterview.stream.service.people.admission import Admission, Visit

COOKIE, CSRF = "afterview", "X-CSRF-Token"
OPEN_TO_ALL = frozenset((("GET", "/health/live"), ("GET", "/health/ready"), ("HEAD", "/health/live"), ("HEAD", "/health/ready"),
                         ("POST", "/api/v1/session")))  # fmt: skip
_SAFE = ("GET", "HEAD", "OPTIONS")
_DOORS = {"/v1": "openai", "/mcp": "mcp"}  # by the first part of a path


@dataclass(frozen=True)
class Gate:
    """Finds the Access of each request. trusted: proxies whose X-Forwarded headers count."""

    admission: Admission
    trusted: Sequence[Network] = ()
    guesses: Guesses = field(default_factory=Guesses)

    def enter(self, scope: MutableMapping[str, Any], headers: Headers) -> Visit | Response:
        """Who comes, or the refusal. The Access is in `scope["state"]["access"]`, the Visit in `scope["state"]["visit"]`."""
        see_through(scope, headers, self.trusted)
        address = scope["client"][0] if scope.get("client") else ""
        visit, wait_s = self._visit(headers, address)
        door = _DOORS.get("/" + scope["path"].split("/")[1] if scope["path"].startswith("/") else "", "http")
        came = (scope["method"], scope["path"])
        if visit is None:
            if wait_s and came not in OPEN_TO_ALL:
                why = f"too many wrong tokens came from this address; try again in {wait_s} s"
                return error_response(429, "too_many_guesses", why, {"Retry-After": str(wait_s)})
            if came not in OPEN_TO_ALL:
                why = "this service needs a token (Authorization: Bearer TOKEN) or a sign-in (POST /api/v1/session)"
                if headers.get("authorization"):
                    why += "; the one that came is wrong, revoked or expired"
                return error_response(401, "token_required", why, {"WWW-Authenticate": "Bearer"})
            visit = Visit(nobody(), nobody)
        client = visit.access.client or address
        access = replace(visit.access, address=address, client=client, door=door)
        scope.setdefault("state", {}).update(access=access, visit=visit)
        if scope["method"] not in _SAFE and came not in OPEN_TO_ALL and not _shows_csrf(visit, headers):
            why = f"a request with a cookie that changes something needs the header {CSRF}; GET /api/v1/session tells its value"
            return error_response(403, "csrf_token_required", why)
        return visit

    def enter_own(self, scope: MutableMapping[str, Any]) -> Visit:
        """By the socket in the memory, which this user alone can open: they may everything."""
        own = owner("this user", "socket")
        visit = Visit(own, lambda: own)
        scope.setdefault("state", {}).update(access=own, visit=visit)
        return visit

    def _visit(self, headers: Headers, address: str) -> tuple[Visit | None, int]:
        """Who comes, or None and the seconds that their address must wait after too many wrong tokens.

        An Authorization header counts alone: a cookie beside it does not, so such a request needs no CSRF token.
        """
        if (visit := self.admission.without()) is not None:
            return visit, 0
        authorization = headers.get("authorization", "")
        if not authorization:
            cookie = _cookie(headers)
            return self.admission.by_session(cookie) if cookie else None, 0
        if wait_s := self.guesses.wait_s(address):
            return None, wait_s
        if (visit := self.admission.by_token(authorization)) is None:
            self.guesses.was_wrong(address, authorization)
        return visit, 0


def _shows_csrf(visit: Visit, headers: Headers) -> bool:
    return visit.session is None or visit.session.is_own(headers.get(CSRF, ""))


def _cookie(headers: Headers) -> str:
    """The value of the cookie. Others of the same host may be of any form: http.cookies would give up at the first odd one."""
    for pair in ";".join(headers.getlist("cookie")).split(";"):
        name, _, value = pair.strip().partition("=")
        if name == COOKIE:
            return value
    return ""
