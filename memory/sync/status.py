"""How much of a camera lies in its bucket. Asks the bucket nothing: the notes on this machine are enough."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afterview.memory.base.errors import RepositoryError
from afterview.memory.format.upload_state import UploadState
from afterview.memory.remote.bucket import bucket_of


@dataclass(frozen=True)
class StoreStatus:
    """The store of one camera. place: for people; None where it cannot be told, and `why` says so.

    bytes: of all objects; bytes_remote_only: of those that lie there alone. waiting_seals, waiting_bytes: sealed here, not sent yet.
    unreachable_since: Unix seconds; None while the bucket can be used.
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

    def to_dict(self) -> dict[str, Any]:
        """As JSON for people and programs. Bytes are bytes; times are Unix seconds."""
        if self.place is None:
            return {"place": None, "why": self.why}
        return {
            "place": self.place,
            "bytes": self.bytes,
            "bytes_there_alone": self.bytes_remote_only,
            "waiting_seals": self.waiting_seals,
            "waiting_bytes": self.waiting_bytes,
            "unreachable_since": self.unreachable_since,
            "why": self.why,
            "bucket_keeps_versions": self.keeps_versions,
            "published_frames": self.published_frames,
        }


def store_status(camera: Path) -> StoreStatus | None:
    """The status of the camera at `camera`; None where its memory has no store."""
    try:
        bucket = bucket_of(camera)
        if bucket is None:
            return None
        from afterview.memory.sync.upload import (
            Upload,  # the writers' code: `info` loads it only where there is a store
        )

        state = UploadState.read(camera)
        seals, size = Upload(camera, bucket, local_bytes=0).waiting()
    except RepositoryError as error:
        return StoreStatus(None, str(error))
    return StoreStatus(
        bucket.name, state.why, state.bytes, state.remote_only, seals, size,
        state.silent_since, state.keeps_versions, state.published.frames,
    )  # fmt: skip
