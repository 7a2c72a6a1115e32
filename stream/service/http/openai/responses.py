"""The route /v1/responses: the least of OpenAI's responses. Nothing is kept, so the whole conversation comes with each question."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from afterview.configs import AfterviewError, UsageError
from afterview.stream.service.asked import Piece
from afterview.stream.service.http.errors import Json, Responses
from afterview.stream.service.http.openai.answers import (
    Form,
    added,
    first_words,
    is_cut,
    links_text,
    sent,
    text_of,
    usage_of,
)
from afterview.stream.service.http.openai.asking import Asked, Asking
from afterview.stream.service.http.openai.errors import stream_error
from afterview.stream.service.http.openai.parts import read_messages
from afterview.stream.service.http.openai.requests import MOST_MESSAGES, Message, ResponsesRequest
from afterview.stream.service.http.openai.routes import FAILURES, asked_of, form_of, joined, stream_of, whole_document
from afterview.stream.service.http.openai.schemas import ResponseDocument
from afterview.stream.service.http.parameters import unless_left

_SENT = "Events of a response: `response.created`, `response.output_text.delta` and others, last `response.completed` or `error`."


def responses_routes(asking: Asking) -> APIRouter:
    """Routes of /v1/responses."""
    routes = APIRouter(tags=["openai"], prefix="/v1", responses=FAILURES)
    streamed: Responses = {
        200: {
            "content": {"text/event-stream": {"schema": {"type": "string", "description": _SENT}}},
            "description": "The answer.",
        }
    }

    @routes.post("/responses", response_model=ResponseDocument, responses=streamed, summary="Answer a question")
    async def responses(request: Request, body: ResponsesRequest) -> Response:
        """Like a chat completion, in the shape of OpenAI's responses."""
        conversation = read_messages(_messages(body), "input", body.instructions)
        asked = asked_of(asking, request, body, conversation, body.more(body.max_output_tokens, None))
        form = form_of(asking, request, body, asked)
        if not body.stream:
            document = await unless_left(request, whole_document(asking, asked))
            text = text_of(document) + links_text(document, form)
            asking.answered(asked, document, text)
            return Json(_ended(form, body, document, text))
        pieces = asking.pieces(asked)
        held = await unless_left(request, first_words(pieces))
        return stream_of(_events(asking, asked, held, pieces, form, body))

    return routes


def _messages(body: ResponsesRequest) -> list[Message]:
    """The input as messages of a chat. Raises UsageError."""
    items = body.input if isinstance(body.input, list) else [{"role": "user", "content": body.input}]
    if not 0 < len(items) <= MOST_MESSAGES:
        raise UsageError(f"input: give 1 to {MOST_MESSAGES} messages, the last one a question of the user")
    messages = []
    for number, item in enumerate(items):
        kind = item.get("type", "message") if isinstance(item, Mapping) else None
        if not isinstance(item, Mapping) or not isinstance(kind, str):
            raise UsageError(f"input.{number}: must be a message with role and content")
        role, content = (item.get("role"), item.get("content")) if kind == "message" else (kind[:32], None)
        if not isinstance(role, str) or not 0 < len(role) <= 32 or not isinstance(content, str | list | None):
            raise UsageError(f"input.{number}: must be a message with role and content")
        messages.append(Message.model_construct(role=role, content=content))
    return messages


def _begun(form: Form, body: ResponsesRequest) -> dict[str, Any]:
    return {
        "id": f"resp_{form.identity}", "object": "response", "created_at": form.created, "status": "in_progress", "background": False,
        "error": None, "incomplete_details": None, "instructions": body.instructions, "max_output_tokens": body.max_output_tokens,
        "model": form.model, "output": [], "parallel_tool_calls": False, "previous_response_id": None, "store": False,
        "temperature": body.temperature, "top_p": body.top_p, "text": {"format": {"type": "text"}}, "tool_choice": "none", "tools": [],
        "truncation": "disabled", "usage": None, "metadata": {},
    }  # fmt: skip


def _message(form: Form, text: str, status: str = "completed") -> dict[str, Any]:
    return {
        "id": f"msg_{form.identity}", "type": "message", "role": "assistant", "status": status,
        "content": [] if status == "in_progress" else [_part(text)],
    }  # fmt: skip


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _ended(form: Form, body: ResponsesRequest, document: Mapping[str, Any], text: str) -> dict[str, Any]:
    cut, usage = is_cut(document), usage_of(document)
    status = "incomplete" if cut else "completed"
    counts = {
        "input_tokens": usage["prompt_tokens"], "input_tokens_details": {"cached_tokens": 0}, "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": usage["total_tokens"],
    }  # fmt: skip
    return {
        **_begun(form, body), "status": status, "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": [_message(form, text, status)], "usage": counts, "afterview": added(document, form),
    }  # fmt: skip


class _Events:
    """Numbers the events of one stream."""

    def __init__(self) -> None:
        self._number = 0

    def __call__(self, kind: str, **data: Any) -> str:
        document = {"type": kind, "sequence_number": self._number, **data}
        self._number += 1
        return sent(document, kind)


async def _events(
    asking: Asking, asked: Asked, held: list[Piece], pieces: AsyncIterator[Piece], form: Form, body: ResponsesRequest
) -> AsyncIterator[str]:
    """held: the pieces that came already."""
    event, text = _Events(), ""
    where = {"item_id": f"msg_{form.identity}", "output_index": 0, "content_index": 0}
    try:
        begun = _begun(form, body)
        yield event("response.created", response=begun)
        yield event("response.in_progress", response=begun)
        yield event("response.output_item.added", output_index=0, item=_message(form, "", "in_progress"))
        yield event("response.content_part.added", **where, part=_part(""))
        async for piece in joined(held, pieces):
            if piece.kind == "text":
                text += piece.data["text"]
                yield event("response.output_text.delta", **where, delta=piece.data["text"], logprobs=[])
            elif piece.kind == "answer":
                text_of(piece.data)
                if links := links_text(piece.data, form):
                    text += links
                    yield event("response.output_text.delta", **where, delta=links, logprobs=[])
                ended = _ended(form, body, piece.data, text)
                asking.answered(asked, piece.data, text)
                yield event("response.output_text.done", **where, text=text, logprobs=[])
                yield event("response.content_part.done", **where, part=_part(text))
                yield event("response.output_item.done", output_index=0, item=ended["output"][0])
                yield event(f"response.{ended['status']}", response=ended)
    except (AfterviewError, OSError) as error:
        found = stream_error(error, asking.place)["error"]
        yield event("error", code=found["code"], message=found["message"], param=found["param"])
    finally:
        await pieces.aclose()  # type: ignore[attr-defined]
