"""The side of a command: finds the service that holds a memory, and asks it by the socket in the memory.

Uses the standard library alone, and loads nothing heavy: an `ask` with a service there takes less time than importing torch.
"""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from afterview.configs.errors import AfterviewError, error_kind
from afterview.configs.system_errors import reason
from afterview.memory.base.recorder import short_path
from afterview.stream.errors import Cancelled, StreamError
from afterview.stream.service.holder import SOCKET, Holder, is_held, last_holder

API = "/api/v1"
_PATIENCE_S = 5.0  # for what the service answers at once; its loop is never busy for so long
_STARTS_WITHIN_S = 1.0  # a service has its lock before its socket
_TRY_EVERY_S = 0.05
_LOOK_EVERY_S = 0.1  # whether a question was cancelled

Event = tuple[str, dict[str, Any]]


class ServiceFailed(StreamError):
    """The service could not do what it was asked; `kind` is that of its error."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class ServiceGone(StreamError):
    """The service ended, or closed the connection, before it answered."""


class ServiceClient:
    """Asks one service. From one thread at a time."""

    def __init__(self, memory: Path, holder: Holder) -> None:
        self.memory, self.holder = memory, holder

    def get(self, path: str) -> dict[str, Any]:
        """A document that the service gives at once. Raises TimeoutError if it does not, ServiceGone, and what the service reports."""
        with self._exchange("GET", path, None, _PATIENCE_S) as response:
            return _document(response)

    def post(self, path: str, body: Mapping[str, Any], *, sent: Callable[[], object] = lambda: None) -> dict[str, Any]:
        """The answer to a request, however long it takes. sent: called once it is on its way. Raises as `get`, without TimeoutError."""
        with self._exchange("POST", path, body, None, sent=sent) as response:
            return _document(response)

    def events(
        self, path: str, body: Mapping[str, Any], *, sent: Callable[[], object], cancel: threading.Event | None = None
    ) -> Iterator[Event]:
        """The events of an answer as they come. sent: called once the request is on its way. cancel: once it is set, from any thread,
        Cancelled is raised; the service ends its work when the connection closes. Raises as `post`."""
        with self._exchange("POST", path, {**body, "stream": True}, None, sent=sent, cancel=cancel) as response:
            if response.getheader("Content-Type", "").startswith("text/event-stream"):
                yield from _events(response)
            else:
                _document(response)  # raises the error
                raise ServiceGone(f"{self.holder} answered in another form; is it another version?")

    @contextmanager
    def _exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None, timeout_s: float | None, *,
        sent: Callable[[], object] = lambda: None, cancel: threading.Event | None = None,
    ) -> Iterator[http.client.HTTPResponse]:  # fmt: skip
        connection, ended = _Connection(self.memory, timeout_s), threading.Event()
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            with self._named(cancel):
                connection.request(method, API + path, None if body is None else json.dumps(body).encode(), headers)
            if cancel is not None:
                threading.Thread(target=_cut, args=(connection.sock, cancel, ended), daemon=True).start()
            sent()
            with self._named(cancel):
                yield connection.getresponse()
        finally:
            ended.set()
            connection.close()

    @contextmanager
    def _named(self, cancel: threading.Event | None) -> Iterator[None]:
        """What goes wrong on the way to the service and back, as an error that names it."""
        try:
            yield
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException) as error:
            if cancel is not None and cancel.is_set():
                raise Cancelled("the question was cancelled") from None
            why = f" ({reason(error)})" if isinstance(error, OSError) and error.errno else ""
            said = f"{self.holder}, which serves this memory, ended before it answered{why}; run the command again"
            raise ServiceGone(said) from None


class _Connection(http.client.HTTPConnection):
    """HTTP by the socket in a memory."""

    def __init__(self, memory: Path, timeout_s: float | None) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._memory = memory

    def connect(self) -> None:
        """Raises OSError."""
        self.sock = connect(self._memory)
        self.sock.settimeout(self.timeout)


def connect(memory: Path) -> socket.socket:
    """A connection to the service of a memory. Raises OSError."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(_PATIENCE_S)  # it waits where too many wait already
    try:
        with short_path(memory, SOCKET) as short:
            made.connect(short)
    except BaseException:
        made.close()
        raise
    return made


def find_service(memory: Path) -> tuple[ServiceClient | None, str]:
    """The service that holds a memory; or None, and why one that is there cannot be asked, for people (empty: there is none)."""
    try:
        holder = last_holder(memory)
    except PermissionError:
        return None, _of_another_user(memory)
    if holder is None:
        return None, ""
    until = time.monotonic() + _STARTS_WITHIN_S
    while True:
        try:
            connect(memory).close()
            return ServiceClient(memory, holder), ""
        except OSError as error:
            why = error
        if not is_held(memory):
            return None, ""  # it was killed
        if not isinstance(why, FileNotFoundError | ConnectionRefusedError) or time.monotonic() > until:
            return None, f"{holder} serves this memory, but cannot be asked: {SOCKET}: {reason(why)}"
        time.sleep(_TRY_EVERY_S)


def _of_another_user(memory: Path) -> str:
    """What to say of a lock that this user may not read."""
    try:
        connect(memory).close()
    except (FileNotFoundError, ConnectionRefusedError):
        return ""
    except OSError as error:
        return f"a service of another user serves this memory, and cannot be asked: {SOCKET}: {reason(error)}"
    return "a service of another user serves this memory"


def _document(response: http.client.HTTPResponse) -> dict[str, Any]:
    try:
        document = json.loads(response.read())
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ServiceFailed(
            f"the service answered with status {response.status}, in a form that is not known", "unexpected"
        )
    if response.status >= 400:
        raise error_of(document, response.status)
    return document


def _events(response: http.client.HTTPResponse) -> Iterator[Event]:
    """Server-sent events until the last one. Raises the error that the service reports in one of them."""
    kind = ""
    while (line := response.readline()).endswith(b"\n"):
        text = line.decode(errors="replace").rstrip("\r\n")
        if text.startswith("event: "):
            kind = text.removeprefix("event: ")
        elif text.startswith("data: "):
            document = json.loads(text.removeprefix("data: "))
            if kind == "error":
                raise error_of(document, 500)
            yield kind, document
    raise ConnectionError  # nobody reads on after `answer`


def error_of(document: Mapping[str, Any], status: int) -> AfterviewError:
    """The error that a document of the service describes, of the class that it had there: the exit status is that of the same failure here.

    status: of HTTP, for what has no class here.
    """
    try:
        kind, message = str(document["error"]["kind"]), str(document["error"]["message"])
    except (LookupError, TypeError):
        kind, message = "unexpected", f"the service failed with status {status}"
    for known in _below(AfterviewError):
        if error_kind(known) == kind:
            return known.__new__(known, message)
    return ServiceFailed(message, kind)


def _below(parent: type[AfterviewError]) -> Iterator[type[AfterviewError]]:
    yield parent
    for child in parent.__subclasses__():
        yield from _below(child)


def _cut(connection: socket.socket, cancel: threading.Event, ended: threading.Event) -> None:
    """Close a connection that another thread reads from, once `cancel` is set."""
    while not ended.is_set():
        if cancel.wait(_LOOK_EVERY_S):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it is closed
            return
