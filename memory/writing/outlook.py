"""How fast the cameras of a memory fill their limits, and the disk that they share."""

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from afterview.memory.base.lock import is_held
from afterview.memory.base.settings import read_settings
from afterview.memory.format.upload_state import remote_bytes
from afterview.memory.plans.retention import Forecast, Growth, Savings, forecast, grace_seconds
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.rules import camera_limits
from afterview.memory.reading.tiers import Tiers
from afterview.memory.remote.settings import read_store
from afterview.memory.writing.disk_reserve import fixed_bytes


@dataclass(frozen=True)
class Outlook:
    """The forecast of one camera. disk_cameras: ids of the cameras whose rates fill its disk.

    recorded_now: these are the ones that are recorded now; otherwise none is, and all that are not paused count. free: bytes on the disk;
    infinite with a store, where old chunks leave the disk. grace_s: how much longer than its limit a frame may stay.
    """

    forecast: Forecast
    disk_cameras: tuple[str, ...]
    recorded_now: bool
    free: float
    grace_s: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON for people and programs."""
        return {
            **self.forecast.to_dict(),
            "disk_free_bytes": round(self.free) if math.isfinite(self.free) else None,
            "disk_cameras": list(self.disk_cameras),
            "recorded_now": self.recorded_now,
        }


def outlooks(readers: Sequence[CameraReader]) -> dict[str, Outlook]:
    """The forecast of each of these cameras, by id. readers: all cameras of one memory."""
    recorded = {reader.info.id for reader in readers if is_held(reader.directory / "lock")}
    running = {reader.info.id for reader in readers if not read_settings(reader.directory).paused}
    counted = recorded & running or (running if not recorded else set())
    disks = {reader.info.id: os.stat(reader.directory).st_dev for reader in readers}
    alone = {reader.info.id: _forecast(reader, [], grows=True) for reader in readers}
    found = {}
    for reader in readers:
        name = reader.info.id
        sharing = [other for other in disks if other in counted and disks[other] == disks[name]]
        others = [alone[other].growth for other in sharing if other != name]
        expected = _forecast(reader, others, grows=name in counted)
        grace = grace_seconds(reader.info.fps)
        found[name] = Outlook(expected, tuple(sharing), bool(recorded), _free(reader), grace)
    return found


def _forecast(reader: CameraReader, others: Sequence[Growth], *, grows: bool) -> Forecast:
    snapshot = reader.snapshot()
    tiers = Tiers.of(reader.directory, snapshot)
    limits = camera_limits(reader.directory, read_settings(reader.directory))
    used = reader.bytes_on_disk() + remote_bytes(reader.directory) - fixed_bytes(reader.directory)
    saved = Savings(tiers.downsampled, tiers.bytes_saved_each)
    return forecast(
        used,
        snapshot.frames,
        reader.info.fps,
        limits,
        free=_free(reader),
        others=others,
        downsampled=saved,
        grows=grows,
    )


def _free(reader: CameraReader) -> float:
    if read_store(reader.directory.parent) is not None:
        return math.inf  # old chunks move to the bucket
    return shutil.disk_usage(reader.directory).free
