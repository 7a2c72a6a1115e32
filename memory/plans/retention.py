"""How much of the past is kept. Pure plans; the repository executes them, oldest frames first.

Frames are evicted in whole seals of SEAL_FRAMES, because these are whole files, and the newest sealed frame counts as now. So a frame may
stay longer than its limit says: by at most the time of two seals (`grace_seconds`), because a seal that spans an interruption is cut.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.base.settings import CameraSettings, MemorySettings
from afterview.memory.plans.removal import Limit, runs

DAY = 86400.0  # seconds


@dataclass(frozen=True)
class Limits:
    """Limits of one camera: seconds into the past, bytes on disk, seconds with full tokens; None: no limit."""

    seconds: float | None
    bytes: float | None
    downsample_seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON for people and programs: days and gigabytes (1e9 bytes)."""
        return {
            "days": self.seconds and self.seconds / DAY,
            "gigabytes": self.bytes and self.bytes / 1e9,
            "coarse_days": self.downsample_seconds and self.downsample_seconds / DAY,
        }


@dataclass(frozen=True)
class Growth:
    """How fast a camera grows. ends_in_s: seconds of recording until its own limits hold it at its size; None: never."""

    bytes_per_day: float
    ends_in_s: float | None


@dataclass(frozen=True)
class Forecast:
    """The growth of a camera's memory, in seconds of recording at the present rate; None: never.

    limit_in_s: until its limit in bytes is reached. disk_full_in_s: until the disk is full, with all cameras that share it. full_in_s:
    until the first of them.
    """

    bytes: int
    growth: Growth
    limit_in_s: float | None
    disk_full_in_s: float | None

    @property
    def bytes_per_day(self) -> float:
        """Bytes that a day of recording takes."""
        return self.growth.bytes_per_day

    @property
    def full_in_s(self) -> float | None:
        """Until there is no more room, on the disk or within the limit."""
        known = [seconds for seconds in (self.limit_in_s, self.disk_full_in_s) if seconds is not None]
        return min(known, default=None)

    def to_dict(self) -> dict[str, Any]:
        """As JSON for people and programs."""
        times = {"full_in_s": self.full_in_s, "limit_in_s": self.limit_in_s, "disk_full_in_s": self.disk_full_in_s}
        rounded = {name: None if seconds is None else round(seconds) for name, seconds in times.items()}
        return {"bytes": self.bytes, "bytes_per_day": round(self.bytes_per_day), **rounded}


def limits_of(settings: CameraSettings, shared: MemorySettings, *, sharing: int) -> Limits:
    """A camera's limits: its own, else its part of the memory's. sharing: number of cameras without a limit in gigabytes."""
    days = settings.days if settings.days is not None else shared.days
    gigabytes = settings.gigabytes
    if gigabytes is None and shared.gigabytes is not None:
        gigabytes = shared.gigabytes / max(1, sharing)
    downsampled = settings.coarse_days if settings.coarse_days is not None else shared.coarse_days
    return Limits(
        None if days is None else days * DAY,
        None if gigabytes is None else gigabytes * 1e9,
        None if downsampled is None else downsampled * DAY,
    )


def plan_eviction(
    times: NDArray[np.float64],
    held: NDArray[np.bool_],
    *,
    limits: Limits,
    used: float,
    keep: Sequence[tuple[float, float]],
) -> list[tuple[int, int]]:
    """Ranges of whole seals to evict, oldest first, to meet the limits.

    times [N]: of the sealed frames, N a multiple of SEAL_FRAMES; held [N]: those not removed yet. used: bytes on disk now. Seals that
    overlap a kept span are never evicted, and neither is the newest seal.
    """
    seals = len(times) // SEAL_FRAMES
    if seals < 2 or (limits.seconds is None and limits.bytes is None):
        return []
    by_seal = times[: seals * SEAL_FRAMES].reshape(seals, SEAL_FRAMES)
    alive = held[: seals * SEAL_FRAMES].reshape(seals, SEAL_FRAMES).any(axis=1)
    start, stop = _ends(by_seal)
    per_seal = used / max(1, int(alive.sum()))
    oldest_allowed = -np.inf if limits.seconds is None else float(np.nanmax(stop)) - limits.seconds
    chosen: list[int] = []
    for seal in np.flatnonzero(alive)[:-1].tolist():
        too_old = stop[seal] < oldest_allowed
        too_much = limits.bytes is not None and used > limits.bytes
        if not (too_old or too_much):
            break
        if any(low <= stop[seal] and high >= start[seal] for low, high in keep):
            continue
        chosen.append(seal)
        used -= per_seal
    return _ranges(chosen)


