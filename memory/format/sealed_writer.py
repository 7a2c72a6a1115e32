"""Writing sealed frames: whole seals at a time. Nothing of them counts until the manifest says so."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.durable import make_directory
from afterview.memory.base.failpoints import reach
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.records import GAP_REASONS, SEAL_FRAMES, FrameRecord, Gap
from afterview.memory.format.layout import (
    GAP_CHUNK,
    IMAGES,
    ROWS_AHEAD,
    SCALAR_CHUNK,
    SCALARS,
    StoredArray,
    downsampled_arrays,
    feature_arrays,
)
from afterview.memory.format.sealed import FIELDS, SealedFrames
from afterview.memory.plans.downsampling import ARRAYS


class SealedWriter(SealedFrames):
    """The sealed rows of one camera and one generation, open for writing; reads them, too. One thread at a time."""

    _writable = True

    def create(self, spec: FeatureSpec) -> None:
        """Create the empty arrays of a new camera."""
        make_directory(self._camera / "frames")
        self._zarr.create_group("frames")
        for name, dtype in SCALARS.items():
            self._zarr.create(f"frames/{name}", (0,), (SCALAR_CHUNK,), dtype)
        self._zarr.create("frames/gaps", (0, 4), (GAP_CHUNK, 4), "f8")
        self._zarr.create_group(IMAGES)
        self.create_generation(spec)

    def create_generation(self, spec: FeatureSpec) -> None:
        """Create the empty feature arrays of this generation."""
        self._zarr.create_group(self._generation)
        for array in feature_arrays(self._number, spec):
            self._zarr.create(array.name, (0, *array.row), (array.chunk, *array.row), array.dtype)

    def write(self, first: int, frames: list[FrameRecord]) -> None:
        """Write one seal of rows from `first` on."""
        if first % SEAL_FRAMES or len(frames) != SEAL_FRAMES:
            raise ValueError(f"a seal is {SEAL_FRAMES} frames at a multiple of it, got {len(frames)} at {first}")
        for name, dtype in SCALARS.items():
            values = np.array([getattr(frame, FIELDS[name]) for frame in frames], dtype=dtype)
            self._write_rows(f"frames/{name}", first, values)
        reach("seal.half-written")
        self.write_images(first // SEAL_FRAMES, [frame.image for frame in frames], [frame.time for frame in frames])
        stored = {name: np.stack([frame.stored[name] for frame in frames]) for name in frames[0].stored}
        self.write_features(first, stored, np.stack([frame.embedding for frame in frames]))

    def write_features(self, first: int, stored: Mapping[str, NDArray[Any]], embeddings: NDArray[np.float32]) -> None:
        """Write the features of whole seals from row `first` on. stored: tokens as this generation stores them, by array."""
        self._write_rows(f"{self._generation}/embeddings", first, embeddings)
        for name, rows in stored.items():
            self._write_rows(f"{self._generation}/{name}", first, rows)

    def make_downsampled_arrays(self, end: int, spec: FeatureSpec) -> None:
        """Create or grow the arrays of downsampled tokens for the frames below `end`. Their chunks may exist already."""
        for array in downsampled_arrays(self._number, spec):
            if not (self._camera / array.name / "zarr.json").exists():
                self.create_array(array, 0)
            self._make_room(array.name, end)

    def write_downsampled(self, first: int, spec: FeatureSpec, stored: Mapping[str, NDArray[Any]]) -> None:
        """Write the downsampled tokens of one seal beside the full ones. stored: by the names of the full arrays."""
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
        """Pack the JPEGs of one seal. Their times are stored here a second time, so that a damaged chunk of 4,096 can be rebuilt."""
        offsets = np.cumsum([0, *map(len, images)]).tolist()
        blob = np.frombuffer(b"".join(images) or b"\0", dtype=np.uint8)
        self._zarr.put(f"{IMAGES}/{seal}", blob, {"offsets": offsets, "times": list(times)})

    def create_array(self, array: StoredArray, rows: int) -> None:
        """Write an array's metadata for at least `rows` rows; existing chunk files belong to it."""
        ahead = -(-rows // ROWS_AHEAD) * ROWS_AHEAD
        self._zarr.create(array.name, (ahead, *array.row), (array.chunk, *array.row), array.dtype)
