"""What is said about the store of a memory. Asks the store nothing: what was noted here is enough."""

from pathlib import Path
from typing import Any

from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.errors import RepositoryError
from afterview.memory.format.upload_state import Uploads
from afterview.memory.remote.bucket import bucket_of


def store_document(camera: Path) -> dict[str, Any] | None:
    """The store of one camera as JSON; None where its memory has none. Bytes are 'bytes'; times Unix seconds."""
    try:
        objects = bucket_of(camera)
        if objects is None:
            return None
        from afterview.memory.sync.upload import (
            Upload,  # the writers' code: `info` loads it only where there is a store
        )

        uploads = Uploads.read(camera)
        seals, size = Upload(camera, objects, local_bytes=0).waiting()
    except RepositoryError as error:
        return {"place": None, "why": str(error)}
    return {
        "place": objects.name,
        "bytes": uploads.bytes,
        "bytes_there_alone": uploads.away,
        "waiting_seals": seals,
        "waiting_bytes": size,
        "unreachable_since": uploads.silent_since,
        "why": uploads.why,
        "bucket_keeps_versions": uploads.keeps_versions,
        "published_frames": uploads.published.frames,
    }


def describe_store(store: dict[str, Any], info: CameraInfo) -> str:
    """The same as a line for a person."""
    if store["place"] is None:
        return f"store: {store['why']}"
    there = f"{store['bytes'] / 1e6:.1f} MB on {store['place']}, {store['bytes_there_alone'] / 1e6:.1f} MB of them only there"
    waiting = (
        f"; {store['waiting_seals']} seals ({store['waiting_bytes'] / 1e6:.1f} MB) wait"
        if store["waiting_seals"]
        else ""
    )
    if store["unreachable_since"] is None:
        return there + waiting
    return f"{there}{waiting}; it cannot be used since {info.show(store['unreachable_since'])} ({store['why']})"
