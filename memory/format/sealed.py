"""Sealed frames: reading the Zarr arrays of one camera (memory.format.layout says where they are stored).

Rows are written in whole seals of SEAL_FRAMES and are final; only a removal replaces a chunk. Arrays are allocated ahead of their content,
so the manifest has the number of rows, not their shape. Every chunk carries a CRC-32C. Any number of threads may read.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.errors import (
    DamagedFrames,
    DamagedMemory,
    StoreError,
    UnreachableFrames,
    UnreachableOnStore,
    Unreadable,
    require_content,
)
from afterview.memory.base.held_directory import holder
from afterview.memory.base.int8_tokens import Codes, dequantise
from afterview.memory.base.records import GAP_REASONS, SEAL_FRAMES, Gap
from afterview.memory.format.image_packs import are_offsets, image_attributes
from afterview.memory.format.layout import (
    IMAGES,
    TOKEN_CHUNK,
    StoredArray,
    clips_array,
    gaps_array,
    generation_name,
    is_missing,
    scalar_array,
)
from afterview.memory.plans.downsampling import ARRAYS, Downsampled, downsampled_mask, spread

if TYPE_CHECKING:
    from afterview.memory.format.arrays import ZarrArrays

FIELDS = {"times": "time", "arrival_times": "arrival_time", "source_times": "source_time", "time_basis": "basis_code"}


def _missing(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of these rows [frames, ...] belong to a missing chunk."""
    return is_missing(rows.reshape(len(rows), -1)[:, 0]) if len(rows) else np.zeros(0, dtype=bool)


def _among(rows: NDArray[Any], places: NDArray[np.bool_]) -> NDArray[Any]:
    """An array with these rows at their places; the other places are not filled yet."""
    out = np.empty((len(places), *rows.shape[1:]), dtype=rows.dtype)
    out[places] = rows
    return out


