"""`afterview forget|keep|pause|resume|retain|mask`: change what is remembered, whether a camera is being recorded or not."""

import argparse
import math
import shutil
import time
from pathlib import Path
from typing import Any

from afterview.cli.arguments import memory_path
from afterview.cli.output.documents import dump
from afterview.configs import UsageError
from afterview.memory.base.settings import (
    CameraSettings,
    MemorySettings,
    read_memory_settings,
    read_settings,
    write_memory_settings,
)
from afterview.memory.base.typed_times import parse_duration, parse_time, spell_duration
from afterview.memory.directory import Memory
from afterview.memory.format.upload_state import UploadState
from afterview.memory.plans.downsampling import can_downsample
from afterview.memory.plans.retention import Savings, forecast
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.rules import camera_limits
from afterview.memory.reading.tiers import Tiers
from afterview.memory.remote.settings import read_store
from afterview.stream.ingest.commands import BY_RECORDER, apply

_NOTHING_CHANGED = "nobody"  # a value of `by` in the JSON


def run(arguments: argparse.Namespace) -> int:
    """Execute the command for each camera that it names."""
    memory = Memory(memory_path(arguments.memory))
    _require_choice(memory, arguments)
    readers = [memory.camera(name) for name in arguments.camera] or memory.cameras()
    if arguments.command == "retain" and arguments.coarse_days:
        for reader in readers:
            _require_downsampling(reader)
    if arguments.command == "retain" and not arguments.camera:
        _set_shared(memory.path, arguments)
    documents = [_COMMANDS[arguments.command](reader, arguments) for reader in readers]
    if arguments.json:
        dump({"cameras": documents}, arguments.memory, [reader.info for reader in readers])
        return 0
    for document in documents:
        _PRINT[arguments.command](document, memory.camera(document["camera"]))
    return 0


def _require_choice(memory: Memory, arguments: argparse.Namespace) -> None:
    """Raise UsageError where a change would touch several cameras and nobody said so."""
    known = memory.camera_ids()
    if arguments.command == "retain" or len(arguments.camera or known) == 1 or _only_shows(arguments):
        return
    if arguments.command in ("forget", "keep"):
        if not arguments.camera:
            raise UsageError(f"several cameras: give --camera; there are: {', '.join(known)}")
        return
    if arguments.command == "mask" and arguments.remove:
        raise UsageError(
            f"--remove: several cameras number their masks each; give --camera; there are: {', '.join(known)}"
        )
    if not (arguments.all or arguments.camera):
        raise UsageError(f"several cameras: give --camera, or --all to change {', '.join(known)}")


def _only_shows(arguments: argparse.Namespace) -> bool:
    if arguments.command == "keep":
        return not (arguments.start or arguments.end or arguments.last or arguments.clear)
    return arguments.command == "mask" and not (arguments.polygon or arguments.remove or arguments.clear)


def _span(reader: CameraReader, arguments: argparse.Namespace) -> tuple[float, float]:
    now, zone = time.time(), reader.info.timezone
    if arguments.last:
        if arguments.start or arguments.end:
            raise UsageError("--last says where the span begins and ends; leave out --from and --to")
        return now - parse_duration(arguments.last), now
    if not (arguments.start and arguments.end):
        raise UsageError("which span? give --from and --to, or --last")
    start, end = (parse_time(text, timezone=zone, now=now) for text in (arguments.start, arguments.end))
    if end < start:
        raise UsageError(f"the span ends before it begins: --from {arguments.start} --to {arguments.end}")
    return start, end


def _forget(reader: CameraReader, arguments: argparse.Namespace) -> dict[str, Any]:
    start, end = _span(reader, arguments)
    return apply(reader, {"do": "forget", "start": start, "stop": end})


def _keep(reader: CameraReader, arguments: argparse.Namespace) -> dict[str, Any]:
    settings = read_settings(reader.directory)
    if _only_shows(arguments):
        return _unchanged(reader, settings)
    if arguments.clear:
        return apply(reader, {"do": "set", "settings": {"keep": []}})
    span = _span(reader, arguments)
    return apply(reader, {"do": "set", "settings": {"keep": [*settings.keep, span]}})


def _pause(reader: CameraReader, arguments: argparse.Namespace) -> dict[str, Any]:
    return apply(reader, {"do": "set", "settings": {"paused": arguments.command == "pause"}})


def _mask(reader: CameraReader, arguments: argparse.Namespace) -> dict[str, Any]:
    settings = read_settings(reader.directory)
    if _only_shows(arguments):
        if arguments.replace:
            raise UsageError("--replace: by what? give --polygon, or --clear to remove all masks")
        return _unchanged(reader, settings)
    if (arguments.clear or arguments.replace) and (arguments.remove or (arguments.clear and arguments.polygon)):
        raise UsageError(
            "--clear and --replace remove all masks; to set others instead, give --replace and --polygon alone"
        )
    unknown = [number for number in arguments.remove if not 1 <= number <= len(settings.masks)]
    if unknown:
        raise UsageError(
            f"--remove {unknown[0]}: camera '{reader.info.id}' has {len(settings.masks)} masks; `mask` alone lists them"
        )
    none = arguments.clear or arguments.replace
    kept = [] if none else [mask for number, mask in enumerate(settings.masks, 1) if number not in arguments.remove]
    return apply(reader, {"do": "set", "settings": {"masks": [*kept, *map(_polygon, arguments.polygon)]}})


def _unchanged(reader: CameraReader, settings: CameraSettings) -> dict[str, Any]:
    return {"camera": reader.info.id, "settings": settings.model_dump(mode="json"), "by": _NOTHING_CHANGED}


