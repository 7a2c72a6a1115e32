"""Checking a camera's journal."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from afterview.memory.base.errors import DamagedMemory
from afterview.memory.format.feature_spec_file import read_spec
from afterview.memory.format.journal import read_journal, scan
from afterview.memory.format.layout import journal_name
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.unsealed import Unsealed, restore
from afterview.memory.fsck.findings import Finding
from afterview.memory.fsck.repair_journal import repair_journal


def check_journal(camera: Path, manifest: Manifest) -> Iterator[Finding]:
    """Every record up to the durable end of the journal exists, is whole, and follows the one before it."""
    path, fix = camera / journal_name(manifest.generation), partial(repair_journal, camera)
    try:
        found = scan(read_journal(path), where=str(path))
        unsealed = restore(
            found.records, read_spec(camera, manifest.generation), sealed=manifest.frames, sealed_gaps_before=-1
        )
    except (DamagedMemory, ValueError, LookupError) as error:
        yield Finding(path, str(error).removeprefix(f"{path}: ").partition(";")[0], fix=fix)
        return
    for damage in found.damage:
        yield Finding(path, damage, _lost(unsealed), fix=fix)
    if _lost(unsealed) and not found.damage:
        yield Finding(path, "frames are missing between its records", _lost(unsealed), fix=fix)
    if found.torn:
        what = f"{found.torn} bytes at its end are an unfinished write, which the next writer cuts off"
        yield Finding(path, what, severity="note", fix=fix)


def _lost(unsealed: Unsealed) -> tuple[int, int] | None:
    lost = [unsealed.first + row for row, frame in enumerate(unsealed.frames) if np.isnan(frame.time)]
    return (lost[0], lost[-1] + 1) if lost else None
