"""The files of a frame index, without FAISS: listing them, what they were built from, and deleting them.

about.json          identity, and the list of segments with their checksums; files that are not listed are ignored
KIND-FIRST-END.faiss
lock                held while files are written or deleted
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.documents import decode_json, write_json
from afterview.memory.base.durable import DISK_FULL, fsync_directory, make_directory, unfinished_files, unlink
from afterview.memory.base.errors import DamagedMemory
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.lock import file_lock
from afterview.memory.plans.removal import Removal, forgotten_frames

Kind = Literal["flat", "ivf"]


class SegmentFile(NamedTuple):
    """A segment as `about.json` lists it. head, whole: CRC-32C of its file without the vectors, and with them.

    FAISS trusts the counts and sizes at the head of a file, so the checksums are compared before FAISS reads it. (None: earlier versions
    stored no checksums.)
    """

    kind: Kind
    first: int
    end: int
    head: int | None = None
    whole: int | None = None

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.kind}-{self.first}-{self.end}.faiss"


def index_lock(directory: Path) -> AbstractContextManager[None]:
    """Write these files alone, among all processes: saving and forgetting must not cross."""
    make_directory(directory)
    return file_lock(directory / "lock")


def forget_files(directory: Path, first: int, end: int, identity: dict[str, Any], *, whole: bool = False) -> int:
    """Delete every segment that holds one of the frames [first, end), or with `whole` those that hold no others; returns how many.

    The others stay and get the new identity, unless the disk has no room for the list of them: then they go, too.
    """
    if not directory.is_dir():
        return 0
    with index_lock(directory):
        try:
            _, names = listed(directory)
        except (OSError, ValueError):
            names = []
        if whole:
            kept = [file for file in names if file.first < first or file.end > end]
        else:
            kept = [file for file in names if file.end <= first or file.first >= end]
        try:
            write_list(directory, identity, kept)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            kept = []  # the next question rebuilds the index
            unlink(directory / "about.json")
        return drop_files(directory, keep={file.name for file in kept})


def forget_all(directory: Path) -> int:
    """Delete every file of an index; the next question rebuilds it. Returns how many segments that were."""
    if not directory.is_dir():
        return 0
    with index_lock(directory):
        unlink(directory / "about.json")
        return drop_files(directory, keep=set())


def drop_files(directory: Path, *, keep: set[str]) -> int:
    """Delete segments that are not among `keep`, and unfinished files; returns how many. Call it with `index_lock` held."""
    files = [*directory.glob("*.faiss"), *unfinished_files(directory)]
    dropped = sum(unlink(path) for path in sorted(files) if path.name not in keep)
    if dropped:
        fsync_directory(directory)
    return dropped


def drop_unfinished(directory: Path) -> None:
    """Delete unfinished files of a crash. (Waits for a process that is writing; its files stay.)"""
    if unfinished_files(directory):
        with index_lock(directory):
            if sum(unlink(path) for path in unfinished_files(directory)):
                fsync_directory(directory)


def write_list(directory: Path, identity: dict[str, Any], files: Sequence[SegmentFile]) -> None:
    """Replace `about.json`: these segments are valid, and no others."""
    write_json(directory / "about.json", {**identity, "segments": [list(file) for file in files]})


def listed(directory: Path) -> tuple[dict[str, Any], list[SegmentFile]]:
    """The identity and the segments that `about.json` names. Raises FileNotFoundError, or ValueError if it is damaged."""
    data = (directory / "about.json").read_bytes()
    try:
        about = decode_json(data, where="about.json", remedy="the next question rebuilds the index")
        return about, [_segment_file(*values) for values in about.pop("segments")]
    except (KeyError, TypeError, DamagedMemory) as error:
        raise ValueError(f"about.json: {str(error).removeprefix('about.json: ')}") from None


def _segment_file(kind: Kind, first: int, end: int, head: int | None = None, whole: int | None = None) -> SegmentFile:
    if kind not in get_args(Kind) or not (isinstance(first, int) and isinstance(end, int) and 0 <= first < end):
        raise TypeError(f"{kind} {first} {end} is not a segment")
    return SegmentFile(kind, first, end, head, whole)


def identity_of(info: CameraInfo, spec: FeatureSpec, generation: int, removed: Sequence[Removal]) -> dict[str, Any]:
    """What an index must have been built from. Forgotten frames are part of it: an index that contained them is never used again."""
    return {
        "generation": generation,
        "weights": spec.index.weights,
        "created": info.created,
        "forgotten": forgotten_frames(removed),
    }
