"""Commands to a camera: forget, settings (kept spans, pause, limits, masks), enforce. The same whether it is being recorded or not.

A command is a JSON object, `{"do": "forget", "start": ..., "stop": ...}` or `{"do": "set", "settings": {...}}`; so is its result. The
process that holds the camera's lock executes it: the one that records it, through its control socket, or the command line itself.
"""

from pathlib import Path
from typing import Any

from afterview.configs import UsageError
from afterview.memory.base.errors import RepositoryError, RequestRefused
from afterview.memory.base.settings import CameraSettings, read_memory_settings, read_settings, write_settings
from afterview.memory.format.upload_state import UploadState
from afterview.memory.plans.retention import Limits, limits_of
from afterview.memory.writing.downsample import AT_ONCE
from afterview.memory.writing.erase import Erased
from afterview.memory.writing.repository import Repository

Command = dict[str, Any]


def execute(repository: Repository, command: Command) -> dict[str, Any]:
    """Execute a command; returns its result as JSON. Raises RequestRefused for an invalid command, OSError if the disk refuses."""
    kind = command.get("do")
    try:
        if kind == "forget":
            return _forget(repository, float(command["start"]), float(command["stop"]))
        if kind == "set":
            return _set(repository, dict(command["settings"]))
        if kind == "enforce":
            return {"evicted": enforce(repository).to_dict()}
    except (KeyError, TypeError, ValueError, OverflowError, UsageError) as error:
        raise RequestRefused(f"command '{kind}': {error}") from None
    raise RequestRefused(f"command '{kind}': unknown; the commands are forget, set and enforce")


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
    write_settings(repository.directory, settings)
    return {
        "camera": repository.info.id,
        "settings": settings.model_dump(mode="json"),
        "evicted": enforce(repository).to_dict(),
        "coarse": downsample_old_frames(repository),
    }


def downsample_old_frames(repository: Repository, *, at_most: int = AT_ONCE) -> int:
    """Downsample a few seals of old frames if the settings say so; returns the number of frames."""
    settings = read_settings(repository.directory)
    limits = camera_limits(repository.directory, settings)
    return repository.downsample(limits.downsample_seconds, settings.keep, at_most=at_most)


def enforce(repository: Repository) -> Erased:
    """Evict what the settings of the camera and its memory no longer allow."""
    settings = read_settings(repository.directory)
    return repository.enforce(camera_limits(repository.directory, settings), settings.keep)


def camera_limits(camera: Path, settings: CameraSettings) -> Limits:
    """The limits of a camera: its own, else its share of the memory's."""
    shared = read_memory_settings(camera.parent)
    if shared.gigabytes is None:
        return limits_of(settings, shared, sharing=1)
    others = [entry.parent for entry in camera.parent.glob("*/camera.json") if entry.parent.name != camera.name]
    own = [_own_gigabytes(other) for other in others]
    left = max(0.0, shared.gigabytes - sum(size for size in own if size is not None))
    rest = shared.model_copy(update={"gigabytes": left})
    return limits_of(settings, rest, sharing=1 + sum(size is None for size in own))


def _own_gigabytes(camera: Path) -> float | None:
    try:
        return read_settings(camera).gigabytes
    except RepositoryError:
        return None
