"""Erasing frames from every file that holds them, and proving it.

The range is committed as removed first, so that readers stop seeing it. Then the bytes are erased chunk by chunk. Each step can be
repeated: the next writer does so after a crash. Chunks that hold only removed frames are deleted; the others are replaced with those
rows blank. (This software cannot control what a file system or a disk keeps of deleted blocks.)
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.durable import DISK_FULL, fsync_directory, remove_tree, unfinished_files, unlink, write_file
from afterview.memory.base.errors import require_content
from afterview.memory.base.failpoints import reach
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.answer_files import AnswerErasure, plan_answer_erasure
from afterview.memory.format.generations import camera_arrays
from afterview.memory.format.image_packs import image_attributes
from afterview.memory.format.in_place import overwrite_in_place
from afterview.memory.format.journal import frames_in
from afterview.memory.format.layout import (
    IMAGES,
    StoredArray,
    checksum_holds,
    with_checksum,
)
from afterview.memory.plans.removal import Removal, covered_frames, cuts, touching

HOLD_FRAMES = (".c.", ".zarr.json.", ".journal")  # prefixes of unfinished chunks, image offsets and journals
_UNREADABLE = "unreadable data where forgotten frames were"


@dataclass
class Erased:
    """What an erasure did. freed: bytes on the disk, and of objects that were remote only. removals: those that it completes."""

    deleted: int = 0  # files
    rewritten: int = 0  # files
    overwritten: int = 0  # files, in place, because the disk had no room for a second one
    objects: int = 0  # deleted from the store
    freed: int = 0
    removals: tuple[Removal, ...] = ()

    @property
    def frames(self) -> int:
        """How many frames were removed."""
        return sum(removal.frames for removal in self.removals)

    def to_dict(self) -> dict[str, Any]:
        """As JSON for people and programs."""
        return {
            "frames": self.frames,
            "start": min((removal.start for removal in self.removals), default=None),
            "end": max((removal.stop for removal in self.removals), default=None),
            "ranges": [removal.to_dict() for removal in self.removals],
            "files_deleted": self.deleted,
            "files_rewritten": self.rewritten,
            "files_overwritten": self.overwritten,
            "objects_deleted": self.objects,
            "bytes": self.freed,
        }

    def include(self, other: "Erased") -> None:
        """Add what another erasure did."""
        self.deleted += other.deleted
        self.rewritten += other.rewritten
        self.overwritten += other.overwritten
        self.objects += other.objects
        self.freed += other.freed
        self.removals += other.removals

    def drop(self, path: Path) -> None:
        """Delete a file, if it exists."""
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return
        if unlink(path):
            self.deleted += 1
            self.freed += size
            fsync_directory(path.parent)

    def rewrite(self, camera: Path, path: Path, data: bytes, *, in_place: bytes | None = None) -> None:
        """Replace a file; on a full disk, overwrite it where it lies. in_place: the content for that, of the file's present length."""
        try:
            write_file(path, data)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            overwrite_in_place(camera, path, path.read_bytes(), data if in_place is None else in_place)
            self.overwritten += 1
        else:
            self.rewritten += 1


def blank_times(removal: Removal) -> NDArray[np.float64]:
    """The times that a forgotten range keeps: evenly spaced between its ends, so that they ascend and reveal nothing."""
    return np.linspace(removal.start, removal.stop, removal.frames)


