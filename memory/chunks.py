"""Sealed frames: the Zarr arrays of one camera.

Rows are written in whole seals of SEAL_FRAMES and are final (only `forget` writes a chunk anew). Arrays are allocated ahead
of their content, so their shape says nothing: the committed row count (memory.commit) does. Every chunk carries a CRC32C.

    frames/         times, arrival_times, source_times f64 [N]; time_basis u8 [N]; images/K u8 [bytes] with its offsets;
                    gaps f64 [G, 4]: start, end, before_frame, reason
    generation-N/   tokens [N, P, Dv]; embeddings f32 [N, De]
"""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from memory.durable import make_directory, write_file
from memory.errors import DamagedMemory
from memory.records import GAP_REASONS, FrameRecord, Gap, TimeBasis
from memory.spec import FeatureSpec

SEAL_FRAMES = 64  # frames; 9.4 MB of published tokens: large enough to write once, small enough to hold in the journal
TOKEN_CHUNK = (
    16  # frames; one frame out of many is read 4 times faster than from chunks of 64 (measured, 64x1152 float16)
)
SCALAR_CHUNK = (
    4096  # rows; so that the times of 30 days are 633 files, not 40,500. Rewritten (atomically) while it fills
)
_AHEAD = 4096  # rows allocated at a time: one write of array metadata per so many frames

SCALARS = {"times": "f8", "arrival_times": "f8", "source_times": "f8", "time_basis": "u1"}


class DurableStore(LocalStore):
    """A local Zarr store whose every write has reached the disk when it returns (LocalStore renames but never fsyncs)."""

    async def set(self, key: str, value: Buffer) -> None:
        """Write `value` at `key`: atomic and durable."""
        self._check_writable()
        await asyncio.to_thread(self._put, self.root / key, value)

    @staticmethod
    def _put(path: Path, value: Buffer) -> None:
        make_directory(path.parent)
        write_file(path, value.to_bytes())


