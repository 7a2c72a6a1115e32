"""One exchange with a user's model server: a request, and its answer piece by piece. Contacts nobody else: no proxy, no redirect.

Synchronous for its caller. Inside, an event loop of its own holds the limits of time and notices within 50 ms that nobody waits any more.
"""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from afterview.stream.ask.own_model.errors import ModelServerBusy, ModelServerError
from afterview.stream.ask.own_model.replies import MOST_BYTES, BadReply, Events, Said, message_of, quoted, said_in
from afterview.stream.ask.own_model.server import SETTINGS, THERE, ModelServer, unreachable
from afterview.stream.ask.own_model.words import Words
from afterview.stream.errors import Cancelled

if TYPE_CHECKING:
    import httpx2

_LOOK_EVERY_S = 0.05
_GUESSES_S = (1.0, 2.0, 4.0)  # waits for a busy server that does not say how long; then it is asked no more
_LONGEST_RETRY_S = 86_400.0
_MOST_REQUESTS = 8  # with the same frames, however soon a busy server wants the next one
_MOST_ERROR_BYTES = 65_536
_MOST_NAMED = 8  # models
_EVENTS, _JSON = "text/event-stream", "application/json"
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Reply:
    """An answer. model: that was asked for. reported: what the server calls it. cut: why it was ended early, or nothing.

    first_s: from the beginning until its first word. tokens: if counted.
    """

    text: str
    model: str
    reported: str | None
    cut: str
    first_s: float
    tokens: tuple[int, int] | None
    requests: int


