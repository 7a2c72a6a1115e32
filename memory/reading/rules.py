"""What a person has set for a camera: limits, kept spans, masks, pause."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afterview.memory.base.camera_names import camera_ids
from afterview.memory.base.errors import RepositoryError
from afterview.memory.base.lock import may_be_written_here
from afterview.memory.base.settings import (
    CameraSettings,
    MemorySettings,
    has_settings,
    read_memory_settings,
    read_settings,
)
from afterview.memory.plans.retention import Limits, limits_of


@dataclass(frozen=True)
class CameraRules:
    """The settings of a camera and the limits that follow from them and from its memory's. problem: why they cannot be read, else empty."""

    settings: CameraSettings | None
    limits: Limits | None
    problem: str = ""

    @classmethod
    def of(cls, camera: Path) -> "CameraRules":
        """The rules of the camera at `camera`. Damaged settings are a problem of the settings, and hide nothing else of the camera."""
        if not may_be_written_here(camera) and not has_settings(camera):
            return cls(None, None, "the machine that records this camera keeps its settings")
        try:
            settings = read_settings(camera)
            return cls(settings, camera_limits(camera, settings))
        except RepositoryError as error:
            return cls(None, None, str(error))

    def to_dict(self) -> dict[str, Any]:
        """As JSON; null where the settings cannot be read."""
        if self.settings is None or self.limits is None:
            unknown = dict.fromkeys(("limits", "paused", "masks", "keep", "key_frames", "features_reused"))
            return {**unknown, "settings_problem": self.problem}
        return {
            "limits": self.limits.to_dict(),
            "paused": self.settings.paused,
            "masks": [[list(corner) for corner in polygon] for polygon in self.settings.masks],
            "keep": [list(span) for span in self.settings.keep],
            "key_frames": [{"start": start, "end": end} for start, end in self.settings.key_frames],
            "features_reused": self.settings.features_reused,
            "settings_problem": None,
        }


def camera_limits(
    camera: Path,
    settings: CameraSettings,
    shared: MemorySettings | None = None,
    changed: Mapping[str, float | None] | None = None,
) -> Limits:
    """The limits of a camera: its own, else its share of the memory's.

    shared: of the memory, instead of those on the disk. changed: gigabytes of other cameras, by id, instead of those on the disk.
    """
    shared = read_memory_settings(camera.parent) if shared is None else shared
    if shared.gigabytes is None:
        return limits_of(settings, shared, sharing=1)
    others = [camera.parent / name for name in camera_ids(camera.parent) if name != camera.name]
    changed = changed or {}
    own = [changed[other.name] if other.name in changed else _own_gigabytes(other) for other in others]
    left = max(0.0, shared.gigabytes - sum(size for size in own if size is not None))
    rest = shared.model_copy(update={"gigabytes": left})
    return limits_of(settings, rest, sharing=1 + sum(size is None for size in own))


def _own_gigabytes(camera: Path) -> float | None:
    try:
        return read_settings(camera).gigabytes
    except RepositoryError:
        return None
