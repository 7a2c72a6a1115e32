"""The files of a frame index, without FAISS: which there are, what they were built from, and dropping them.

about.json          identity, and the list of segments: what is not in it does not count
KIND-FIRST-END.faiss
lock                held while files are written or dropped
"""

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from memory.camera import CameraInfo
from memory.durable import PARTIAL, fsync_directory, make_directory, unlink, write_file
from memory.removal import Removal
from memory.spec import FeatureSpec

Kind = Literal["flat", "ivf"]


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Alone in writing these files, among all processes: saving and forgetting must not cross."""
    make_directory(directory)
    with (directory / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def forget_files(directory: Path, first: int, end: int, identity: dict[str, Any], *, whole: bool = False) -> int:
    """Drop every segment that holds one of the frames [first, end), or with `whole` those that hold no other; returns how many.

    The others stay, under the new identity.
    """
    if not directory.is_dir():
        return 0
    with locked(directory):
        try:
            _, names = listed(directory)
        except (OSError, ValueError):
            names = []
        if whole:
            kept = [name for name in names if name[1] < first or name[2] > end]
        else:
            kept = [name for name in names if name[2] <= first or name[1] >= end]
        write_file(directory / "about.json", json.dumps({**identity, "segments": kept}).encode())
        return drop_files(directory, keep={f"{kind}-{low}-{high}.faiss" for kind, low, high in kept})


def drop_files(directory: Path, *, keep: set[str]) -> int:
    """Remove segments that are not among `keep`, and what a crash left unfinished; returns how many. Call it `locked`."""
    files = [*directory.glob("*.faiss"), *directory.glob(f".*{PARTIAL}")]
    dropped = sum(unlink(path) for path in sorted(files) if path.name not in keep)
    if dropped:
        fsync_directory(directory)
    return dropped


def drop_unfinished(directory: Path) -> None:
    """Remove what a crash left unfinished. (What another process is writing at this moment is waited for, and stays.)"""
    if any(directory.glob(f".*{PARTIAL}")):
        with locked(directory):
            if sum(unlink(path) for path in directory.glob(f".*{PARTIAL}")):
                fsync_directory(directory)


def listed(directory: Path) -> tuple[dict[str, Any], list[tuple[Kind, int, int]]]:
    """`about.json`: the identity, and the segments it names. Raises FileNotFoundError, or ValueError where it is damaged."""
    about = json.loads((directory / "about.json").read_text())
    try:
        return about, [(kind, int(first), int(end)) for kind, first, end in about.pop("segments")]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"about.json: {error}") from None


def identity_of(info: CameraInfo, spec: FeatureSpec, generation: int, removed: Sequence[Removal]) -> dict[str, Any]:
    """What an index must have been built from to be used. Forgotten frames are part of it: no index that knew them may come back."""
    return {
        "generation": generation,
        "weights": spec.index.weights,
        "created": info.created,
        "forgotten": forgotten_frames(removed),
    }


def forgotten_frames(removed: Sequence[Removal]) -> list[list[int]]:
    """Ranges of frames that were forgotten on request."""
    return [[gone.first, gone.end] for gone in removed if gone.reason == "forgotten"]