def _polygon(text: str) -> list[list[float]]:
    try:
        corners = [[float(value) for value in corner.split(",")] for corner in text.split()]
    except ValueError:
        corners = []
    if len(corners) < 3 or any(len(corner) != 2 for corner in corners):
        raise UsageError(
            f"--polygon '{text}': write at least three corners as fractions of the picture: \"0,0 0.3,0 0.3,1 0,1\""
        )
    return corners


def _set_shared(memory: Path, arguments: argparse.Namespace) -> None:
    shared = read_memory_settings(memory)
    values = {**shared.model_dump(), **_limits(arguments)}
    if values != shared.model_dump():
        write_memory_settings(memory, MemorySettings(**values))


def _limits(arguments: argparse.Namespace) -> dict[str, Any]:
    for name in ("days", "gb", "coarse_days"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < math.inf:
            raise UsageError(
                f"--{name.replace('_', '-')} {value:g}: must be above 0; use --forever to remove all limits"
            )
    if arguments.forever:
        return {"days": None, "gigabytes": None, "coarse_days": None}
    given = {"days": arguments.days, "gigabytes": arguments.gb, "coarse_days": arguments.coarse_days}
    return {name: value for name, value in given.items() if value is not None}


def _retain(reader: CameraReader, arguments: argparse.Namespace) -> dict[str, Any]:
    values = _limits(arguments)
    own = values if arguments.camera else {}
    command = {"do": "set", "settings": own}
    document = {"camera": reader.info.id}
    if values:
        document = apply(reader, command, finish_downsampling=bool(values.get("coarse_days")))
    settings = read_settings(reader.directory)
    limits = camera_limits(reader.directory, settings)
    snapshot = reader.snapshot()
    stored = read_store(reader.directory.parent) is not None
    free = math.inf if stored else shutil.disk_usage(reader.directory).free  # old chunks move to the bucket
    used = reader.bytes_on_disk() + UploadState.read(reader.directory).remote_only
    tiers = Tiers.of(reader.directory, snapshot)
    saved = Savings(tiers.downsampled, tiers.bytes_saved_each)
    outlook = forecast(used, snapshot.frames, reader.info.fps, limits, free=free, downsampled=saved)
    return {
        **document,
        "limits": limits.to_dict(),
        "coarse_frames": tiers.downsampled,
        "forecast": outlook.to_dict(),
    }


def _require_downsampling(reader: CameraReader) -> None:
    """Raise UsageError for a camera whose frames cannot be downsampled."""
    if not can_downsample(reader.spec.tokens):
        raise UsageError(f"camera '{reader.info.id}': its tokens are merged already; leave out --coarse-days")


def _print_forgotten(document: dict[str, Any], reader: CameraReader) -> None:
    proof = document["proof"]
    who = " (executed by the recording process)" if document["by"] == BY_RECORDER else ""
    print(f"{document['camera']}: {document['frames']} frames forgotten{who}")
    for gone in document["ranges"]:
        print(f"  {reader.info.show(gone['start'])} to {reader.info.show(gone['end'])}: {gone['frames']} frames")
    objects = f"{proof['objects_deleted']} objects deleted from the store; " if proof["objects_deleted"] else ""
    print(f"  proof: {proof['files_deleted']} files deleted, {proof['files_rewritten']} rewritten; {objects}"
          f"every chunk of {proof['frames_checked']} frames read again, {proof['traces']} traces left")  # fmt: skip
    if proof["bucket_keeps_versions"]:
        print("  note: the store's bucket keeps old versions of objects; delete those there, or by a lifecycle rule")


def _print_settings(document: dict[str, Any], reader: CameraReader) -> None:
    settings = CameraSettings.model_validate(document["settings"])
    state = "paused" if settings.paused else "not paused"
    changed = {_NOTHING_CHANGED: "unchanged", BY_RECORDER: "set by the recording process"}
    print(f"{document['camera']}: {state}; {changed.get(document['by'], 'set by this command')}")
    for start, end in settings.keep:
        print(f"  kept: {reader.info.show(start)} to {reader.info.show(end)}")
    for number, polygon in enumerate(settings.masks, 1):
        print(f"  mask {number}: {' '.join(f'{x:g},{y:g}' for x, y in polygon)}")


def _print_retention(document: dict[str, Any], reader: CameraReader) -> None:
    limits, outlook = document["limits"], document["forecast"]
    said = [
        f"{limits['days']:g} days" if limits["days"] else "",
        f"{limits['gigabytes']:.3g} GB" if limits["gigabytes"] else "",
    ]
    print(f"{document['camera']}: limits: {' and '.join(filter(None, said)) or 'none'}")
    if limits["coarse_days"] or document["coarse_frames"]:
        more = f"after {limits['coarse_days']:g} days" if limits["coarse_days"] else "is off"
        print(f"  {document['coarse_frames']} frames downsampled to a quarter of their tokens; downsampling {more}")
    rate = f"{outlook['bytes'] / 1e9:.3g} GB now, {outlook['bytes_per_day'] / 1e9:.3g} GB a day"
    full = (
        f"full in {spell_duration(outlook['full_in_s'])} at this rate"
        if outlook["full_in_s"] is not None
        else "the limit is not reached at this rate"
    )
    print(f"  {rate}; {full}")


_COMMANDS = {"forget": _forget, "keep": _keep, "pause": _pause, "resume": _pause, "mask": _mask, "retain": _retain}
_PRINT = {
    "forget": _print_forgotten,
    "keep": _print_settings,
    "pause": _print_settings,
    "resume": _print_settings,
    "mask": _print_settings,
    "retain": _print_retention,
}
