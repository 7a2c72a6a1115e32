"""How much of the past is kept. Pure plans; the repository executes them, whole seals at a time, oldest first."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.base.settings import CameraSettings, MemorySettings

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
class Forecast:
    """The growth of a camera's memory. full_in_s: seconds until its limit is reached at this rate; None: never."""

    bytes: int
    bytes_per_day: float
    full_in_s: float | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON for people and programs."""
        return {
            "bytes": self.bytes,
            "bytes_per_day": round(self.bytes_per_day),
            "full_in_s": self.full_in_s and round(self.full_in_s),
        }


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
    used: int, frames: int, fps: float, limits: Limits, *, free: float, downsampled: Savings = Savings(0, 0.0)
) -> Forecast:
    """When the camera reaches its limit, or the disk is full, at the present rate. free: free bytes on the disk, or infinity.

    Once frames are downsampled, each new frame costs the bytes of a downsampled one, because one old frame is downsampled for it.
    """
    each = (used + downsampled.frames * downsampled.bytes_each) / frames if frames else 0.0
    if limits.downsample_seconds is not None and frames / fps > limits.downsample_seconds:
        each -= downsampled.bytes_each
    per_day = each * fps * DAY
    room = free if limits.bytes is None else min(free, max(0.0, limits.bytes - used))
    full_in = room / per_day * DAY if per_day and math.isfinite(room) else None
    if limits.seconds is not None and full_in is not None and frames / fps + full_in > limits.seconds:
        full_in = None  # frames are evicted by age before the space is used up
    return Forecast(used, per_day, full_in)
