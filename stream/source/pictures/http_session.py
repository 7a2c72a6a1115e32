"""HTTP for cameras that send pictures: GET with a login, redirects and timeouts, for a thread that must be able to stop.

Threads: belongs to the source's decode thread. The event loop in it serves to wait for bytes without being stuck: while it waits, the
stop flag is checked four times a second. Nothing else runs in it.
"""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit

import av
import httpx2

from afterview.stream.errors import SourceError, SourceLost, SourceNotFound, SourceUnreachable
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.address.redact import redact
from afterview.stream.source.failures.failures import explain_opening
from afterview.stream.source.pictures.http_login import Login

_LOOK_EVERY_S = 0.25  # for the stop flag
_CLOSE_WITHIN_S = 1.0
_MOST_REDIRECTS = 8  # FFmpeg's limit, too
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HEADERS = {
    "User-Agent": "afterview",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Cache-Control": "no-cache",
}

_Result = TypeVar("_Result")


class NotUnderstood(Exception):
    """The answer is not HTTP as httpx2 reads it; FFmpeg may be more lenient."""


class Reply:
    """An answer whose body is read piece by piece."""

    def __init__(self, session: "HttpSession", response: httpx2.Response) -> None:
        self._session, self._response = session, response
        self._body: AsyncGenerator[bytes, None] = (
            response.aiter_bytes()
        )  # some servers compress though nobody asked for it
        self._next: asyncio.Task[bytes] | None = None
        self._redirected_to = session.redirected_to

    @property
    def content_type(self) -> str:
        """As the header states it; '' if it does not. Of several, the one that names parts."""
        stated = self._response.headers.get_list("content-type")
        return next((value for value in stated if value.strip().lower().startswith("multipart/")), (stated or [""])[0])

    @property
    def length(self) -> int | None:
        """Bytes of the body, if stated."""
        text = self._response.headers.get("content-length", "")
        return int(text) if text.isdecimal() else None

    @property
    def unchanged(self) -> bool:
        """The server says that nothing changed since its last answer, and sends no body."""
        return self._response.status_code == 304

    @property
    def redirected_to(self) -> str:
        """The path that redirects led to, without a query; '' if there were none."""
        return self._redirected_to

    @property
    def tag(self) -> str:
        """The ETag, or ''."""
        return self._response.headers.get("etag", "")

    def read(self, limit_s: float) -> bytes | None:
        """The next bytes, b"" at the end; None if none came within the limit. Then it may be called again.

        Raises SourceLost, Stopped.
        """
        if self._next is None:
            self._next = self._session.start(_next_bytes(self._body))
        if not self._session.wait_for(self._next, limit_s):
            return None
        task, self._next = self._next, None
        try:
            return task.result()
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            failure = self._session.explain_reading(error)
        raise failure

    def close(self) -> None:
        """Close the answer; its connection is closed, too, if the body was not read to its end."""
        if self._next is not None:
            self._session.cancel(self._next)
            self._next = None
        self._session.finish(self._body.aclose())  # from the outside in: asyncio cannot close what lies in one another
        self._session.finish(self._response.aclose())


async def _next_bytes(body: AsyncIterator[bytes]) -> bytes:
    while True:
        try:
            data = await anext(body)
        except StopAsyncIteration:
            return b""
        if data:
            return data


class Stopped(SourceLost):
    """The reader was told to stop."""


class CutOff(SourceLost):
    """The server closed the connection before the end of its answer."""


