"""Routes of jobs: forget, keep, pause, mask, retain, export."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel

from afterview.memory.directory import Memory
from afterview.stream.service import changes
from afterview.stream.service.changes import EXPORT_LASTS_S, Span, export_path
from afterview.stream.service.engine import Engine
from afterview.stream.service.errors import NotFound, TooManyJobs
from afterview.stream.service.http import schemas
from afterview.stream.service.http.errors import Json, Responses
from afterview.stream.service.http.parameters import Admin, CameraName, Visitor, Wait
from afterview.stream.service.jobs import Job, JobKind, Jobs, Progress
from afterview.stream.service.people.access import Access

_NOTHING: Responses = {404: {"model": schemas.ErrorDocument, "description": "No such camera or job."}}
_FULL: Responses = {429: {"model": schemas.ErrorDocument, "description": "Too many jobs wait."}}
JobId = Annotated[str, Path(description="Id of a job.", min_length=1, max_length=64)]
MOST_EXPORTS = 4  # of one viewer at a time: their files fill the disk
Change = Callable[[Memory, str, Progress, str], dict[str, Any]]  # of a camera; the last argument is the job's id


def change_routes(engine: Engine, jobs: Jobs) -> APIRouter:
    """Routes of jobs, and those that start them: admins may start all of them, viewers exports.

    A job that fails says so in its `error`; the request that started it has succeeded.
    """
    routes = APIRouter(tags=["jobs"])

    async def start(
        access: Access, kind: JobKind, camera: str, wait: float, change: Change, **asked: Any
    ) -> JSONResponse:
        if not access.admin and jobs.started_by(access.user, kind, EXPORT_LASTS_S) >= MOST_EXPORTS:
            raise TooManyJobs(f"you have {MOST_EXPORTS} exports already; each is kept for an hour")
        if camera:
            camera = (await engine.read(lambda: engine.view(access).camera(camera))).info.id
        job = jobs.start(
            kind, camera, lambda job, progress: change(engine.memory(), job.camera, progress, job.id), access,
            **asked,
        )  # fmt: skip
        await jobs.wait(job, wait)
        return Json(job.to_dict(), 202, {"Location": f"/api/v1/jobs/{job.id}"})

    _add_starts(routes, start)

    @routes.get("/jobs", response_model=schemas.JobList, summary="The latest jobs, newest first")
    async def all_jobs(access: Visitor) -> JSONResponse:
        return Json({"jobs": [job.to_dict() for job in jobs.all(access)]})

    @routes.get("/jobs/{job}", response_model=schemas.JobDocument, summary="A job and its progress", responses=_NOTHING)
    async def one_job(access: Visitor, job: JobId, wait: Wait = 0) -> JSONResponse:
        found = jobs.get(job, access)
        await jobs.wait(found, wait)
        return Json(found.to_dict())

    @routes.get("/jobs/{job}/file", summary="The file of an export", response_class=FileResponse, responses={
        200: {"content": {"application/octet-stream": {}}, "description": "For `afterview import`."}, **_NOTHING})  # fmt: skip
    async def file(access: Visitor, job: JobId) -> FileResponse:
        found = jobs.get(job, access)
        path = await engine.read(lambda: _existing(engine, found))
        return FileResponse(path, media_type="application/octet-stream", filename=path.name)

    return routes


def _add_starts(routes: APIRouter, start: Callable[..., Any]) -> None:
    def post(path: str, summary: str) -> Callable[..., Any]:
        return routes.post(
            f"/cameras/{{camera}}/{path}", response_model=schemas.JobDocument, status_code=202, summary=summary,
            responses={**_NOTHING, **_FULL},
        )  # fmt: skip

    @post("forget", "Delete a span, with proof")
    async def forget(access: Admin, camera: CameraName, body: schemas.ForgetRequest, wait: Wait = 0) -> JSONResponse:
        span = Span(body.start, body.end)
        return await _of(start(access, "forget", camera, wait, lambda memory, own, progress, job: changes.forget(
            memory, own, span, dry_run=body.dry_run), **_asked(body)))  # fmt: skip

    @post("keep", "Protect a span from retention")
    async def keep(access: Admin, camera: CameraName, body: schemas.KeepRequest, wait: Wait = 0) -> JSONResponse:
        span = Span(body.start, body.end)
        return await _of(start(access, "keep", camera, wait, lambda memory, own, progress, job: changes.keep(
            memory, own, span, clear=body.clear), **_asked(body)))  # fmt: skip

    @post("pause", "Pause or resume recording")
    async def pause(access: Admin, camera: CameraName, body: schemas.PauseRequest, wait: Wait = 0) -> JSONResponse:
        return await _of(start(access, "pause", camera, wait, lambda memory, own, progress, job: changes.set_values(
            memory, own, {"paused": body.paused}), **_asked(body)))  # fmt: skip

    @post("mask", "Replace the privacy masks")
    async def mask(access: Admin, camera: CameraName, body: schemas.MaskRequest, wait: Wait = 0) -> JSONResponse:
        masks = [[list(corner) for corner in polygon] for polygon in body.masks]
        return await _of(start(access, "mask", camera, wait, lambda memory, own, progress, job: changes.set_values(
            memory, own, {"masks": masks}), masks=len(masks)))  # fmt: skip

    @post("retain", "Limit how much of the past is kept")
    async def retain(access: Admin, camera: CameraName, body: schemas.RetainRequest, wait: Wait = 0) -> JSONResponse:
        limits = body.model_dump(exclude_unset=True, exclude={"dry_run"})
        return await _of(start(access, "retain", camera, wait, lambda memory, own, progress, job: changes.retain(
            memory, own, limits, dry_run=body.dry_run), **_asked(body)))  # fmt: skip

    @routes.post("/retain", response_model=schemas.JobDocument, status_code=202, responses={**_NOTHING, **_FULL},
                 summary="Limit how much of the past the whole memory keeps")  # fmt: skip
    async def retain_memory(access: Admin, body: schemas.RetainRequest, wait: Wait = 0) -> JSONResponse:
        """A camera's own limits take precedence; the gigabytes are divided among the cameras without a limit of theirs. Without limits, it
        only says those that there are."""
        limits = body.model_dump(exclude_unset=True, exclude={"dry_run"})
        return await _of(start(access, "retain", "", wait, lambda memory, own, progress, job: changes.retain_memory(
            memory, limits, dry_run=body.dry_run), **_asked(body)))  # fmt: skip

    @post("export", "Write a span as one file")
    async def export(access: Visitor, camera: CameraName, body: schemas.ExportRequest, wait: Wait = 0) -> JSONResponse:
        """The file is kept for an hour, or until frames of the camera are forgotten."""
        span = Span(body.start, body.end)
        return await _of(start(access, "export", camera, wait, lambda memory, own, progress, job: changes.export(
            memory, own, span, job, progress), **_asked(body)))  # fmt: skip


async def _of(response: Any) -> JSONResponse:
    found: JSONResponse = await response
    return found


def _asked(body: BaseModel) -> dict[str, Any]:
    """What the audit says of a request."""
    return body.model_dump(mode="json", exclude_unset=True)


def _existing(engine: Engine, job: Job) -> Any:
    path = export_path(engine.path, job.camera, job.id)
    if job.kind != "export" or job.state != "done" or not path.is_file():
        raise NotFound(f"job '{job.id}' has no file: it is no export, has not ended, or its file has expired")
    return path
