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


def describe_published(status: StoreStatus, info: CameraInfo) -> str:
    """One line: what another machine finds on the store, and what it does not."""
    newest = f", newest {info.show(status.published_last_time)}" if status.published_last_time is not None else ""
    published = f"published there: {status.published_frames} frames{newest}"
    if status.local_frames is None:
        return f"{published}; later frames are not published yet, and the recording machine alone has them"
    if not status.local_frames:
        return f"{published}; no later frame"
    return f"{published}; {status.local_frames} later frames are not published{_unsealed(status, info)}"


def _unsealed(status: StoreStatus, info: CameraInfo) -> str:
    if not status.unsealed_frames or status.unsealed_since is None:
        return ""
    since = info.show(status.unsealed_since)
    return f": {status.unsealed_frames} frames since {since} are not sealed and stay on this machine until they are"
