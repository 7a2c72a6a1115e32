"""The door for assistants: every tool with every role, in each way that it can name a camera or an answer."""

import json
from typing import Any

from afterview.stream.service.mcp.arguments import FORMS
from tests.stream.service.rights import Outcome, Rule, Verdict
from tests.stream.service.rights.http import routes
from tests.stream.service.rights.world import ROLES, SUBTITLES, World

_QUESTION = "Which scene do you see now?"
_CALLS: dict[str, tuple[Rule, dict[str, Any]]] = {
    "tool ask": (Rule(), {"question": _QUESTION, "pictures": 1}),
    "tool ask cameras": (Rule(about="camera"), {"question": _QUESTION, "cameras": ["THING"]}),
    "tool ask follows": (Rule(about="answer"), {"question": _QUESTION, "follows": "THING"}),
    "tool ask subtitles": (Rule(about="camera"), {"question": _QUESTION, "cameras": ["THING"], "subtitles": SUBTITLES}),
    "tool search": (Rule(), {"text": "a red ring"}),
    "tool search cameras": (Rule(about="camera"), {"text": "a red ring", "cameras": ["THING"]}),
    "tool cameras": (Rule(), {}),
    "tool timeline": (Rule(about="camera"), {"camera": "THING"}),
    "tool frame": (Rule(about="camera"), {"camera": "THING"}),
    "tool frame at": (Rule(about="camera"), {"camera": "THING", "at": "now"}),
    "tool frame number": (Rule(about="camera"), {"camera": "THING", "frame": 3, "picture": True}),
    "tool answer_status": (Rule(about="answer", of_missing="ok"), {"handle": "THING"}),  # ids are no handles: see attempt
}  # fmt: skip
RULES = {name: rule for name, (rule, _) in _CALLS.items()} | {"tools/list": Rule()}
_ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
}  # fmt: skip
_ABSENT = ("memory_not_found", "not_found")


def names(world: World) -> set[str]:
    """Every tool, in every way of the table; and nothing else at /mcp."""
    assert {name for name in routes(world) if "/mcp" in name} == {"MOUNT /mcp", "MOUNT /mcp/"}
    ways = {name.split()[1]: {one for one in RULES if one.split()[1:2] == name.split()[1:2]} for name in _CALLS}
    return {"tools/list", *(way for tool in FORMS for way in ways.get(tool, {f"tool {tool}"}))}


def attempt(world: World, role: str, name: str, target: str | None) -> Outcome:
    """One call, of the stateless era."""
    thing = world.things[RULES[name].about or "camera"][target] if target is not None else ""
    method = "tools/list" if name == "tools/list" else "tools/call"
    params: dict[str, Any] = {"_meta": _ENVELOPE}
    headers = {
        "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method,
        **world.headers(role),
    }  # fmt: skip
    if method == "tools/call":
        headers["Mcp-Name"] = tool = name.split()[1]
        params |= {"name": tool, "arguments": json.loads(json.dumps(_CALLS[name][1]).replace("THING", thing))}
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer = world.service.client.post("/mcp", json=body, headers=headers)
    shown = {key: value for key, value in answer.headers.items() if key not in ("date", "content-length")}
    return Outcome(_verdict(name, answer), f"{answer.status_code} {json.dumps(shown)} {answer.text}")


def _verdict(name: str, answer: Any) -> Verdict:
    if answer.status_code != 200:
        return "stranger" if answer.status_code == 401 else "other"
    result = answer.json()["result"]
    if not result.get("isError"):
        return "ok"
    if name == "tool answer_status":  # everybody is told the same of what is no handle
        return "ok" if "no answer has this handle" in answer.text else "other"
    return "absent" if result["structuredContent"]["error"]["kind"] in _ABSENT else "other"


__all__ = ["ROLES", "RULES", "attempt", "names"]
