"""Segments of a frame index: aligned runs of frames. Each is one FAISS index and one file, and final once built.

    flat    [k * 4,096, ...) and, merged, [k * 65,536, ...): every vector compared, float16 codes
    ivf     [k * 131,072, ...): 512 cells, of which the nearest are compared; only beyond EXACT_FRAMES

A vector's place in its segment is its frame id minus the segment's first. Removed frames have a zero vector and are never returned.
Writing a vector twice (small, then merged) costs less than rewriting one growing file every few thousand frames.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import google_crc32c
import numpy as np
from numpy.typing import NDArray

from afterview.configs.system_errors import reason
from afterview.memory.base.durable import write_file
from afterview.memory.base.errors import DamagedFrames
from afterview.memory.base.failpoints import reach
from afterview.memory.index.files import Kind, SegmentFile, drop_files, write_list
from afterview.memory.reading.snapshot import MemorySnapshot

SMALL, LARGE, INVERTED = 4096, 65536, 131072  # frames per segment; each a multiple of the one before
EXACT_FRAMES = 1_000_000  # an exact search of a million 1152-vectors takes 60 ms (measured); beyond, cells are searched
CELLS, PROBES = 512, 32  # cells of an inverted segment, and how many of them a search compares
_TRAIN = 64 * CELLS  # vectors; FAISS advises 39 to 256 per cell
_MORE = 8  # times as many frames are requested if the last ones have equal scores
_READ_AT_ONCE = 65536  # embeddings
_NUMBER, _PLACE = 2, 8  # bytes: of a float16 code; of the place that an inverted segment stores with each vector


@dataclass(frozen=True)
class IndexSegment:
    """Frames [first, end) and their index."""

    first: int
    end: int
    kind: Kind
    index: Any  # faiss.Index

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.kind}-{self.first}-{self.end}.faiss"

    def search(
        self, query: NDArray[np.float32], top: int, *, first: int, end: int, holes: Sequence[tuple[int, int]]
    ) -> list[tuple[float, int]]:
        """(score, frame) of the nearest frames in [first, end) outside the holes; the earliest of equal scores."""
        low, high = max(first, self.first), min(end, self.end)
        if low >= high:
            return []
        selector: Any = None
        if (low, high) != (self.first, self.end):
            selector = faiss.IDSelectorRange(low - self.first, high - self.first)
        for start, stop in holes:
            if start < high and stop > low:
                hole = faiss.IDSelectorNot(faiss.IDSelectorRange(start - self.first, stop - self.first))
                selector = faiss.IDSelectorAnd(selector, hole) if selector else hole
        wanted = min(top, high - low)
        scores, places = self._nearest(query, wanted, high - low, self._parameters(selector))
        return [
            (float(score), int(place) + self.first)
            for score, place in zip(scores, places, strict=True)
            if 0
            <= place
            < self.end - self.first  # -1: no more; and the places of an inverted segment come from its file
        ]

    def _nearest(
        self, query: NDArray[np.float32], wanted: int, most: int, parameters: Any
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The best `wanted` of at most `most`.

        Which of several equal scores FAISS leaves out depends on the segments, and an answer as of a fixed time would depend on it, too.
        So more are requested until the last one that counts scores above the last one that was found.
        """
        asked = min(wanted + 1, most)
        while True:
            scores, places = (rows[0] for rows in self.index.search(query[None], asked, params=parameters))
            decided = asked >= most or places[-1] < 0 or scores[wanted - 1] > scores[-1]
            if decided or self.kind == "ivf":  # an approximate search guarantees nothing
                order = np.lexsort((places, -scores))[:wanted]
                return scores[order], places[order]
            asked = min(_MORE * asked, most)

    def _parameters(self, selector: Any) -> Any:
        if self.kind == "ivf":
            return faiss.SearchParametersIVF(sel=selector, nprobe=PROBES)  # type: ignore[call-arg]
        return faiss.SearchParameters(sel=selector) if selector else None  # type: ignore[call-arg]

    def vectors(self) -> NDArray[np.float32]:
        """All vectors, float32 [end - first, De]; flat segments only."""
        rows: NDArray[np.float32] = self.index.reconstruct_n(0, self.end - self.first)
        return rows