class Exchange:
    """Asks a server. on_sent: called with the bytes of each request that is sent."""

    def __init__(
        self, server: ModelServer, *, on_sent: Callable[[int], None], cancel: threading.Event | None = None
    ) -> None:
        self._server, self._on_sent, self._cancel = server, on_sent, cancel
        self._began = self._first = 0.0
        self._requests = 0
        self._status: int | None = None  # of the last response

    def ask(self, body: Mapping[str, Any], on_text: Callable[[str], None] | None = None) -> Reply:
        """The answer to a chat. body: without `model` and `stream`. Raises ModelServerError, Cancelled."""
        return self._run(lambda: self._ask(body, Words(on_text)))

    def _run(self, work: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
        """Run a coroutine in a loop of its own, with the limit of the whole, until it ends or nobody waits."""
        loop = asyncio.new_event_loop()  # not asyncio.run: that waits for a name that is still being looked up
        try:
            return loop.run_until_complete(self._watched(work()))
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    async def _watched(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        self._began = time.monotonic()
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait([task], timeout=_LOOK_EVERY_S))[0]:
                if self._cancel is not None and self._cancel.is_set():
                    raise Cancelled("the question was cancelled")
                if self._left() <= 0:
                    raise self._error(f"did not answer within {self._server.timeout_s:g} s", _SLOW)
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=1.0)

    def _left(self) -> float:
        return self._began + self._server.timeout_s - time.monotonic()

    def _error(self, what: str, remedy: str) -> ModelServerError:
        error = ModelServerError(f"the model server {self._server.host} {what}; {remedy}")
        error.status, error.what = self._status, f"{self._server.host} {what}"
        return error

    async def _ask(self, body: Mapping[str, Any], words: Words) -> Reply:
        import httpx2  # late: only such questions need it

        limits = httpx2.Timeout(None, connect=self._server.connect_s, write=self._server.first_token_s)
        headers = {"Accept-Encoding": "identity", "User-Agent": "afterview"}
        if self._server.key:
            headers["Authorization"] = f"Bearer {self._server.key}"
        secure = self._server.tls or _authorities(self._server)
        async with httpx2.AsyncClient(
            timeout=limits, headers=headers, trust_env=False, follow_redirects=False, verify=secure
        ) as client:
            model = self._server.model or await self._only_model(client)
            stream, guesses = self._server.stream, iter(_GUESSES_S)
            while True:
                content = json.dumps({"model": model, **body, "stream": stream}, ensure_ascii=False).encode()
                async with self._sent(client, "POST", self._server.chat_url, content) as response:
                    if response.status_code == 200:
                        return await self._read(response, words, model)
                    said = await self._body(response, _MOST_ERROR_BYTES)
                    if response.status_code == 400 and stream and b"stream" in said:
                        stream = False  # one that offers whole answers only
                        continue
                    if response.status_code not in (429, 503):
                        raise self._refused(response, said, model)
                    asked = _retry_after(response.headers.get("retry-after"))
                wait = next(guesses, None) if asked is None else asked
                if wait is None or self._requests >= _MOST_REQUESTS:
                    raise self._refused(response, said, model)
                await self._wait(wait, response.status_code, said)

    async def _wait(self, seconds: float, status: int, said: bytes) -> None:
        """Wait for a busy server, if the question may take so long. Raises ModelServerBusy."""
        if seconds >= self._left():
            again = max(1, round(seconds))
            why = f"is busy ({status}: {_message(said)}), and asks to wait {again} s"
            raise ModelServerBusy(
                f"the model server {self._server.host} {why}; ask again then, or raise timeout_s of answer_with", again
            )
        await asyncio.sleep(seconds)

    async def _only_model(self, client: "httpx2.AsyncClient") -> str:
        """The name of the server's only model. Raises ModelServerError."""
        name = "name one with --answer-model, or answer_with.model of the service"
        async with self._sent(client, "GET", self._server.models_url, None) as response:
            body = await self._body(response, MOST_BYTES)
            if response.status_code != 200:
                raise self._refused(response, body, None)
        try:
            names = [str(one["id"]) for one in json.loads(body)["data"]]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise self._error("does not list its models as OpenAI does", name) from None
        if len(names) == 1:
            return names[0]
        shown = ", ".join(quoted(one) for one in names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
        raise self._error(f"has {len(names)} models: {shown}" if names else "has no model loaded", name)

    @asynccontextmanager
    async def _sent(
        self, client: "httpx2.AsyncClient", method: str, url: str, content: bytes | None
    ) -> "AsyncIterator[httpx2.Response]":
        """The head of a response. Raises ModelServerError for a server that is not there, silent, or breaks off."""
        import httpx2

        headers = {"Content-Type": _JSON, "Accept": f"{_EVENTS}, {_JSON}"} if content is not None else {"Accept": _JSON}
        request = client.build_request(method, url, content=content, headers=headers)
        if content is not None:
            self._requests += 1
            self._on_sent(len(content))
        self._status = None
        try:
            try:
                response = await asyncio.wait_for(
                    client.send(request, stream=True), self._server.connect_s + self._server.first_token_s
                )
            except TimeoutError:
                raise self._error(f"said nothing for {self._server.first_token_s:g} s", _SLOW) from None
            self._status = response.status_code
            try:
                yield response
            finally:
                await response.aclose()
        except httpx2.ConnectTimeout:
            raise self._error(f"took no connection within {self._server.connect_s:g} s", THERE) from None
        except httpx2.ConnectError as error:
            raise self._error(*unreachable(_short(error))) from None
        except httpx2.TimeoutException:
            raise self._error("takes no data", _SLOW) from None
        except (httpx2.HTTPError, httpx2.StreamError, ValueError) as error:
            raise self._error(f"broke off the connection ({_short(error)})", _LOG) from None

    async def _pieces(self, response: "httpx2.Response") -> AsyncIterator[bytes]:
        """The body as it comes. Raises ModelServerError for one that stalls."""
        pieces = response.aiter_raw()
        while True:
            try:
                yield await asyncio.wait_for(anext(pieces), self._server.first_token_s)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise self._error(
                    f"stopped in the middle: it said nothing for {self._server.first_token_s:g} s", _SLOW
                ) from None

    async def _body(self, response: "httpx2.Response", most: int) -> bytes:
        body = b""
        async for piece in self._pieces(response):
            body += piece
            if len(body) > most:
                break
        return body[:most]

    async def _read(self, response: "httpx2.Response", words: Words, model: str) -> Reply:
        """The answer of a server that took the question. Raises ModelServerError."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise self._error("sends a compressed answer, which was not asked for", THERE)
        if kind not in (_EVENTS, _JSON):
            shown = "no content type" if not kind else quoted(kind)
            raise self._error(f"sends {shown} instead of a chat completion", _ADDRESS)
        try:
            found = await (self._events(response, words) if kind == _EVENTS else self._whole(response, words))
        except BadReply as error:
            raise self._error(str(error), f"{_LOG}{_PARTIAL if words.text else ''}") from None
        words.end()
        if not words.text.strip():
            silence = self._silent(found, words)
            silence.silent = found.end != "content_filter"
            raise silence
        cut = words.cut or ("it had as many tokens as are allowed" if found.end == "length" else "")
        first_s = self._first - self._began
        return Reply(words.text.strip(), model, found.model, cut, first_s, found.tokens, self._requests)

    async def _events(self, response: "httpx2.Response", words: Words) -> Said:
        events, end, model, tokens, quiet = Events(), None, None, None, time.monotonic()

        def take(said: Said) -> None:
            nonlocal end, model, tokens
            end, model, tokens = said.end or end, said.model or model, said.tokens or tokens
            if said.text:
                self._first = self._first or time.monotonic()
                words.add(said.text)

        async for received in self._pieces(response):
            for said in events.add(received):
                take(said)
                quiet = time.monotonic() if said.text or said.alive else quiet
            if words.cut or events.done:
                break
            if (
                time.monotonic() - quiet > self._server.first_token_s
            ):  # comments keep a connection open, and say nothing
                raise self._error(f"said no word for {self._server.first_token_s:g} s", _SLOW)
        else:
            for said in events.end():
                take(said)
        if not (words.cut or events.done or end):
            raise self._error(
                f"broke off in the middle, after {len(words.text)} characters of its answer", f"{_LOG}{_PARTIAL}"
            )
        return Said(end=end, model=model, tokens=tokens)

    async def _whole(self, response: "httpx2.Response", words: Words) -> Said:
        body = await self._body(response, MOST_BYTES + 1)
        if len(body) > MOST_BYTES:
            raise BadReply(f"sends more than {MOST_BYTES / 1e6:g} MB")
        said = said_in(body, "message")
        self._first = time.monotonic()
        words.add(said.text)
        return said

    def _silent(self, found: Said, words: Words) -> ModelServerError:
        if found.end == "content_filter":
            return self._error("refuses to answer (content_filter)", "ask another way, or another model")
        if words.only_thought:
            return self._error(
                "thought, and ended without a word of answer", "raise max_tokens, or take a model that thinks less"
            )
        why = f" (finish_reason {quoted(found.end)})" if found.end else ""
        return self._error(f"answered with no words{why}", "raise max_tokens, or check that its model sees pictures")

    def _refused(self, response: "httpx2.Response", body: bytes, model: str | None) -> ModelServerError:
        """What a status other than 200 means."""
        status, said = response.status_code, _message(body)
        if 300 <= status < 400:
            where = quoted(response.headers.get("location", ""))
            return self._error(
                f"redirects to {where} ({status}), and frames go nowhere else",
                f"if that is right, give it as url: {SETTINGS}",
            )
        if status in (401, 403):
            has = "refuses the key" if self._server.key else "wants a key"
            return self._error(
                f"{has} ({status}: {said})", "set AFTERVIEW_ANSWER_KEY, or answer_with.key of the service"
            )
        if status == 404:
            named = f" or no model {quoted(model)}" if model else ""
            return self._error(
                f"has nothing there{named} (404: {said})", f"check url (most end with /v1) and model: {SETTINGS}"
            )
        if status == 413:
            return self._error(
                f"takes no question of this size (413: {said})", "lower frames or image_size of answer_with"
            )
        if status == 429:
            return self._error(f"is busy (429: {said})", "ask again later")
        if status >= 500:
            return self._error(f"failed ({status}: {said})", _LOG)
        remedy = "check that its model sees pictures and has room for them (frames, image_size of answer_with)"
        return self._error(f"does not take the question ({status}: {said})", remedy)


_SLOW = "see whether its model is loaded, or raise first_token_s or timeout_s of answer_with (--answer-timeout)"
_ADDRESS = f"check that the address is that of an API and not of a web page (most end with /v1): {SETTINGS}"
_LOG = "see its log, or ask again"
_PARTIAL = "; what it said before is no answer"


def _authorities(server: ModelServer) -> ssl.SSLContext:
    """Those of this machine. Reading them takes long, and without TLS nobody vouches for anything."""
    return ssl.create_default_context() if server.base.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _short(error: Exception) -> str:
    return quoted(str(error) or type(error).__name__)[1:-1]


def _message(body: bytes) -> str:
    """What a server says in the body of an error; of a page only that it is one."""
    text = body.decode(errors="replace").strip()
    if text.startswith("<"):
        return "a web page"
    try:
        return message_of(json.loads(text))
    except (ValueError, RecursionError):
        return quoted(text) if text else "no reason given"


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which has seconds or a date. None: it says nothing."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(0.1, seconds), _LONGEST_RETRY_S) if seconds == seconds else None
