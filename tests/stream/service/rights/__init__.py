"""Who may what, through every door: one module here for each door, and ../test_rights.py, which walks through all of them.

A door's module has

    RULES: dict[str, Rule]                 what each way in allows, by its name: "GET /api/v1/cameras", "tool ask", "topic NAME/ask"
    ROLES: tuple[str, ...]                 of world.ROLES, as far as the door knows them (MQTT: one account, which sees the yard)
    def names(world) -> set[str]           the ways in that the running service has: the test fails for one that is not in RULES
    def attempt(world, role, name, target) -> Outcome      use it once, as a role; target: one of world.TARGETS, or None

and, where something must be installed for it, need(world), which skips the test. Nothing else is needed: the test finds the module by its
file. A door that is part of the HTTP application (OpenAI, MCP) names its routes in its own RULES, as http.py does ("POST
/v1/chat/completions", "MOUNT /mcp"), and its tools beside them; http.py then leaves them to it.
"""

from dataclasses import dataclass
from typing import Literal

May = Literal["anyone", "user", "admin"]
About = Literal["camera", "answer", "job"] | None
Verdict = Literal["ok", "absent", "forbidden", "stranger", "other"]


@dataclass(frozen=True)
class Rule:
    """may: who. about: what it is about, if that may be hidden. of_missing: what comes back for a thing that does not exist."""

    may: May = "user"
    about: About = None
    of_missing: Verdict = "absent"


@dataclass(frozen=True)
class Outcome:
    """What came back. text: everything that the client saw of it."""

    verdict: Verdict
    text: str
