"""The frame index finds the frames of one camera that look like a text. FAISS over the embeddings, in segments (memory.index.segments).

Exact up to about a million frames. Beyond, old segments are searched approximately, and every result says so. The files are a cache: they
are rebuilt from the embeddings if they are missing or differ from them. Threads: any; FAISS crashes if one thread adds while another
searches, so every call holds the index's lock.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.errors import RepositoryError, UnreachableFrames
from afterview.memory.base.held_directory import holder
from afterview.memory.base.moved import require_one
from afterview.memory.format.manifest import Manifest
from afterview.memory.index import segments as pieces
from afterview.memory.index.files import Kind, SegmentFile, identity_of, index_lock, listed
from afterview.memory.index.segments import (
    EXACT_FRAMES,
    INVERTED,
    LARGE,
    SMALL,
    IndexSegment,
    build_flat,
    build_inverted,
    stored_vectors,
)
from afterview.memory.plans.removal import forgotten_frames, runs
from afterview.memory.reading.snapshot import MemorySnapshot


@dataclass(frozen=True)
class Hit:
    """A frame and its cosine similarity to the query."""

    frame: int
    score: float


@dataclass(frozen=True)
class Found:
    """The frames nearest to a query, best first. exact: every frame of the span was compared."""

    hits: tuple[Hit, ...]
    exact: bool


class FrameIndex:
    """Index of one camera's frames. `catch_up` before `search`; both may be called from any thread."""

    def __init__(self, directory: Path | None, *, exact_frames: int = EXACT_FRAMES) -> None:
        """directory: the camera's `index/`, or None to keep the index in memory. exact_frames: up to this many, search is exact."""
        self._directory, self._exact_frames = directory, exact_frames
        self.held = None if directory is None else holder(directory)  # kept open as long as this may write
        self._lock = threading.Lock()
        self._identity: dict[str, Any] = {}
        self._segments: list[IndexSegment] = []
        self._tail: IndexSegment | None = (
            None  # newest frames, fewer than a small segment; grows in place and is never written
        )
        self._sound: dict[str, SegmentFile] = {}  # files that this object has read or written
        self._loaded = False
        self.rebuilt: str | None = None  # why the files on disk were not used

    @property
    def frames(self) -> int:
        """One more than the id of the newest indexed frame."""
        newest = self._tail or (self._segments[-1] if self._segments else None)
        return newest.end if newest else 0

    def catch_up(self, snapshot: MemorySnapshot, *, save: bool = True) -> None:
        """Index the frames of the snapshot that are not indexed. Writes new segments to disk if possible.

        Raises UnreachableFrames if embeddings lie in a bucket that does not answer. A snapshot that leaves such frames out is not
        indexed: a search then finds what was indexed before.
        """
        require_one(self.held, snapshot.held)
        with self._lock:
            self._catch_up(snapshot, save=save)

    def search(
        self, query: NDArray[np.float32], top: int, snapshot: MemorySnapshot, *, first: int = 0, end: int | None = None
    ) -> Found:
        """The `top` frames with ids in [first, end) nearest to `query` [De] (unit norm), best first; ties by frame id."""
        require_one(self.held, snapshot.held)
        stop = snapshot.end if end is None else min(end, snapshot.end)
        if stop <= first or top < 1:
            return Found((), exact=True)
        lost = np.union1d(snapshot.damaged, snapshot.unreachable)
        holes = [*((gone.first, gone.end) for gone in snapshot.removed), *runs(lost)]
        with self._lock:
            if self._loaded and self._identity != _identity(
                snapshot
            ):  # another thread has caught up with another state
                with suppress(UnreachableFrames):
                    self._catch_up(snapshot, save=False)
            faiss.omp_set_num_threads(1)  # with one thread a single query is several times faster (measured)
            found: list[tuple[float, int]] = []
            for segment in [*self._segments, *([self._tail] if self._tail else [])]:
                found += segment.search(query, top, first=first, end=stop, holes=holes)
            exact = all(part.kind == "flat" for part in self._segments if part.first < stop and part.end > first)
        best = sorted(found, key=lambda pair: (-pair[0], pair[1]))[:top]
        return Found(tuple(Hit(frame, score) for score, frame in best), exact)

    # --- all below: under the lock ---

    def _catch_up(self, snapshot: MemorySnapshot, *, save: bool) -> None:
        if not self._loaded or self._identity != _identity(snapshot):
            self._load(snapshot)
        if len(snapshot.unreachable):
            return
        before = list(self._segments)
        self._fill(snapshot)
        self._segments = _merged(self._segments, LARGE, "flat", build_flat)
        if snapshot.end > self._exact_frames:
            self._segments = _merged(self._segments, INVERTED, "ivf", build_inverted)
        self._extend_tail(snapshot)
        if save and self._segments != before:
            self._save()

    def _load(self, snapshot: MemorySnapshot) -> None:
        self._identity, self._loaded = _identity(snapshot), True
        self._segments, self._tail, self.rebuilt, self._sound = [], None, None, {}
        if self._directory is None:
            return
        try:
            identity, files = listed(self._directory)
            if identity != self._identity:
                raise ValueError("belongs to another generation or camera")
            width = snapshot.spec.index.width
            files = [file for file in files if file.end <= snapshot.end]
            loaded = [pieces.load(self._directory, file, width) for file in files]
            for segment in loaded:
                _require_agreement(segment, snapshot)
            self._segments, self._sound = loaded, {file.name: file for file in files}
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            self.rebuilt = str(error)

    def _fill(self, snapshot: MemorySnapshot) -> None:
        """Drop segments whose frames are all removed; build small ones where none covers the frames.

        Segments beyond the snapshot stay: another thread may have caught up with a newer one.
        """
        self._segments = [
            part for part in self._segments if part.end > snapshot.end or _remembered(snapshot, part.first, part.end)
        ]
        covered = {place for part in self._segments for place in range(part.first // SMALL, part.end // SMALL)}
        for place in range(snapshot.end // SMALL):
            first, end = place * SMALL, (place + 1) * SMALL
            if place not in covered and _remembered(snapshot, first, end):
                self._segments.append(build_flat(stored_vectors(snapshot, first, end), first))
        self._segments.sort(key=lambda part: part.first)

    def _extend_tail(self, snapshot: MemorySnapshot) -> None:
        first = snapshot.end // SMALL * SMALL
        if snapshot.end <= self.frames:
            return  # another thread has caught up with a newer snapshot
        if first == snapshot.end:
            self._tail = None
            return
        known = self._tail.end if self._tail and self._tail.first == first else first
        if known < snapshot.end:
            new = stored_vectors(snapshot, known, snapshot.end)
            if self._tail and self._tail.first == first:
                self._tail.index.add(new)
                self._tail = IndexSegment(first, snapshot.end, "flat", self._tail.index)
            else:
                self._tail = build_flat(new, first)

    def _save(self) -> None:
        if self._directory is None:
            return
        try:
            with index_lock(self._directory):
                if forgotten_frames(Manifest.read(self._directory.parent).removed) == self._identity["forgotten"]:
                    self._sound = pieces.save(self._directory, self._segments, self._identity, sound=self._sound)
        except (OSError, RepositoryError):
            pass  # the directory is read-only or full: the index in memory works as well


def _merged(
    segments: list[IndexSegment], size: int, kind: Kind, build: Callable[[NDArray[np.float32], int], IndexSegment]
) -> list[IndexSegment]:
    """Merge flat segments that together fill an aligned run of `size` frames."""
    merged: list[IndexSegment] = []
    groups: dict[int, list[IndexSegment]] = {}
    for segment in segments:
        movable = segment.kind == "flat" and segment.end - segment.first < size
        groups.setdefault(segment.first // size, []).append(segment) if movable else merged.append(segment)
    for key, parts in groups.items():
        if sum(part.end - part.first for part in parts) == size:
            merged.append(build(np.concatenate([part.vectors() for part in parts]), key * size))
        else:
            merged += parts
    return sorted(merged, key=lambda part: part.first)


def _identity(snapshot: MemorySnapshot) -> dict[str, Any]:
    return identity_of(snapshot.info, snapshot.spec, snapshot.generation, snapshot.removed)


def _require_agreement(segment: IndexSegment, snapshot: MemorySnapshot) -> None:
    """Compare one frame of a flat segment with the stored embedding. Raises ValueError."""
    if segment.kind != "flat":
        return
    low, high = np.searchsorted(snapshot.ids, (segment.first, segment.end))
    if high > low:
        frame = int(snapshot.ids[high - 1])
        try:
            stored = stored_vectors(snapshot, frame, frame + 1)[0]
        except UnreachableFrames:
            return  # nothing to compare with now
        if not float(np.abs(segment.index.reconstruct(frame - segment.first) - stored).max()) <= 1e-3:  # or NaN
            raise ValueError(f"{segment.file}: frame {frame} differs from the stored embedding")


def _remembered(snapshot: MemorySnapshot, first: int, end: int) -> bool:
    """Whether any frame in [first, end) is remembered."""
    low, high = np.searchsorted(snapshot.ids, (first, end))
    return bool(high > low)


def _apart(segment: IndexSegment, snapshot: MemorySnapshot) -> NDArray[np.int64]:
    """Remembered frames of a flat segment whose vectors differ from the stored ones, ascending; none for an inverted one.

    (An evicted frame's vector is deleted with the whole segment.)
    """
    low, high = np.searchsorted(snapshot.ids, (segment.first, segment.end))
    ids = snapshot.ids[low:high]
    if segment.kind != "flat" or not len(ids):
        return ids[:0]
    stored = stored_vectors(snapshot, segment.first, segment.end)
    near = np.abs(segment.vectors() - stored).max(axis=1) <= 1e-3
    return ids[~near[ids - segment.first]]


def is_stale(directory: Path, snapshot: MemorySnapshot) -> bool:
    """Whether the files were built from another generation, or before frames were forgotten. Not damage: they are rebuilt."""
    try:
        return listed(directory)[0] != _identity(snapshot)
    except (OSError, ValueError):
        return False


def differences(directory: Path, snapshot: MemorySnapshot) -> Sequence[str]:
    """Differences between the index files and the embeddings, one line each, for `fsck`. Empty without files."""
    try:
        identity, files = listed(directory)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        return [str(error)]
    if identity != _identity(snapshot):
        return []
    found = []
    for file in files:
        try:
            segment = pieces.load(directory, file, snapshot.spec.index.width)
            apart = _apart(segment, snapshot)
            if len(apart):
                found.append(f"{file.name}: frame {apart[0]} and {len(apart) - 1} more differ from their embeddings")
            else:
                pieces.require_whole(directory, file)
        except (OSError, ValueError) as error:
            found.append(str(error))
    return found
