"""What is stored beside the images of a seal: the offsets of each image, and the times."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from afterview.memory.base.errors import require_content
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.in_place import read_overwritten
from afterview.memory.format.layout import IMAGES


def image_attributes(camera: Path, seal: int) -> dict[str, Any] | None:
    """`offsets` and `times` of one seal's images; None if they are missing or damaged. Raises Unreadable."""
    path = camera / IMAGES / str(seal) / "zarr.json"
    try:
        data = path.read_bytes()
    except OSError as error:
        require_content(error, path)
        return None
    return _attributes(data) or _attributes(read_overwritten(camera, path))


def _attributes(document: bytes) -> dict[str, Any] | None:
    try:
        about = json.loads(document)["attributes"]
        sound = are_offsets(about["offsets"]) and are_times(about["times"])
    except (ValueError, LookupError, TypeError):
        return None
    return dict(about) if sound else None


def are_offsets(value: Any) -> bool:
    """Whether this can be the offsets of a seal's images: integers that ascend from 0."""
    if not isinstance(value, list) or len(value) != SEAL_FRAMES + 1 or any(type(place) is not int for place in value):
        return False
    return value[0] == 0 and all(low <= high for low, high in pairwise(value))


def are_times(value: Any) -> bool:
    """Whether this can be the times of a seal."""
    return isinstance(value, list) and len(value) == SEAL_FRAMES and all(type(at) in (int, float) for at in value)
