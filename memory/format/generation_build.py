"""A generation that is being built: its progress, and the lock that keeps forgetting and building apart."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from afterview.memory.base.documents import read_json, write_json
from afterview.memory.base.durable import fsync_directory, remove_tree, unlink
from afterview.memory.base.errors import RepositoryError
from afterview.memory.base.lock import file_lock
from afterview.memory.format.feature_spec_file import spec_path
from afterview.memory.format.layout import generation_name, generations, journal_name

_FILE = "building.json"


def building_lock(camera: Path) -> AbstractContextManager[None]:
    """Held while new features are written, after a second look at which frames are removed, and while frames are erased."""
    return file_lock(camera / "building.lock")


def is_building(camera: Path, generation: int) -> bool:
    """Whether a generation is not finished, so that it must not be read."""
    return (camera / generation_name(generation) / _FILE).exists()


@dataclass(frozen=True)
class Built:
    """Progress of a generation. Frames [0, frames) have features, except those in the ranges `lost`, whose images are lost."""

    frames: int = 0
    lost: tuple[tuple[int, int], ...] = ()  # [first, end), ascending


def read_built(camera: Path, generation: int) -> Built:
    """Progress of a generation that is being built."""
    try:
        values = read_json(camera / generation_name(generation) / _FILE, missing="")
        return Built(int(values["frames"]), tuple((int(first), int(end)) for first, end in values.get("lost", [])))
    except (RepositoryError, LookupError, TypeError, ValueError):
        return Built()


def frames_built(camera: Path, generation: int) -> int:
    """Number of frames of a generation that is being built."""
    return read_built(camera, generation).frames


def note_built(camera: Path, generation: int, built: Built) -> None:
    """Record the progress, durably."""
    document = {"frames": built.frames, "lost": [list(span) for span in built.lost]}
    write_json(camera / generation_name(generation) / _FILE, document)


def finish_building(camera: Path, generation: int) -> None:
    """Mark the generation as complete."""
    if unlink(camera / generation_name(generation) / _FILE):
        fsync_directory(camera / generation_name(generation))


def drop_given_up(camera: Path, current: int) -> None:
    """Remove what a crash left of other generations: their journals, and directories without a spec, whose removal was cut off."""
    keep = journal_name(current)
    earlier = [camera / journal_name(number) for number in range(1, current)]
    stale = [number for number in generations(camera) if number != current and not spec_path(camera, number).exists()]
    if any(path.exists() for path in earlier) or stale:
        with building_lock(camera):
            dropped = [unlink(path) for path in earlier if path.name != keep]
            for number in generations(camera):
                if number != current and not spec_path(camera, number).exists():
                    remove_tree(camera / generation_name(number))
            if any(dropped):
                fsync_directory(camera)
