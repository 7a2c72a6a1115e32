"""Repairing one camera's journal. Every sound record stays. Lost frames keep their places: no id is used twice."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from afterview.memory.base.camera import read_camera
from afterview.memory.base.durable import write_file
from afterview.memory.base.errors import DamagedMemory
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.feature_spec_file import read_spec
from afterview.memory.format.journal import Record, encode_file, read_journal, scan
from afterview.memory.format.layout import journal_name
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.sealed import SealedFrames
from afterview.memory.format.unsealed import Unsealed, blank_frame, restore
from afterview.memory.plans.removal import Removal, add, runs

_CLOSE_S = 1 / 1024  # between lost frames whose times are unknown


def repair_journal(camera: Path) -> str:
    """Give blank places to frames that are lost between sound records; if the file itself is lost, to a whole seal.

    Call with the camera's lock held.
    """
    manifest = Manifest.read(camera)
    spec = read_spec(camera, manifest.generation)
    records = sound_records(camera, manifest.generation)
    unsealed = restore(records or (), spec, sealed=manifest.frames, sealed_gaps_before=-1)
    newest = _newest_sealed(camera, manifest)
    if records is None:
        step = min(1 / read_camera(camera).fps, max(_CLOSE_S, (time.time() - newest) / (SEAL_FRAMES + 1)))
        times = newest + step * np.arange(1, SEAL_FRAMES + 1)
        unsealed.frames = [blank_frame(spec, time=when) for when in times.tolist()]
        lost = list(range(SEAL_FRAMES))
    else:
        lost = [row for row, frame in enumerate(unsealed.frames) if np.isnan(frame.time)]
        times = _fill_in(unsealed, lost, newest, spec)
    write_file(camera / journal_name(manifest.generation), encode_file(unsealed.entries()))
    now = time.time()
    first = unsealed.first
    new = [
        Removal(first + low, first + end, float(times[low]), float(times[end - 1]), "damaged", now, erased=True)
        for low, end in runs(np.array(lost, dtype=np.int64))
    ]
    if new:
        replace(manifest, removed=add(manifest.removed, new)).write(camera)
    if records is None:
        return f"replaced: its frames are lost, usually at most {SEAL_FRAMES}, and as many places are recorded as lost"
    return f"{len(unsealed.frames) - len(lost)} frames kept, {len(lost)} lost"


def sound_records(camera: Path, generation: int) -> Sequence[Record] | None:
    """The sound records of a journal; None if the file is missing or not a journal."""
    path = camera / journal_name(generation)
    try:
        return scan(read_journal(path), where=str(path)).records
    except DamagedMemory:
        return None


def _fill_in(unsealed: Unsealed, lost: Sequence[int], newest: float, spec: FeatureSpec) -> np.ndarray:
    """Give lost places a time between their neighbours', and no content; returns all times."""
    times = np.array([frame.time for frame in unsealed.frames])
    for row in lost:
        before = times[row - 1] if row else newest
        later = times[row + 1 :][np.isfinite(times[row + 1 :])]
        times[row] = before + (float(later[0]) - before) / 1024 if len(later) else before + _CLOSE_S
        unsealed.frames[row] = blank_frame(spec, time=float(times[row]))
    return times


def _newest_sealed(camera: Path, manifest: Manifest) -> float:
    """The newest known time of a sealed frame, or the camera's creation time."""
    times = SealedFrames(camera, manifest.generation).scalars("times", 0, manifest.frames)
    known = [float(when) for when in times[np.isfinite(times)][-1:]] + [gone.stop for gone in manifest.removed[-1:]]
    return max(known, default=read_camera(camera).created)
