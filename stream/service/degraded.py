"""What a user must know of an answer because something does not work as it should. Pure: works on what the service says of itself."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from afterview.memory.base.counts import counted
from afterview.stream.ask.question import Coverage

LOW_DISK_BYTES = 1_000_000_000
_RIGHT = ("online", "paused")
_WRONG = ("offline", "disk full", "failed", "starting", "ended")


def notes_on(cameras: Iterable[Mapping[str, Any]], free_bytes: int | None = None) -> list[str]:
    """Sentences about these cameras (as ServedCamera.to_dict) and the disk; none if all is well."""
    notes = [note for camera in cameras for note in _of_camera(camera)]
    if free_bytes is not None and free_bytes < LOW_DISK_BYTES:
        notes.append(f"the disk has {free_bytes / 1e9:.2f} GB left")
    return notes


def _of_camera(camera: Mapping[str, Any]) -> list[str]:
    name, state, detail = camera["camera"], camera["state"], camera.get("cause") or camera.get("detail") or ""
    notes = []
    if state in _WRONG:
        notes.append(f"camera '{name}' is not recorded now: {state}" + (f": {detail}" if detail else ""))
    elif state == "paused":
        notes.append(f"camera '{name}' is paused")
    if camera.get("dropped"):
        notes.append(f"camera '{name}': {camera['dropped']} frames were dropped, because the machine could not keep up")
    if camera.get("clock"):
        notes.append(f"camera '{name}': its own clock is not used: {camera['clock']}")
    store = camera.get("store")
    if store and store.get("unreachable_since"):
        notes.append(f"camera '{name}': the memory's store does not answer: {store['why']}")
    return notes


def notes_on_unread(coverages: Sequence[Coverage]) -> list[str]:
    """Sentences about frames that an answer had to do without; none if it saw all that it wanted."""
    notes = []
    for own in coverages:
        if own.unreachable:
            count = counted(own.unreachable, "frame")
            notes.append(f"camera '{own.camera}': {count} could not be read: {own.unreachable_why}")
        if own.damaged:
            notes.append(
                f"camera '{own.camera}': {counted(own.damaged, 'frame')} could not be read: damaged on the disk"
            )
    return notes


def summary(model: str, states: Sequence[str]) -> str:
    """The state in a few words, without names: anybody may read what systemd shows of a service."""
    paused = f", {count} paused" if (count := states.count("paused")) else ""
    full = "; the disk is full" if "disk full" in states else ""
    return f"model {model}; {states.count('online')} of {len(states)} cameras recorded{paused}{full}"


def readiness(
    model: str, problem: str, cameras: Sequence[Mapping[str, Any]], free_bytes: int | None, *, named: bool,
    doors: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Whether the service can do its work: `ready`, `degraded` (it answers, but something is wrong), or `not ready`.

    named: whether to say more than `ready` or `not ready`. Without, not even whether a camera is down, or how many there are: anybody may
    ask for the health of a service, also somebody who may see only some of its cameras. doors: what does not work of MQTT and the like.
    """
    wrong = [camera for camera in cameras if camera["state"] not in _RIGHT]
    full = any(camera["state"] == "disk full" for camera in cameras) or free_bytes is None
    status = "not ready" if model != "ready" or full else "degraded" if (wrong or doors) and named else "ready"
    document: dict[str, Any] = {
        "status": status,
        "model": {"state": model, "detail": problem if named else ""},
        "disk": {"free_bytes": free_bytes if named else None, "full": full},
        "cameras": {"recorded": len(cameras) - len(wrong), "configured": len(cameras)} if named else {},
        "lag_s": {},
        "notes": [],
    }
    if named:
        document["lag_s"] = {camera["camera"]: camera.get("lag_s") for camera in cameras}
        document["notes"] = [*notes_on(cameras, free_bytes), *doors]
    return document
