"""Deletions as text for people: what would go, and what went."""

import argparse
from collections.abc import Sequence
from typing import Any

from afterview.cli.output.documents import dump, print_skipped
from afterview.configs import ExitStatus
from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.counts import counted, were
from afterview.memory.base.typed_times import spell_duration
from afterview.memory.directory import EachCamera
from afterview.memory.plans.retention import Limits, grace_seconds
from afterview.memory.writing.preview import Preview

_MOST_RANGES = 5  # listed; --json has all
_MOST_NAMES = 4


def describe_preview(preview: Preview, verb: str) -> list[str]:
    """What would go of one camera, and what would stay. verb: "forgotten" or "evicted"."""
    info = preview.info
    lost = (
        [f"  and what is left of {counted(preview.lost, 'frame')} that {were(preview.lost)} lost to damage"]
        if preview.lost
        else []
    )
    if not preview.frames:
        return [
            f"{info.id}: no frame would be {verb} now; {counted(preview.stays, 'frame')} stay{'s' * (preview.stays == 1)}",
            *lost,
        ]
    lines = [
        f"{info.id}: {counted(preview.frames, 'frame')} would be {verb} now, about {preview.bytes / 1e6:.1f} MB; "
        f"{counted(preview.stays, 'frame')} stay{'s' * (preview.stays == 1)}"
    ]
    lines += [
        f"  {info.show(start)} to {info.show(end)}: {counted(frames, 'frame')}"
        for start, end, frames in preview.ranges[:_MOST_RANGES]
    ]
    if len(preview.ranges) > _MOST_RANGES:
        lines.append(f"  and {len(preview.ranges) - _MOST_RANGES} more spans; --json lists all")
    if preview.of_clips:
        lines.append(
            f"  {preview.of_clips} of them lie outside the span: they were merged with frames of it, and show them"
        )
    return [*lines, *lost]


def describe_limits(info: CameraInfo, limits: Limits) -> list[str]:
    """What these limits will delete from now on."""
    lines = []
    if limits.seconds is not None:
        grace, days = spell_duration(grace_seconds(info.fps)), limits.seconds / 86_400
        age = f"{days:g} day{'' if days == 1 else 's'}" if days >= 1 else spell_duration(limits.seconds)
        lines.append(
            f"  from now on frames are deleted once they are {age} older than the newest one, in whole "
            f"chunks of frames: some stay up to {grace} of recording longer"
        )
    if limits.bytes is not None:
        lines.append(f"  from now on the oldest frames are deleted beyond {limits.bytes / 1e9:.3g} GB")
    return lines


def describe_evicted(evicted: dict[str, Any], info: CameraInfo, by: str) -> list[str]:
    """What an eviction took. evicted: as the writer reports it."""
    if not evicted.get("frames"):
        return []
    span = f"{info.show(evicted['start'])} to {info.show(evicted['end'])}"
    return [f"  evicted: {counted(evicted['frames'], 'frame')}, {span}, {evicted['bytes'] / 1e6:.1f} MB freed{by}"]


def show_previews(
    arguments: argparse.Namespace, found: EachCamera[Preview], lines: Sequence[str], limits: Sequence[Limits] = ()
) -> int:
    """What --dry-run prints. limits: that would be set, for each camera."""
    previews = list(found.results.values())
    if arguments.json:
        documents = [preview.to_dict() for preview in previews]
        for document, limit in zip(documents, limits, strict=False):
            document["limits"] = limit.to_dict()
        whole = {"dry_run": True, "cameras": documents, "skipped": found.skipped}
        dump(whole, arguments.memory, [preview.info for preview in previews])
    else:
        print("\n".join([*lines, "nothing was changed (--dry-run)"]))
        print_skipped(found.skipped, "left out")
    return ExitStatus.FAILURE if found.skipped else ExitStatus.OK


def count_cameras(names: Sequence[str]) -> str:
    """For people: 'yard', 'door' and 7 more."""
    shown = ", ".join(f"'{name}'" for name in names[:_MOST_NAMES])
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"
