"""Repairing a camera's small files: spec and settings."""

import time
from collections.abc import Callable
from pathlib import Path

from afterview.memory.base.documents import decode_json
from afterview.memory.base.durable import write_file
from afterview.memory.base.errors import DamagedMemory
from afterview.memory.base.settings import CameraSettings, MemorySettings, write_memory_settings, write_settings
from afterview.memory.format.feature_spec_file import REMEDY, spec_path
from afterview.memory.remote.bucket import bucket_of


def fetch_spec(camera: Path, generation: int) -> Callable[[], str]:
    """Fetch a generation's spec from the bucket. No other file says which model made the features."""

    def fix() -> str:
        path = spec_path(camera, generation)
        bucket = bucket_of(camera)
        theirs = None if bucket is None else bucket.read(str(path.relative_to(camera)))
        if bucket is None or theirs is None:
            raise DamagedMemory(f"{path}: there is no copy on a store; {REMEDY}")
        decode_json(theirs, where=f"{bucket.name}: spec.json", remedy=REMEDY)
        write_file(path, theirs)
        return "fetched from the store"

    return fix


def begin_settings(camera: Path) -> Callable[[], str]:
    """New settings with which nothing is recorded unmasked and nothing is evicted until a person sets them again."""

    def fix() -> str:
        write_settings(camera, CameraSettings(paused=True, keep=((0.0, time.time()),)))
        return (
            "replaced: paused, and everything recorded is kept; set privacy masks (`mask`), kept spans (`keep --clear`, `keep`) "
            "and limits (`retain`) again, then `resume`; images have the default size until `watch --image-size`"
        )

    return fix


def begin_memory_settings(memory: Path) -> Callable[[], str]:
    """New settings without limits until a person sets them again."""

    def fix() -> str:
        write_memory_settings(memory, MemorySettings())
        return "replaced by settings without limits; `retain` sets them again"

    return fix
