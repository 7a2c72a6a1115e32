"""A service with two cameras, and everybody who may come: the owner, an admin, a viewer, a viewer of one camera, and those who may not.

`one` sees the yard alone. What the others did about the attic is there, too: an answer, a search and a job.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from afterview.stream.service.people.passwords import hash_password
from afterview.stream.service.people.users import NamedToken, User, Users, change_users, new_token
from tests.support.mosquitto import Client, Mosquitto, mosquitto_path
from tests.support.service import ServiceHere, record_camera

OWNERS_TOKEN = "correct-horse-battery-staple"
PASSWORD = "tr0ub4dor and three"
SEEN, HIDDEN, HIDDEN_NAME, MISSING = "yard", "attic-secret", "attic secret", "nowhere-at-all"
TARGETS = ("seen", "hidden", "missing")
ROLES = ("owner", "admin", "viewer", "one", "nobody", "expired", "revoked")
STRANGERS = ("nobody", "expired", "revoked")
SUBTITLES = "1\n00:00:01,000 --> 00:00:02,500\nHello\n"
NOWHERE = "rtsp://127.0.0.1:1/none"


@dataclass
class World:
    """tokens: by role. things: the target of each kind, by kind and TARGETS."""

    service: ServiceHere
    memory: Path
    tokens: dict[str, str]
    things: dict[str, dict[str, str]] = field(default_factory=dict)
    ear: Client | None = None  # at the broker of the service

    def headers(self, role: str) -> dict[str, str]:
        """By which a role shows who it is."""
        return {"Authorization": f"Bearer {self.tokens[role]}"} if role in self.tokens else {}

    def json(self, role: str, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """A request as a role."""
        return self.service.json(method, path, body, headers=self.headers(role), **options)


def add_users(memory: Path) -> dict[str, str]:
    """Everybody; their tokens by role."""
    secrets: dict[str, str] = {"owner": OWNERS_TOKEN}
    hashed = hash_password(PASSWORD)

    def change(users: Users) -> Users:
        for name, role, cameras in (("admin", "admin", None), ("viewer", "viewer", None), ("one", "viewer", (SEEN,))):
            users = users.with_user(User(name, role, hashed, cameras, 1.0))  # type: ignore[arg-type]
            users, secrets[name] = _with_token(users, name, name)
        users, secrets["expired"] = _with_token(users, "viewer", "expired", now=1.0)
        users, secrets["revoked"] = _with_token(users, "viewer", "revoked")
        return users.without_token("revoked")

    change_users(memory, change)
    return secrets


def _with_token(users: Users, user: str, name: str, now: float | None = None) -> tuple[Users, str]:
    token: NamedToken
    token, secret = new_token(name, user, days=1, now=now)
    return users.with_token(token), secret


@contextlib.contextmanager
def world(memory: Path, model: Any, *, attic: bool = True, broker: Path | None = None) -> Iterator[World]:
    """attic: whether there is the other camera, and what was done about it. broker: where Mosquitto may keep its files; its account sees
    the yard, and may pause it."""
    record_camera(memory, SEEN, model, 12, missing=range(4, 6))
    cameras = {SEEN: {"source": NOWHERE}}
    if attic:
        record_camera(memory, HIDDEN_NAME, model, 9)
        cameras[HIDDEN_NAME] = {"source": NOWHERE}
    tokens = add_users(memory)
    file = memory.parent / f"{memory.name}.token"
    file.write_text(OWNERS_TOKEN)
    file.chmod(0o600)
    with contextlib.ExitStack() as stack:
        mqtt, ear = None, None
        if broker is not None and mosquitto_path() is not None:
            port = stack.enter_context(Mosquitto(broker)).port
            mqtt = {"host": "127.0.0.1", "port": port, "interval_s": 1, "cameras": [SEEN]}
            ear = stack.enter_context(Client(port))
        service = stack.enter_context(
            ServiceHere(memory, model, http={"token_file": str(file)}, cameras=cameras, mqtt=mqtt)
        )
        made = World(service, memory, tokens, ear=ear)
        _act(made, attic=attic)
        yield made


def _act(world: World, *, attic: bool) -> None:
    question = {"question": "Which scene do you see now?"}
    own = world.json("one", "POST", "/ask", question)["id"]
    job = world.json("owner", "POST", f"/cameras/{SEEN}/export?wait=20", {}, status=202)["id"]
    world.things = {
        "camera": {"seen": SEEN, "missing": MISSING, "hidden": HIDDEN},
        "answer": {"seen": own, "missing": "0123456789ab", "hidden": ""},
        "job": {"seen": job, "missing": "0123456789ab", "hidden": ""},
    }
    if attic:
        world.things["answer"]["hidden"] = world.json("owner", "POST", "/ask", question)["id"]
        world.json("viewer", "POST", "/search", {"text": "a red ring"})
        world.json("owner", "POST", f"/cameras/{HIDDEN}/forget", {"start": 0, "end": 1, "dry_run": True}, status=202)
        world.things["job"]["hidden"] = world.json(
            "owner", "POST", f"/cameras/{HIDDEN}/export?wait=20", {}, status=202
        )["id"]
