"""What happens when a camera's directory is moved, replaced or deleted while a process has it open."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from afterview.memory.base.errors import CameraMoved
from afterview.memory.base.held_directory import HeldDirectory, holder


def require_in_place(directory: Path) -> None:
    """Raise CameraMoved if a held camera or memory no longer lies where it was opened. Does nothing for an ordinary path."""
    held = holder(directory)
    if held is not None and not held.in_place:
        raise moved(held)


@contextmanager
def explained(camera: Path) -> Iterator[None]:
    """If some work fails because the directory is gone, raise CameraMoved instead."""
    try:
        yield
    except Exception:
        require_in_place(camera)
        raise


def require_one(reader: HeldDirectory | None, snapshot: HeldDirectory | None) -> None:
    """Raise CameraMoved if a snapshot was taken from another directory than the one that lies in its place now."""
    if reader is not None and snapshot is not None and not reader.is_same(snapshot):
        raise moved(snapshot)


def moved(held: HeldDirectory, *, frames: int | None = None) -> CameraMoved:
    """The error that says what happened. frames: how many a recorder has made durable there."""
    if held.is_deleted:
        return deleted(held.place, frames=frames)
    if held.is_named and held.above is not None:
        held = held.above  # the camera was put into another memory, which took the place of its own
    where = held.find()
    what = f"was moved to {where}" if where is not None else "was moved or replaced"
    other = "; another directory is in its place now, and was not touched" if held.is_replaced else ""
    kept = f"; the frames up to {frames - 1} are in the moved directory" if frames else ""
    return CameraMoved(
        f"{held.place}: {what} while it was {_doing(frames)}{other}{kept}; run the command again to use this path"
    )


def deleted(place: Path, *, frames: int | None = None) -> CameraMoved:
    """The error for a directory whose files are gone."""
    lost = f"; the frames up to {frames - 1} are lost" if frames else ""
    return CameraMoved(f"{place}: was deleted while it was {_doing(frames)}{lost}; run the command again to begin anew")


def _doing(frames: int | None) -> str:
    return "in use" if frames is None else "recorded"
