"""Times as ISO 8601 beside the Unix seconds of a JSON document."""

from collections.abc import Mapping
from typing import Any

from afterview.memory.base.camera import CameraInfo, local_timezone

_TIMES = {"asked", "at", "start", "end", "time", "first_time", "last_time", "removed_at"}


def zone_of(cameras: Mapping[str, CameraInfo]) -> CameraInfo:
    """The camera in whose zone the time of a question is shown: the first one; without cameras, one in the zone of this machine."""
    return next(iter(cameras.values()), CameraInfo("", "", timezone=local_timezone()))


def with_iso(document: Any, cameras: Mapping[str, CameraInfo], info: CameraInfo | None) -> Any:
    """The document with KEY_iso after each time KEY, null where the time is null.

    Times are in the zone of the nearest object with a key `camera`; elsewhere in that of `info`.
    """
    if isinstance(document, list | tuple):
        return [with_iso(item, cameras, info) for item in document]
    if not isinstance(document, dict):
        return document
    own = cameras.get(camera, info) if isinstance(camera := document.get("camera"), str) else info
    found: dict[str, Any] = {}
    for key, value in document.items():
        found[key] = with_iso(value, cameras, own)
        if key in _TIMES and own is not None and f"{key}_iso" not in document and _is_time(value):
            found[f"{key}_iso"] = None if value is None else own.iso(value)
    return found


def _is_time(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
