"""The login of an http(s) address."""

import base64
from collections.abc import Generator
from urllib.parse import SplitResult, unquote

import httpx2


class Login(httpx2.Auth):
    """The login of a URL: sent only when the server asks for it, then with every request. Digest is preferred to Basic."""

    def __init__(self, parts: SplitResult) -> None:
        self._known = parts.username is not None
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._digest: httpx2.DigestAuth | None = None
        self._basic = False

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """See httpx2.Auth."""
        if self._digest is not None:
            yield from self._digest.auth_flow(request)
            return
        if self._basic:
            request.headers["Authorization"] = self._basic_header()
        response = yield request
        if response.status_code != 401 or not self._known or self._basic:
            return
        asked = [value.strip().lower() for value in response.headers.get_list("www-authenticate")]
        if any(value.startswith("digest ") for value in asked):
            digest = httpx2.DigestAuth(self._user, self._password)
            flow = digest.auth_flow(request)
            next(flow)  # the request that has been sent
            yield flow.send(response)
            self._digest = digest
        elif any(value.startswith("basic") for value in asked) or not asked:
            self._basic = True
            request.headers["Authorization"] = self._basic_header()
            yield request

    def _basic_header(self) -> str:
        return "Basic " + base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
