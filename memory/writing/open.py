"""Opening a camera for writing, and creating it where it is not there."""

import os
from pathlib import Path

from afterview.configs.system_errors import describe
from afterview.memory.base.camera import read_camera
from afterview.memory.base.camera_names import directory_to_record, name_taken
from afterview.memory.base.durable import make_directory
from afterview.memory.base.errors import NotWritable, RepositoryError
from afterview.memory.base.feature_spec import FeatureSpec, require_same
from afterview.memory.base.lock import CameraLock
from afterview.memory.format.feature_spec_file import read_spec
from afterview.memory.format.manifest import Manifest
from afterview.memory.writing.create import create_camera
from afterview.memory.writing.repository import Repository
from afterview.memory.writing.state import CameraState


def open_camera(
    memory: Path, name: str, spec: FeatureSpec, *, fps: float = 1.0, timezone: str | None = None
) -> Repository:
    """Open the camera with exactly this name or id in the memory at `memory` for writing; creates what is missing.

    Raises NameTaken (the id of this name belongs to another one), NotWritable, CameraBusy (names the process), SpecMismatch (names
    `reembed`), FormatMismatch, DamagedMemory.
    """
    directory = directory_to_record(memory, name)
    if os.path.exists(
        memory / "__init__.py"
    ):  # in a clone of this project, `--memory memory` would name the source code
        raise NotWritable(f"memory {memory}: is a Python package, not a memory; name another directory")
    try:
        make_directory(directory)
        lock = CameraLock(directory / "lock", camera=directory.name)
    except OSError as error:
        raise NotWritable(f"memory {describe(error, directory / 'lock', action='written')}") from None
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
    except OSError as error:
        lock.close()
        raise NotWritable(f"memory {describe(error, action='written')}") from None
    except BaseException:
        lock.close()
        raise
