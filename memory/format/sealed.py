"""Sealed frames: the Zarr arrays of one camera (memory.format.layout says where they lie).

Rows are written in whole seals of SEAL_FRAMES and are final (only a removal writes a chunk anew). Arrays are allocated ahead
of their content, so their shape says nothing: the committed row count (memory.format.manifest) does. Every chunk carries a CRC-32C.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.durable import make_directory
from afterview.memory.base.errors import DamagedFrames, DamagedMemory, StoreError, UnreachableFrames
from afterview.memory.base.failpoints import reach
from afterview.memory.base.int8_tokens import Codes, dequantise
from afterview.memory.base.records import GAP_REASONS, SEAL_FRAMES, FrameRecord, Gap
from afterview.memory.base.spec import FeatureSpec
from afterview.memory.format.layout import (
    GAP_CHUNK,
    IMAGES,
    ROWS_AHEAD,
    SCALAR_CHUNK,
    SCALARS,
    TOKEN_CHUNK,
    ArrayLayout,
    downsampled_layouts,
    feature_layouts,
    gaps_layout,
    generation_name,
    is_missing,
    scalar_layout,
)
from afterview.memory.plans.downsampling import ARRAYS, Downsampled, downsampled_mask, spread

if TYPE_CHECKING:
    from afterview.memory.format.arrays import Arrays

_FIELDS = {"times": "time", "arrival_times": "arrival_time", "source_times": "source_time", "time_basis": "time_basis"}


def image_attributes(camera: Path, seal: int) -> dict[str, Any] | None:
    """`offsets` and `times` of one seal's images; None where they cannot be read."""
    try:
        about = json.loads((camera / IMAGES / str(seal) / "zarr.json").read_text())["attributes"]
        sound = are_offsets(about["offsets"]) and are_times(about["times"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return dict(about) if sound else None


def are_offsets(value: Any) -> bool:
    """Whether this can say where the images of a seal begin and end: whole numbers that ascend from 0."""
    if not isinstance(value, list) or len(value) != SEAL_FRAMES + 1 or any(type(place) is not int for place in value):
        return False
    return value[0] == 0 and all(low <= high for low, high in pairwise(value))


def are_times(value: Any) -> bool:
    """Whether these can be the times of a seal."""
    return isinstance(value, list) and len(value) == SEAL_FRAMES and all(type(at) in (int, float) for at in value)


def _missing(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of these rows [frames, ...] lie in a missing chunk."""
    return is_missing(rows.reshape(len(rows), -1)[:, 0]) if len(rows) else np.zeros(0, dtype=bool)


def _among(rows: NDArray[Any], places: NDArray[np.bool_]) -> NDArray[Any]:
    """These rows at their places among others that are yet to be filled."""
    out = np.empty((len(places), *rows.shape[1:]), dtype=rows.dtype)
    out[places] = rows
    return out


class SealedFrames:
    """The sealed rows of one camera and one generation. Reads any committed rows; a writer appends whole seals."""

    def __init__(self, camera: Path, generation: int, *, writable: bool = False) -> None:
        self._camera = camera
        self._number, self._generation = generation, generation_name(generation)
        self._writable = writable
        self.downsampled: Sequence[
            Downsampled
        ] = ()  # as far as it is known; others are found where the other tokens are missing
        self._opened: dict[str, Any] = {}

    @cached_property
    def _arrays(self) -> "Arrays":
        from afterview.memory.format.arrays import Arrays  # late: see there

        return Arrays(self._camera, writable=self._writable)

    def create(self, spec: FeatureSpec) -> None:
        """Lay out the empty arrays of a new camera."""
        make_directory(self._camera / "frames")
        self._arrays.create_group("frames")
        for name, dtype in SCALARS.items():
            self._arrays.create(f"frames/{name}", (0,), (SCALAR_CHUNK,), dtype)
        self._arrays.create("frames/gaps", (0, 4), (GAP_CHUNK, 4), "f8")
        self._arrays.create_group(IMAGES)
        self.create_generation(spec)

    def create_generation(self, spec: FeatureSpec) -> None:
        """Lay out the empty feature arrays of this generation."""
        self._arrays.create_group(self._generation)
        for layout in feature_layouts(self._number, spec):
            self._arrays.create(layout.name, (0, *layout.row), (layout.chunk, *layout.row), layout.dtype)

    # --- writing ---

    def write(self, first: int, frames: list[FrameRecord]) -> None:
        """Write one seal of rows from `first` on. Nothing of it counts until the row count is committed."""
        if first % SEAL_FRAMES or len(frames) != SEAL_FRAMES:
            raise ValueError(f"a seal is {SEAL_FRAMES} frames at a multiple of it, got {len(frames)} at {first}")
        for name, dtype in SCALARS.items():
            values = np.array([getattr(frame, _FIELDS[name]) for frame in frames], dtype=dtype)
            self._write_rows(f"frames/{name}", first, values)
        reach("seal.half-written")
        self.write_images(first // SEAL_FRAMES, [frame.image for frame in frames], [frame.time for frame in frames])
        stored = {name: np.stack([frame.stored[name] for frame in frames]) for name in frames[0].stored}
        self.write_features(first, stored, np.stack([frame.embedding for frame in frames]))

    def write_features(self, first: int, stored: Mapping[str, NDArray[Any]], embeddings: NDArray[np.float32]) -> None:
        """Write the features of whole seals from row `first` on. stored: tokens as this generation keeps them, by array."""
        self._write_rows(f"{self._generation}/embeddings", first, embeddings)
        for name, rows in stored.items():
            self._write_rows(f"{self._generation}/{name}", first, rows)

    def make_downsampled_arrays(self, end: int, spec: FeatureSpec) -> None:
        """Have the arrays of coarse tokens, with room for the frames below `end`; their chunks may be there already."""
        for layout in downsampled_layouts(self._number, spec):
            if not (self._camera / layout.name / "zarr.json").exists():
                self.create_array(layout, 0)
            self._make_room(layout.name, end)

    def write_downsampled(self, first: int, spec: FeatureSpec, stored: Mapping[str, NDArray[Any]]) -> None:
        """Write the coarse tokens of one seal beside the others. stored: as this generation keeps them, by the other arrays' names."""
        self.make_downsampled_arrays(first + SEAL_FRAMES, spec)
        for name, rows in stored.items():
            self._write_rows(f"{self._generation}/{ARRAYS[name]}", first, rows)

    def write_gaps(self, first: int, gaps: list[Gap]) -> None:
        """Write gap rows from `first` on."""
        if gaps:
            rows = [(gap.start, gap.end, gap.before_frame, GAP_REASONS.index(gap.reason)) for gap in gaps]
            self._write_rows("frames/gaps", first, np.array(rows, dtype=np.float64))

    def _write_rows(self, name: str, first: int, rows: NDArray[Any]) -> None:
        end = first + len(rows)
        self._make_room(name, end)
        self._open(name)[first:end] = rows

    def _make_room(self, name: str, end: int) -> None:
        array = self._open(name)
        if array.shape[0] < end:
            array.resize((-(-end // ROWS_AHEAD) * ROWS_AHEAD, *array.shape[1:]))

    def write_images(self, seal: int, images: Sequence[bytes], times: Sequence[float]) -> None:
        """Pack the JPEGs of one seal. Their times stand here a second time, so that a damaged chunk of 4,096 can be rebuilt."""
        offsets = np.cumsum([0, *map(len, images)]).tolist()
        blob = np.frombuffer(b"".join(images) or b"\0", dtype=np.uint8)
        self._arrays.put(f"{IMAGES}/{seal}", blob, {"offsets": offsets, "times": list(times)})

    def create_array(self, layout: ArrayLayout, rows: int) -> None:
        """An array's metadata alone, for at least `rows` rows; chunk files that are there count again."""
        ahead = -(-rows // ROWS_AHEAD) * ROWS_AHEAD
        self._arrays.create(layout.name, (ahead, *layout.row), (layout.chunk, *layout.row), layout.dtype)

    # --- reading ---

    def scalars(self, name: str, first: int, end: int) -> NDArray[Any]:
        """Rows [first, end) of one of SCALARS; those of a missing or damaged chunk are NaN (0 in time_basis)."""
        return scalar_layout(name).read(self._camera, first, end)

    def gaps(self, end: int) -> list[Gap]:
        """The first `end` gap records; damage costs only the gaps of its chunk."""
        rows = gaps_layout().read(self._camera, 0, end)
        sound = rows[np.isfinite(rows).all(axis=1)]
        return [Gap(start, stop, GAP_REASONS[int(reason)], int(frame)) for start, stop, frame, reason in sound]

    def embeddings(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [len(ids), De] of ascending frame ids. Raises DamagedFrames."""
        name = f"{self._generation}/embeddings"
        rows = self._slices(name, ids, SEAL_FRAMES)
        if _missing(rows).any():
            raise self._damaged_frames(name, ids, SEAL_FRAMES)
        return rows

    def tokens(self, ids: NDArray[np.int64]) -> NDArray[np.float16]:
        """float16 [len(ids), P, Dv] of ascending frame ids, coarse ones as often as they stand for. Raises DamagedFrames."""
        stored = self.stored(ids)
        return dequantise(Codes(stored["tokens"], stored["scales"])) if "scales" in stored else stored["tokens"]

    def stored(self, ids: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Their tokens as they are kept, by array. Raises DamagedFrames."""
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
        """Fill these places with coarse tokens: of every array, as codes and scales belong together. Raises DamagedFrames."""
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
        return (self._camera / self._generation / ARRAYS["tokens"] / "zarr.json").exists()

    def _slices(self, name: str, ids: NDArray[np.int64], chunk: int) -> NDArray[Any]:
        """Runs are read as one slice, so that a whole span is read at full speed."""
        array = self._open(name)
        out = np.empty((len(ids), *array.shape[1:]), dtype=array.dtype)
        starts = np.flatnonzero(np.diff(ids // chunk, prepend=-2) > 1).tolist()
        try:
            with self._arrays.reading_ahead(self._keys(name, np.unique(ids // chunk))):
                for start, end in zip(starts, [*starts[1:], len(ids)] if starts else [], strict=True):
                    wanted = ids[start:end]
                    first, last = int(wanted[0]), int(wanted[-1]) + 1
                    rows = self._read(name, first, last)
                    out[start:end] = rows if len(rows) == len(wanted) else rows[wanted - first]
        except DamagedMemory:
            raise self._damaged_frames(name, ids, chunk) from None
        except StoreError as error:
            raise self._unreachable(name, chunk, error) from None
        return out

    def _damaged_frames(self, name: str, ids: NDArray[np.int64], chunk: int) -> DamagedFrames:
        """Which of `ids` lie in chunks that cannot be read."""

        def sound(place: int) -> bool:
            try:
                rows = self._read(name, place * chunk, place * chunk + 1)
            except DamagedMemory:
                return False
            return stands_in or not _missing(rows).any()

        stands_in = name.rpartition("/")[2] in ARRAYS and self._has_downsampled()

        try:
            return self._lost(name, self._unreadable(ids, chunk, sound))
        except StoreError as error:
            return self._unreachable(name, chunk, error)

    def _keys(self, name: str, chunks: NDArray[np.int64]) -> list[str]:
        rest = ["0"] * (self._open(name).ndim - 1)
        return [f"{name}/{'.'.join(['c', str(chunk), *rest])}" for chunk in chunks.tolist()]

    def _unreachable(self, name: str, chunk: int, error: StoreError) -> UnreachableFrames:
        """Every frame whose chunk of this array lies on the store: none of them can be read as long as it does not answer."""
        far = self._far(name, chunk)
        kind = name.rpartition("/")[2]
        if kind in (*ARRAYS, *ARRAYS.values()):  # of a frame that is coarse its other tokens do not matter
            fine = self._far(f"{self._generation}/tokens", TOKEN_CHUNK)
            downsampled = (
                self._far(f"{self._generation}/{ARRAYS['tokens']}", SEAL_FRAMES) if self._has_downsampled() else fine
            )
            frames = min(len(fine), len(downsampled))
            known = downsampled_mask(frames, self.downsampled)
            far = fine
            far[:frames][known] = downsampled[:frames][known]
        return UnreachableFrames(str(error), np.flatnonzero(far))

    def _far(self, name: str, chunk: int) -> NDArray[np.bool_]:
        """Which rows of an array have no chunk here, bool [rows]."""
        far = np.ones(-(-self._open(name).shape[0] // chunk), dtype=bool)
        here = [entry.name.split(".") for entry in (self._camera / name).glob("c.*")]
        far[[int(parts[1]) for parts in here if parts[1].isdigit() and int(parts[1]) < len(far)]] = False
        return np.repeat(far, chunk)

    @staticmethod
    def _unreadable(ids: NDArray[np.int64], chunk: int, sound: Callable[[int], bool]) -> Iterable[int]:
        places = ids // chunk
        bad = [place for place in np.unique(places).tolist() if not sound(place)]
        lost: list[int] = ids[np.isin(places, bad)].tolist()
        return lost

    def images(self, frames: Iterable[int]) -> Iterator[bytes]:
        """The stored JPEG of each of these frames: one read for those of one seal that follow each other. Raises DamagedFrames."""
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
        """A seal's offsets and images. frame: whom it costs where they cannot be read."""
        try:
            array = self._open(name)
            offsets = array.attrs["offsets"]
            # Zarr would make room for whatever the metadata say.
            if not (are_offsets(offsets) and array.shape == array.chunks == (max(1, offsets[-1]),)):
                raise self._lost(name, [frame])
            return offsets, self._rows_of(name, array, 0, offsets[-1])
        except StoreError as error:
            raise UnreachableFrames(str(error), np.array([frame])) from None
        except (DamagedMemory, LookupError, TypeError, MemoryError):
            raise self._lost(name, [frame]) from None

    def _lost(self, name: str, frames: Iterable[int]) -> DamagedFrames:
        ids = np.array(sorted(frames), dtype=np.int64)
        some = f"frame {ids[0]}" + (f" and {len(ids) - 1} more" if len(ids) > 1 else "") if len(ids) else "nothing"
        return DamagedFrames(f"{self._camera / name}: {some} cannot be read; `afterview fsck` says what is wrong", ids)

    def _read(self, name: str, first: int, end: int) -> NDArray[Any]:
        array = self._open(name)
        if array.shape[0] < end:
            self._opened.pop(name, None)  # an open Zarr array never sees growth
            array = self._open(name)
        return self._rows_of(name, array, first, end)

    def _rows_of(self, name: str, array: Any, first: int, end: int) -> NDArray[Any]:
        try:
            rows = np.asarray(array[first:end])
        except (ValueError, OSError) as error:  # zarr says ValueError where a checksum or a length is wrong
            raise self._damaged(name, f"{error}") from error
        short = end - first - len(rows)  # coarse arrays have room for old frames alone
        return (
            np.concatenate([rows, np.full((short, *rows.shape[1:]), array.fill_value, rows.dtype)]) if short else rows
        )

    def _open(self, name: str) -> Any:
        array = self._opened.get(name)
        if array is None:
            from afterview.memory.format.arrays import ArrayError

            try:
                array = self._arrays.open(name)
            except ArrayError as error:
                raise self._damaged(name, "missing or unreadable; `afterview fsck --repair` makes it anew") from error
            if not name.startswith(IMAGES):  # one array per seal: not kept, so that memory stays flat
                self._opened[name] = array
        return array

    def _damaged(self, name: str, why: str) -> DamagedMemory:
        return DamagedMemory(f"{self._camera / name}: {why.splitlines()[0] if why else 'unreadable'}")
