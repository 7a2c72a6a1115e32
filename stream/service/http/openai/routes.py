"""Routes of /v1/models and /v1/chat/completions. docs/openai.md says what of OpenAI's API there is."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from afterview.configs import AfterviewError
from afterview.stream.service.asked import Piece
from afterview.stream.service.http.errors import Json, Responses
from afterview.stream.service.http.openai.answers import Chunks, Form, completion, first_words, sent
from afterview.stream.service.http.openai.asking import Asked, Asking
from afterview.stream.service.http.openai.errors import stream_error
from afterview.stream.service.http.openai.parts import read_messages
from afterview.stream.service.http.openai.requests import ChatRequest, Generation, refuse
from afterview.stream.service.http.openai.schemas import ChatCompletion, ModelDocument, ModelList, OpenAiErrorDocument
from afterview.stream.service.http.parameters import access_of, unless_left

_SENT = "Chunks of a chat completion as server-sent events, then `[DONE]`. The last one with a choice has `afterview`."
_FAILURES: dict[int | str, str] = {
    400: "The request is wrong; `param` says where.",
    401: "The key is missing or wrong.",
    403: "The request comes from a page of another site, or the user may not do this.",
    404: "No such model or camera, or nothing recorded then.",
    405: "Another method is needed.",
    408: "The body came too slowly.",
    409: "Recorded with another model.",
    410: "The frames of the span are no longer remembered.",
    413: "The body is too large.",
    421: "The Host header names another service.",
    429: "Too many questions wait, or too much came with them; `Retry-After` says when to come again.",
    500: "The model gave no text, or something unexpected happened.",
    503: "The model is not loaded, or the service is ending.",
    "4XX": "Another error of the request.",
}
FAILURES: Responses = {
    status: {"model": OpenAiErrorDocument, "description": text} for status, text in _FAILURES.items()
}


def openai_routes(asking: Asking) -> APIRouter:
    """Routes of /v1/models and /v1/chat/completions."""
    routes = APIRouter(tags=["openai"], prefix="/v1", responses=FAILURES)

    @routes.get("/models", response_model=ModelList, summary="The names of the model")
    async def models() -> JSONResponse:
        """`afterview` is whatever model the service has. Each name also works with `:links`, which names the evidence in the text."""
        return Json({"object": "list", "data": [_model(asking, name) for name in _names(asking)]})

    @routes.get("/models/{model:path}", response_model=ModelDocument, summary="One name of the model")
    async def model(model: Annotated[str, Path(description="A name of the model.", max_length=300)]) -> JSONResponse:
        if model not in _names(asking):
            asking.require_model(model.removesuffix(":links"))
        return Json(_model(asking, model))

    streamed: Responses = {
        200: {
            "content": {"text/event-stream": {"schema": {"type": "string", "description": _SENT}}},
            "description": "The answer.",
        }
    }

    @routes.post(
        "/chat/completions", response_model=ChatCompletion, responses=streamed, summary="Answer a conversation"
    )
    async def chat(request: Request, body: ChatRequest) -> Response:
        """The last message is the question; what came before says about which cameras and span. A client that leaves cancels it."""
        tokens = body.max_completion_tokens or body.max_tokens
        asked = asked_of(asking, request, body, read_messages(body.messages, "messages"), body.more(tokens, body.stop))
        form = form_of(asking, request, body, asked)
        if not body.stream:
            return Json(await unless_left(request, _whole(asking, asked, form)))
        pieces = asking.pieces(asked)
        held = await unless_left(request, first_words(pieces))
        chunks = _chunks(asking, asked, held, pieces, Chunks(form, usage=body.include_usage))
        return stream_of(chunks)

    return routes


def asked_of(asking: Asking, request: Request, body: Generation, conversation: Any, more: dict[str, Any]) -> Asked:
    """The question of a request. Raises UsageError, NoSuchModel, ModelNotReady."""
    notes = refuse(body)
    asking.require_model(body.model_name)
    return Asked(conversation, body.afterview, more, access_of(request), [*notes, *conversation.notes])


def form_of(asking: Asking, request: Request, body: Generation, asked: Asked) -> Form:
    """How its answer is written."""
    server = request.scope.get("server")
    named = server is not None and server[1] is not None  # else a Unix socket, whose clients name no host
    links = (str(request.base_url).rstrip("/") if named else asking.url) if body.links else None
    return Form(body.model, asked.notes, links, given=bool(asked.sources))


def stream_of(chunks: AsyncIterator[str]) -> StreamingResponse:
    """Server-sent events."""
    return StreamingResponse(chunks, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def whole_document(asking: Asking, asked: Asked) -> dict[str, Any]:
    """The document of an answer."""
    found: dict[str, Any] = {}
    async with aclosing(asking.pieces(asked)) as pieces:  # type: ignore[type-var]
        async for piece in pieces:
            found = piece.data
    return found


async def _whole(asking: Asking, asked: Asked, form: Form) -> dict[str, Any]:
    document = await whole_document(asking, asked)
    answer = completion(document, form)
    asking.answered(asked, document, answer["choices"][0]["message"]["content"])
    return answer


async def _chunks(
    asking: Asking, asked: Asked, held: list[Piece], pieces: AsyncIterator[Piece], chunks: Chunks
) -> AsyncIterator[str]:
    """held: the pieces that came already."""
    try:
        yield chunks.begin()
        async for piece in joined(held, pieces):
            if piece.kind == "text":
                yield chunks.words(piece.data["text"])
            elif piece.kind == "answer":
                last = chunks.end(piece.data)
                asking.answered(asked, piece.data, chunks.text)
                for chunk in last:
                    yield chunk
    except (AfterviewError, OSError) as error:
        yield sent(stream_error(error, asking.place))
    finally:
        await pieces.aclose()  # type: ignore[attr-defined]


async def joined(held: list[Piece], pieces: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    """The pieces that came already, then the others."""
    for piece in held:
        yield piece
    async for piece in pieces:
        yield piece


def _names(asking: Asking) -> list[str]:
    return [name + suffix for name in asking.models() for suffix in ("", ":links")]


def _model(asking: Asking, name: str) -> dict[str, Any]:
    return {
        "id": name, "object": "model", "created": asking.began, "owned_by": "afterview",
        "max_model_len": asking.models().get(name.removesuffix(":links")),
    }  # fmt: skip
