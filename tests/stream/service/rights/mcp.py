"""The door for assistants: every tool with every role, by calls of the stateless era."""

import json
from typing import Any

from afterview.stream.service.mcp.arguments import FORMS
from tests.stream.service.mcp.test_door import post
from tests.stream.service.rights import Outcome, Rule, Verdict
from tests.stream.service.rights.http import routes
from tests.stream.service.rights.world import ROLES, World

_ASK = "Which scene do you see now?"
_GIVEN: dict[str, dict[str, Any]] = {
    "ask": {"question": _ASK, "cameras": ["{thing}"]},
    "ask, follows": {"question": _ASK, "follows": "{thing}"},
    "ask all": {"question": _ASK, "pictures": 1},
    "search": {"text": "a red ring", "cameras": ["{thing}"]},
    "cameras": {},
    "timeline": {"camera": "{thing}"},
    "frame": {"camera": "{thing}", "frame": 3, "picture": True},
    "answer_status": {"handle": "nobody-has-this-one"},
}
RULES: dict[str, Rule] = {
    "MOUNT /mcp": Rule(),
    "MOUNT /mcp/": Rule(),
    **{
        f"tool {way}": Rule(about="camera" if "{thing}" in json.dumps(given) else None) for way, given in _GIVEN.items()
    },
    "tool ask, follows": Rule(about="answer"),
}
_VERDICTS: dict[str, Verdict] = {"memory_not_found": "absent", "not_found": "absent", "forbidden": "forbidden"}


def names(world: World) -> set[str]:
    """The mounts, and the tools with the ways to use them."""
    ways = {f"tool {way}" for way in _GIVEN}
    tools = {f"tool {tool}" for tool in FORMS}
    return {name for name in routes(world) if name.split()[1].startswith("/mcp")} | tools | ways


def attempt(world: World, role: str, name: str, target: str | None) -> Outcome:
    """One call."""
    way = name.removeprefix("tool ") if name.startswith("tool ") else "cameras"
    thing = world.things[RULES[name].about or "camera"][target] if target is not None else ""
    given = json.loads(json.dumps(_GIVEN[way]).replace("{thing}", thing))
    answer = post(world.service, way.replace(",", "").split()[0], given, **world.headers(role))
    shown = {key: value for key, value in answer.headers.items() if key not in ("date", "content-length")}
    text = f"{answer.status_code} {json.dumps(shown)} {answer.text}"
    if answer.status_code == 401:
        return Outcome("stranger", text)
    result = answer.json()["result"]
    if not result.get("isError"):
        return Outcome("ok", text)
    kind = result["structuredContent"]["error"]["kind"]
    return Outcome("ok" if way == "answer_status" else _VERDICTS.get(kind, "other"), text)


__all__ = ["ROLES", "RULES", "attempt", "names"]
