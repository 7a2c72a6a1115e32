"""`afterview keep|pause|resume|mask`: change what is remembered from now on, whether a camera is being recorded or not."""

import argparse
import time
from typing import Any

from afterview.cli.arguments import memory_path, newest_frame, positive_duration, require_order, require_past
from afterview.cli.confirm import confirm
from afterview.cli.output.deletions import describe_evicted, describe_preview, show_previews
from afterview.cli.output.documents import dump, print_skipped
from afterview.configs import ExitStatus, UsageError
from afterview.memory.base.counts import counted
from afterview.memory.base.settings import (
    CameraSettings,
    read_settings,
)
from afterview.memory.base.typed_times import parse_time
from afterview.memory.directory import Memory
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.rules import camera_limits
from afterview.memory.writing.preview import Preview, preview_retention
from afterview.stream.ingest.commands import BY_RECORDER, apply

_NOTHING_CHANGED = "nobody"  # a value of `by` in the JSON


def run(arguments: argparse.Namespace) -> int:
    """Execute the command for each camera that it names."""
    memory = Memory(memory_path(arguments.memory))
    require_choice(memory, arguments)
    if arguments.command == "keep" and (arguments.clear or arguments.dry_run):
        found = memory.each(lambda reader: _preview_clear(reader, arguments), arguments.camera)
        previews = list(found.results.values())
        lines = [line for preview in previews for line in describe_preview(preview, "evicted")]
        if arguments.dry_run:
            return show_previews(arguments, found, lines)
        if any(preview.frames for preview in previews):
            confirm(lines, arguments)
    done = memory.each(lambda reader: _COMMANDS[arguments.command](reader, arguments), arguments.camera)
    if arguments.json:
        infos = [memory.camera(name).info for name in done.results]
        dump({"cameras": list(done.results.values()), "skipped": done.skipped}, arguments.memory, infos)
    else:
        for name, document in done.results.items():
            _print_settings(document, memory.camera(name), arguments.command)
        print_skipped(done.skipped, "left out, and unchanged")
    return ExitStatus.FAILURE if done.skipped else ExitStatus.OK  # a mask that one camera lacks is no success


def require_choice(memory: Memory, arguments: argparse.Namespace) -> None:
    """Raise UsageError where a change would touch several cameras and nobody said so."""
    known = memory.camera_ids()
    if getattr(arguments, "all", False) and arguments.camera:
        raise UsageError("--all names every camera and --camera some; give one of them")
    if len(arguments.camera or known) == 1 or _only_shows(arguments):
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


def span_of(reader: CameraReader, arguments: argparse.Namespace) -> tuple[float, float]:
    """The span that --from and --to, or --last, name. Raises UsageError."""
    now, zone = time.time(), reader.info.timezone
    if arguments.last:
        if arguments.start or arguments.end:
            raise UsageError("--last says where the span begins and ends; leave out --from and --to")
        return now - positive_duration("--last", arguments.last), now
    if not (arguments.start and arguments.end):
        raise UsageError("which span? give --from and --to, or --last")
    start, end = (parse_time(text, timezone=zone, now=now) for text in (arguments.start, arguments.end))
    require_order(start, end, said=f"--from {arguments.start} --to {arguments.end}")
    if arguments.command == "forget":  # a span that is yet to come can be kept, but nothing of it can be forgotten
        require_past("--from", arguments.start, start, now, lambda: newest_frame([reader]))
    return start, end


def _preview_clear(reader: CameraReader, arguments: argparse.Namespace) -> Preview:
    """What the limits evict at once when no span is kept any more."""
    if not arguments.clear:
        raise UsageError("--dry-run: of what? give --clear; keeping a span deletes nothing")
    if arguments.start or arguments.end or arguments.last:
        raise UsageError("--clear drops all kept spans; leave out --from, --to and --last")
    limits = camera_limits(reader.held.path, read_settings(reader.held.path))
    return preview_retention(reader, limits, keep=())


def _keep(reader: CameraReader, arguments: argparse.Namespace) -> dict[str, Any]:
    settings = read_settings(reader.held.path)
    if _only_shows(arguments):
        return _unchanged(reader, settings)
    if arguments.clear:
        return apply(reader, {"do": "set", "settings": {"keep": []}})
    span = span_of(reader, arguments)
    return apply(reader, {"do": "set", "settings": {"keep": [*settings.keep, span]}})


def _pause(reader: CameraReader, arguments: argparse.Namespace) -> dict[str, Any]:
    return apply(reader, {"do": "set", "settings": {"paused": arguments.command == "pause"}})


def _mask(reader: CameraReader, arguments: argparse.Namespace) -> dict[str, Any]:
    settings = read_settings(reader.held.path)
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
            f"--remove {unknown[0]}: camera '{reader.info.id}' has {counted(len(settings.masks), 'mask')}; `mask` alone lists them"
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
    if not all(0 <= value <= 1 for corner in corners for value in corner):
        raise UsageError(
            f"--polygon '{text}': corners are fractions of the picture, from 0 to 1, not pixels; divide x by the picture's width and y "
            "by its height"
        )
    turned = [*corners[1:], corners[0]]
    if not abs(sum(x * v - u * y for (x, y), (u, v) in zip(corners, turned, strict=True))) > 0:  # twice the area
        raise UsageError(f"--polygon '{text}': its corners lie on one line, so it would hide nothing")
    return corners


def _print_settings(document: dict[str, Any], reader: CameraReader, command: str) -> None:
    """The settings that the command is about."""
    settings = CameraSettings.model_validate(document["settings"])
    said = {
        "keep": counted(len(settings.keep), "kept span"),
        "mask": counted(len(settings.masks), "mask") + (", paused" if settings.paused else ""),
    }.get(command, "paused" if settings.paused else "not paused")
    by = {_NOTHING_CHANGED: "", BY_RECORDER: "; set by the recording process"}
    print(f"{document['camera']}: {said}{by.get(document['by'], '; set by this command')}")
    for line in describe_evicted(document.get("evicted", {}), reader.info, ""):
        print(line)
    if command == "keep":
        for start, end in settings.keep:
            print(f"  kept: {reader.info.show(start)} to {reader.info.show(end)}")
    if command == "mask":
        for number, polygon in enumerate(settings.masks, 1):
            print(f"  mask {number}: {' '.join(f'{x:g},{y:g}' for x, y in polygon)}")


_COMMANDS = {"keep": _keep, "pause": _pause, "resume": _pause, "mask": _mask}
