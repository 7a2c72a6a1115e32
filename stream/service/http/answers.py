"""Routes of questions, searches and saved answers."""

from collections.abc import AsyncIterator
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from afterview.configs import AfterviewError
from afterview.memory.format.answer_files import delete_answer
from afterview.stream.ask.saved_answers import changes_since, find_saved
from afterview.stream.service.asked import Piece
from afterview.stream.service.engine import Engine
from afterview.stream.service.http import schemas
from afterview.stream.service.http.answer_schemas import AnswerDocument
from afterview.stream.service.http.asked import ask_of
from afterview.stream.service.http.errors import Json, Responses, document_of
from afterview.stream.service.http.parameters import Admin, Visitor, access_of, server_sent, unless_left
from afterview.stream.service.people.audit import Audit
from afterview.stream.service.people.saved import visible_answers
from afterview.stream.service.questions import Questions

_SENT = """Server-sent events: `cameras` (which are asked, and why others are not), `text` (pieces of the answer), then `answer` (the whole
document) or `error`."""
_NOTHING: Responses = {
    404: {"model": schemas.ErrorDocument, "description": "No such camera or answer, or nothing recorded then."}
}
_GONE: Responses = {
    410: {"model": schemas.ErrorDocument, "description": "The frames of the span are no longer remembered."}
}
_OTHER_MODEL: Responses = {409: {"model": schemas.ErrorDocument, "description": "Recorded with another model."}}
_FULL: Responses = {
    429: {
        "model": schemas.ErrorDocument,
        "description": "Too many questions wait.",
        "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
    }
}
AnswerId = Annotated[str, Path(description="Id of an answer or a search.", min_length=1, max_length=64)]


def answer_routes(engine: Engine, questions: Questions, audit: Audit) -> APIRouter:
    """Routes of /ask, /search and /answers."""
    routes = APIRouter(tags=["questions"])
    streamed: Responses = {
        200: {
            "content": {"text/event-stream": {"schema": {"type": "string", "description": _SENT}}},
            "description": "The answer.",
        }
    }

    @routes.post("/ask", response_model=AnswerDocument, summary="Ask a question",
                 responses={**streamed, **_NOTHING, **_GONE, **_OTHER_MODEL, **_FULL})  # fmt: skip
    async def ask(request: Request, body: schemas.AskRequest) -> Response:
        """The answer with its evidence and coverage; a client that leaves cancels it. `follows` asks on about the same cameras and span."""
        asked, access = ask_of(body), access_of(request)
        if not (body.stream or "text/event-stream" in request.headers.get("accept", "")):
            return Json(await unless_left(request, questions.ask(asked, access)))
        pieces = questions.stream(asked, access)
        first = await unless_left(request, _next(pieces))  # what is wrong from the start has a status of its own
        memory = None if access.door == "socket" else engine.path
        sent = _events(first, pieces, memory)
        return StreamingResponse(sent, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    @routes.post("/search", response_model=schemas.SearchDocument, summary="Find frames by a text",
                 responses={**_NOTHING, **_OTHER_MODEL})  # fmt: skip
    async def search(request: Request, body: schemas.SearchRequest) -> JSONResponse:
        return Json(
            await questions.search(
                body.text, body.cameras, body.start, body.at, body.last, body.top, access_of(request), body.as_is
            )
        )

    _add_saved(routes, engine, questions, audit)
    return routes


def _add_saved(routes: APIRouter, engine: Engine, questions: Questions, audit: Audit) -> None:
    @routes.get("/answers", response_model=schemas.SavedAnswers, summary="Saved answers and searches, newest first")
    async def answers(
        access: Visitor, limit: Annotated[int, Query(ge=1, le=500, description="At most so many.")] = 50
    ) -> JSONResponse:
        """Viewers see their own, as far as they may still see all its cameras; admins see all."""
        found = await engine.read(lambda: visible_answers(engine.path, access))
        return Json({"answers": [{"id": one.id, "saved": one.saved, "bytes": one.bytes} for one in found[:limit]]})

    @routes.get("/answers/{answer}", response_model=AnswerDocument | schemas.SearchDocument, responses=_NOTHING,
                summary="An answer again")  # fmt: skip
    async def saved_answer(access: Visitor, answer: AnswerId) -> JSONResponse:
        """The answer as it was given, with what became of its frames in `notes`."""

        def opened() -> dict[str, Any]:
            record = questions.answer(answer, access)
            document = questions.document(record, access)
            return {**document, "notes": changes_since(record, engine.path)}

        return Json(await engine.read(opened))

    @routes.delete("/answers/{answer}", status_code=204, responses=_NOTHING, summary="Delete a saved answer")
    async def delete(access: Admin, answer: AnswerId) -> Response:
        def work() -> str:
            identity = questions.answer(answer, access).about.id
            delete_answer(find_saved(engine.path, identity).path)
            return identity

        audit.note(access, "delete_answer", answer=await engine.read(work))
        return Response(status_code=204)


async def _next(pieces: AsyncIterator[Piece]) -> Piece:
    return await anext(pieces)


async def _events(first: Piece, pieces: AsyncIterator[Piece], memory: FilePath | None) -> AsyncIterator[str]:
    try:
        yield server_sent(first.kind, first.data)
        async for piece in pieces:
            yield server_sent(piece.kind, piece.data)
    except (AfterviewError, OSError) as error:
        yield server_sent("error", document_of(error, memory))
    finally:
        await pieces.aclose()  # type: ignore[attr-defined]
