"""What the tools read from the memory: cameras, timelines, frames and their pictures. In threads; each sees only what the client may."""

import io
import time
from collections.abc import Sequence
from typing import Any

from PIL import Image

from afterview.configs import AfterviewError, UsageError
from afterview.memory.base.errors import MemoryNotFound
from afterview.memory.base.iso_times import with_iso
from afterview.memory.base.lock import writer_of
from afterview.memory.base.typed_times import Time, unix_seconds
from afterview.memory.directory import Memory
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.stream.ask.frame_images import image_of
from afterview.stream.ask.looking import Chosen, frame_at, frame_numbered, newest_frame
from afterview.stream.service.engine import Engine
from afterview.stream.service.errors import NotFound
from afterview.stream.service.image_urls import image_url
from afterview.stream.service.people.access import Access
from afterview.stream.service.timeline import timeline

MOST_ENTRIES = 20  # of a timeline, of each kind
_PICTURE_BYTES = 480_000  # of all pictures of a result: common clients take messages of 1 MiB, and base64 adds a third
_LONGEST_SIDES = (1280, 960, 640, 320)  # pixels; the next, if the picture is still too large


def camera_list(engine: Engine, access: Access, states: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """All cameras that a client may see. states: of those that the service records, by id."""
    listed = [_listed(reader, states.get(reader.info.id)) for reader in _readers(engine, access)]
    known = {one["camera"] for one in listed}
    without = [_state(state) | {"frames": 0} for identity, state in states.items() if identity not in known]
    try:
        skipped = {camera: why for camera, why in engine.view(access).skipped().items() if access.sees(camera)}
    except MemoryNotFound:
        skipped = {}
    return {"now": time.time(), "cameras": [*listed, *without], "skipped": skipped}


def _readers(engine: Engine, access: Access) -> list[CameraReader]:
    try:
        return [reader for reader in engine.view(access).cameras() if access.sees(reader.info.id)]
    except MemoryNotFound:
        return []


def _listed(reader: CameraReader, state: dict[str, Any] | None) -> dict[str, Any]:
    document = {"camera": reader.info.id, "name": reader.info.name, "timezone": reader.info.timezone}
    if state is None:
        writer = writer_of(reader.held.path)
        recorded = "recorded by another process" if writer is not None and writer.recording else "not recorded"
        document |= {"state": recorded, "detail": ""}
    else:
        document |= _state(state)
    try:
        snapshot = reader.snapshot()
        first, last = (float(snapshot.times[row]) for row in (0, -1)) if snapshot.frames else (None, None)
        found = {**document, "frames": snapshot.frames, "first_time": first, "last_time": last}
    except (AfterviewError, OSError) as error:
        found = {**document, "frames": None, "detail": str(error)}
    return dict(with_iso(found, {}, reader.info))


def _state(state: dict[str, Any]) -> dict[str, Any]:
    """What an assistant needs of a camera's state; its source is no business of it."""
    return {key: state[key] for key in ("camera", "name", "state", "detail")}


def snapshot_of(memory: Memory, access: Access, name: str) -> MemorySnapshot:
    """The snapshot of a camera by name or id. Raises MemoryNotFound, NotFound."""
    reader = memory.camera(name)
    if not access.sees(reader.info.id):
        raise NotFound(f"no camera '{name}'")
    return reader.snapshot()


def camera_timeline(snapshot: MemorySnapshot, start: Time | None, end: Time | None) -> dict[str, Any]:
    """Spans with frames, gaps, and what is no longer remembered, without the evidence of others' answers."""
    low, high = (_seconds(snapshot, one) for one in (start, end))
    if low is not None and high is not None and low > high:
        raise UsageError("the span ends before it begins: start is later than end")
    document = timeline(snapshot, low, high, MOST_ENTRIES, ())
    del document["evidence"], document["left_out"]["evidence"]
    return document


def camera_frame(snapshot: MemorySnapshot, at: Time | None, number: int | None) -> dict[str, Any]:
    """A frame, as `/cameras/{camera}/frames/{frame}` gives it, with `notes` on the choice. Raises what the choice raises."""
    if at is not None and number is not None:
        raise UsageError("at and frame both say which frame; give one of them")
    chosen = _chosen(snapshot, at, number)
    frame, info = chosen.frames[0], snapshot.info
    when = snapshot.time_of(frame)
    return {
        "camera": info.id, "frame": frame, "time": when, "time_iso": info.iso(when),
        "picture_damaged": snapshot.picture_damaged(frame), "image": image_url(info.id, frame), "notes": list(chosen.notes),
    }  # fmt: skip


def _chosen(snapshot: MemorySnapshot, at: Time | None, number: int | None) -> Chosen:
    if number is not None:
        return frame_numbered(snapshot, number)
    then = _seconds(snapshot, at)
    return newest_frame(snapshot) if then is None else frame_at(snapshot, then)


def _seconds(snapshot: MemorySnapshot, value: Time | None) -> float | None:
    return None if value is None else unix_seconds(value, timezone=snapshot.info.timezone, now=time.time())


def pictures_of(memory: Memory, access: Access, frames: Sequence[tuple[str, int]]) -> tuple[list[bytes], list[str]]:
    """The pictures of frames (camera, number), small enough to be sent together, and why others are missing."""
    pictures, missing = [], []
    for camera, frame in frames:
        try:
            data, why = image_of(snapshot_of(memory, access, camera), frame)
            data = _small(data, _PICTURE_BYTES // len(frames)) if data else b""
        except AfterviewError as error:
            data, why = b"", str(error)
        except Exception:  # of the decoder: whatever it is, the others are shown
            data, why = b"", "it cannot be decoded"
        if data:
            pictures.append(data)
        else:
            missing.append(f"camera '{camera}', frame {frame}: no picture: {why}")
    return pictures, missing


def _small(data: bytes, most: int) -> bytes:
    """A JPEG of at most so many bytes; the same, if it is small enough."""
    if len(data) <= most:
        return data
    smaller = b""
    for side in _LONGEST_SIDES:
        with Image.open(io.BytesIO(data)) as opened:
            opened.thumbnail((side, side))
            file = io.BytesIO()
            opened.convert("RGB").save(file, "JPEG", quality=80)
        smaller = file.getvalue()
        if len(smaller) <= most:
            break
    return smaller
