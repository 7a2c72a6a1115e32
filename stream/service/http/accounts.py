"""Routes of signing in and out, and of the audit."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from afterview.stream.service.engine import Engine
from afterview.stream.service.errors import NotFound, TooManySignIns, WrongSignIn
from afterview.stream.service.http import schemas
from afterview.stream.service.http.account_schemas import AuditDocument, SessionDocument, SignIn
from afterview.stream.service.http.errors import Json, Responses
from afterview.stream.service.http.gate import COOKIE
from afterview.stream.service.http.parameters import Admin, Visitor, access_of
from afterview.stream.service.people.access import OWNER, Access
from afterview.stream.service.people.admission import Admission, Visit
from afterview.stream.service.people.audit import Audit, read_audit
from afterview.stream.service.people.sessions import Session
from afterview.stream.service.refusals import Refusals

_WRONG: Responses = {
    401: {"model": schemas.ErrorDocument, "description": "No user has this name and password."},
    429: {"model": schemas.ErrorDocument, "description": "Too many tries."},
}
_NONE: Responses = {404: {"model": schemas.ErrorDocument, "description": "The request has no cookie of a session."}}


def account_routes(engine: Engine, admission: Admission, audit: Audit, refusals: Refusals) -> APIRouter:
    """Routes of /session and /audit."""
    routes = APIRouter(tags=["users"])

    @routes.post("/session", response_model=SessionDocument, summary="Sign in", responses=_WRONG)
    async def sign_in(request: Request, body: SignIn) -> JSONResponse:
        """Sets a cookie that no script can read. A name that does not exist takes as long as a wrong password."""
        came = access_of(request)
        who = replace(came, user=body.name if admission.is_user(body.name) else "unknown")
        try:
            cookie, session = await admission.sign_in(body.name, body.password, came.address)
        except WrongSignIn:
            audit.note(who, "sign_in", outcome="refused")
            raise
        except TooManySignIns:
            refusals.note(who, "sign_in", "too_many_tries")
            raise
        audit.note(who, "sign_in", outcome="done")
        user = admission.users.user(session.user)
        answer = Json(_about(user.access(), session))
        answer.set_cookie(
            COOKIE, cookie, max_age=int(admission.sessions.life_s), path="/", secure=request.scope["scheme"] == "https", httponly=True,
            samesite="strict",
        )  # fmt: skip
        return answer

    @routes.get("/session", response_model=SessionDocument, summary="Who am I, and what may I")
    async def who_am_i(request: Request, access: Visitor) -> JSONResponse:
        visit: Visit = request.scope["state"]["visit"]
        return Json(_about(access, visit.session))

    @routes.delete("/session", status_code=204, summary="Sign out", responses=_NONE)
    async def sign_out(request: Request, access: Visitor) -> Response:
        """Ends the session; its streams that are open end within a second."""
        visit: Visit = request.scope["state"]["visit"]
        if visit.session is None:
            raise NotFound("this request has no cookie of a session; `afterview token revoke` ends a token")
        admission.sessions.end(visit.digest)
        audit.note(access, "sign_out")
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return answer

    @routes.get("/audit", response_model=AuditDocument, summary="Who did what, newest first")
    async def lines(
        access: Admin,
        limit: Annotated[int, Query(ge=1, le=1000, description="At most so many.")] = 100,
        before: Annotated[str | None, Query(max_length=64, description="Id of a line: only older ones.")] = None,
    ) -> JSONResponse:
        """For admins. Questions stand here in full."""
        found, unreadable = await engine.read(lambda: read_audit(engine.path, limit, before))
        following = found[-1]["id"] if len(found) == limit else None
        return Json({"lines": found, "next": following, "unreadable": unreadable})

    return routes


def _about(access: Access, session: Session | None) -> dict[str, object]:
    role = OWNER if access.user == OWNER else "admin" if access.admin else "viewer"
    return {
        "user": access.user, "role": role, "cameras": None if access.cameras is None else sorted(access.cameras),
        "token": access.token or None, "csrf": session and session.csrf, "expires": session and session.expires,
    }  # fmt: skip
