"""Errors under /v1 in OpenAI's shape, `{"error": {"message", "type", "param", "code"}}`: of a route, of FastAPI, of the guard."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from afterview.configs import AfterviewError
from afterview.stream.service.errors import NotFound
from afterview.stream.service.http.errors import document_of, response_of

PREFIX = "/v1/"
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {"token_required": "invalid_api_key", "no_such_model": "model_not_found", "too_large": "request_too_large"}
_STATUSES = {422: 400}
# Official clients ask again after 408, 409, 429 and 5xx; again only helps where something is busy or not ready.
_AGAIN = (408, 429, 503)
_BODY = re.compile(r"(?:^|(?<=; ))body\.")
_PLACE = re.compile(
    r"(?:body\.)?((?:messages|input|instructions|model|n|stop|seed|afterview|stream|stream_options|temperature|top_p|top_k|repetition_penalty"
    r"|max_tokens|max_completion_tokens|max_output_tokens|response_format|tools|tool_choice|logprobs|previous_response_id|background|text"
    r"|modalities)(?:\.[\w-]+)*): "
)


class NoSuchModel(NotFound):
    """The request names a model that this service does not have."""


class NoText(AfterviewError):
    """The model ended its answer without a word."""


def openai_error(status: int, error: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's shape of an error of this API. The part of the request that a message names first is its `param`."""
    kind, message = str(error.get("kind", "invalid_request")), str(error.get("message", ""))
    place = _PLACE.match(message)
    return {
        "error": {
            "message": _BODY.sub("", message),
            "type": _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error"),
            "param": place[1] if place else None,
            "code": _CODES.get(kind, kind),
        }
    }


def stream_error(error: AfterviewError | OSError, memory: str) -> dict[str, Any]:
    """The same for a stream that has begun. memory: a path of this machine, which no client needs to know."""
    found = openai_error(response_of(error).status_code, document_of(error)["error"])
    found["error"]["message"] = found["error"]["message"].replace(memory, "the memory")
    return found


def failed_event(path: str) -> Callable[[Mapping[str, Any]], str] | None:
    """What makes the last event of a stream under /v1 from the document of an error; None for other paths."""
    if not path.startswith(PREFIX):
        return None

    def event(document: Mapping[str, Any]) -> str:
        found = openai_error(401, document["error"])
        if path == f"{PREFIX}responses":
            told = {"type": "error", **{key: found["error"][key] for key in ("code", "message", "param")}}
            return f"event: error\ndata: {json.dumps(told)}\n\n"
        return f"data: {json.dumps(found)}\n\n"

    return event


def openai_shaped(scope: Mapping[str, Any], send: Send) -> Send:
    """`send` for one request: the errors of requests under /v1 are rewritten, and all else stays as it is."""
    if not scope["path"].startswith(PREFIX):
        return send
    held: MutableMapping[str, Any] | None = None
    parts: list[bytes] = []

    async def answer(message: MutableMapping[str, Any]) -> None:
        nonlocal held
        if message["type"] == "http.response.start" and message["status"] >= 400:
            held = message
            return
        if held is None:
            await send(message)
            return
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            start, held = held, None
            body = _rewritten(start, b"".join(parts))
            await send(start)
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return answer


def _rewritten(start: MutableMapping[str, Any], body: bytes) -> bytes:
    """The body in OpenAI's shape; the head is changed to fit."""
    status = start["status"] = _STATUSES.get(start["status"], start["status"])
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        error = {"message": body.decode(errors="replace")}
    rewritten = json.dumps(openai_error(status, error), ensure_ascii=False).encode(errors="replace")
    kept = [
        (name, value) for name, value in start["headers"] if name.lower() not in (b"content-length", b"content-type")
    ]
    kept += [(b"content-length", str(len(rewritten)).encode()), (b"content-type", b"application/json")]
    if status not in _AGAIN:
        kept.append((b"x-should-retry", b"false"))
    start["headers"] = kept
    return rewritten
