"""Ranges of frame ids that a memory no longer holds, and why: evicted, forgotten, or lost to damage. Pure.

A range is never dropped, so that "no longer remembered" is not mistaken for "not seen". It keeps the times of its first and last frame and
nothing of their content. Loads NumPy only to compute: answers name removals, too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from afterview.memory.base.counts import counted, were
from afterview.memory.base.records import SEAL_FRAMES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from afterview.memory.base.camera import CameraInfo

RemovalReason = Literal["evicted", "forgotten", "damaged"]
Limit = Literal["days", "gigabytes"]


@dataclass(frozen=True)
class Removal:
    """Frames [first, end) were removed. start, stop: times of the first and the last frame. at: when they were removed.

    erased: the removal is complete. Before, their bytes may still be on the disk, and the next writer of the camera completes the removal.
    (Frames lost to damage are marked as erased, but what is left of them stays until they are forgotten or evicted.)
    """

    first: int
    end: int
    start: float
    stop: float
    reason: RemovalReason
    at: float
    erased: bool = False
    limit: Limit | None = (
        None  # that the newest evicted frames of the range exceeded; None: not evicted, or by an earlier version
    )

    @property
    def frames(self) -> int:
        """Number of removed frames."""
        return self.end - self.first

    def to_json(self) -> dict[str, Any]:
        """As the manifest keeps it on disk."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Removal":
        """What `to_json` made. Raises TypeError for anything else."""
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """As JSON for people and programs."""
        return {
            "start": self.start,
            "end": self.stop,
            "frames": self.frames,
            "first_frame": self.first,
            "reason": self.reason,
            "removed_at": self.at,
            **({"limit": self.limit} if self.limit else {}),
        }


def present(frames: int, removals: Sequence[Removal], *, first: int = 0) -> "NDArray[np.int64]":
    """Ids in [first, frames) that no removal covers, ascending: int64."""
    import numpy as np

    if not removals:
        return np.arange(first, frames, dtype=np.int64)
    kept = np.ones(max(0, frames - first), dtype=bool)
    for removal in removals:
        kept[max(0, removal.first - first) : max(0, removal.end - first)] = False
    return first + np.flatnonzero(kept).astype(np.int64)


def evicted_before(removals: Sequence[Removal]) -> int:
    """The end of a removal that begins with the first frame, as retention leaves it: no id below this is remembered."""
    return removals[0].end if removals and removals[0].first == 0 else 0


def runs(ids: "NDArray[np.int64]") -> list[tuple[int, int]]:
    """Ascending ids as half-open ranges: [3, 4, 5, 9] -> [(3, 6), (9, 10)]."""
    import numpy as np

    if not len(ids):
        return []
    breaks = np.flatnonzero(np.diff(ids) != 1) + 1
    return [(int(run[0]), int(run[-1]) + 1) for run in np.split(ids, breaks)]


def add(removals: Iterable[Removal], new: Iterable[Removal]) -> tuple[Removal, ...]:
    """All removals, by frame. Neighbours that were evicted one after the other become one range, so that the list stays short."""
    ordered = sorted([*removals, *new], key=lambda removal: removal.first)
    merged: list[Removal] = []
    for removal in ordered:
        last = merged[-1] if merged else None
        if (
            last
            and last.end == removal.first
            and last.reason == removal.reason == "evicted"
            and last.erased == removal.erased
        ):
            newer = max(last, removal, key=lambda gone: gone.at)
            merged[-1] = replace(last, end=removal.end, stop=removal.stop, at=newer.at, limit=newer.limit)
        else:
            merged.append(removal)
    return tuple(merged)


def touching(removals: Sequence[Removal], start: float, end: float) -> tuple[Removal, ...]:
    """The removals that overlap the span [start, end]."""
    return tuple(removal for removal in removals if removal.start <= end and removal.stop >= start)


def forgotten_frames(removed: Sequence[Removal]) -> list[list[int]]:
    """Ranges of frames that were forgotten on request."""
    return [[gone.first, gone.end] for gone in removed if gone.reason == "forgotten"]


def cuts(removal: Removal, removed: Sequence[Removal]) -> bool:
    """Whether a removal may share a seal with frames that stay. Eviction takes whole seals, except those that span an interruption."""
    first, end = removal.first // SEAL_FRAMES * SEAL_FRAMES, -(-removal.end // SEAL_FRAMES) * SEAL_FRAMES
    return removal.reason == "forgotten" or not covered_frames(removed, end)[first:].all()


def covered_frames(removed: Sequence[Removal], frames: int) -> "NDArray[np.bool_]":
    """Which of the frames below `frames` are removed: bool [frames]."""
    import numpy as np

    covered = np.zeros(frames, dtype=bool)
    for gone in removed:
        covered[gone.first : gone.end] = True
    return covered


def describe_removal(gone: Removal, info: "CameraInfo") -> str:
    """What is no longer remembered and why, for people."""
    why = {
        "evicted": "evicted by its retention",
        "forgotten": "forgotten on request",
        "damaged": "lost to damage on the disk",
    }[gone.reason]
    return (
        f"{info.show(gone.start)} to {info.show(gone.stop)} is no longer remembered: "
        f"{counted(gone.frames, 'frame')} {were(gone.frames)} {why} on {info.show(gone.at)}"
    )
