"""Routes of cameras: what there is, adding, changing, removing."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from fastapi.responses import JSONResponse

from afterview.configs import AfterviewError
from afterview.memory.base.errors import MemoryNotFound
from afterview.memory.description import CameraDescription
from afterview.stream.service.cameras import shown_source
from afterview.stream.service.config import CameraConfig
from afterview.stream.service.engine import Engine
from afterview.stream.service.errors import NotFound
from afterview.stream.service.http import schemas
from afterview.stream.service.http.errors import Json
from afterview.stream.service.http.parameters import Admin, CameraName, Visitor
from afterview.stream.service.people.access import Access
from afterview.stream.service.people.audit import Audit

NewName = Annotated[str, Path(description="Name of the camera.", min_length=1, max_length=200, examples=["front door"])]


def camera_routes(engine: Engine, audit: Audit) -> APIRouter:
    """Routes under /cameras, and the service itself."""
    routes = APIRouter(tags=["cameras"])

    @routes.get("/service", response_model=schemas.ServiceDocument, summary="The service itself")
    async def service(access: Visitor) -> JSONResponse:
        return Json(
            {
                "version": engine.version,
                "began": engine.began,
                "model": {
                    "state": engine.model_state,
                    "detail": engine.model_problem if access.admin else "",
                    **_loaded(engine),
                },
                "questions": {"waiting": engine.line.waiting, "longest": engine.config.http.longest_queue},
                "cameras": len(engine.visible(access)),
            }
        )

    @routes.get("/cameras", response_model=schemas.CameraList, summary="All cameras and their states")
    async def cameras(access: Visitor) -> JSONResponse:
        served = {camera.id: camera.to_dict(engine.model_state) for camera in engine.visible(access)}
        others, skipped = await engine.read(lambda: _others(engine, access, set(served)))
        return Json({"cameras": [*served.values(), *others], "skipped": skipped})

    @routes.get("/cameras/{camera}", response_model=schemas.CameraDetails, summary="One camera and its memory",
                responses={404: {"model": schemas.ErrorDocument, "description": "No such camera."}})  # fmt: skip
    async def camera_details(camera: CameraName, access: Visitor) -> JSONResponse:
        return Json(await _details(engine, camera, access))

    @routes.put(
        "/cameras/{camera}", response_model=schemas.CameraDocument, summary="Add a camera, or change one",
        responses={
            201: {"model": schemas.CameraDocument, "description": "It is new."},
            409: {"model": schemas.ErrorDocument, "description": "Another process records it, or its name is taken."},
        },
    )  # fmt: skip
    async def put_camera(camera: NewName, config: CameraConfig, access: Admin) -> JSONResponse:
        """It is recorded from now on, also after a restart. A camera of the configuration file is changed there."""
        put, new = await engine.put_camera(camera, config)
        audit.note(
            access, "camera", cameras=[put.id], outcome="added" if new else "changed", source=shown_source(config)
        )
        return Json(put.to_dict(engine.model_state), 201 if new else 200)

    @routes.delete("/cameras/{camera}", status_code=204, summary="Stop recording a camera",
                   responses={404: {"model": schemas.ErrorDocument, "description": "No such camera."}})  # fmt: skip
    async def delete_camera(camera: CameraName, access: Admin) -> Response:
        """What it has recorded stays; `forget` deletes. Only for cameras that were added by the API."""
        removed = await engine.remove_camera(camera)
        audit.note(access, "camera", cameras=[removed.id], outcome="removed")
        return Response(status_code=204)

    return routes


def _loaded(engine: Engine) -> dict[str, str]:
    """Which model answers; nothing while there is none."""
    if engine.model_state != "ready":
        return {}
    model = engine.model
    index = model.encoders.feature_spec.index.encoder
    return {"name": model.preset.reference, "index_encoder": index, "notice": model.notice or ""}


def _others(engine: Engine, access: Access, served: set[str]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Cameras of the memory that the service does not record; and those that cannot be read. In a thread."""
    try:
        memory = engine.view(access)
        found = [
            _unrecorded(reader.info.id, reader.info.name) for reader in memory.cameras() if reader.info.id not in served
        ]
        return found, memory.skipped()
    except MemoryNotFound:
        return [], {}


def _unrecorded(identity: str, name: str) -> dict[str, Any]:
    return {
        "camera": identity, "name": name, "source": None, "origin": None, "state": "not recorded", "cause": None, "detail": "",
        "recorded": 0, "dropped": 0, "reconnects": 0, "last_time": None, "lag_s": None,
    }  # fmt: skip


async def _details(engine: Engine, name: str, access: Access) -> dict[str, Any]:
    """State and memory of a camera. Raises MemoryNotFound."""

    def described() -> dict[str, Any]:
        return CameraDescription.of(engine.view(access).camera(name)).to_dict()

    try:
        state: dict[str, Any] | None = engine.served(name, access).to_dict(engine.model_state)
    except NotFound:
        state = None
    try:
        memory: dict[str, Any] | None = await engine.read(described)
    except MemoryNotFound:
        if state is None:
            raise
        memory = None
    except (AfterviewError, OSError) as error:
        if state is None:
            raise
        memory = {"problem": str(error)}
    if state is None and memory is not None:
        state = _unrecorded(memory["camera"], memory["name"])
    return {**(state or {}), "memory": memory}