def erase(
    camera: Path, removal: Removal, removed: Sequence[Removal], *, sealed: int, spare: frozenset[int] = frozenset()
) -> Erased:
    """Erase the sealed frames of `removal`; the writer erases the journal. removed: all removals of the camera.

    Whole chunks go first: that wins the room in which the others are rewritten. spare: seals whose images are remote only and could not be
    fetched, so that they cannot be blanked now.
    """
    done = delete_whole(camera, removal, removed, sealed=sealed)
    if not cuts(removal, removed):
        return done
    end = min(removal.end, sealed)
    for array in camera_arrays(camera):
        for chunk in array.chunks(removal.first, end) if end > removal.first else ():
            if array.file(camera, chunk).is_file():
                _blank_rows(camera, array, chunk, removal, done)
        reach(f"{_verb(removal)}.half-erased")
    for seal in range(removal.first // SEAL_FRAMES, -(-end // SEAL_FRAMES)):
        directory = camera / IMAGES / str(seal)
        if directory.is_dir() and seal not in spare:
            _blank_images(camera, seal, removal, done)
    return done


def delete_whole(camera: Path, removal: Removal, removed: Sequence[Removal], *, sealed: int) -> Erased:
    """Delete the chunks around `removal` that hold only removed frames."""
    done = Erased()
    end = min(removal.end, sealed)
    covered = covered_frames(removed, max(sealed, removal.end) + 1)
    for array in camera_arrays(camera):
        for chunk in array.chunks(removal.first, end) if end > removal.first else ():
            low, high = chunk * array.chunk, min((chunk + 1) * array.chunk, sealed)
            if covered[low:high].all() and high == (chunk + 1) * array.chunk:
                done.drop(array.file(camera, chunk))
        reach(f"{_verb(removal)}.half-erased")
    for seal in range(removal.first // SEAL_FRAMES, -(-end // SEAL_FRAMES)):
        directory = camera / IMAGES / str(seal)
        if covered[seal * SEAL_FRAMES : (seal + 1) * SEAL_FRAMES].all() and directory.is_dir():
            done.freed += sum(path.stat().st_size for path in directory.iterdir())
            done.deleted += remove_tree(directory)
    return done


def _verb(removal: Removal) -> str:
    return "forget" if removal.reason == "forgotten" else "evict"


def _blank_rows(camera: Path, array: StoredArray, chunk: int, removal: Removal, done: Erased) -> None:
    path = array.file(camera, chunk)
    if array.check(camera, chunk):
        done.drop(path)  # unreadable, so these frames cannot be separated from others
        return
    rows = array.rows(camera, chunk).copy()
    first, end = max(removal.first, chunk * array.chunk), min(removal.end, (chunk + 1) * array.chunk)
    rows[first - chunk * array.chunk : end - chunk * array.chunk] = blank_rows(array, removal, first, end)
    data = with_checksum(rows.tobytes())
    if data != path.read_bytes():
        done.rewrite(camera, path, data)


def blank_rows(array: StoredArray, removal: Removal, first: int, end: int) -> Any:
    """The content of rows [first, end) of a forgotten range afterwards."""
    if array.name in ("frames/times", "frames/arrival_times"):
        return blank_times(removal)[first - removal.first : end - removal.first]
    return np.nan if array.name == "frames/source_times" else 0


def _blank_images(camera: Path, seal: int, removal: Removal, done: Erased) -> None:
    directory = camera / IMAGES / str(seal)
    about, blob = directory / "zarr.json", directory / "c.0"
    first, end = max(removal.first, seal * SEAL_FRAMES), min(removal.end, (seal + 1) * SEAL_FRAMES)
    low, high = first - seal * SEAL_FRAMES, end - seal * SEAL_FRAMES
    try:
        document = about.read_bytes()
        metadata = json.loads(document)
        offsets, times = metadata["attributes"]["offsets"], metadata["attributes"]["times"]
        data = bytearray(blob.read_bytes())
        sound = checksum_holds(bytes(data)) and len(offsets) == SEAL_FRAMES + 1
    except (OSError, ValueError, LookupError, TypeError) as error:
        require_content(error, directory)  # otherwise images that nobody asked to forget would be dropped
        sound = False
    if not sound:
        done.drop(blob)
        done.drop(about)
        return
    data[offsets[low] : offsets[high]] = bytes(offsets[high] - offsets[low])
    content = with_checksum(bytes(data[:-4]))
    if content != blob.read_bytes():
        done.rewrite(camera, blob, content)
    blank = blank_times(removal)[first - removal.first : end - removal.first].tolist()
    if times[low:high] != blank:
        times[low:high] = blank
        fitted = _fitted(metadata, slice(low, high), len(document))
        done.rewrite(camera, about, json.dumps(metadata).encode(), in_place=fitted)


def _fitted(metadata: dict[str, Any], rows: slice, size: int) -> bytes:
    """Metadata in exactly so many bytes; longer if they do not fit. These rows' times are rounded where their fractions are too long."""
    short = json.loads(json.dumps(metadata))
    text = json.dumps(short, separators=(",", ":")).encode()
    for digits in (3, 0):
        if len(text) > size:
            short["attributes"]["times"][rows] = [round(time, digits) for time in metadata["attributes"]["times"][rows]]
            text = json.dumps(short, separators=(",", ":")).encode()
    return text.ljust(size)


def erase_leftovers(camera: Path, removal: Removal) -> Erased:
    """Delete what may hold forgotten frames outside the arrays: unfinished files of a crash, and saved answers.

    Call with the building lock held: then no file that holds frames is being written. Other files, such as the upload state, may be, and
    stay. `forget_files` deletes those of the index.
    """
    done = Erased()
    for path in unfinished_files(camera):
        if path.name.startswith(HOLD_FRAMES):
            done.drop(path)
    _erase_answers(plan_answer_erasure(camera.parent, camera.name, removal), done)
    return done


def erase_evicted_answers(camera: Path, removed: Sequence[Removal], start: float, stop: float) -> Erased:
    """Delete what saved answers hold of frames of a span that were evicted or lost before: answers outlive their frames.

    Raises OSError if something is left.
    """
    done = Erased()
    for gone in touching([one for one in removed if one.reason != "forgotten"], start, stop):
        for attempt in range(2):
            plan = plan_answer_erasure(camera.parent, camera.name, gone, within=(start, stop))
            if attempt and plan.files:
                raise OSError(f"{plan.files[0]}: evidence of an answer; forgetting did not finish, run it again")
            _erase_answers(plan, done)
    return done


def _erase_answers(plan: AnswerErasure, done: Erased) -> None:
    for path in plan.delete:
        done.drop(path)
    for path, data in plan.rewrite.items():
        try:
            write_file(path, data)
            done.rewritten += 1
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            done.drop(path)  # no room for what is left of the answer


def traces(camera: Path, removal: Removal, *, sealed: int) -> list[str]:
    """Files that still hold something of forgotten frames, each as "path: what". An empty list is the proof.

    Reads every chunk concerned. One that cannot be read counts as a trace.
    """
    answers = plan_answer_erasure(camera.parent, camera.name, removal)
    found = [f"{path}: evidence of an answer" for path in answers.files]
    end = min(removal.end, sealed)
    for array in camera_arrays(camera):
        for chunk in array.chunks(removal.first, end) if end > removal.first else ():
            path = array.file(camera, chunk)
            if not path.is_file():
                continue
            if array.check(camera, chunk):
                found.append(f"{path}: {_UNREADABLE}")
                continue
            first, stop = max(removal.first, chunk * array.chunk), min(end, (chunk + 1) * array.chunk)
            rows = array.rows(camera, chunk)[first - chunk * array.chunk : stop - chunk * array.chunk]
            blank = np.broadcast_to(np.asarray(blank_rows(array, removal, first, stop), dtype=rows.dtype), rows.shape)
            if not np.array_equal(rows, blank, equal_nan=rows.dtype.kind == "f"):
                found.append(f"{path}: rows of forgotten frames")
    for seal in range(removal.first // SEAL_FRAMES, -(-end // SEAL_FRAMES)):
        found += _image_traces(camera, seal, removal, end)
    return found


def journal_traces(journal: Path, removal: Removal) -> list[str]:
    """The same for the journal, also for frames that are sealed already."""
    records = frames_in(journal.read_bytes(), removal.first, removal.end)
    return [f"{journal}: a forgotten frame" for record in records if any(map(any, record.parts.values()))]


def _image_traces(camera: Path, seal: int, removal: Removal, end: int) -> list[str]:
    directory = camera / IMAGES / str(seal)
    if not (directory / "c.0").is_file():
        return []
    about = image_attributes(camera, seal)
    if about is None:
        return [f"{directory}: {_UNREADABLE}"]
    offsets = about["offsets"]
    low, high = max(removal.first - seal * SEAL_FRAMES, 0), min(end - seal * SEAL_FRAMES, SEAL_FRAMES)
    data = (directory / "c.0").read_bytes()[offsets[low] : offsets[high]]
    return [f"{directory}: images of forgotten frames"] if any(data) else []
