"""How much of a camera lies in its bucket. Asks the bucket nothing: the notes on this machine are enough."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.errors import RepositoryError
from afterview.memory.format.layout import is_replica
from afterview.memory.format.upload_state import UploadState
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.memory.remote.bucket import bucket_of


@dataclass(frozen=True)
class StoreStatus:
    """The store of one camera. place: for people; None where it cannot be told, and `why` says so.

    bytes: of all objects of sealed chunks; bytes_remote_only: of those that lie there alone. waiting_seals, waiting_bytes: sealed here,
    not sent yet. unreachable_since: Unix seconds; None while the bucket can be used. published_frames: the remembered frames that another
    machine finds there; published_last_time: of the newest. local_frames: newer ones, remembered here alone; of these unsealed_frames are
    not sealed, from unsealed_since on. None: not known to a replica, which only sees what was published.
    """

    place: str | None
    why: str
    bytes: int = 0
    bytes_remote_only: int = 0
    waiting_seals: int = 0
    waiting_bytes: int = 0
    unreachable_since: float | None = None
    keeps_versions: bool = False
    published_frames: int = 0
    published_last_time: float | None = None
    local_frames: int | None = 0
    unsealed_frames: int | None = 0
    unsealed_since: float | None = None

    def to_dict(self, info: CameraInfo) -> dict[str, Any]:
        """As JSON for people and programs. Bytes are bytes; times are Unix seconds, and ISO 8601 in the camera's zone beside them."""
        if self.place is None:
            return {"place": None, "why": self.why}
        return {
            "place": self.place,
            "bytes": self.bytes,
            "bytes_there_alone": self.bytes_remote_only,
            "waiting_seals": self.waiting_seals,
            "waiting_bytes": self.waiting_bytes,
            **_time("unreachable_since", self.unreachable_since, info),
            "why": self.why,
            "bucket_keeps_versions": self.keeps_versions,
            "published_frames": self.published_frames,
            **_time("published_last_time", self.published_last_time, info),
            "local_frames": self.local_frames,
            "unsealed_frames": self.unsealed_frames,
            **_time("unsealed_since", self.unsealed_since, info),
        }


def _time(key: str, seconds: float | None, info: CameraInfo) -> dict[str, Any]:
    return {key: seconds, f"{key}_iso": None if seconds is None else info.iso(seconds)}


def store_status(camera: Path, snapshot: MemorySnapshot) -> StoreStatus | None:
    """The status of the camera at `camera`, as far as the snapshot goes; None where its memory has no store."""
    try:
        bucket = bucket_of(camera)
        if bucket is None:
            return None
        from afterview.memory.sync.upload import (
            Upload,  # the writers' code: `info` loads it only where there is a store
        )

        state = UploadState.read(camera)
        seals, size = Upload(camera, bucket, local_bytes=0).waiting()
        replica = is_replica(camera, snapshot.generation)
    except RepositoryError as error:
        return StoreStatus(None, str(error))
    published = int(np.searchsorted(snapshot.ids, state.published.frames))
    unsealed = snapshot.times[np.searchsorted(snapshot.ids, snapshot.sealed_frames) :]
    return StoreStatus(
        bucket.name, state.why, state.bytes, state.remote_only, seals, size, state.silent_since, state.keeps_versions,
        published_frames=published,
        published_last_time=float(snapshot.times[published - 1]) if published else None,
        local_frames=None if replica else snapshot.frames - published,
        unsealed_frames=None if replica else len(unsealed),
        unsealed_since=float(unsealed[0]) if len(unsealed) else None,
    )  # fmt: skip
