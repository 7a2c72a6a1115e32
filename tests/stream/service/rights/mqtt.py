"""The door for brokers: every topic, for the one account that everybody there has. It sees the yard, as `one` does."""

import json
import time
import uuid

from afterview.stream.service.mqtt.topics import FEATURES, OF_CAMERA, WORDS, level_of
from tests.stream.service.rights import Outcome, Rule, Verdict
from tests.stream.service.rights.world import World
from tests.support.mosquitto import need_mosquitto
from tests.support.servers import wait_until

ROLES = ("one",)
RULES: dict[str, Rule] = {
    "topic ask": Rule(about="camera"),
    "topic CAMERA/paused/set": Rule(about="camera", of_missing="ok"),  # nothing happens, and nothing is said
    **{f"topic {word}": Rule() for word in ("available", "instance", "statistics", "last_answer", "events", "answer", "error")},
    **{f"topic CAMERA/{rest}": Rule(about="camera") for rest in ("state", "attributes", "last_frame", "evidence", "paused/state")},
}  # fmt: skip
_PREFIX = "afterview"
_VERDICTS: dict[str, Verdict] = {"memory_not_found": "absent", "not_found": "absent"}


def need(world: World) -> None:
    """Skip without a broker."""
    need_mosquitto()


def names(world: World) -> set[str]:
    """Every topic that the door knows."""
    of_camera = (*OF_CAMERA, *(f"{feature}/set" for feature in FEATURES))
    return {*(f"topic {word}" for word in WORDS), *(f"topic CAMERA/{rest}" for rest in of_camera)}


def attempt(world: World, role: str, name: str, target: str | None) -> Outcome:
    """One message to the service, or what it shows on a topic."""
    thing = world.things["camera"][target] if target is not None else ""
    topic = f"{_PREFIX}/{name.removeprefix('topic ').replace('CAMERA', level_of(thing) if thing else '')}"
    if name == "topic ask":
        return _ask(world, topic, thing)
    if name.endswith("/set"):
        return _set(world, topic)
    assert world.ear is not None
    world.ear.wait(f"{_PREFIX}/yard/state")
    told = {heard.topic: heard.payload.decode(errors="replace") for heard in list(world.ear.heard)}
    echoed = ("/set", "/ask", "/error")  # what the client itself said, or comes back of that
    mine = {
        one: text for one, text in told.items()
        if one.startswith(f"{_PREFIX}/") and not one.endswith(echoed) and not one.startswith(f"{_PREFIX}/answer/")
    }  # fmt: skip
    if target is None:
        return Outcome("ok", json.dumps(mine))
    return Outcome("ok" if target == "seen" else "absent" if topic not in mine else "other", mine.get(topic, ""))


def _ask(world: World, topic: str, thing: str) -> Outcome:
    ear, reply = world.ear, f"{_PREFIX}/answer/{uuid.uuid4().hex}"
    assert ear is not None
    ear.send(topic, {"question": "Which scene do you see now?", "cameras": [thing]}, response=reply)
    found = ear.json(reply, within_s=20)
    return Outcome(_VERDICTS.get(found["error"]["kind"], "other") if "error" in found else "ok", json.dumps(found))


def _set(world: World, topic: str) -> Outcome:
    ear = world.ear
    assert ear is not None
    before = time.time()

    def errors() -> list[str]:
        return [json.dumps(one["error"]) for one in ear.all(f"{_PREFIX}/error") if one["topic"] == topic]

    known = len(errors())
    ear.send(topic, "OFF")
    if not wait_until(lambda: len(errors()) > known, 1.0):
        return Outcome("ok", f"nothing said in {time.time() - before:.0f} s")
    return Outcome(_VERDICTS.get(json.loads(errors()[-1])["kind"], "other"), errors()[-1])


__all__ = ["ROLES", "RULES", "attempt", "names", "need"]
