"""The work of jobs: changes of one camera, or of all, executed by whoever writes it. Runs in a job's thread."""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afterview.configs import UsageError
from afterview.memory.base.errors import NothingRecorded
from afterview.memory.base.iso_times import with_iso
from afterview.memory.base.moved import require_in_place
from afterview.memory.base.settings import read_memory_settings, read_settings
from afterview.memory.base.typed_times import Time, unix_seconds
from afterview.memory.directory import Memory
from afterview.memory.plans.downsampling import can_downsample, why_not
from afterview.memory.reading.reader import CameraReader, frames_between
from afterview.memory.reading.rules import camera_limits
from afterview.memory.span_file import export_span
from afterview.memory.writing.preview import preview_forget, preview_retention
from afterview.stream.ingest.commands import apply
from afterview.stream.ingest.limits import plan_limits, set_limits, usable
from afterview.stream.service.jobs import Progress

EXPORTS = ".exports"  # a directory of the memory; emptied at the start and the end of the service
EXPORT_LASTS_S = 3600.0


@dataclass(frozen=True)
class Span:
    """From and to, Unix seconds or texts, in the camera's zone."""

    start: Time | None
    end: Time | None

    def of(self, reader: CameraReader) -> tuple[float | None, float | None]:
        """In Unix seconds. Raises UsageError."""
        now, zone = time.time(), reader.info.timezone
        start, end = (
            None if value is None else unix_seconds(value, timezone=zone, now=now) for value in (self.start, self.end)
        )
        if start is not None and end is not None and end < start:
            raise UsageError(f"the span ends before it begins: {reader.info.show(start)} to {reader.info.show(end)}")
        return start, end

    def closed(self, reader: CameraReader) -> tuple[float, float]:
        """The same, where both sides must be given."""
        start, end = self.of(reader)
        if start is None or end is None:
            raise UsageError("which span? give start and end")
        return start, end


def forget(memory: Memory, camera: str, span: Span, *, dry_run: bool) -> dict[str, Any]:
    """Delete a span, with proof; exported files of the camera go, too."""
    reader = memory.camera(camera)
    start, stop = span.closed(reader)
    if dry_run:
        return _with_times(preview_forget(reader, start, stop).to_dict(), reader)
    done = apply(reader, {"do": "forget", "start": start, "stop": stop})
    delete_exports(memory.held.path, reader.info.id)
    return _with_times({**done, "stays": {"frames": reader.snapshot().frames}}, reader)


def keep(memory: Memory, camera: str, span: Span, *, clear: bool) -> dict[str, Any]:
    """Protect a span from retention, or (clear) none any more."""
    reader = memory.camera(camera)
    if clear:
        return set_values(memory, camera, {"keep": []})
    kept = read_settings(reader.held.path).keep
    return set_values(memory, camera, {"keep": [*map(list, kept), list(span.closed(reader))]})


def set_values(memory: Memory, camera: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Change settings of a camera."""
    reader = memory.camera(camera)
    return _with_times(apply(reader, {"do": "set", "settings": dict(values)}), reader)


def retain(memory: Memory, camera: str, limits: Mapping[str, float | None], *, dry_run: bool) -> dict[str, Any]:
    """Set the limits of a camera; what was evicted, or (dry_run) what would be."""
    reader = memory.camera(camera)
    if limits.get("coarse_days"):
        _require_downsampling(reader)
    if dry_run:
        settings = read_settings(reader.held.path).changed(**limits)
        sizes = {reader.info.id: limits["gigabytes"]} if "gigabytes" in limits else {}
        found = preview_retention(reader, camera_limits(reader.held.path, settings, None, sizes), settings.keep)
        return _with_times(found.to_dict(), reader)
    return set_values(memory, camera, limits)


def retain_memory(memory: Memory, limits: Mapping[str, float | None], *, dry_run: bool) -> dict[str, Any]:
    """Set the limits of the whole memory; what was evicted of each camera, or (dry_run) what would be. Without limits: those it has."""
    require_in_place(memory.held.path)
    found = memory.each(usable)
    readers = list(found.results.values())
    if limits.get("coarse_days"):
        for reader in readers:
            _require_downsampling(reader)
    cameras: list[dict[str, Any]] = []
    skipped = dict(found.skipped)
    if dry_run:
        for reader, settings, planned in plan_limits(memory.held.path, readers, [], limits):
            preview = preview_retention(reader, planned, settings.keep).to_dict()
            cameras.append(_with_times({"camera": reader.info.id, **preview, "limits": planned.to_dict()}, reader))
    else:
        done, failed = set_limits(memory.held.path, readers, readers, limits, own=False) if limits else ({}, {})
        skipped |= failed
        for reader in readers:
            now = camera_limits(reader.held.path, read_settings(reader.held.path))
            document = {"camera": reader.info.id, **done.get(reader.info.id, {}), "limits": now.to_dict()}
            cameras.append(_with_times(document, reader))
    shared = read_memory_settings(memory.held.path)
    return {"limits": shared.model_dump(mode="json"), "cameras": cameras, "skipped": skipped}


def _require_downsampling(reader: CameraReader) -> None:
    """Raise UsageError for a camera whose frames cannot be downsampled."""
    if not can_downsample(reader.spec.tokens):
        raise UsageError(f"camera '{reader.info.id}': {why_not(reader.spec.tokens)}; leave out coarse_days")


def export(memory: Memory, camera: str, span: Span, name: str, progress: Progress) -> dict[str, Any]:
    """Write a span as one file, which the API gives until it expires."""
    reader = memory.camera(camera)
    delete_exports(memory.held.path, older_than=time.time() - EXPORT_LASTS_S)
    snapshot = reader.snapshot()
    first, end = frames_between(snapshot.times, *span.of(reader))
    if end <= first:
        raise NothingRecorded(f"camera '{reader.info.id}': nothing is remembered in that span")
    path = export_path(memory.held.path, reader.info.id, name)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    frames = export_span(snapshot, first, end, path, progress)
    if reader.forgot_since(snapshot):
        path.unlink(missing_ok=True)
        raise NothingRecorded(
            f"camera '{reader.info.id}': frames of the span were forgotten meanwhile; export it again"
        )
    return {
        "camera": reader.info.id,
        "frames": frames,
        "bytes": path.stat().st_size,
        "file": f"/api/v1/jobs/{name}/file",
        "expires": path.stat().st_mtime + EXPORT_LASTS_S,
    }


def export_path(memory: Path, camera: str, name: str) -> Path:
    """Where an exported file lies. name: of the job."""
    return memory / EXPORTS / f"{camera}.{name}.safetensors"


def delete_exports(memory: Path, camera: str | None = None, *, older_than: float | None = None) -> None:
    """Delete exported files: of a camera, or those that have expired, or all."""
    directory = memory / EXPORTS
    names: Sequence[str] = os.listdir(directory) if directory.is_dir() else ()
    for path in (directory / name for name in names):
        own = camera is None or path.name.rsplit(".", 2)[0] == camera
        with contextlib.suppress(FileNotFoundError):  # another export has just got its name, or was deleted
            if own and (older_than is None or path.stat().st_mtime < older_than):
                path.unlink()
    if camera is None and older_than is None and directory.is_dir():
        directory.rmdir()


def _with_times(document: Mapping[str, Any], reader: CameraReader) -> dict[str, Any]:
    return dict(with_iso(document, {}, reader.info))
