"""Limits of a memory, and of its cameras: what they would evict, and setting them. Used by the command line and by the service."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from afterview.memory.base.durable import DISK_FULL
from afterview.memory.base.errors import NotWritable, RepositoryError, in_words
from afterview.memory.base.settings import (
    CameraSettings,
    MemorySettings,
    read_memory_settings,
    read_settings,
    write_memory_settings,
)
from afterview.memory.plans.retention import Limits
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.rules import camera_limits
from afterview.memory.reading.tiers import Tiers
from afterview.memory.writing.disk_reserve import release
from afterview.stream.ingest.commands import apply

Values = Mapping[str, float | None]  # limits by the names of the settings; None removes one


def usable(reader: CameraReader) -> CameraReader:
    """The camera, if everything can be read that its limits, its preview and its forecast need. Raises RepositoryError, OSError."""
    read_settings(reader.held.path)
    Tiers.of(reader.held.path, reader.snapshot())
    reader.bytes_on_disk()
    return reader


def shares(memory: Path, values: Values) -> bool:
    """Whether these limits of some cameras change those of others: cameras share the memory's gigabytes."""
    return "gigabytes" in values and read_memory_settings(memory).gigabytes is not None


def plan_limits(
    memory: Path, affected: Sequence[CameraReader], own: Sequence[CameraReader], values: Values
) -> list[tuple[CameraReader, CameraSettings, Limits]]:
    """Each camera with its settings and limits once these values are set: for the cameras `own`, or for the memory."""
    changes = {reader.info.id for reader in own}
    shared = read_memory_settings(memory)
    if not own:
        shared = MemorySettings(**{**shared.model_dump(), **values})
    gigabytes = {camera: values["gigabytes"] for camera in changes if "gigabytes" in values}
    planned = []
    for reader in affected:
        settings = read_settings(reader.held.path)
        if reader.info.id in changes:
            settings = settings.changed(**values)
        planned.append((reader, settings, camera_limits(reader.held.path, settings, shared, gigabytes)))
    return planned


def set_limits(
    memory: Path,
    readers: Sequence[CameraReader],
    affected: Sequence[CameraReader],
    values: Values,
    *,
    own: bool,
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Set the limits and evict by them: what the writer of each camera reports, and why others could not. Raises if one was named."""
    first = {} if own else _set_shared(memory, affected, values)
    done: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    for reader in [*readers, *(other for other in affected if other not in readers)]:
        named = own and reader in readers
        command = {"do": "set", "settings": dict(values) if own else {}} if reader in readers else {"do": "enforce"}
        coarse = reader in readers and bool(values.get("coarse_days"))
        try:
            done[reader.info.id] = apply(reader, command, finish_downsampling=coarse)
        except (RepositoryError, OSError) as error:
            if named or len(affected) == 1:
                raise
            failed[reader.info.id] = str(in_words(error))
    for camera, document in first.items():
        if document["evicted"]["frames"] and camera in done:
            done[camera]["evicted"] = document["evicted"]
    return done, failed


def _set_shared(memory: Path, readers: Sequence[CameraReader], values: Values) -> dict[str, dict[str, Any]]:
    """Write the limits of the memory. On a full disk, evict by them first; then, what the writer of each camera reports."""
    shared = read_memory_settings(memory)
    new = MemorySettings(**{**shared.model_dump(), **values})
    evicted: dict[str, dict[str, Any]] = {}
    for attempt in ("as it is", "without reserves", "after evicting"):
        if attempt == "without reserves":
            for reader in readers:
                release(reader.held.path)
        elif attempt == "after evicting":
            command = {"do": "enforce", "shared": new.model_dump(mode="json")}
            evicted = {reader.info.id: apply(reader, command) for reader in readers}
            for reader in readers:
                release(reader.held.path)
        try:
            if new != shared:
                write_memory_settings(memory, new)
            return evicted
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
    raise NotWritable(
        f"{memory}: the disk is full, and the limits could not be written; delete other files and run it again"
    )
