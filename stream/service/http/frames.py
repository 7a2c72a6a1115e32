"""Routes of frames, their pictures, and the timeline."""

import time
from collections.abc import Callable
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import JSONResponse

from afterview.configs import UsageError
from afterview.memory.base.errors import RepositoryError
from afterview.memory.base.typed_times import Time, unix_seconds
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.stream.ask.frame_images import image_of
from afterview.stream.ask.looking import Chosen, frame_at, frame_numbered, frames_of_span, newest_frame
from afterview.stream.service.engine import Engine
from afterview.stream.service.errors import NotFound
from afterview.stream.service.http import schemas
from afterview.stream.service.http.errors import Json, Responses
from afterview.stream.service.http.parameters import CameraName, FrameNumber, TimeText, Visitor, as_time
from afterview.stream.service.image_urls import image_url
from afterview.stream.service.people.access import Access
from afterview.stream.service.people.saved import visible_answers
from afterview.stream.service.timeline import evidence_of_answers, timeline

_NOTHING: Responses = {404: {"model": schemas.ErrorDocument, "description": "No such camera or frame."}}
_GONE: Responses = {410: {"model": schemas.ErrorDocument, "description": "No longer remembered."}}
_PICTURE: Responses = {
    200: {
        "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
        "description": "JPEG. X-Frame, X-Frame-Time.",
    },
    304: {"description": "The client has it already (If-None-Match)."},
}
IfNoneMatch = Annotated[str | None, Header(description="ETag of a picture that the client has.")]


def frame_routes(engine: Engine) -> APIRouter:
    """Routes of frames under /cameras/{camera}."""
    routes = APIRouter(prefix="/cameras/{camera}", tags=["frames"], responses={**_NOTHING, **_GONE})

    @routes.get("/frames", response_model=schemas.FrameList, summary="Frames of a span, evenly spaced")
    async def frames(
        access: Visitor, camera: CameraName, start: TimeText = None, end: TimeText = None,
        count: Annotated[int, Query(ge=1, le=1000, description="At most so many.")] = 16,
    ) -> JSONResponse:  # fmt: skip
        first, last = as_time(start), as_time(end)

        def work() -> dict[str, Any]:
            snapshot = _snapshot(engine, camera, access)
            low, high = _times(snapshot, first, last)
            return _listed(snapshot, frames_of_span(snapshot, low, high, count))

        return Json(await engine.read(work))

    @routes.get("/frames/{frame}", response_model=schemas.FrameDocument, summary="A frame by its number")
    async def frame_of(access: Visitor, camera: CameraName, frame: FrameNumber) -> JSONResponse:
        def work() -> dict[str, Any]:
            snapshot = _snapshot(engine, camera, access)
            return _frame(snapshot, _only(snapshot, lambda: frame_numbered(snapshot, frame)))

        return Json(await engine.read(work))

    @routes.get("/frames/{frame}/image", summary="The picture of a frame", response_class=Response, responses=_PICTURE)
    async def image(
        access: Visitor, camera: CameraName, frame: FrameNumber, if_none_match: IfNoneMatch = None
    ) -> Response:
        def work() -> Response:
            snapshot = _snapshot(engine, camera, access)
            return _picture(snapshot, _only(snapshot, lambda: frame_numbered(snapshot, frame)), if_none_match)

        return await engine.read(work)

    @routes.get("/image", summary="The picture at a time", response_class=Response, responses=_PICTURE)
    async def image_at(
        access: Visitor, camera: CameraName, at: TimeText = None, if_none_match: IfNoneMatch = None
    ) -> Response:
        """The newest picture, or the one at a time (the last before it)."""
        moment = as_time(at)

        def work() -> Response:
            snapshot = _snapshot(engine, camera, access)
            then, _ = _times(snapshot, moment, None)
            chosen = newest_frame(snapshot) if then is None else frame_at(snapshot, then)
            return _picture(snapshot, chosen.frames[0], if_none_match)

        return await engine.read(work)

    _add_timeline(routes, engine)
    return routes


def _add_timeline(routes: APIRouter, engine: Engine) -> None:
    @routes.get(
        "/timeline", response_model=schemas.TimelineDocument, summary="Coverage, gaps, forgotten spans, evidence"
    )
    async def camera_timeline(
        access: Visitor, camera: CameraName, start: TimeText = None, end: TimeText = None,
        most: Annotated[int, Query(ge=1, le=10_000, description="Entries of each kind, the newest ones.")] = 500,
    ) -> JSONResponse:  # fmt: skip
        first, last = as_time(start), as_time(end)

        def work() -> dict[str, Any]:
            snapshot = _snapshot(engine, camera, access)
            low, high = _times(snapshot, first, last)
            return timeline(snapshot, low, high, most, evidence_of_answers(visible_answers(engine.path, access)))

        return Json(await engine.read(work))


def _snapshot(engine: Engine, camera: str, access: Access) -> MemorySnapshot:
    return engine.view(access).camera(camera).snapshot()


def _times(snapshot: MemorySnapshot, *times: Time | None) -> list[float | None]:
    now, zone = time.time(), snapshot.info.timezone
    return [None if value is None else unix_seconds(value, timezone=zone, now=now) for value in times]


def _only(snapshot: MemorySnapshot, choose: Callable[[], Chosen]) -> int:
    """The one frame. Raises NotFound for one that never was, NoLongerRemembered, NothingRecorded, DamagedFrames."""
    try:
        return choose().frames[0]
    except RepositoryError:
        raise
    except UsageError as error:
        raise NotFound(str(error)) from None


def _frame(snapshot: MemorySnapshot, frame: int) -> dict[str, Any]:
    when = snapshot.time_of(frame)
    return {
        "camera": snapshot.info.id, "frame": frame, "time": when, "time_iso": snapshot.info.iso(when),
        "picture_damaged": snapshot.picture_damaged(frame), "image": image_url(snapshot.info.id, frame),
    }  # fmt: skip


def _listed(snapshot: MemorySnapshot, chosen: Chosen) -> dict[str, Any]:
    return {
        "camera": snapshot.info.id,
        "frames": [_frame(snapshot, frame) for frame in chosen.frames],
        "notes": list(chosen.notes),
    }


def _picture(snapshot: MemorySnapshot, frame: int, known: str | None) -> Response:
    """The JPEG. Clients may keep it, but must ask each time whether it is still remembered. Raises NotFound."""
    data, why = image_of(snapshot, frame)
    if not data:
        raise NotFound(f"camera '{snapshot.info.id}': {why}")
    tag = f'"{sha256(data).hexdigest()[:32]}"'
    headers = {
        "ETag": tag,
        "Cache-Control": "private, no-cache",
        "X-Frame": str(frame),
        "X-Frame-Time": f"{snapshot.time_of(frame):.3f}",
    }
    if known is not None and tag in (part.strip().removeprefix("W/") for part in known.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type="image/jpeg", headers=headers)
