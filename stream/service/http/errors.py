"""Errors as the API gives them: one shape, `{"error": {"kind": ..., "message": ...}}`, and the status of each kind."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from afterview.configs import AfterviewError, UsageError
from afterview.configs.errors import error_kind
from afterview.configs.system_errors import describe
from afterview.configs.wording import describe_secret_problem
from afterview.memory.base.errors import (
    CameraBusy,
    MemoryNotFound,
    NameTaken,
    NoLongerRemembered,
    NothingRecorded,
    RequestRefused,
    SpecMismatch,
    StoreError,
)
from afterview.stream.ask.own_model.errors import ModelServerBusy, ModelServerError
from afterview.stream.service.errors import (
    Forbidden,
    ModelNotReady,
    NotFound,
    Stopping,
    TooManyJobs,
    TooManyQuestions,
    TooManySignIns,
    WrongSignIn,
)
from afterview.stream.service.http_address import OWN_SOCKET
from afterview.stream.source.address.redact import redact

# The first class that fits counts.
STATUS: tuple[tuple[type[AfterviewError], int], ...] = (
    (NotFound, 404),
    (MemoryNotFound, 404),
    (NoLongerRemembered, 410),
    (NothingRecorded, 404),
    (Forbidden, 403),
    (TooManyQuestions, 429),
    (TooManyJobs, 429),
    (TooManySignIns, 429),
    (WrongSignIn, 401),
    (ModelNotReady, 503),
    (ModelServerBusy, 503),
    (ModelServerError, 502),
    (Stopping, 503),
    (StoreError, 503),
    (SpecMismatch, 409),
    (CameraBusy, 409),
    (NameTaken, 409),
    (RequestRefused, 409),
    (UsageError, 400),
)
_MOST_PROBLEMS = 5
_KINDS = {404: "not_found", 405: "method_not_allowed"}


Responses = dict[int | str, dict[str, Any]]  # of a route, as FastAPI takes them


class Json(JSONResponse):
    """JSON in which letters of any script stay readable, and that any client can decode."""

    def render(self, content: Any) -> bytes:
        """Bytes of the document."""
        return json.dumps(content, ensure_ascii=False, allow_nan=False).encode(errors="replace")


def error_response(status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error in its one shape."""
    return Json({"error": {"kind": kind, "message": redact(message)}}, status, headers)


def response_of(error: AfterviewError | OSError) -> JSONResponse:
    """What a client gets for an error of this project, or of the system."""
    if not isinstance(error, AfterviewError):
        return error_response(503, "system", describe(error))
    status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
    headers = {}
    if isinstance(error, TooManyQuestions | TooManyJobs | TooManySignIns | ModelServerBusy):
        headers["Retry-After"] = str(error.retry_after_s)
    elif status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    elif status == 503:
        headers["Retry-After"] = "5"
    return error_response(status, error_kind(error), str(error), headers)


def document_of(error: AfterviewError | OSError, memory: Path | None = None) -> dict[str, Any]:
    """The same as a document, for streams that have begun. memory: its place on this machine, which the client need not know."""
    found: dict[str, Any] = json.loads(bytes(response_of(error).body))
    if memory is not None and memory.is_absolute():
        found["error"]["message"] = found["error"]["message"].replace(str(memory), "the memory")
    return found


def add_error_handlers(app: FastAPI, memory: Path) -> None:
    """Give every error its one shape. memory: its place on this machine, which no client needs to know."""

    async def own(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, AfterviewError | OSError)
        found = response_of(error)
        if (
            request.scope.get(OWN_SOCKET) or not memory.is_absolute()
        ):  # this user knows it; a relative name tells nothing
            return found
        hidden = bytes(found.body).replace(json.dumps(str(memory))[1:-1].encode(), b"the memory")
        found.headers["Content-Length"] = str(len(hidden))
        found.body = hidden
        return found

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        problems = error.errors()
        said = [_problem(problem, request.headers.get("content-type", "")) for problem in problems[:_MOST_PROBLEMS]]
        return error_response(422, "invalid_request", "; ".join(said))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        kind = _KINDS.get(error.status_code, "invalid_request")
        return error_response(error.status_code, kind, _nothing_there(error, request), error.headers)

    app.add_exception_handler(AfterviewError, own)
    app.add_exception_handler(OSError, own)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)


def _problem(problem: Mapping[str, Any], content_type: str) -> str:
    """What is wrong with a request. What came may be a secret: it is not quoted."""
    if problem["type"] == "json_invalid":
        return f"body: not JSON, at character {problem['loc'][-1]}"
    if problem["loc"] == ("body",) and not _is_json(content_type):
        return "body: must be JSON, with the header Content-Type: application/json"
    return f"{'.'.join(map(str, problem['loc']))}: {describe_secret_problem(problem)}"


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _nothing_there(error: HTTPException, request: Request) -> str:
    path = request.url.path
    if error.status_code == 405 and (allowed := (error.headers or {}).get("Allow")):
        return f"{path}: {request.method} is not possible here; use {allowed}"
    if error.status_code == 404:
        return f"{path}: there is nothing here; /api/v1/openapi.json lists all addresses"
    return f"{path}: {error.detail}"
