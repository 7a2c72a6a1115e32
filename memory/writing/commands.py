"""Commands to a camera: forget, settings (kept spans, pause, limits, masks), enforce. The same whether it is being recorded or not.

A command is a JSON object, `{"do": "forget", "start": ..., "stop": ...}`, `{"do": "set", "settings": {...}}`, or `{"do": "enforce",
"shared": {...}}` with limits of the whole memory that are not written yet, or without; so is its result. The
process that holds the camera's lock executes it: the one that records it, through its control socket, or the command line itself.
"""

from collections.abc import Callable
from typing import Any

from afterview.configs import UsageError
from afterview.memory.base.durable import DISK_FULL
from afterview.memory.base.errors import NotWritable, RequestRefused
from afterview.memory.base.settings import (
    CameraSettings,
    MemorySettings,
    read_settings,
    write_settings,
)
from afterview.memory.format.upload_state import UploadState
from afterview.memory.reading.rules import camera_limits
from afterview.memory.writing.disk_reserve import make_room
from afterview.memory.writing.downsample import AT_ONCE
from afterview.memory.writing.erase import Erased
from afterview.memory.writing.repository import Repository

Command = dict[str, Any]
_LIMITS = {"days", "gigabytes", "coarse_days", "keep"}  # settings by which frames are evicted or downsampled
_STILL_FULL = "the disk is full, and nothing that the command deletes makes room; delete other files and run it again"


def execute(repository: Repository, command: Command) -> dict[str, Any]:
    """Execute a command; returns its result as JSON. Raises RequestRefused for an invalid command, OSError if the disk refuses."""
    kind = command.get("do")
    try:
        repository.reserve.hold()  # an earlier command may have used it up
        if kind == "forget":
            return _forget(repository, float(command["start"]), float(command["stop"]))
        if kind == "set":
            return _set(repository, dict(command["settings"]))
        if kind == "enforce":
            shared = None if command.get("shared") is None else MemorySettings.model_validate(command["shared"])
            return {"camera": repository.info.id, "evicted": enforce(repository, shared=shared).to_dict()}
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise NotWritable(f"camera '{repository.info.id}': {_STILL_FULL}") from None
    except (KeyError, TypeError, ValueError, OverflowError, UsageError) as error:
        raise RequestRefused(f"command '{kind}': {error}") from None
    raise RequestRefused(f"command '{kind}': unknown; the commands are forget, set and enforce")


def _write_settings(repository: Repository, settings: CameraSettings) -> Erased:
    """Write the settings. A full disk has no room for them before what they no longer allow is evicted: then, what that was."""
    done = Erased()
    steps: list[Callable[[], object]] = [
        lambda: None,
        repository.reserve.release,
        lambda: done.include(enforce(repository, settings)),
        lambda: make_room(repository.directory),
    ]
    for step in steps:
        step()
        try:
            write_settings(repository.directory, settings)
            return done
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            full = error
    raise full


def _forget(repository: Repository, start: float, stop: float) -> dict[str, Any]:
    if not start <= stop:  # also for NaN: no frame lies in such a span, and the proof would say nothing
        raise UsageError(f"the span ends before it begins: {start:g} to {stop:g}")
    done = repository.forget(start, stop).to_dict()
    done["proof"]["bucket_keeps_versions"] = UploadState.read(repository.directory).keeps_versions
    return {"camera": repository.info.id, **done}


def _set(repository: Repository, values: dict[str, Any]) -> dict[str, Any]:
    settings = read_settings(repository.directory).changed(**values)
    for start, stop in settings.keep if "keep" in values else ():
        if stop < start:  # such a span keeps nothing, and that would be noticed only once the frames are gone
            raise UsageError(f"a kept span ends before it begins: {start:.15g} to {stop:.15g}")
    evicted = _write_settings(repository, settings)
    if (
        not values or values.keys() & _LIMITS
    ):  # damaged limits of the memory do not keep a mask or a pause from being set
        evicted.include(enforce(repository))
    result = {
        "camera": repository.info.id,
        "settings": settings.model_dump(mode="json"),
        "evicted": evicted.to_dict(),
        "coarse": 0,
    }
    if values and not values.keys() & _LIMITS:
        return result
    try:
        result["coarse"] = downsample_old_frames(repository)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        result["coarse_waits"] = "the disk is full; the next watch or `retain` downsamples them"
    return result


def downsample_old_frames(repository: Repository, *, at_most: int = AT_ONCE) -> int:
    """Downsample a few seals of old frames if the settings say so; returns the number of frames."""
    settings = read_settings(repository.directory)
    limits = camera_limits(repository.directory, settings)
    return repository.downsample(limits.downsample_seconds, settings.keep, at_most=at_most)


def enforce(
    repository: Repository, settings: CameraSettings | None = None, *, shared: MemorySettings | None = None
) -> Erased:
    """Evict what the settings of the camera and its memory no longer allow: those on the disk, unless others are given."""
    settings = read_settings(repository.directory) if settings is None else settings
    return repository.enforce(camera_limits(repository.directory, settings, shared), settings.keep)
