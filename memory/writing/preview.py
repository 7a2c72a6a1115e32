"""What a deletion would take and leave, before it happens. Reads a snapshot: needs no lock, and works beside a writer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.upload_state import remote_bytes
from afterview.memory.plans.clip_marks import with_whole_clips
from afterview.memory.plans.downsampling import can_downsample
from afterview.memory.plans.removal import runs, touching
from afterview.memory.plans.retention import Limits, plan_evictions
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.memory.writing.disk_reserve import fixed_bytes
from afterview.memory.writing.downsample import due


@dataclass(frozen=True)
class Preview:
    """What would be deleted of one camera: `frames` in `ranges` (start, end, frames), about `bytes`; `stays`: frames that are left.

    downsampled: frames that would keep a quarter of their tokens. lost: frames in the span that were lost to damage before; what is left of
    them goes, too. of_clips: those of the frames that lie outside the span, in clips whose merged tokens show what must go.
    """

    info: CameraInfo
    frames: int
    ranges: tuple[tuple[float, float, int], ...]
    bytes: int
    stays: int
    downsampled: int = 0
    lost: int = 0
    of_clips: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON for people and programs."""
        ranges = [{"start": start, "end": end, "frames": frames} for start, end, frames in self.ranges]
        start, end = (self.ranges[0][0], self.ranges[-1][1]) if ranges else (None, None)
        whole = {"start": start, "end": end}
        would = {"frames": self.frames, **whole, "bytes": self.bytes, "ranges": ranges}
        would |= {"lost_frames": self.lost, "of_clips": self.of_clips}
        return {
            "camera": self.info.id,
            "would_delete": would,
            "would_downsample": self.downsampled,
            "stays": {"frames": self.stays},
        }


def preview_forget(reader: CameraReader, start: float, stop: float) -> Preview:
    """What `forget` would delete. Frames whose time cannot be read count as lost if their neighbours are in the span."""
    snapshot = reader.snapshot()
    chosen = (snapshot.times >= start) & (snapshot.times <= stop)
    gone = chosen
    if snapshot.spec.tokens.clip_marks and len(chosen):
        gone = with_whole_clips(chosen, snapshot.ids, snapshot.clip_marks(snapshot.ids))
    preview = replace(_preview(reader, snapshot, gone), of_clips=int(np.count_nonzero(gone & ~chosen)))
    lost = sum(gone.frames for gone in touching(snapshot.removed, start, stop) if gone.reason == "damaged")
    inside = snapshot.ids[chosen]
    if len(inside):
        lost += int(((snapshot.damaged > inside[0]) & (snapshot.damaged < inside[-1])).sum())
    return replace(preview, lost=lost)


def preview_retention(reader: CameraReader, limits: Limits, keep: Sequence[tuple[float, float]]) -> Preview:
    """What these limits would evict and downsample now."""
    snapshot, manifest = reader.snapshot(), Manifest.read(reader.directory)
    frames = max(snapshot.end, manifest.frames)
    times, held = np.full(frames, np.nan), np.zeros(frames, dtype=bool)
    times[snapshot.ids], held[snapshot.ids] = snapshot.times, True
    if manifest.frames:  # frames that were evicted keep their times, and the newest seal says what is old
        times[: manifest.frames] = np.where(held, times, np.nan)[: manifest.frames]
    evictions = plan_evictions(
        times, held, sealed=manifest.frames, limits=limits, used=_used(reader), keep=keep, fps=reader.info.fps
    )
    gone = np.zeros(frames, dtype=bool)
    for eviction in evictions:
        for first, end in eviction.ranges:
            gone[first:end] = True
    preview = _preview(reader, snapshot, gone[snapshot.ids])
    if limits.downsample_seconds is None or not can_downsample(snapshot.spec.tokens):
        return preview
    seals = due(manifest, times[: manifest.frames], limits.downsample_seconds, keep)
    ids = snapshot.ids[np.isin(snapshot.ids // SEAL_FRAMES, [first // SEAL_FRAMES for first in seals])]
    return replace(preview, downsampled=len(ids))


def _used(reader: CameraReader) -> int:
    return reader.bytes_on_disk() + remote_bytes(reader.directory)


def _preview(reader: CameraReader, snapshot: MemorySnapshot, gone: NDArray[np.bool_]) -> Preview:
    """gone: which of the snapshot's frames, bool [frames]. Bytes: their share of all."""
    rows = np.flatnonzero(gone)
    ranges = tuple(
        (float(snapshot.times[first]), float(snapshot.times[end - 1]), end - first) for first, end in runs(rows)
    )
    each = (_used(reader) - fixed_bytes(reader.directory)) / snapshot.frames if snapshot.frames else 0.0
    return Preview(reader.info, len(rows), ranges, round(each * len(rows)), snapshot.frames - len(rows))
