"""The HTTP API: FastAPI's application, its parts and its OpenAPI document. It only translates between HTTP and the engine's values."""

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import Route

from afterview.stream.service.engine import Engine
from afterview.stream.service.http.accounts import account_routes
from afterview.stream.service.http.answers import answer_routes
from afterview.stream.service.http.bodies import Bodies
from afterview.stream.service.http.cameras import camera_routes
from afterview.stream.service.http.changes import change_routes
from afterview.stream.service.http.errors import Json, Responses, add_error_handlers
from afterview.stream.service.http.events import event_routes
from afterview.stream.service.http.frames import frame_routes
from afterview.stream.service.http.gate import COOKIE, Gate
from afterview.stream.service.http.guard import Guard, Rules
from afterview.stream.service.http.health import health_routes
from afterview.stream.service.http.openai.door import add_openai, larger_bodies
from afterview.stream.service.http.parameters import access_of
from afterview.stream.service.http.schemas import ErrorDocument
from afterview.stream.service.jobs import Jobs
from afterview.stream.service.mcp import door
from afterview.stream.service.mcp.tools import Tools
from afterview.stream.service.measured import Measured
from afterview.stream.service.people.audit import Audit
from afterview.stream.service.questions import Questions
from afterview.stream.service.refusals import Refusals

_DESCRIPTION = """Ask about anything that the cameras of this service have seen.

Every error has one shape, `{"error": {"kind": "...", "message": "..."}}`. Times are Unix seconds; beside each stands `KEY_iso`, in the zone
of the camera."""
EVERY_STATUS = {
    400: "What is asked for is impossible.",
    401: "The token or the cookie is missing, wrong, or counts no longer.",
    403: "The user may not do this, the CSRF token is missing, or the request comes from a page of another site.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    421: "The Host header names another service.",
    422: "The request has not the form that this document describes.",
    429: "Too many wrong tokens came from this address, or too many questions or jobs wait.",
    503: "The model is not loaded, the service is ending, or a store or the disk refuses.",
}


@dataclass(frozen=True)
class Parts:
    """What the API speaks to. url: address of the service, for links."""

    engine: Engine
    questions: Questions
    jobs: Jobs
    measured: Measured
    gate: Gate
    audit: Audit
    url: str = ""


def make_app(parts: Parts, rules: Rules) -> Guard:
    """The guarded API."""
    app = FastAPI(
        title="Afterview", version=parts.engine.version, description=_DESCRIPTION, default_response_class=Json, docs_url=None,
        redoc_url=None, openapi_url="/api/v1/openapi.json", redirect_slashes=False,
    )  # fmt: skip
    add_error_handlers(app, parts.engine.path)
    refusals = Refusals(parts.audit)
    responses: Responses = {
        status: {"model": ErrorDocument, "description": text} for status, text in EVERY_STATUS.items()
    }
    api = APIRouter(prefix="/api/v1", responses=responses)
    for routes in (
        camera_routes(parts.engine, parts.audit),
        answer_routes(parts.engine, parts.questions, parts.audit),
        frame_routes(parts.engine),
        change_routes(parts.engine, parts.jobs),
        event_routes(parts.engine),
        account_routes(parts.engine, parts.gate.admission, parts.audit, refusals),
    ):
        api.include_router(routes)
    app.include_router(api)
    add_openai(app, parts.engine, parts.questions, parts.measured.given, parts.url)
    tools = Tools(parts.engine, parts.questions)
    mcp = door.McpDoor(parts.engine, tools, access_of, parts.url)
    app.router.routes.extend(Route(path, mcp) for path in door.PATHS)
    app.include_router(health_routes(parts.engine, parts.measured, parts.audit))
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    bodies = Bodies(rules.body_timeout_s, larger_bodies(parts.engine.config.openai), parts.measured.given)
    return Guard(app, rules, parts.gate, bodies, refusals)


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the token or the cookie that everything but health may need."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schema.setdefault("components", {})["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer", "description": "The service's token, or that of a user."},
            "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "Of POST /api/v1/session."},
        }
        schema["security"] = [{}, {"token": []}, {"session": []}]
        app.openapi_schema = schema
    return app.openapi_schema