def _too_old(
    times: NDArray[np.float64], held: NDArray[np.bool_], seconds: float, keep: Sequence[tuple[float, float]]
) -> NDArray[np.int64]:
    """Frames that are older than the newest one by more than `seconds`, except those of seals that overlap a kept span."""
    with np.errstate(invalid="ignore"):
        old = np.flatnonzero(held & (times < np.nanmax(times[held]) - seconds))
    for seal in np.unique(old // SEAL_FRAMES).tolist():
        of_seal = times[seal * SEAL_FRAMES : (seal + 1) * SEAL_FRAMES]
        if any(low <= np.nanmax(of_seal) and high >= np.nanmin(of_seal) for low, high in keep):
            old = old[old // SEAL_FRAMES != seal]
    return old


@dataclass(frozen=True)
class Eviction:
    """Ranges of frames [first, end) to evict, ascending, and the limit that they exceed."""

    limit: Limit
    ranges: tuple[tuple[int, int], ...]


def grace_seconds(fps: float) -> float:
    """How much longer than its limit a frame may stay: the time of its own seal, and of frames that are not sealed yet."""
    return 2 * SEAL_FRAMES / fps


def plan_evictions(
    times: NDArray[np.float64],
    held: NDArray[np.bool_],
    *,
    sealed: int,
    limits: Limits,
    used: float,
    keep: Sequence[tuple[float, float]],
    fps: float,
) -> list[Eviction]:
    """Everything to evict to meet the limits: seals, and frames of seals that span an interruption.

    times [N], held [N]: of all frames, also those beyond the `sealed` ones. Seals that overlap a kept span stay whole.
    """
    sealed_times, left = times[:sealed], held.copy()
    found: list[Eviction] = []
    if limits.seconds is not None and left.any():
        by_age = Limits(limits.seconds, None)
        for first, end in plan_eviction(sealed_times, left[:sealed], limits=by_age, used=0, keep=keep):
            left[first:end] = False
        left[_too_old(times, left, limits.seconds + grace_seconds(fps), keep)] = False
        used *= int(left.sum()) / int(held.sum())
        found.append(Eviction("days", tuple(runs(np.flatnonzero(held & ~left)))))
    if limits.bytes is not None:
        by_bytes = Limits(None, limits.bytes)
        seals = plan_eviction(sealed_times, left[:sealed], limits=by_bytes, used=used, keep=keep)
        found.append(Eviction("gigabytes", tuple(seals)))
    return [eviction for eviction in found if eviction.ranges]


def plan_downsampling(
    times: NDArray[np.float64], held: NDArray[np.bool_], *, seconds: float, keep: Sequence[tuple[float, float]]
) -> list[int]:
    """First frames of the seals to downsample, oldest first: all that are older than the newest frame by more than `seconds`.

    times [N]: of the sealed frames, N a multiple of SEAL_FRAMES; held [N]: those neither removed nor downsampled. Seals that overlap a
    kept span are never downsampled.
    """
    seals = len(times) // SEAL_FRAMES
    if not seals:
        return []
    alive = held.reshape(seals, SEAL_FRAMES).any(axis=1)
    start, stop = _ends(times.reshape(seals, SEAL_FRAMES))
    due = np.flatnonzero(alive & (stop < float(stop[-1]) - seconds))
    return [
        seal * SEAL_FRAMES
        for seal in due.tolist()
        if not any(low <= stop[seal] and high >= start[seal] for low, high in keep)
    ]


def _ends(by_seal: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First and last known time of each seal; if all times of a seal are lost, those of the seal before it."""
    start = np.where(np.isnan(by_seal), np.inf, by_seal).min(axis=1)
    stop = np.where(np.isnan(by_seal), -np.inf, by_seal).max(axis=1)
    stop = np.maximum.accumulate(stop)
    return np.minimum(start, stop), stop


def _ranges(seals: Sequence[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for seal in seals:
        first, end = seal * SEAL_FRAMES, (seal + 1) * SEAL_FRAMES
        if ranges and ranges[-1][1] == first:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((first, end))
    return ranges


@dataclass(frozen=True)
class Savings:
    """What downsampling saves: the number of downsampled frames, and the bytes saved for each."""

    frames: int
    bytes_each: float


def forecast(
    used: int,
    frames: int,
    fps: float,
    limits: Limits,
    *,
    free: float,
    others: Sequence[Growth] = (),
    downsampled: Savings = Savings(0, 0.0),
    grows: bool = True,
) -> Forecast:
    """When the camera reaches its limit, or the disk is full, at the present rate.

    free: free bytes on the disk, or infinity. others: the other cameras that are recorded on it. grows: whether this one is recorded.
    Once frames are downsampled, each new frame costs the bytes of a downsampled one, because one old frame is downsampled for it.
    """
    growth, limit_in = _growth(used, frames, fps, limits, downsampled)
    own = [growth] if grows else []
    return Forecast(used, growth, limit_in if grows else None, disk_full_in([*own, *others], free))


def disk_full_in(growths: Sequence[Growth], free: float) -> float | None:
    """Seconds until cameras that share `free` bytes have used them up; None: never."""
    passed = 0.0
    ends = sorted({growth.ends_in_s for growth in growths if growth.ends_in_s is not None})
    for end in [*ends, math.inf]:
        growing = [growth for growth in growths if growth.ends_in_s is None or growth.ends_in_s > passed]
        rate = sum(growth.bytes_per_day for growth in growing) / DAY
        if rate > 0 and math.isfinite(free) and passed + free / rate <= end:
            return passed + free / rate
        free -= rate * (end - passed) if rate > 0 and math.isfinite(end) else 0.0
        passed = end
    return None


def _growth(used: int, frames: int, fps: float, limits: Limits, downsampled: Savings) -> tuple[Growth, float | None]:
    """The growth, and the seconds until the limit in bytes is reached."""
    each = (used + downsampled.frames * downsampled.bytes_each) / frames if frames else 0.0
    if limits.downsample_seconds is not None and frames / fps > limits.downsample_seconds:
        each -= downsampled.bytes_each
    per_day = each * fps * DAY
    limit_in = None
    if limits.bytes is not None and per_day > 0:
        limit_in = max(0.0, limits.bytes - used) / per_day * DAY
    aged_in = None if limits.seconds is None else max(0.0, limits.seconds - frames / fps)
    if limit_in is not None and aged_in is not None and limit_in > aged_in:
        limit_in = None  # frames are evicted by age before the space is used up
    ends = [seconds for seconds in (limit_in, aged_in) if seconds is not None]
    return Growth(per_day, min(ends, default=None)), limit_in
