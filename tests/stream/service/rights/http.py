"""The HTTP API: every route with every role."""

import json
from typing import Any

from fastapi.routing import iter_route_contexts

from tests.stream.service.rights import Outcome, Rule, Verdict
from tests.stream.service.rights.world import NOWHERE, ROLES, World

API = "/api/v1"
_CAMERA = f"{API}/cameras/{{camera}}"

RULES: dict[str, Rule] = {
    "GET /health/live": Rule("anyone"),
    "HEAD /health/live": Rule("anyone"),
    "GET /health/ready": Rule("anyone"),
    "HEAD /health/ready": Rule("anyone"),
    "GET /metrics": Rule(),
    "GET /api/v1/openapi.json": Rule(),
    "HEAD /api/v1/openapi.json": Rule(),
    f"GET {API}/service": Rule(),
    f"GET {API}/events": Rule(),
    f"POST {API}/session": Rule("anyone"),
    f"GET {API}/session": Rule(),
    f"DELETE {API}/session": Rule(),
    f"GET {API}/audit": Rule("admin"),
    f"GET {API}/cameras": Rule(),
    f"GET {_CAMERA}": Rule(about="camera"),
    f"PUT {_CAMERA}": Rule("admin"),
    f"DELETE {_CAMERA}": Rule("admin", about="camera"),
    f"GET {_CAMERA}/frames": Rule(about="camera"),
    f"GET {_CAMERA}/frames/{{frame}}": Rule(about="camera"),
    f"GET {_CAMERA}/frames/{{frame}}/image": Rule(about="camera"),
    f"GET {_CAMERA}/image": Rule(about="camera"),
    f"GET {_CAMERA}/timeline": Rule(about="camera"),
    **{f"POST {_CAMERA}/{word}": Rule("admin", about="camera") for word in ("forget", "keep", "pause", "mask", "retain")},
    f"POST {_CAMERA}/export": Rule(about="camera"),
    f"POST {API}/retain": Rule("admin"),
    f"GET {API}/jobs": Rule(),
    f"GET {API}/jobs/{{job}}": Rule(about="job"),
    f"GET {API}/jobs/{{job}}/file": Rule(about="job"),
    f"POST {API}/ask": Rule(about="camera"),
    f"POST {API}/search": Rule(about="camera"),
    f"GET {API}/answers": Rule(),
    f"GET {API}/answers/{{answer}}": Rule(about="answer"),
    f"DELETE {API}/answers/{{answer}}": Rule("admin", about="answer"),
}  # fmt: skip
_BODIES: dict[str, Any] = {
    "forget": {"start": 1, "end": 2, "dry_run": True}, "keep": {"clear": True}, "pause": {"paused": False}, "mask": {"masks": []},
    "retain": {"dry_run": True}, "export": {},
}  # fmt: skip
# What a right request may give besides 2xx: cameras of the configuration file cannot be removed; a token signs nobody out.
_FINE = {
    f"DELETE {_CAMERA}": (400,),
    f"DELETE {API}/session": (404,),
    f"POST {API}/session": (401, 429),
    "GET /health/ready": (503,),
}
_VERDICTS: dict[int, Verdict] = {401: "stranger", 403: "forbidden", 404: "absent"}


def names(world: World) -> set[str]:
    """Every route of the application, without those of doors that have a table of their own."""
    return {name for name in routes(world) if not name.split()[1].startswith(("/v1/", "/mcp"))}


def routes(world: World) -> set[str]:
    """Every route of the application."""
    assert world.service.service._server is not None
    app: Any = world.service.service._server.config.app
    while not hasattr(app, "routes"):
        app = app._app
    found = set()
    for route in iter_route_contexts(app.routes):
        methods = getattr(route, "methods", None)
        found |= {f"{method} {route.path}" for method in methods} if methods else {f"MOUNT {route.path}"}
    return found


def attempt(world: World, role: str, name: str, target: str | None) -> Outcome:
    """One request."""
    method, path = name.split()
    rule, thing = RULES[name], ""
    if target is not None:
        thing = world.things[rule.about or "camera"][target]
    if method == "DELETE" and rule.about == "answer" and target != "missing" and role in ("owner", "admin"):
        thing = world.json("owner", "POST", "/search", {"text": "a ring"})["id"]  # what others still need stays
    body = _body(world, path, thing)
    path = path.format(camera=thing or "new-one", frame=3, job=thing, answer=thing)
    client, headers = world.service.client, world.headers(role)
    if path == f"{API}/events":
        with client.stream(method, path, headers=headers) as response:
            text = next(response.iter_text()) if response.status_code == 200 else response.read().decode()
            status, given = response.status_code, response.headers
    else:
        answer = client.request(method, path, json=body, headers=headers)
        status, given, text = answer.status_code, answer.headers, answer.content.decode(errors="replace")
    fine = status < 300 or status in _FINE.get(name, ())
    verdict: Verdict = "ok" if fine else _VERDICTS.get(status, "other")
    shown = {key: value for key, value in given.items() if key not in ("date", "content-length")}
    return Outcome(verdict, f"{status} {json.dumps(shown)} {text}")


def _body(world: World, path: str, thing: str) -> Any:
    last = path.rsplit("/", 1)[-1]
    if path == _CAMERA:
        return {"source": NOWHERE}
    if path.endswith("/ask"):
        return {"question": "Which scene do you see now?", "cameras": [thing]}
    if path.endswith("/search"):
        return {"text": "a red ring", "cameras": [thing]}
    if path == f"{API}/session":
        return {"name": "nobody-here", "password": "wrong"}
    return _BODIES.get(last)


__all__ = ["ROLES", "RULES", "attempt", "names"]
