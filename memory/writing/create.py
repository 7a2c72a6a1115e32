"""Creating a camera."""

from pathlib import Path

from afterview.memory.base.camera import new_camera, write_camera
from afterview.memory.base.durable import remove_tree, write_file
from afterview.memory.base.errors import DamagedMemory
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.format.feature_spec_file import write_spec
from afterview.memory.format.journal import MAGIC
from afterview.memory.format.layout import journal_name
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.sealed_writer import SealedWriter


def create_camera(directory: Path, name: str, spec: FeatureSpec, *, fps: float, timezone: str | None) -> None:
    """Create a camera without frames in this directory. Raises DamagedMemory if it held frames."""
    # camera.json is last: a camera without it was being created when the process died, and is created again.
    info = new_camera(name, fps=fps, timezone=timezone)
    _clear_unfinished(directory)
    SealedWriter(directory, 1).create(spec)
    write_spec(directory, 1, spec)
    Manifest(frames=0, gaps=0, generation=1).write(directory)
    write_file(directory / journal_name(1), MAGIC)
    write_camera(directory, info)


def _clear_unfinished(directory: Path) -> None:
    """Remove what a killed creation left. Raises DamagedMemory if there are frames: then camera.json was lost."""
    started = (directory / "committed").exists() and Manifest.read(directory).frames > 0
    journals = [path for path in directory.glob("journal*") if path.stat().st_size > len(MAGIC)]
    if started or journals:
        raise DamagedMemory(
            f"{directory}: camera.json is missing but there are frames; `afterview fsck` reports what is left"
        )
    for entry in directory.iterdir():
        if entry.is_dir():
            remove_tree(entry)
        elif entry.name != "lock":
            entry.unlink()
