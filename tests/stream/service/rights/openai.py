"""The door for clients of OpenAI: every route under /v1 with every role, and a camera named in each way that there is."""

import json
from typing import Any

from tests.stream.service.rights import Outcome, Rule, Verdict
from tests.stream.service.rights.http import routes
from tests.stream.service.rights.world import ROLES, SUBTITLES, World

_ASK = "Which scene do you see now?"
RULES: dict[str, Rule] = {
    "GET /v1/models": Rule(),
    "GET /v1/models/{model:path}": Rule(),
    **{
        f"POST /v1/{path} {way}": Rule(about=None if way == "all" else "camera")
        for path in ("chat/completions", "responses")
        for way in ("part", "system", "option", "subtitles", "all", "stream")
    },
}  # fmt: skip
_VERDICTS: dict[int, Verdict] = {401: "stranger", 403: "forbidden", 404: "absent"}


def names(world: World) -> set[str]:
    """Every route under /v1; a question in every way of naming a camera."""
    found = {name for name in routes(world) if name.split()[1].startswith("/v1/")}
    asking = {name for name in found if name.startswith("POST ")}
    ways = {name.split(" ")[2] for name in RULES if name.count(" ") == 2}
    return (found - asking) | {f"{name} {way}" for name in asking for way in ways}


def attempt(world: World, role: str, name: str, target: str | None) -> Outcome:
    """One request."""
    method, path, way = (*name.split(), "")[:3]
    thing = world.things["camera"][target] if target is not None else ""
    body = _body(path, way, thing) if method == "POST" else None
    answer = world.service.client.request(
        method, path.replace("{model:path}", "afterview"), json=body, headers=world.headers(role)
    )
    verdict: Verdict = "ok" if answer.status_code == 200 else _VERDICTS.get(answer.status_code, "other")
    shown = {key: value for key, value in answer.headers.items() if key not in ("date", "content-length")}
    return Outcome(verdict, f"{answer.status_code} {json.dumps(shown)} {answer.text}")


def _body(path: str, way: str, camera: str) -> dict[str, Any]:
    address = f"afterview://camera/{camera}"
    part = {"type": "image_url", "image_url": {"url": address}}
    question: Any = [{"type": "text", "text": _ASK}, part] if way in ("part", "stream") else _ASK
    messages = [{"role": "user", "content": question}]
    if way == "system":
        messages.insert(0, {"role": "system", "content": f"Look at {address}"})
    body: dict[str, Any] = {"model": "afterview", "stream": way == "stream"}
    body["messages" if path.endswith("completions") else "input"] = messages
    more = {"subtitles": SUBTITLES} if way == "subtitles" else {}
    return {**body, "afterview": {"cameras": [camera], **more}} if way in ("option", "subtitles") else body


__all__ = ["ROLES", "RULES", "attempt", "names"]
