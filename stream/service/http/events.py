"""The route of events."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse

from afterview.stream.service.engine import Engine
from afterview.stream.service.http import schemas
from afterview.stream.service.http.parameters import Visitor, server_sent
from afterview.stream.service.seen_events import seen_by

_SENT = "Server-sent events: `camera` (a state changed), `job`, `answer`, `model`, `configuration`, `missed` (events were lost)."


def event_routes(engine: Engine) -> APIRouter:
    """GET /events."""
    routes = APIRouter(tags=["events"])

    @routes.get(
        "/events", summary="What happens, as server-sent events", response_class=StreamingResponse,
        responses={
            200: {"content": {"text/event-stream": {"schema": {"type": "string", "description": _SENT}}}, "description": "Without end."},
            429: {"model": schemas.ErrorDocument, "description": "Too many clients listen."},
        },
    )  # fmt: skip
    async def events(
        access: Visitor,
        last_event_id: Annotated[
            str | None, Header(description="Number of the newest event that the client has.")
        ] = None,
    ) -> StreamingResponse:
        """Of the cameras that the user may see, and of their own answers."""
        engine.hub.require_room(access.client)
        after = int(last_event_id) if last_event_id and last_event_id.isdecimal() and len(last_event_id) < 20 else None

        async def sent() -> AsyncIterator[str]:
            yield ": welcome\n\n"
            async for event in engine.hub.listen(after, see=seen_by(access), client=access.client):
                yield ": still here\n\n" if event is None else server_sent(event.kind, event.to_dict(), event.number)

        return StreamingResponse(sent(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    return routes
