"""Times as ISO 8601 beside the Unix seconds of a JSON document. The one place that knows which keys are times."""

import math
from collections.abc import Mapping
from typing import Any

from afterview.memory.base.camera import CameraInfo

TIMES = frozenset(
    [
        "at",
        "end",
        "first_time",
        "keep",
        "last_time",
        "removed_at",
        "since",
        "start",
        "time",
        "unreachable_since",
        "until",
    ]
)


def with_iso(document: Any, cameras: Mapping[str, CameraInfo], info: CameraInfo | None = None) -> Any:
    """The document with KEY_iso after each time KEY, null where the time is null, and a list where it is a list of times.

    Times are in the zone of the nearest object around them with a key `camera`, the camera's id; elsewhere in that of `info`. Without
    either nothing is added.
    """
    if isinstance(document, list | tuple):
        return [with_iso(item, cameras, info) for item in document]
    if not isinstance(document, Mapping):
        return document
    camera = document.get("camera")
    own = cameras.get(camera, info) if isinstance(camera, str) else info
    found: dict[str, Any] = {}
    for key, value in document.items():
        found[key] = with_iso(value, cameras, own)
        if own is not None and key in TIMES and f"{key}_iso" not in document and _is_time(value):
            found[f"{key}_iso"] = _iso(value, own)
    return found


def _is_time(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_time(item) for item in value)
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _iso(value: Any, info: CameraInfo) -> Any:
    if isinstance(value, list | tuple):
        return [_iso(item, info) for item in value]
    return None if value is None or not math.isfinite(value) else info.iso(value)
