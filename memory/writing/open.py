"""Opening a camera for writing, and creating it where it is not there."""

import os
from pathlib import Path

from afterview.configs.system_errors import describe
from afterview.memory.base.camera import read_camera
from afterview.memory.base.camera_names import directory_to_record, name_taken
from afterview.memory.base.durable import make_directory
from afterview.memory.base.errors import CameraMoved, NotWritable, RepositoryError
from afterview.memory.base.feature_spec import FeatureSpec, require_same
from afterview.memory.base.held_directory import HeldDirectory, hold
from afterview.memory.base.lock import CameraLock
from afterview.memory.base.moved import explained, moved
from afterview.memory.format.feature_spec_file import read_spec
from afterview.memory.format.manifest import Manifest
from afterview.memory.writing.create import create_camera
from afterview.memory.writing.repository import Repository
from afterview.memory.writing.state import CameraState

_ATTEMPTS = 5  # to open a directory that others create, delete or replace meanwhile


def open_camera(
    memory: Path,
    name: str,
    spec: FeatureSpec,
    *,
    fps: float = 1.0,
    timezone: str | None = None,
    expected: HeldDirectory | None = None,
) -> Repository:
    """Open the camera with exactly this name or id in the memory at `memory` for writing; creates what is missing.

    expected: the directory that the caller has read. Raises CameraMoved if it does not lie there any more, NameTaken (the id of this name
    belongs to another one), NotWritable, CameraBusy (names the process), SpecMismatch (names `reembed`), FormatMismatch, DamagedMemory.
    """
    directory = directory_to_record(memory, name)
    if os.path.exists(
        memory / "__init__.py"
    ):  # in a clone of this project, `--memory memory` would name the source code
        raise NotWritable(f"memory {memory}: is a Python package, not a memory; name another directory")
    try:
        held, lock = _take(directory) if expected is None else _take_again(expected)
    except OSError as error:
        raise NotWritable(f"memory {describe(error, directory / 'lock', action='written')}") from None
    directory = held.path  # from here on nothing is looked up by the camera's place
    try:
        if not (directory / "camera.json").exists():
            create_camera(directory, name, spec, fps=fps, timezone=timezone)
        info = read_camera(directory)
        if name not in (info.name, info.id):  # another process has just created it
            raise name_taken(name, info.id, info.name)
        if info.fps != fps:
            raise RepositoryError(
                f"camera '{info.id}' keeps {info.fps:g} frames per second, not {fps:g}; use --fps {info.fps:g}"
            )
        stored = read_spec(directory, Manifest.read(directory).generation)
        require_same(stored, spec, where=f"camera '{info.id}'")
        return Repository(CameraState.open(directory, info, stored), lock)
    except BaseException as error:
        lock.close()
        if isinstance(error, Exception) and not held.in_place:
            raise moved(held) from None
        if isinstance(error, OSError):
            raise NotWritable(f"memory {describe(error, action='written')}") from None
        raise


def _take(directory: Path) -> tuple[HeldDirectory, CameraLock]:
    """Hold and lock the directory at this place, which is created if it is missing. Raises OSError, CameraBusy, CameraMoved."""
    for _ in range(_ATTEMPTS):
        try:
            make_directory(directory)
            held = hold(directory)
            lock = _lock(held)
        except FileNotFoundError:  # deleted meanwhile: by its last writer, if it never held a frame
            continue
        if held.in_place:
            return held, lock
        lock.close()
    raise CameraMoved(f"{directory}: is moved, replaced or deleted again and again; stop the process that does it")


def _take_again(held: HeldDirectory) -> tuple[HeldDirectory, CameraLock]:
    """Lock a directory that was opened before; nothing is created in its place. Raises OSError, CameraBusy, CameraMoved."""
    if held.in_place:
        with explained(held.path):
            lock = _lock(held)
        if held.in_place:
            return held, lock
        lock.close()
    raise moved(held)


def _lock(held: HeldDirectory) -> CameraLock:
    if not held.is_stable:
        raise NotWritable(f"{held.place}: cannot be written, because this system has no /proc/self/fd; mount /proc")
    return CameraLock(held.path / "lock", camera=held.place.name)
