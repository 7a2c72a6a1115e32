"""The reading side: any number of processes, beside one writer or none. Readers take no lock and never block the writer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs import ConfigError, load_mapping
from memory.camera import CameraInfo, read_camera
from memory.chunks import SealedFrames
from memory.commit import Commit, read_json
from memory.errors import DamagedMemory, FormatMismatch
from memory.journal import scan
from memory.pending import Pending, restore
from memory.records import FrameRecord, Gap
from memory.spec import FeatureSpec

_ATTEMPTS = 20  # a seal can renew the journal between two reads; a writer seals at most a few times a second


def read_spec(directory: Path, generation: int) -> FeatureSpec:
    """The spec of one generation of a camera."""
    path = directory / f"generation-{generation}" / "spec.json"
    values = read_json(path, missing=f"{path}: missing; the memory is damaged")
    try:
        return load_mapping(values, FeatureSpec, source=str(path))
    except ConfigError as error:
        raise FormatMismatch(f"{error}; the memory was written by another version of afterimage") from None


@dataclass(frozen=True)
class MemorySnapshot:
    """What one answer may see of one camera; later appends never change it.

    times: float64 [frames], canonical, of frames 0 .. frames-1. gaps: those before any of these frames.
    open_gap: the outage that lasts at the newest frame, if there is one.
    """

    info: CameraInfo
    spec: FeatureSpec
    generation: int
    times: NDArray[np.float64]
    gaps: tuple[Gap, ...]
    open_gap: Gap | None
    _sealed: SealedFrames
    _sealed_frames: int
    _pending: tuple[FrameRecord, ...]

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.times)

    def as_of(self, at: float) -> "MemorySnapshot":
        """The snapshot that would have been taken at time `at`: frames with time <= at, strictly."""
        count = int(np.searchsorted(self.times, at, side="right"))
        gaps = tuple(gap for gap in self.gaps if gap.before_frame < count)
        later = next((gap for gap in self.gaps if gap.before_frame == count), self.open_gap)
        lasting = Gap(later.start, math.nan, later.reason, -1) if later and later.start <= at and count else None
        keep = max(0, count - self._sealed_frames)
        return MemorySnapshot(
            self.info, self.spec, self.generation, self.times[:count], gaps, lasting,
            self._sealed, min(self._sealed_frames, count), self._pending[:keep],
        )  # fmt: skip

    def tokens(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        """[len(ids), P, Dv], in the spec's dtype, of ascending frame ids."""
        self._require(ids)
        split = int(np.searchsorted(ids, self._sealed_frames))
        late = [self._pending[frame - self._sealed_frames].tokens for frame in ids[split:]]
        if split == 0:
            shape = (0, self.spec.tokens.tokens_per_frame, self.spec.tokens.width)
            return np.stack(late) if late else np.empty(shape, dtype=self.spec.tokens.dtype)
        early = self._sealed.tokens(ids[:split])
        return np.concatenate([early, np.stack(late)]) if late else early

    def mean_tokens(self, first: int, end: int) -> NDArray[np.float64]:
        """Each frame's mean token, float64 [end - first, Dv]: what keyframe forgetting compares. Reads them piece by piece."""
        pieces = [np.arange(start, min(start + 256, end)) for start in range(first, end, 256)]
        means = [self.tokens(ids).mean(axis=1, dtype=np.float64) for ids in pieces]
        return np.concatenate(means) if means else np.empty((0, self.spec.tokens.width))

    def embeddings(self, first: int, end: int) -> NDArray[np.float32]:
        """float32 [end - first, De], unit norm, of frames [first, end)."""
        split = min(max(first, self._sealed_frames), end)
        parts = [self._sealed.embeddings(first, split)] if first < split else []
        late = self._pending[split - self._sealed_frames : end - self._sealed_frames] if end > split else ()
        parts += [np.stack([frame.embedding for frame in late])] if late else []
        return np.concatenate(parts) if parts else np.empty((0, self.spec.index.width), dtype=np.float32)

    def image(self, frame: int) -> bytes:
        """The stored JPEG of a frame."""
        self._require(np.array([frame]))
        if frame >= self._sealed_frames:
            return self._pending[frame - self._sealed_frames].image
        return self._sealed.image(frame)

    def scalars(self, name: str, first: int, end: int) -> NDArray[Any]:
        """`times`, `arrival_times`, `source_times` or `time_basis` of frames [first, end)."""
        split = min(max(first, self._sealed_frames), end)
        field = {"times": "time", "arrival_times": "arrival_time", "source_times": "source_time"}.get(name, name)
        late = self._pending[split - self._sealed_frames : end - self._sealed_frames] if end > split else ()
        early = self._sealed.scalars(name, first, split) if first < split else np.empty(0)
        return np.concatenate([early, [getattr(frame, field) for frame in late]])

    def _require(self, ids: NDArray[np.int64]) -> None:
        if len(ids) and not (ids[0] >= 0 and ids[-1] < self.frames):
            raise IndexError(f"frames {ids[0]} .. {ids[-1]} asked of a snapshot of {self.frames} frames")


