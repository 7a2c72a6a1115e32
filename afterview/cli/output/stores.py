"""The store of a memory as text for people."""

from afterview.memory.base.camera import CameraInfo
from afterview.memory.sync.status import StoreStatus


def describe_store(status: StoreStatus, info: CameraInfo) -> str:
    """One line, with times in the camera's zone."""
    if status.place is None:
        return f"store: {status.why}"
    stored = (
        f"{status.bytes / 1e6:.1f} MB on {status.place}, {status.bytes_remote_only / 1e6:.1f} MB of them only there"
    )
    waiting = ""
    if status.waiting_seals:
        waiting = f"; {status.waiting_seals} seals ({status.waiting_bytes / 1e6:.1f} MB) wait"
    if status.unreachable_since is None:
        return stored + waiting
    return f"{stored}{waiting}; store unavailable since {info.show(status.unreachable_since)} ({status.why})"