def build_flat(vectors: NDArray[np.float32], first: int) -> IndexSegment:
    """An exact segment."""
    # float16 codes halve the memory; recall 1.00 against float32 on a million vectors (measured).
    index = faiss.IndexScalarQuantizer(vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.add(vectors)
    return IndexSegment(first, first + len(vectors), "flat", index)


def build_inverted(vectors: NDArray[np.float32], first: int) -> IndexSegment:
    """An approximate segment. The same vectors give the same cells."""
    width = vectors.shape[1]
    coarse = faiss.IndexFlatIP(width)
    index = faiss.IndexIVFScalarQuantizer(
        coarse, width, CELLS, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    index.train(vectors[:: max(1, len(vectors) // _TRAIN)])
    index.add(vectors)
    return IndexSegment(first, first + len(vectors), "ivf", index)


def stored_vectors(snapshot: MemorySnapshot, first: int, end: int) -> NDArray[np.float32]:
    """The embeddings of frames [first, end) by place, float32 [end - first, De]; zero for removed or damaged frames.

    Raises UnreachableFrames: such frames must not be indexed as removed.
    """
    rows = np.zeros((end - first, snapshot.spec.index.width), dtype=np.float32)
    low, high = np.searchsorted(snapshot.ids, (first, end))
    for ids in np.split(snapshot.ids[low:high], range(_READ_AT_ONCE, int(high - low), _READ_AT_ONCE)):
        try:
            rows[ids - first] = snapshot.embeddings(ids)
        except DamagedFrames as error:
            sound = np.setdiff1d(ids, error.frames)
            rows[sound - first] = snapshot.embeddings(sound)
    return rows


# --- files ---


def save(
    directory: Path, segments: Sequence[IndexSegment], identity: dict[str, Any], *, sound: Mapping[str, SegmentFile]
) -> dict[str, SegmentFile]:
    """Write the missing files (`sound`: known to be right), then `about.json`, which names all, then delete the others.

    Returns the files by name. A crash at any moment leaves the old list with all its files, or the new one. Call it with `index_lock` held.
    """
    files = {}
    for segment in segments:
        known = sound.get(segment.file) if (directory / segment.file).exists() else None
        files[segment.file] = known or _write(directory, segment)
    write_list(directory, identity, list(files.values()))
    reach("index.after-about")
    drop_files(directory, keep=set(files))
    return files


def _write(directory: Path, segment: IndexSegment) -> SegmentFile:
    reach("index.before-segment")
    data = faiss.serialize_index(segment.index).tobytes()
    write_file(directory / segment.file, data)
    reach("index.after-segment")
    head = data[: len(data) - _vector_bytes(segment.kind, segment.end - segment.first, segment.index.d)]
    return SegmentFile(segment.kind, segment.first, segment.end, google_crc32c.value(head), google_crc32c.value(data))


def _vector_bytes(kind: Kind, vectors: int, width: int) -> int:
    """Bytes of the vectors in a segment's file. They are its end."""
    return vectors * (_NUMBER * width + (_PLACE if kind == "ivf" else 0))


def require_head(directory: Path, file: SegmentFile, width: int) -> None:
    """Raise ValueError if the part of a file that FAISS trusts is not what was written. Reads no vectors."""
    try:
        with (directory / file.name).open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            head = stream.read(max(0, size - _vector_bytes(file.kind, file.end - file.first, width)))
    except OSError as error:
        raise ValueError(f"{file.name}: cannot be read ({reason(error, directory / file.name)})") from None
    if not head:
        raise ValueError(f"{file.name}: is too short, {size} bytes")
    if file.head not in (None, google_crc32c.value(head)):
        raise ValueError(f"{file.name}: fails its checksum")


def require_whole(directory: Path, file: SegmentFile) -> None:
    """Raise ValueError if a file is not what was written. Reads all of it."""
    if file.whole not in (None, google_crc32c.value((directory / file.name).read_bytes())):
        raise ValueError(f"{file.name}: fails its checksum")


def load(directory: Path, file: SegmentFile, width: int) -> IndexSegment:
    """Read one segment; its vectors stay on the disk until they are needed. Raises ValueError if the file is damaged."""
    require_head(directory, file, width)
    kind, first, end, path = file.kind, file.first, file.end, directory / file.name
    try:
        index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP if kind == "ivf" else faiss.IO_FLAG_MMAP_IFC)
    except (RuntimeError, MemoryError) as error:  # the list of an earlier version has no checksums
        raise ValueError(f"{path.name}: {str(error).splitlines()[0]}") from None
    if index is None:  # FAISS returns this for a file of that kind
        raise ValueError(f"{path.name}: holds no index")
    if kind == "ivf":
        # FAISS would start 32 threads per search to read ahead (3 ms per search, measured); the page cache does that.
        lists: Any = faiss.downcast_InvertedLists(index.invlists)
        lists.prefetch_nthread = 0
    if index.ntotal != end - first or index.d != width:
        raise ValueError(f"{path.name}: holds {index.ntotal} vectors of {index.d}, expected {end - first} of {width}")
    return IndexSegment(first, end, kind, index)
