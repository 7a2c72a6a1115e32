"""The files that the service keeps in a memory beside its cameras: `.service`, its lock, and `.cameras.json`, the cameras that were added
by the API. Both can be read by this user alone; cameras may hold passwords."""

import fcntl
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from afterview.configs import AfterviewError, ConfigError, load_mapping
from afterview.configs.system_errors import describe
from afterview.memory.base.documents import encode_json, exists, read_json
from afterview.memory.base.durable import append, make_directory, replacing
from afterview.memory.base.errors import DamagedMemory, FormatMismatch, MemoryNotFound, NotWritable
from afterview.memory.directory import Memory
from afterview.stream.service.config import CameraConfig
from afterview.stream.service.errors import ServiceBusy
from afterview.stream.service.holder import LOCK, Holder

CAMERAS = ".cameras.json"
_LOCK_TRIES, _LOCK_WAIT_S = 5, 0.02  # a command that looks whether a service holds the memory has the lock for a moment
_REMEDY = "delete it, and add the cameras again"


class ServiceLock:
    """Holds a memory for one service, until closed. The kernel holds it, so it ends with the process. `said` tells others who has it."""

    def __init__(self, memory: Path) -> None:
        """Raises ServiceBusy, which names the other service, and NotWritable."""
        path = memory / LOCK
        try:
            make_directory(memory)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise NotWritable(describe(error, path, action="written")) from None
        if not self._taken():
            holder = Holder.read(os.pread(self._file, 1000, 0))
            os.close(self._file)
            raise ServiceBusy(f"{memory}: {holder} serves this memory already; stop it first, or use it") from None
        self.say("")

    def _taken(self) -> bool:
        for left in reversed(range(_LOCK_TRIES)):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except OSError:
                time.sleep(_LOCK_WAIT_S if left else 0)
        return False

    def say(self, url: str) -> None:
        """Write who serves the memory, and where."""
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps({"pid": os.getpid(), "url": url}).encode(), 0)

    def close(self) -> None:
        """Release it. The file stays: if it were removed, two services could lock two files of one name."""
        os.ftruncate(self._file, 0)
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_added_cameras(memory: Path) -> dict[str, CameraConfig]:
    """The cameras that were added by the API, by name. Raises DamagedMemory."""
    path = memory / CAMERAS
    if not exists(path):
        return {}
    values = read_json(path, missing=str(path), remedy=_REMEDY)
    try:
        return {name: load_mapping(camera, CameraConfig, source=name) for name, camera in values["cameras"].items()}
    except (ConfigError, KeyError, AttributeError):
        raise DamagedMemory(f"{path}: does not describe cameras; {_REMEDY}") from None


def write_added_cameras(memory: Path, cameras: Mapping[str, CameraConfig]) -> None:
    """Replace them, durably; the file is readable by this user alone from its first moment."""
    values: dict[str, Any] = {
        name: camera.model_dump(mode="json", exclude_unset=True) for name, camera in cameras.items()
    }
    with replacing(memory / CAMERAS) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            append(file, temporary, encode_json({"cameras": values}))


def require_readable(memory: Path) -> None:
    """Raise FormatMismatch for a memory that another version wrote. Other faults are those of single cameras."""
    try:
        for camera in (opened := Memory(memory)).camera_ids():
            try:
                opened.camera(camera)
            except FormatMismatch:
                raise
            except (AfterviewError, OSError):
                continue  # its state says so
    except MemoryNotFound:
        return
