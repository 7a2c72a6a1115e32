"""The frame index: which frames look like a text. FAISS over the embeddings of one camera, exact (inner product).

It is a cache: rebuilt from the embeddings whenever its file is missing or disagrees with them. Threads: FAISS crashes when
one thread adds while another searches, so every call holds this index's one lock.
"""

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from memory.durable import fsync_directory, write_file
from memory.reader import MemorySnapshot

_SAVE_EVERY = 4096  # frames added before the file is written anew
_READ_AT_ONCE = 65536  # embeddings


@dataclass(frozen=True)
class Hit:
    """A frame and its cosine similarity to the query."""

    frame: int
    score: float


class FrameIndex:
    """Index of one camera's frames. `catch_up` before `search`; both may be called from any thread."""

    def __init__(self, directory: Path | None) -> None:
        """directory: the camera's `index/`, or None to keep the index in memory only."""
        self._directory = directory
        self._lock = threading.Lock()
        self._index: faiss.Index | None = None
        self._saved = 0
        self.rebuilt: str | None = None  # why the file on disk was not used

    @property
    def frames(self) -> int:
        """Frames indexed."""
        return self._index.ntotal if self._index is not None else 0

    def catch_up(self, snapshot: MemorySnapshot, *, save: bool = False) -> None:
        """Add what the snapshot holds and the index does not. Writes the file when asked, or after many additions."""
        with self._lock:
            if self._index is None:
                self._index = self._load(snapshot) or _empty(snapshot.spec.index.width)
                self._saved = self._index.ntotal
            while self._index.ntotal < snapshot.frames:
                first = self._index.ntotal
                self._index.add(snapshot.embeddings(first, min(first + _READ_AT_ONCE, snapshot.frames)))
            late = self._index.ntotal - self._saved
            if late >= _SAVE_EVERY or (save and late):
                self._save(snapshot)

    def search(self, query: NDArray[np.float32], top: int, *, first: int, end: int) -> list[Hit]:
        """The `top` frames of [first, end) nearest to `query` [De] (unit norm), best first; ties by frame id."""
        with self._lock:
            if self._index is None or end <= first or top < 1:
                return []
            only = faiss.IDSelectorRange(first, end)
            scores, ids = self._index.search(
                query[None], min(top, end - first), params=faiss.SearchParameters(sel=only)
            )
        found = [(float(score), int(frame)) for score, frame in zip(scores[0], ids[0], strict=True) if frame >= 0]
        return [Hit(frame, score) for score, frame in sorted(found, key=lambda pair: (-pair[0], pair[1]))]

    # --- the file ---

    def _load(self, snapshot: MemorySnapshot) -> "faiss.Index | None":
        if self._directory is None:
            return None
        try:
            about = json.loads((self._directory / "about.json").read_text())
            index = faiss.read_index(str(self._directory / about["file"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            self.rebuilt = f"unreadable ({type(error).__name__})"
            return None
        self.rebuilt = _disagreement(index, about, snapshot)
        return None if self.rebuilt else index

    def _save(self, snapshot: MemorySnapshot) -> None:
        """New file, then `about.json` naming it, then the old file goes: a crash leaves a whole index or none."""
        if self._directory is None or self._index is None:
            return
        try:
            self._directory.mkdir(exist_ok=True)
            name = f"{self._index.ntotal}.{os.getpid()}.faiss"
            path = self._directory / name
            faiss.write_index(self._index, str(path))
            with path.open("rb") as file:
                os.fsync(file.fileno())
            about = {"file": name, "frames": self._index.ntotal, **_identity(snapshot)}
            write_file(self._directory / "about.json", json.dumps(about).encode())
            for old in self._directory.glob("*.faiss"):
                if old.name != name:
                    old.unlink(missing_ok=True)
            fsync_directory(self._directory)
            self._saved = self._index.ntotal
        except (OSError, RuntimeError):
            pass  # a cache in a read-only or full directory: the index in memory serves as well


def _empty(width: int) -> faiss.Index:
    # float16 codes halve the memory; recall 1.00 against float32 on a million vectors (measured).
    return faiss.IndexScalarQuantizer(width, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)


def _identity(snapshot: MemorySnapshot) -> dict[str, object]:
    return {"generation": snapshot.generation, "weights": snapshot.spec.index.weights, "created": snapshot.info.created}


def _disagreement(index: faiss.Index, about: dict[str, object], snapshot: MemorySnapshot) -> str | None:
    """Why a loaded index cannot be used for this snapshot's camera, or None."""
    if {key: about.get(key) for key in _identity(snapshot)} != _identity(snapshot):
        return "belongs to another generation or camera"
    if index.d != snapshot.spec.index.width or index.ntotal != about.get("frames"):
        return (
            f"holds {index.ntotal} vectors of {index.d}, expected {about.get('frames')} of {snapshot.spec.index.width}"
        )
    if index.ntotal and index.ntotal <= snapshot.frames:
        last = index.ntotal - 1
        stored = snapshot.embeddings(last, last + 1)[0]
        if float(np.abs(index.reconstruct(last) - stored).max()) > 1e-3:
            return f"frame {last} differs from the stored embedding"
    return None
