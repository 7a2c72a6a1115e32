"""Health for supervisors and containers, and metrics."""

import asyncio
import shutil
import time
from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.datastructures import Headers

from afterview.configs import AfterviewError
from afterview.stream.service.degraded import readiness
from afterview.stream.service.engine import Engine
from afterview.stream.service.http import schemas
from afterview.stream.service.http.errors import Json
from afterview.stream.service.measured import Measured, exposition

_USAGE_LASTS_S = 60.0  # counting the bytes of a camera walks through its files

Usage = dict[str, tuple[int, float | None]]


def health_routes(engine: Engine, measured: Measured, is_known: Callable[[Headers], bool]) -> APIRouter:
    """is_known: whether a request may see the names of cameras."""
    routes = APIRouter(tags=["health"])
    known: list[tuple[float, Usage]] = []

    @routes.get("/health/live", response_model=schemas.Live, summary="Whether the process answers")
    async def live() -> JSONResponse:
        return Json({"status": "live"})

    @routes.get(
        "/health/ready", response_model=schemas.Ready, summary="Whether the service can do its work",
        responses={503: {"model": schemas.Ready, "description": "Not ready: no model, or the disk is full."}},
    )  # fmt: skip
    async def ready(request: Request) -> JSONResponse:
        """`degraded` is status 200: it answers, but a camera is down. Cameras are named to those who have the token."""
        cameras = [camera.to_dict(engine.model_state) for camera in engine.cameras.values()]
        free = await engine.read(lambda: _free_bytes(engine))
        found = readiness(engine.model_state, engine.model_problem, cameras, free, named=is_known(request.headers))
        return Json(found, 503 if found["status"] == "not ready" else 200)

    @routes.get("/metrics", response_class=PlainTextResponse, summary="Metrics in the text format of Prometheus")
    async def metrics() -> Response:
        if not known or time.monotonic() - known[0][0] > _USAGE_LASTS_S:
            known[:] = [(time.monotonic(), await engine.read(lambda: _usage(engine)))]
        text = exposition(
            [camera.to_dict(engine.model_state) for camera in engine.cameras.values()], known[0][1], measured,
            model_ready=engine.model_state == "ready", waiting=engine.line.waiting, refused=engine.line.refused,
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


def _usage(engine: Engine) -> Usage:
    found: Usage = {}
    try:
        readers = engine.memory().cameras()
    except AfterviewError:
        return found
    for reader in readers:
        try:
            times = reader.snapshot().times
            found[reader.info.id] = (reader.bytes_on_disk(), float(times[0]) if len(times) else None)
        except (AfterviewError, OSError):
            continue  # its state says so
    return found
