"""`settings.json`: what a person may change while a camera is recorded. Retention, kept spans, pause, privacy masks."""

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from afterview.configs import ConfigError, Schema, load_mapping
from afterview.memory.base.camera import SETTINGS
from afterview.memory.base.documents import exists, read_json, write_json
from afterview.memory.base.errors import DamagedMemory

_REMEDY = (
    "`afterview fsck --repair` replaces it: recording is paused and nothing is evicted until limits, kept spans and "
    "privacy masks are set again"
)
_SHARED_REMEDY = "`afterview fsck --repair` replaces it by one without limits; `afterview retain` sets them again"
Polygon = tuple[tuple[float, float], ...]


class CameraSettings(Schema):
    """The settings of one camera. Without days and gigabytes nothing is ever deleted."""

    days: float | None = Field(default=None, gt=0)  # frames older than this, by the camera's newest, are evicted
    gigabytes: float | None = Field(default=None, gt=0)  # 1e9 bytes on disk; beyond it the oldest frames are evicted
    coarse_days: float | None = Field(default=None, gt=0)  # frames older than this keep a quarter of their tokens
    keep: tuple[tuple[float, float], ...] = ()  # spans [from, to], Unix seconds, that are never evicted or downsampled
    paused: bool = False  # nothing is recorded
    masks: tuple[Polygon, ...] = ()  # polygons of (x, y) in 0..1, blacked out before anything is computed or stored
    image_size: int | None = Field(default=None, gt=0)  # pixels, short side of stored images; None: the default
    # Spans [from, to], Unix seconds, in which frames were sampled at key frames alone; to is null in the one that still lasts.
    key_frames: tuple[tuple[float, float | None], ...] = ()
    # Spans [from, to] of short recordings, sampled more densely than the camera's rate, and how many seconds the last frame of each lasts.
    dense: tuple[tuple[float, float, float], ...] = ()
    # Frames of the whole record, forgotten ones included, that reused the features of one before them (stream.ingest.reuse).
    features_reused: int = Field(default=0, ge=0)

    @field_validator("masks")
    @classmethod
    def _polygons(cls, masks: tuple[Polygon, ...]) -> tuple[Polygon, ...]:
        for polygon in masks:
            if len(polygon) < 3:
                raise ValueError(f"a polygon needs 3 corners, got {len(polygon)}")
            if not all(0 <= value <= 1 for corner in polygon for value in corner):
                raise ValueError("corners are fractions of the picture, x and y from 0 to 1")
        return masks

    def changed(self, **values: Any) -> "CameraSettings":
        """A validated copy with other values. Raises ConfigError."""
        return load_mapping({**self.model_dump(mode="json"), **values}, CameraSettings, source="settings")


class MemorySettings(Schema):
    """The settings of all cameras of a memory together. A camera's own settings take precedence."""

    days: float | None = Field(default=None, gt=0)
    gigabytes: float | None = Field(default=None, gt=0)  # divided evenly among the cameras without a limit of their own
    coarse_days: float | None = Field(default=None, gt=0)


def read_settings(camera: Path) -> CameraSettings:
    """A camera's settings; the defaults if it has none. Raises DamagedMemory: a lost privacy mask must not go unnoticed."""
    path = camera / SETTINGS
    if not exists(path):
        return CameraSettings()
    try:
        return load_mapping(read_json(path, missing=str(path), remedy=_REMEDY), CameraSettings, source=str(path))
    except ConfigError as error:
        raise DamagedMemory(f"{error}; {_REMEDY}") from None


def has_settings(camera: Path) -> bool:
    """Whether a person has set anything for this camera."""
    return exists(camera / SETTINGS)


def write_settings(camera: Path, settings: CameraSettings) -> None:
    """Replace the settings, durably."""
    values = settings.model_dump(mode="json")
    for key in ("image_size", "key_frames", "dense", "features_reused"):
        if not values[key]:
            del values[key]  # so that versions without it, which refuse unknown keys, read these settings
    write_json(camera / SETTINGS, values)


def read_memory_settings(memory: Path) -> MemorySettings:
    """The settings of a whole memory. Raises DamagedMemory."""
    path = memory / SETTINGS
    if not exists(path):
        return MemorySettings()
    try:
        values = read_json(path, missing=str(path), remedy=_SHARED_REMEDY)
        return load_mapping(values, MemorySettings, source=str(path))
    except ConfigError as error:
        raise DamagedMemory(f"{error}; {_SHARED_REMEDY}") from None


def write_memory_settings(memory: Path, settings: MemorySettings) -> None:
    """Replace the settings, durably."""
    write_json(memory / SETTINGS, settings.model_dump(mode="json"))
