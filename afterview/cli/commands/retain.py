"""`afterview retain`: limit how much of the past is kept, and forecast when the disk will be full."""

import argparse
import math
from collections.abc import Mapping
from typing import Any

from afterview.cli.arguments import memory_path
from afterview.cli.confirm import confirm
from afterview.cli.output.deletions import (
    count_cameras,
    describe_evicted,
    describe_limits,
    describe_preview,
    show_previews,
)
from afterview.cli.output.documents import dump, print_skipped
from afterview.configs import ExitStatus, UsageError
from afterview.memory.base.counts import spell_bytes
from afterview.memory.base.moved import require_in_place
from afterview.memory.base.settings import (
    read_settings,
)
from afterview.memory.base.typed_times import spell_duration
from afterview.memory.directory import EachCamera, Memory
from afterview.memory.plans.downsampling import can_downsample, why_not
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.rules import camera_limits
from afterview.memory.reading.tiers import Tiers
from afterview.memory.writing.outlook import Outlook, outlooks
from afterview.memory.writing.preview import preview_retention
from afterview.stream.ingest.commands import BY_COMMAND, BY_RECORDER
from afterview.stream.ingest.limits import plan_limits, set_limits, shares, usable


def run(arguments: argparse.Namespace) -> int:
    """Show what new limits would evict, ask, set them, and report what went; then the limits and the forecast."""
    memory = Memory(memory_path(arguments.memory))
    values = _given(arguments)
    found = memory.each(usable, arguments.camera)
    readers = list(found.results.values())
    others = memory.each(usable).results.values()
    if values.get("coarse_days"):
        for reader in readers:
            _require_downsampling(reader)
    applied: dict[str, dict[str, Any]] = {}
    if values:
        affected = list(others) if shares(memory.held.path, values) else readers
        planned = plan_limits(memory.held.path, affected, readers if arguments.camera else [], values)
        previews = {
            reader.info.id: preview_retention(reader, limits, settings.keep) for reader, settings, limits in planned
        }
        lines = [
            line
            for reader, _, limits in planned
            for line in [
                *describe_preview(previews[reader.info.id], "evicted"),
                *describe_limits(reader.info, limits),
            ]
        ]
        if arguments.dry_run:
            shown = EachCamera(previews, found.skipped)
            return show_previews(arguments, shown, lines, [limits for _, _, limits in planned])
        if any(preview.frames for preview in previews.values()):
            confirm(lines, arguments)
        require_in_place(memory.held.path)
        applied, failed = set_limits(memory.held.path, readers, affected, values, own=bool(arguments.camera))
        left = {name: reader for name, reader in found.results.items() if name not in failed}
        found = EachCamera(left, {**found.skipped, **failed})
    elif arguments.dry_run:
        raise UsageError("--dry-run: of what? give --days, --gb, --coarse-days or --forever")
    _report(arguments, memory, found, applied, outlooks(list(others)))
    return ExitStatus.FAILURE if found.skipped else ExitStatus.OK  # a limit that one camera lacks is no success


def _report(
    arguments: argparse.Namespace,
    memory: Memory,
    found: EachCamera[CameraReader],
    applied: dict[str, dict[str, Any]],
    expected: Mapping[str, Outlook],
) -> None:
    """The limits, what went by them, and the forecast."""
    readers = list(found.results.values())
    shown = readers + [reader for reader in map(memory.camera, applied) if reader not in readers]
    documents = [_document(reader, applied.get(reader.info.id, {}), expected[reader.info.id]) for reader in shown]
    if arguments.json:
        document = {"cameras": documents, "skipped": found.skipped}
        dump(document, arguments.memory, [reader.info for reader in shown])
        return
    for reader, document in zip(shown, documents, strict=True):
        _print(document, reader)
    print_skipped(found.skipped, "left out, and unchanged")


def _given(arguments: argparse.Namespace) -> dict[str, float | None]:
    """The limits that the options change, by the names of the settings. Raises UsageError."""
    given = {"days": arguments.days, "gigabytes": arguments.gb, "coarse_days": arguments.coarse_days}
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        option = {"days": "--days", "gigabytes": "--gb", "coarse_days": "--coarse-days"}[name]
        if arguments.forever:
            raise UsageError(f"--forever removes all limits; leave out {option}, or leave out --forever")
        if not 0 < value < math.inf:
            raise UsageError(f"{option} {value:g}: must be above 0; use --forever to remove all limits")
    return {"days": None, "gigabytes": None, "coarse_days": None} if arguments.forever else given


def _require_downsampling(reader: CameraReader) -> None:
    """Raise UsageError for a camera whose frames cannot be downsampled."""
    if not can_downsample(reader.spec.tokens):
        raise UsageError(f"camera '{reader.info.id}': {why_not(reader.spec.tokens)}; leave out --coarse-days")


def _document(reader: CameraReader, applied: dict[str, Any], outlook: Outlook) -> dict[str, Any]:
    limits = camera_limits(reader.held.path, read_settings(reader.held.path))
    return {
        "camera": reader.info.id,
        **applied,
        "limits": limits.to_dict(),
        "grace_s": None if limits.seconds is None else outlook.grace_s,
        "coarse_frames": Tiers.of(reader.held.path, reader.snapshot()).downsampled,
        "forecast": outlook.to_dict(),
    }


def _print(document: dict[str, Any], reader: CameraReader) -> None:
    limits, outlook = document["limits"], document["forecast"]
    said = [
        f"{limits['days']:g} days" if limits["days"] else "",
        f"{limits['gigabytes']:.3g} GB" if limits["gigabytes"] else "",
    ]
    print(f"{document['camera']}: limits: {' and '.join(filter(None, said)) or 'none'}")
    for line in describe_limits(reader.info, camera_limits(reader.held.path, read_settings(reader.held.path))):
        print(line)
    by = {BY_RECORDER: " (by the recording process)", BY_COMMAND: ""}.get(document.get("by", BY_COMMAND), "")
    for line in describe_evicted(document.get("evicted", {}), reader.info, by):
        print(line)
    if limits["coarse_days"] or document["coarse_frames"]:
        more = f"after {limits['coarse_days']:g} days" if limits["coarse_days"] else "is off"
        print(f"  {document['coarse_frames']} frames downsampled to a quarter of their tokens; downsampling {more}")
    if document.get("coarse_waits"):
        print(f"  not all that are due: {document['coarse_waits']}")
    rate = f"{spell_bytes(outlook['bytes'])} now, {spell_bytes(outlook['bytes_per_day'])} a day while it is recorded"
    print(f"  {rate}; {_full(outlook)}")


def _full(outlook: dict[str, Any]) -> str:
    """When there is no more room, and who uses it up."""
    limit, disk = outlook["limit_in_s"], outlook["disk_full_in_s"]
    if limit == 0:
        return "it is at its limit: only whole chunks of frames that are not kept can be deleted"
    if limit is not None and (disk is None or limit <= disk):
        return f"its limit is reached in {spell_duration(limit)} at this rate"
    if disk is None:
        return "the limit is not reached at this rate"
    names = outlook["disk_cameras"]
    if len(names) == 1:
        how = "which is recorded now" if outlook["recorded_now"] else "as if it were recorded now"
        return f"the disk is full in {spell_duration(disk)} at the rate of {count_cameras(names)} ({how})"
    how = "those that are recorded now" if outlook["recorded_now"] else "none is recorded now: as if all were"
    return f"the disk is full in {spell_duration(disk)} at the rate of {count_cameras(names)} together ({how})"