class HttpSession:
    """Connections to the server of one source. Use as a context manager, in one thread."""

    def __init__(self, address: SourceAddress, stop: threading.Event) -> None:
        self._address, self._stop = address, stop
        self._loop = asyncio.new_event_loop()
        self._client = httpx2.AsyncClient(headers=_HEADERS, verify=_tls(), timeout=None, follow_redirects=False)
        parts = urlsplit(address.url)
        self._login = Login(parts)
        self._origin = _origin(parts)
        self._reply: Reply | None = None  # the latest
        self._kept = False  # there may be an open connection
        self.redirected_to = ""  # path to which redirects of the latest answer led
        self.retry_after_s = 0.0  # seconds that the latest refusal asks to wait

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        if self._loop.is_closed():
            return
        if self._reply is not None:
            self._reply.close()
        self.finish(self._client.aclose())
        for task in asyncio.all_tasks(self._loop):
            self.cancel(task)
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def get(self, limit_s: float, *, again: bool = False) -> Reply:
        """The answer to a GET, once its headers are there. again: there was one before, so "not modified" is an answer.

        Raises SourceError, NotUnderstood, Stopped.
        """
        began = time.monotonic()
        task = self.start(self._answer())
        try:
            if self.wait_for(task, limit_s):
                response = task.result()
                failure = self._refusal(response, limit_s, again)
                if failure is None:
                    self._reply = Reply(self, response)
                    return self._reply
                self.finish(response.aclose())
            else:
                failure = self._explain(TimeoutError(), limit_s, limit_s)
        except (httpx2.ProtocolError, httpx2.InvalidURL, NotImplementedError, UnicodeError) as error:
            raise NotUnderstood(type(error).__name__) from None
        except (httpx2.HTTPError, OSError) as error:
            failure = self._explain(error, limit_s, time.monotonic() - began)
        finally:
            self.cancel(task)
        raise failure  # outside the handler, so that no chained error carries the address with its credentials

    async def _answer(self) -> httpx2.Response:
        """GET; once more if the connection that was kept had been closed meanwhile."""
        kept, self._kept = self._kept, True
        try:
            return await self._follow()
        except (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError):
            if not kept:
                raise
        return await self._follow()

    async def _follow(self) -> httpx2.Response:
        """GET, along redirects. The login goes to the source's own host only."""
        url, login, self.redirected_to = self._address.url, self._login, ""
        for _ in range(_MOST_REDIRECTS + 1):
            parts = urlsplit(url)
            plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
            response = await self._client.send(self._client.build_request("GET", plain), auth=login, stream=True)
            if not response.has_redirect_location:
                return response
            await response.aclose()
            url = urljoin(plain, response.headers["Location"])
            target = urlsplit(url)
            if target.scheme not in _DEFAULT_PORTS:
                raise httpx2.UnsupportedProtocol(f"redirected to {redact(target.scheme)}://")
            self.redirected_to = redact(target.path)
            if target.username is not None or not self._is_own(target):
                login = Login(target)
        raise httpx2.TooManyRedirects(f"more than {_MOST_REDIRECTS} redirects")

    def _is_own(self, target: SplitResult) -> bool:
        """The same server, or its encrypted side."""
        origin = _origin(target)
        return origin == self._origin or (
            (self._origin[0], self._origin[2]) == ("http", 80) and origin == ("https", self._origin[1], 443)
        )

    def _refusal(self, response: httpx2.Response, limit_s: float, again: bool) -> SourceError | None:
        status = response.status_code
        stated = response.headers.get("retry-after", "")
        self.retry_after_s = float(stated) if stated.isascii() and stated.isdecimal() and len(stated) < 6 else 0.0
        if status == 304 and again:
            return None
        if status in (204, 205):
            return SourceUnreachable(
                f"{self._address.redacted}: the server has no picture at present ({status}); is the camera on?"
            )
        if status == 401 or status == 403:
            kind = av.error.HTTPUnauthorizedError if status == 401 else av.error.HTTPForbiddenError
            return explain_opening(kind(status, ""), self._address, limit_s, took_s=0.0)
        if status == 404:
            return explain_opening(av.error.HTTPNotFoundError(status, ""), self._address, limit_s, took_s=0.0)
        if status == 410:
            return SourceNotFound(f"{self._address.redacted}: the server has no such stream any more (410)")
        if not 200 <= status < 300:
            said = redact(f"{status} {response.reason_phrase}".strip())
            remedy = "it may serve one client only; " if status in (429, 503) else ""
            return SourceUnreachable(
                f"{self._address.redacted}: cannot be reached: the server answers '{said}'; {remedy}check the address and the camera"
            )
        return None

    def _explain(self, error: Exception, limit_s: float, took_s: float) -> SourceError:
        """Of an error before the headers came."""
        cause = _system_error(error)
        if isinstance(error, httpx2.UnsupportedProtocol | httpx2.TooManyRedirects):
            return SourceUnreachable(f"{self._address.redacted}: cannot be reached: {error}; check the address")
        if isinstance(cause, ssl.SSLError):
            return SourceUnreachable(
                f"{self._address.redacted}: cannot be reached: TLS failed ({cause.reason or 'no reason given'}); "
                "perhaps the camera speaks http:// on this port"
            )
        if isinstance(cause, socket.gaierror) or cause is None:
            cause = OSError(errno.EIO, "")
        return explain_opening(OSError(cause.errno, _text(cause)), self._address, limit_s, took_s=took_s)

    def explain_reading(self, error: Exception) -> SourceError:
        """Of an error while the body was read."""
        if isinstance(error, httpx2.RemoteProtocolError):
            return CutOff(f"{self._address.redacted}: reading failed: the server closed the connection in the middle")
        if isinstance(error, httpx2.DecodingError):
            return SourceLost(f"{self._address.redacted}: reading failed: the server's compression is damaged")
        reason = _text(_system_error(error)) or "the connection broke"
        return SourceLost(f"{self._address.redacted}: reading failed: {redact(reason)}")

    # --- waiting ---

    def start(self, work: Coroutine[Any, Any, _Result]) -> "asyncio.Task[_Result]":
        """Begin some work; it goes on in `wait_for`."""
        return self._loop.create_task(work)

    def wait_for(self, task: "asyncio.Task[Any]", limit_s: float) -> bool:
        """Whether the task was done within the limit. Raises Stopped."""
        deadline = time.monotonic() + limit_s
        while not task.done():
            left_s = deadline - time.monotonic()
            if self._stop.is_set():
                raise Stopped(f"{self._address.redacted}: stopped")
            if left_s <= 0:
                return False
            self._loop.run_until_complete(asyncio.wait({task}, timeout=min(left_s, _LOOK_EVERY_S)))
        return True

    def finish(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do something that closes a connection; whether it succeeds does not matter."""
        task = self.start(work)
        self._loop.run_until_complete(asyncio.wait({task}, timeout=_CLOSE_WITHIN_S))
        self.cancel(task)

    def cancel(self, task: "asyncio.Task[Any]") -> None:
        """End a task, and take its error, if any."""
        if not task.done():
            task.cancel()
            self._loop.run_until_complete(asyncio.wait({task}, timeout=_CLOSE_WITHIN_S))
        if task.done() and not task.cancelled():
            task.exception()


def _tls() -> ssl.SSLContext:
    """FFmpeg, which reads all other sources, does not verify certificates either: those of cameras are self-signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(ssl.SSLError):  # a build that forbids it
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # short keys, as old cameras have them
    return context


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    port: int | None = None
    with contextlib.suppress(ValueError):
        port = parts.port
    return parts.scheme, parts.hostname or "", port or _DEFAULT_PORTS.get(parts.scheme, 0)


def _text(error: OSError | None) -> str:
    """The system's text; asyncio puts a text with the address into its place."""
    return os.strerror(error.errno) if error is not None and error.errno and error.errno > 0 else ""


def _system_error(error: BaseException | None) -> OSError | None:
    """The operating system's error behind an error of httpx2."""
    seen = 0
    found: OSError | None = None
    while error is not None and seen < 16:
        if isinstance(error, OSError) and (error.errno is not None or isinstance(error, ssl.SSLError)):
            found = error
        if isinstance(error, ExceptionGroup):
            error, seen = error.exceptions[0], seen + 1
            continue
        error, seen = error.__cause__ or error.__context__, seen + 1
    return found
