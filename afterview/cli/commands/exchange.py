"""`afterview export` and `afterview import`: a span of a camera as one file."""

import argparse
import errno
import time
from pathlib import Path
from typing import Any

from afterview.cli.arguments import memory_path, positive_duration, readable_memory, require_new, require_order
from afterview.cli.output.documents import dump
from afterview.cli.progress import progress
from afterview.configs import ExitStatus, UsageError
from afterview.configs.system_errors import describe
from afterview.memory.base.camera_names import directory_to_record
from afterview.memory.base.counts import counted
from afterview.memory.base.errors import NothingRecorded, NotWritable
from afterview.memory.base.settings import has_settings
from afterview.memory.base.typed_times import parse_time
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
            f"{document['camera']}: {counted(document['frames'], 'frame')}, {document['bytes'] / 1e6:.1f} MB, {document['path']}"
        )
    return ExitStatus.OK


def _export(arguments: argparse.Namespace) -> dict[str, Any]:
    path = Path(arguments.file)
    if not arguments.file.strip():
        raise UsageError("FILE is empty; give the name of the file to write")
    if arguments.last and (arguments.start or arguments.end):
        raise UsageError("--last says where the span begins and ends; leave out --from and --to")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no directory {path.parent}; make it first")
    require_new([path], force=arguments.force)
    memory = Memory(readable_memory(arguments.memory))
    if not arguments.camera and len(memory.camera_ids()) > 1:
        raise UsageError(f"several cameras: give --camera; there are: {', '.join(memory.camera_ids())}")
    reader = memory.camera(arguments.camera or memory.camera_ids()[0])
    snapshot, now, zone = reader.snapshot(), time.time(), reader.info.timezone
    start = parse_time(arguments.start, timezone=zone, now=now) if arguments.start else None
    end = parse_time(arguments.end, timezone=zone, now=now) if arguments.end else None
    require_order(start, end, said=f"--from {arguments.start} --to {arguments.end}")
    if arguments.last:
        start, end = now - positive_duration("--last", arguments.last), now
    first, stop = frames_between(snapshot.times, start, end)
    if stop <= first:
        raise NothingRecorded(f"camera '{reader.info.id}': nothing is remembered in that span")
    try:
        with progress(reader.info.id, "frames") as report:
            count = export_span(snapshot, first, stop, path, report)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise  # the name is not wrong
        raise NotWritable(describe(error, path, action="written")) from None
    return {"camera": reader.info.id, "frames": count, "bytes": path.stat().st_size, "path": str(path)}


def _import(arguments: argparse.Namespace) -> dict[str, Any]:
    path = Path(arguments.file)
    if path.exists() and not path.is_file():  # opening a named pipe would wait for somebody to write into it
        raise UsageError(f"{arguments.file or 'FILE'}: is not a file; give one that `afterview export` wrote")
    try:
        path.open("rb").close()
    except OSError as error:
        raise UsageError(describe(error, path, action="read")) from None
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
        new = last is None and not has_settings(repository.directory)
        try:
            with progress(repository.info.id, "frames") as report:
                count = import_span(span, repository, report)
        except BaseException:  # Ctrl-C, too
            if new:  # a part of the span would keep the whole from being imported
                repository.discard()
            raise
        return {"camera": repository.info.id, "frames": count, "bytes": path.stat().st_size, "path": str(path)}