class SealedFrames:
    """The sealed rows of one camera and one generation. Reads any committed rows; a writer appends whole seals."""

    def __init__(self, camera: Path, generation: int, *, writable: bool = False) -> None:
        self._camera = camera
        self._generation = f"generation-{generation}"
        self._store = DurableStore(camera, read_only=not writable)
        self._arrays: dict[str, Any] = {}

    def create(self, spec: FeatureSpec) -> None:
        """Lay out the empty arrays of a new camera."""
        zarr.create_group(self._store, path="frames")
        for name, dtype in SCALARS.items():
            self._create(f"frames/{name}", (0,), (SCALAR_CHUNK,), dtype)
        self._create("frames/gaps", (0, 4), (1024, 4), "f8")
        zarr.create_group(self._store, path="frames/images")
        zarr.create_group(self._store, path=self._generation)
        width, tokens = spec.index.width, spec.tokens
        self._create(f"{self._generation}/embeddings", (0, width), (SEAL_FRAMES, width), "f4")
        shape = (tokens.tokens_per_frame, tokens.width)
        self._create(f"{self._generation}/tokens", (0, *shape), (TOKEN_CHUNK, *shape), tokens.dtype)

    def _create(self, path: str, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: str) -> None:
        # NaN is never stored in tokens, embeddings or times, so it marks a chunk whose file is missing.
        zarr.create_array(
            self._store, name=path, shape=shape, chunks=chunks, dtype=dtype, compressors=[Crc32cCodec()],
            fill_value=0 if dtype == "u1" else np.nan, config={"write_empty_chunks": True},
        )  # fmt: skip

    # --- writing ---

    def write(self, first: int, frames: list[FrameRecord]) -> None:
        """Write one seal of rows from `first` on. Nothing of it counts until the row count is committed."""
        if first % SEAL_FRAMES or len(frames) != SEAL_FRAMES:
            raise ValueError(f"a seal is {SEAL_FRAMES} frames at a multiple of it, got {len(frames)} at {first}")
        for name, dtype in SCALARS.items():
            field = {"times": "time", "arrival_times": "arrival_time", "source_times": "source_time"}.get(name, name)
            values = np.array([getattr(frame, field) for frame in frames], dtype=dtype)
            self._write_rows(f"frames/{name}", first, values)
        self._write_images(first // SEAL_FRAMES, [frame.image for frame in frames])
        self._write_rows(f"{self._generation}/embeddings", first, np.stack([frame.embedding for frame in frames]))
        self._write_rows(f"{self._generation}/tokens", first, np.stack([frame.tokens for frame in frames]))

    def write_gaps(self, first: int, gaps: list[Gap]) -> None:
        """Write gap rows from `first` on."""
        if gaps:
            rows = [(gap.start, gap.end, gap.before_frame, GAP_REASONS.index(gap.reason)) for gap in gaps]
            self._write_rows("frames/gaps", first, np.array(rows, dtype=np.float64))

    def _write_rows(self, name: str, first: int, rows: NDArray[Any]) -> None:
        array, end = self._open(name), first + len(rows)
        if array.shape[0] < end:
            array.resize((-(-end // _AHEAD) * _AHEAD, *array.shape[1:]))
        array[first:end] = rows

    def _write_images(self, seal: int, images: list[bytes]) -> None:
        offsets = np.cumsum([0, *map(len, images)]).tolist()
        blob = np.frombuffer(b"".join(images), dtype=np.uint8)
        array = zarr.create_array(
            self._store, name=f"frames/images/{seal}", shape=blob.shape, chunks=blob.shape, dtype="u1",
            compressors=[Crc32cCodec()], attributes={"offsets": offsets}, overwrite=True,
        )  # fmt: skip
        array[:] = blob

    # --- reading ---

    def scalars(self, name: str, first: int, end: int) -> NDArray[Any]:
        """Rows [first, end) of one of SCALARS."""
        rows = self._read(f"frames/{name}", slice(first, end))
        if name in ("times", "arrival_times"):
            self._require_present(f"frames/{name}", rows, first)
        return rows

    def gaps(self, end: int) -> list[Gap]:
        """The first `end` gap records."""
        if not end:
            return []
        rows = self._read("frames/gaps", slice(0, end))
        return [Gap(start, stop, GAP_REASONS[int(reason)], int(frame)) for start, stop, frame, reason in rows]

    def embeddings(self, first: int, end: int) -> NDArray[np.float32]:
        """float32 [end - first, De]."""
        rows = self._read(f"{self._generation}/embeddings", slice(first, end))
        self._require_present(f"{self._generation}/embeddings", rows[:, 0], first)
        return rows

    def tokens(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        """[len(ids), P, Dv] of ascending frame ids. Runs are read as one slice, so that a whole span is read at full speed."""
        array = self._open(f"{self._generation}/tokens")
        out = np.empty((len(ids), *array.shape[1:]), dtype=array.dtype)
        starts = np.flatnonzero(np.diff(ids // TOKEN_CHUNK, prepend=-2) > 1).tolist()
        for start, end in zip(starts, [*starts[1:], len(ids)] if starts else [], strict=True):
            wanted = ids[start:end]
            first, last = int(wanted[0]), int(wanted[-1]) + 1
            rows = self._read(f"{self._generation}/tokens", slice(first, last))
            self._require_present(f"{self._generation}/tokens", rows[:, 0, 0], first)
            out[start:end] = rows if len(rows) == len(wanted) else rows[wanted - first]
        return out

    def image(self, frame: int) -> bytes:
        """The stored JPEG of one frame."""
        name = f"frames/images/{frame // SEAL_FRAMES}"
        offsets = self._open(name).attrs["offsets"]
        row = frame % SEAL_FRAMES
        return self._read(name, slice(None))[offsets[row] : offsets[row + 1]].tobytes()

    def time_bases(self, first: int, end: int) -> list[TimeBasis]:
        """Whose clock each of the rows [first, end) goes by."""
        return [TimeBasis(value) for value in self.scalars("time_basis", first, end)]

    def _read(self, name: str, rows: slice) -> NDArray[Any]:
        array = self._open(name)
        if rows.stop is not None and array.shape[0] < rows.stop:
            self._arrays.pop(name)  # an open Zarr array never sees growth
            array = self._open(name)
        try:
            return np.asarray(array[rows])
        except (ValueError, OSError) as error:  # zarr says ValueError where a checksum or a length is wrong
            raise self._damaged(name, f"{error}") from error

    def _open(self, name: str) -> Any:
        if name not in self._arrays:
            try:
                array = zarr.open_array(self._store, path=name, mode="r" if self._store.read_only else "r+")
            except (FileNotFoundError, KeyError, ValueError, zarr.errors.BaseZarrError) as error:
                raise self._damaged(name, "missing or unreadable") from error
            if name.startswith("frames/images/"):
                return array  # one per seal: not kept, so that memory stays flat
            self._arrays[name] = array
        return self._arrays[name]

    def _require_present(self, name: str, rows: NDArray[Any], first: int) -> None:
        missing = np.flatnonzero(np.isnan(rows))
        if len(missing):
            raise self._damaged(name, f"the chunk of frame {first + int(missing[0])} is missing")

    def _damaged(self, name: str, why: str) -> DamagedMemory:
        return DamagedMemory(f"{self._camera / name}: {why.splitlines()[0] if why else 'unreadable'}")
