"""`afterview export` and `afterview import`: a span of a camera as one file."""

import argparse
import time
from pathlib import Path
from typing import Any

from afterview.cli.arguments import memory_path, readable_memory, require_new
from afterview.cli.output.documents import dump
from afterview.cli.progress import progress
from afterview.configs import UsageError
from afterview.memory.base.camera_names import directory_to_record
from afterview.memory.base.errors import NothingRecorded
from afterview.memory.base.typed_times import parse_duration, parse_time
from afterview.memory.directory import Memory
from afterview.memory.reading.reader import frames_between
from afterview.memory.span_file import SpanFile, export_span, import_span
from afterview.memory.writing.open import open_camera


def run(arguments: argparse.Namespace) -> int:
    """Export or import."""
    document = _export(arguments) if arguments.command == "export" else _import(arguments)
    if arguments.json:
        dump(document, arguments.memory)
    else:
        print(
            f"{document['camera']}: {document['frames']} frames, {document['bytes'] / 1e6:.1f} MB, {document['path']}"
        )
    return 0


def _export(arguments: argparse.Namespace) -> dict[str, Any]:
    path = Path(arguments.file)
    require_new([path], force=arguments.force)
    memory = Memory(readable_memory(arguments.memory))
    if not arguments.camera and len(memory.camera_ids()) > 1:
        raise UsageError(f"several cameras: give --camera; there are: {', '.join(memory.camera_ids())}")
    reader = memory.camera(arguments.camera) if arguments.camera else memory.cameras()[0]
    snapshot, now, zone = reader.snapshot(), time.time(), reader.info.timezone
    start = parse_time(arguments.start, timezone=zone, now=now) if arguments.start else None
    end = parse_time(arguments.end, timezone=zone, now=now) if arguments.end else None
    if arguments.last:
        start, end = now - parse_duration(arguments.last), now
    first, stop = frames_between(snapshot.times, start, end)
    if stop <= first:
        raise NothingRecorded(f"camera '{reader.info.id}': nothing is remembered in that span")
    try:
        with progress(reader.info.id, "frames") as report:
            count = export_span(snapshot, first, stop, path, report)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from None
    return {"camera": reader.info.id, "frames": count, "bytes": path.stat().st_size, "path": str(path)}


def _import(arguments: argparse.Namespace) -> dict[str, Any]:
    path = Path(arguments.file)
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    span = SpanFile(path)
    memory, name = memory_path(arguments.memory), arguments.camera or span.info.name
    directory_to_record(memory, name, by_id=bool(arguments.camera))  # raises NameTaken
    with open_camera(memory, name, span.spec, fps=span.info.fps, timezone=span.info.timezone) as repository:
        last = repository.last_time
        if last is not None and len(span.times) and span.times[0] <= last:
            raise UsageError(
                f"{path}: begins at {span.info.show(float(span.times[0]))}, before the newest frame of camera "
                f"'{repository.info.id}' ({repository.info.show(last)}); give another --camera"
            )
        with progress(repository.info.id, "frames") as report:
            count = import_span(span, repository, report)
        return {"camera": repository.info.id, "frames": count, "bytes": path.stat().st_size, "path": str(path)}
