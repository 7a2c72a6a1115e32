"""What one answer may see of one camera."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.held_directory import HeldDirectory
from afterview.memory.base.records import PICTURE_DAMAGED, FrameRecord, Gap, TimeBasis
from afterview.memory.format.sealed import SealedFrames
from afterview.memory.plans.clip_marks import LOOSE
from afterview.memory.plans.removal import Removal

_FIELDS = {"times": "time", "arrival_times": "arrival_time", "source_times": "source_time", "time_basis": "basis_code"}


@dataclass(frozen=True)
class MemorySnapshot:
    """What one answer may see of one camera; later appends never change it.

    times: float64 [frames], canonical; ids: int64 [frames], the frame ids. Both strictly ascending; row and id differ once frames have
    been removed. removed: ranges that are no longer remembered. damaged: ids that are left out because they cannot be read.
    unreachable: ids that are left out because they cannot be read now (their store does not answer, or the system refuses), and
    unreachable_why. gaps: those before any of these frames. open_gap: the
    outage that lasts at the newest frame, if there is one.
    Every method that reads frames takes ascending ids and raises DamagedFrames, which names the unreadable ones, or UnreachableFrames,
    which names those on a store that does not answer.
    """

    info: CameraInfo
    spec: FeatureSpec
    generation: int
    times: NDArray[np.float64]
    ids: NDArray[np.int64]
    removed: tuple[Removal, ...]
    damaged: NDArray[np.int64]
    gaps: tuple[Gap, ...]
    open_gap: Gap | None
    _sealed: SealedFrames
    _sealed_frames: int
    _unsealed: tuple[FrameRecord, ...]
    unreachable: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    unreachable_why: str = ""

    @property
    def held(self) -> HeldDirectory | None:
        """The directory that it was taken from."""
        return self._sealed.held

    @property
    def frames(self) -> int:
        """Number of remembered frames."""
        return len(self.ids)

    @property
    def sealed_frames(self) -> int:
        """Frames with smaller ids are sealed, the others in the journal."""
        return self._sealed_frames

    @property
    def end(self) -> int:
        """One more than the newest frame's id; 0 without frames."""
        return int(self.ids[-1]) + 1 if len(self.ids) else 0

    def time_of(self, frame: int) -> float:
        """Canonical time of a frame."""
        return float(self.times[np.searchsorted(self.ids, frame)])

    def as_of(self, at: float) -> "MemorySnapshot":
        """The snapshot that would have been taken at time `at`: frames with time <= at, strictly."""
        count = int(np.searchsorted(self.times, at, side="right"))
        end = int(self.ids[count - 1]) + 1 if count else 0
        gaps = tuple(gap for gap in self.gaps if gap.before_frame < end)
        later = next((gap for gap in self.gaps if gap.before_frame >= end), self.open_gap)
        lasting = Gap(later.start, math.nan, later.reason, -1) if later and later.start <= at and count else None
        return replace(
            self, times=self.times[:count], ids=self.ids[:count], gaps=gaps, open_gap=lasting,
            damaged=self.damaged[self.damaged < end], unreachable=self.unreachable[self.unreachable < end],
            removed=tuple(gone for gone in self.removed if gone.start <= at),
        )  # fmt: skip

    def without(self, frames: NDArray[np.int64]) -> "MemorySnapshot":
        """A copy without frames that turned out to be damaged."""
        keep = ~np.isin(self.ids, frames)
        damaged = np.union1d(self.damaged, self.ids[~keep])
        return replace(self, times=self.times[keep], ids=self.ids[keep], damaged=damaged)

    def within_reach(self, frames: NDArray[np.int64], why: str = "") -> "MemorySnapshot":
        """A copy without these sealed frames, which cannot be read now. Frames in the journal always can."""
        keep = ~np.isin(self.ids, frames[frames < self._sealed_frames])
        unreachable = np.union1d(self.unreachable, self.ids[~keep])
        return replace(
            self,
            times=self.times[keep],
            ids=self.ids[keep],
            unreachable=unreachable,
            unreachable_why=why or self.unreachable_why,
        )

    def tokens(self, ids: NDArray[np.int64]) -> NDArray[np.floating]:
        """[len(ids), P, Dv], in the spec's dtype, whatever the storage."""
        early, late = self._split(ids)
        parts = [self._sealed.tokens(early)] if len(early) else []
        parts += [np.stack([frame.tokens for frame in late])] if late else []
        spec = self.spec.tokens
        return _joined(parts, np.empty((0, spec.tokens_per_frame, spec.width), dtype=spec.dtype))

    def stored_tokens(self, ids: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Tokens as they are stored, by array: tokens, and scales for int8."""
        early, late = self._split(ids)
        parts = [self._sealed.stored(early)] if len(early) or not late else []
        parts += [{name: np.stack([frame.stored[name] for frame in late]) for name in late[0].stored}] if late else []
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def mean_tokens(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Each frame's mean token, float64 [len(ids), Dv], for keyframe forgetting. Reads 256 frames at a time."""
        pieces = np.split(ids, range(256, len(ids), 256))
        means = [self.tokens(part).mean(axis=1, dtype=np.float64) for part in pieces if len(part)]
        return _joined(means, np.empty((0, self.spec.tokens.width)))

    def embeddings(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [len(ids), De], unit norm."""
        early, late = self._split(ids)
        parts = [self._sealed.embeddings(early)] if len(early) else []
        parts += [np.stack([frame.embedding for frame in late])] if late else []
        return _joined(parts, np.empty((0, self.spec.index.width), dtype=np.float32))

    def clip_marks(self, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Place of each of these frames in its clip (memory.plans.clip_marks), uint8 [len(ids)]; of a spec with clip_marks."""
        early, late = self._split(ids)
        parts = [self._sealed.clip_marks(early)] if len(early) else []
        parts += [np.array([frame.clip or LOOSE for frame in late], dtype=np.uint8)] if late else []
        return _joined(parts, np.empty(0, dtype=np.uint8))

    def image(self, frame: int) -> bytes:
        """The stored JPEG of a frame."""
        return next(self.images(np.array([frame])))

    def images(self, ids: NDArray[np.int64]) -> Iterator[bytes]:
        """The stored JPEG of each of these frames, ascending. Raises DamagedFrames, UnreachableFrames."""
        early, late = self._split(ids)
        yield from self._sealed.images(early.tolist())
        yield from (frame.image for frame in late)

    def scalars(self, name: str, ids: NDArray[np.int64]) -> NDArray[Any]:
        """`times`, `arrival_times`, `source_times` or `time_basis` of frames; NaN (or 0) for unreadable ones."""
        rows = self._stored_scalars(name, ids)
        return rows & (PICTURE_DAMAGED - 1) if name == "time_basis" else rows

    def pictures_damaged(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these frames have a damaged picture."""
        return self._stored_scalars("time_basis", ids).astype(np.int64) & PICTURE_DAMAGED != 0

    def picture_damaged(self, frame: int) -> bool:
        """The same of one frame."""
        return bool(self.pictures_damaged(np.array([frame]))[0])

    def _stored_scalars(self, name: str, ids: NDArray[np.int64]) -> NDArray[Any]:
        early, late = self._split(ids)
        parts = []
        if len(early):
            first = int(early[0])
            parts.append(self._sealed.scalars(name, first, int(early[-1]) + 1)[early - first])
        parts.append(np.array([getattr(frame, _FIELDS[name]) for frame in late]))
        found = np.concatenate(parts)
        return found.astype(np.uint8) if name == "time_basis" else found

    def time_bases(self, ids: NDArray[np.int64]) -> dict[str, int]:
        """How many frames have their canonical time from each clock: {"source": 3580, "arrival": 20}."""
        counts = np.bincount(self.scalars("time_basis", ids).astype(np.int64), minlength=len(TimeBasis))
        return {basis.name.lower(): int(counts[basis]) for basis in TimeBasis if counts[basis]}

    def _split(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[FrameRecord]]:
        """The sealed ids, and the records of the unsealed ones. Raises IndexError for a frame that is not in this snapshot."""
        places = np.searchsorted(self.ids, ids)
        if len(ids) and (places[-1] >= len(self.ids) or (self.ids[places] != ids).any()):
            raise IndexError(
                f"frames {ids[0]} .. {ids[-1]} asked of a snapshot that holds {self.frames} up to {self.end - 1}"
            )
        split = int(np.searchsorted(ids, self._sealed_frames))
        late = [self._unsealed[frame - self._sealed_frames] for frame in ids[split:]]
        return ids[:split], late


def _joined(parts: list[NDArray[Any]], nothing: NDArray[Any]) -> NDArray[Any]:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else nothing
