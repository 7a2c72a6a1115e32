"""Health for supervisors and containers, and metrics."""

import asyncio
import shutil
import time

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from afterview.configs import AfterviewError
from afterview.stream.service.degraded import readiness
from afterview.stream.service.engine import Engine
from afterview.stream.service.http import schemas
from afterview.stream.service.http.errors import Json
from afterview.stream.service.http.parameters import Visitor
from afterview.stream.service.measured import Measured, exposition
from afterview.stream.service.people.access import Access
from afterview.stream.service.people.audit import Audit

_USAGE_LASTS_S = 60.0  # counting the bytes of a camera walks through its files
_MOST_KNOWN = 64

Usage = dict[str, tuple[int, float | None]]


def health_routes(engine: Engine, measured: Measured, audit: Audit) -> APIRouter:
    """GET /health/live, /health/ready and /metrics."""
    routes = APIRouter(tags=["health"])
    known: dict[
        frozenset[str] | None, tuple[float, Usage]
    ] = {}  # by what somebody may see: how long it takes must not say more

    @routes.get("/health/live", response_model=schemas.Live, summary="Whether the process answers")
    async def live() -> JSONResponse:
        return Json({"status": "live"})

    @routes.get(
        "/health/ready", response_model=schemas.Ready, summary="Whether the service can do its work",
        responses={503: {"model": schemas.Ready, "description": "Not ready: no model, or the disk is full."}},
    )  # fmt: skip
    async def ready(access: Visitor) -> JSONResponse:
        """`degraded` is status 200: it answers, but a camera is down. Without a token or a sign-in, only `ready` or `not ready`."""
        cameras = [camera.to_dict(engine.model_state) for camera in engine.visible(access)]
        free = await engine.read(lambda: _free_bytes(engine))
        doors = [note for door in measured.doors for note in door.notes()] if access.admin else []
        found = readiness(engine.model_state, engine.model_problem, cameras, free, named=access.known, doors=doors)
        if access.admin:
            found["notes"] += audit.notes()
        else:
            found["model"]["detail"] = ""  # it may name any camera
            found["disk"]["free_bytes"] = None  # it would tell how much is recorded in all
        return Json(found, 503 if found["status"] == "not ready" else 200)

    @routes.get("/metrics", response_class=PlainTextResponse, summary="Metrics in the text format of Prometheus")
    async def metrics(access: Visitor) -> Response:
        """Of the cameras that the user may see; counters of questions are for admins."""
        when, usage = known.get(access.cameras, (-_USAGE_LASTS_S, {}))
        if access.cameras not in known or time.monotonic() - when > _USAGE_LASTS_S:
            usage = await engine.read(lambda: _usage(engine, access))
            if len(known) >= _MOST_KNOWN:
                known.clear()
            known[access.cameras] = (time.monotonic(), usage)
        text = exposition(
            [camera.to_dict(engine.model_state) for camera in engine.visible(access)], usage, measured if access.admin else None,
            model_ready=engine.model_state == "ready", waiting=engine.line.waiting, refused=engine.line.refused, audit_lost=audit.lost,
            tasks=len(asyncio.all_tasks()),
        )  # fmt: skip
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    for path, answer in (("/health/live", live), ("/health/ready", ready)):  # `wget --spider` asks so
        routes.add_api_route(path, answer, methods=["HEAD"], include_in_schema=False, response_model=None)
    return routes


def _free_bytes(engine: Engine) -> int | None:
    try:
        return shutil.disk_usage(engine.path).free
    except OSError:
        return None


def _usage(engine: Engine, access: Access) -> Usage:
    found: Usage = {}
    try:
        readers = engine.view(access).cameras()
    except AfterviewError:
        return found
    for reader in readers:
        try:
            times = reader.snapshot().times
            found[reader.info.id] = (reader.bytes_on_disk(), float(times[0]) if len(times) else None)
        except (AfterviewError, OSError):
            continue  # its state says so
    return found