class CameraReader:
    """Takes snapshots of one camera. Keeps the times of sealed frames, so that a later snapshot reads only what is new."""

    def __init__(self, directory: Path) -> None:
        """Raises MemoryNotFound, FormatMismatch or DamagedMemory."""
        self.directory = directory
        self.info = read_camera(directory)
        self._generation = Commit.read(directory).generation
        self.spec = read_spec(directory, self._generation)
        self._sealed = SealedFrames(directory, self._generation)
        self._times: NDArray[np.float64] = np.empty(0)
        self._gaps: list[Gap] = []

    def snapshot(self) -> MemorySnapshot:
        """Everything committed by now."""
        for _ in range(_ATTEMPTS):
            before = Commit.read(self.directory)
            try:
                self._catch_up(before)
                pending = self._read_pending(before)
            except DamagedMemory:
                if Commit.read(self.directory) == before:
                    raise  # nothing moved meanwhile: it is what it looks like
                continue
            if Commit.read(self.directory) == before:
                return self._build(before, pending)
        raise DamagedMemory(f"{self.directory}: the writer seals faster than it can be read")

    def _catch_up(self, commit: Commit) -> None:
        known = len(self._times)
        if commit.frames > known:
            self._times = np.concatenate([self._times, self._sealed.scalars("times", known, commit.frames)])
        if commit.gaps > len(self._gaps):
            self._gaps = self._sealed.gaps(commit.gaps)

    def _read_pending(self, commit: Commit) -> Pending:
        path = self.directory / "journal"
        records, _ = scan(path.read_bytes() if path.exists() else b"", where=str(path))
        newest = self._gaps[-1].before_frame if self._gaps else -1
        return restore(records, self.spec, sealed=commit.frames, sealed_gaps_before=newest, where=path)

    def _build(self, commit: Commit, pending: Pending) -> MemorySnapshot:
        times = np.concatenate([self._times[: commit.frames], [frame.time for frame in pending.frames]])
        times.flags.writeable = False
        gaps = (*self._gaps[: commit.gaps], *pending.gaps)
        return MemorySnapshot(
            self.info, self.spec, self._generation, times, gaps, pending.open_gap,
            self._sealed, commit.frames, tuple(pending.frames),
        )  # fmt: skip

    def bytes_on_disk(self) -> int:
        """Size of everything under the camera's directory, bytes."""
        return sum(path.stat().st_size for path in self.directory.rglob("*") if path.is_file())


def frames_between(times: NDArray[np.float64], start: float | None, end: float | None) -> tuple[int, int]:
    """The frames [first, end) with start <= time <= end; None leaves a side open."""
    first = 0 if start is None else int(np.searchsorted(times, start, side="left"))
    last = len(times) if end is None else int(np.searchsorted(times, end, side="right"))
    return first, max(first, last)


def gaps_touching(snapshot: MemorySnapshot, start: float, end: float) -> Sequence[Gap]:
    """Gaps of the snapshot that overlap [start, end], the lasting one included."""
    closed = [gap for gap in snapshot.gaps if gap.start < end and gap.end > start]
    lasting = [snapshot.open_gap] if snapshot.open_gap and snapshot.open_gap.start < end else []
    return [*closed, *lasting]