class SealedFrames:
    """The sealed rows of one camera and one generation. memory.format.sealed_writer writes them."""

    _writable = False

    def __init__(self, camera: Path, generation: int) -> None:
        self._camera = camera
        self.held = holder(camera)  # kept open as long as frames may be read
        self._number, self._generation = generation, generation_name(generation)
        self.downsampled: Sequence[
            Downsampled
        ] = ()  # as far as known; others are found because their full tokens are missing
        self._opened: dict[str, Any] = {}

    @cached_property
    def _zarr(self) -> "ZarrArrays":
        from afterview.memory.format.arrays import ZarrArrays  # late, see there

        return ZarrArrays(self._camera, writable=self._writable)

    def scalars(self, name: str, first: int, end: int) -> NDArray[Any]:
        """Rows [first, end) of one of SCALARS; rows of a missing or damaged chunk are NaN (0 in time_basis)."""
        return scalar_array(name).read(self._camera, first, end)

    def clip_marks(self, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 [len(ids)] of ascending frame ids; LOOSE (0) where a chunk is missing or damaged."""
        first, end = int(ids[0]), int(ids[-1]) + 1
        marks: NDArray[np.uint8] = clips_array(self._number).read(self._camera, first, end)[ids - first]
        return marks

    def gaps(self, end: int) -> list[Gap]:
        """The first `end` gap records; a damaged chunk costs only its own gaps."""
        rows = gaps_array().read(self._camera, 0, end)
        sound = rows[np.isfinite(rows).all(axis=1)]
        return [Gap(start, stop, GAP_REASONS[int(reason)], int(frame)) for start, stop, frame, reason in sound]

    def embeddings(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [len(ids), De] of ascending frame ids. Raises DamagedFrames, UnreachableFrames."""
        name = f"{self._generation}/embeddings"
        rows = self._slices(name, ids, SEAL_FRAMES)
        if _missing(rows).any():
            raise self._unreadable_frames(name, ids, SEAL_FRAMES)
        return rows

    def tokens(self, ids: NDArray[np.int64]) -> NDArray[np.float16]:
        """float16 [len(ids), P, Dv] of ascending frame ids; a downsampled token is repeated in its cells. Raises as `stored` does."""
        stored = self.stored(ids)
        return dequantise(Codes(stored["tokens"], stored["scales"])) if "scales" in stored else stored["tokens"]

    def stored(self, ids: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Tokens as they are stored, by array. Raises DamagedFrames, UnreachableFrames."""
        chunks = {"tokens": TOKEN_CHUNK}
        if self._open(f"{self._generation}/tokens").dtype == np.int8:
            chunks["scales"] = SEAL_FRAMES
        downsampled = np.zeros(len(ids), dtype=bool)
        known = self.downsampled  # once: another thread's snapshot may replace it
        if known and len(ids):
            downsampled = downsampled_mask(int(ids[-1]) + 1, known)[ids]
        fine = ids[~downsampled]
        rows = {name: self._slices(f"{self._generation}/{name}", fine, chunk) for name, chunk in chunks.items()}
        gone = downsampled
        if len(fine):
            gone = downsampled.copy()
            gone[~downsampled] = np.logical_or.reduce([_missing(part) for part in rows.values()])
        if len(fine) < len(ids):
            rows = {name: _among(part, ~downsampled) for name, part in rows.items()}
        if gone.any():
            self._stand_in(rows, ids, np.flatnonzero(gone))
        return rows

    def _stand_in(self, rows: dict[str, NDArray[Any]], ids: NDArray[np.int64], places: NDArray[np.int64]) -> None:
        """Fill these places with downsampled tokens, in every array: codes and scales belong together. Raises as `stored` does."""
        lost = places
        if self._has_downsampled():
            downsampled = {
                name: self._slices(f"{self._generation}/{ARRAYS[name]}", ids[places], SEAL_FRAMES) for name in rows
            }
            lacking = np.logical_or.reduce([_missing(part) for part in downsampled.values()])
            found, lost = places[~lacking], places[lacking]
            for name, part in downsampled.items():
                rows[name][found] = spread(part[~lacking]) if part.ndim > 2 else part[~lacking]
        if len(lost):
            raise self._lost(f"{self._generation}/tokens", ids[lost])

    def _has_downsampled(self) -> bool:
        return os.path.exists(self._camera / self._generation / ARRAYS["tokens"] / "zarr.json")

    def _slices(self, name: str, ids: NDArray[np.int64], chunk: int) -> NDArray[Any]:
        """Rows of an array. Runs are read as one slice, so that a whole span is read at full speed."""
        array = self._open(name)
        out = np.empty((len(ids), *array.shape[1:]), dtype=array.dtype)
        starts = np.flatnonzero(np.diff(ids // chunk, prepend=-2) > 1).tolist()
        try:
            with self._zarr.reading_ahead(self._keys(name, np.unique(ids // chunk))):
                for start, end in zip(starts, [*starts[1:], len(ids)] if starts else [], strict=True):
                    wanted = ids[start:end]
                    first, last = int(wanted[0]), int(wanted[-1]) + 1
                    rows = self._read(name, first, last)
                    out[start:end] = rows if len(rows) == len(wanted) else rows[wanted - first]
        except (DamagedMemory, Unreadable):
            raise self._unreadable_frames(name, ids, chunk) from None
        except StoreError as error:
            raise self._unreachable(name, chunk, error) from None
        return out

    def _unreadable_frames(self, name: str, ids: NDArray[np.int64], chunk: int) -> DamagedFrames | UnreachableFrames:
        """The error for those of `ids` whose chunks cannot be read.

        Where the store does not answer, or the system refuses to read some, that alone is known.
        """
        refused: dict[int, Unreadable] = {}

        def sound(place: int) -> bool:
            try:
                rows = self._read(name, place * chunk, place * chunk + 1)
            except Unreadable as error:
                refused[place] = error
                return False
            except DamagedMemory:
                return False
            return stands_in or not _missing(rows).any()

        stands_in = name.rpartition("/")[2] in ARRAYS and self._has_downsampled()

        try:
            lost = self._unreadable(ids, chunk, sound)
        except StoreError as error:
            return self._unreachable(name, chunk, error)
        if refused:
            frames = ids[np.isin(ids // chunk, list(refused))]
            return UnreachableFrames(str(next(iter(refused.values()))), frames)
        return self._lost(name, lost)

    def _keys(self, name: str, chunks: NDArray[np.int64]) -> list[str]:
        rest = ["0"] * (self._open(name).ndim - 1)
        return [f"{name}/{'.'.join(['c', str(chunk), *rest])}" for chunk in chunks.tolist()]

    def _unreachable(self, name: str, chunk: int, error: StoreError) -> UnreachableFrames:
        """The error for every frame whose chunk of this array lies in the bucket: none can be read until it answers."""
        remote = self._remote_only(name, chunk)
        kind = name.rpartition("/")[2]
        if kind in (*ARRAYS, *ARRAYS.values()):  # the full tokens of a downsampled frame do not matter
            fine = self._remote_only(f"{self._generation}/tokens", TOKEN_CHUNK)
            downsampled = (
                self._remote_only(f"{self._generation}/{ARRAYS['tokens']}", SEAL_FRAMES)
                if self._has_downsampled()
                else fine
            )
            frames = min(len(fine), len(downsampled))
            known = downsampled_mask(frames, self.downsampled)
            remote = fine
            remote[:frames][known] = downsampled[:frames][known]
        return UnreachableOnStore(str(error), np.flatnonzero(remote))

    def _remote_only(self, name: str, chunk: int) -> NDArray[np.bool_]:
        """Which rows of an array have no local chunk, bool [rows]."""
        remote = np.ones(-(-self._open(name).shape[0] // chunk), dtype=bool)
        local = [entry.name.split(".") for entry in (self._camera / name).glob("c.*")]
        remote[[int(parts[1]) for parts in local if parts[1].isdigit() and int(parts[1]) < len(remote)]] = False
        return np.repeat(remote, chunk)

    @staticmethod
    def _unreadable(ids: NDArray[np.int64], chunk: int, sound: Callable[[int], bool]) -> Iterable[int]:
        places = ids // chunk
        bad = [place for place in np.unique(places).tolist() if not sound(place)]
        lost: list[int] = ids[np.isin(places, bad)].tolist()
        return lost

    def images(self, frames: Iterable[int]) -> Iterator[bytes]:
        """The stored JPEG of each of these frames; adjacent frames of one seal need one read. Raises DamagedFrames, UnreachableFrames."""
        for seal, together in groupby(frames, lambda frame: frame // SEAL_FRAMES):
            name, of_seal = f"{IMAGES}/{seal}", list(together)
            offsets, data = self._pack(name, of_seal[0])
            for frame in of_seal:
                row = frame % SEAL_FRAMES
                image = data[offsets[row] : offsets[row + 1]]
                if len(image) and not image.any():  # a missing pack reads as zeros
                    raise self._lost(name, [frame])
                yield image.tobytes()

    def _pack(self, name: str, frame: int) -> tuple[list[int], NDArray[np.uint8]]:
        """A seal's offsets and images. frame: the one that the error names if they cannot be read."""
        try:
            array = self._open(name)
            offsets = array.attrs["offsets"]
            # Checked first: Zarr allocates whatever the metadata say.
            if not (are_offsets(offsets) and array.shape == array.chunks == (max(1, offsets[-1]),)):
                raise self._lost(name, [frame])
            return offsets, self._rows_of(name, array, 0, offsets[-1])
        except StoreError as error:
            raise UnreachableOnStore(str(error), np.array([frame])) from None
        except Unreadable as error:
            raise UnreachableFrames(str(error), np.array([frame])) from None
        except (DamagedMemory, LookupError, TypeError, MemoryError):
            found = self._overwritten_pack(frame // SEAL_FRAMES)
            if found is None:
                raise self._lost(name, [frame]) from None
            return found

    def _overwritten_pack(self, seal: int) -> tuple[list[int], NDArray[np.uint8]] | None:
        """The same, if its metadata could not be read because a writer overwrites them in place (memory.format.in_place)."""
        about = image_attributes(self._camera, seal)
        if about is None:
            return None
        offsets = about["offsets"]
        pack = StoredArray(f"{IMAGES}/{seal}", max(1, offsets[-1]), (), "u1")
        return None if pack.check(self._camera, 0) else (offsets, pack.read(self._camera, 0, offsets[-1]))

    def _lost(self, name: str, frames: Iterable[int]) -> DamagedFrames:
        ids = np.array(sorted(frames), dtype=np.int64)
        some = f"frame {ids[0]}" + (f" and {len(ids) - 1} more" if len(ids) > 1 else "") if len(ids) else "nothing"
        return DamagedFrames(f"{self._camera / name}: {some} cannot be read; `afterview fsck` says why", ids)

    def _read(self, name: str, first: int, end: int) -> NDArray[Any]:
        array = self._open(name)
        if array.shape[0] < end:
            self._opened.pop(name, None)  # an open Zarr array does not notice growth
            array = self._open(name)
        return self._rows_of(name, array, first, end)

    def _rows_of(self, name: str, array: Any, first: int, end: int) -> NDArray[Any]:
        try:
            rows = np.asarray(array[first:end])
        except (ValueError, OSError) as error:  # Zarr raises ValueError for a wrong checksum or length
            require_content(error, self._camera / name)
            stored = StoredArray(name, array.chunks[0], array.shape[1:], array.dtype.str)
            if any(stored.check(self._camera, chunk) for chunk in stored.chunks(first, end)):
                raise self._damaged(name, f"{error}") from error
            return stored.read(self._camera, first, end)  # it was being overwritten in place (memory.format.in_place)
        short = end - first - len(rows)  # arrays of downsampled tokens have rows for old frames only
        return (
            np.concatenate([rows, np.full((short, *rows.shape[1:]), array.fill_value, rows.dtype)]) if short else rows
        )

    def _open(self, name: str) -> Any:
        array = self._opened.get(name)
        if array is None:
            from afterview.memory.format.arrays import ArrayError

            try:
                array = self._zarr.open(name)
            except ArrayError as error:
                require_content(error, self._camera / name)
                raise self._damaged(name, "missing or unreadable; `afterview fsck --repair` rebuilds it") from error
            if not name.startswith(IMAGES):  # one array per seal: not kept, so that memory stays flat
                self._opened[name] = array
        return array

    def _damaged(self, name: str, why: str) -> DamagedMemory:
        return DamagedMemory(f"{self._camera / name}: {why.splitlines()[0] if why else 'unreadable'}")
