"""Zarr, as far as a camera needs it. Loading Zarr takes 0.2 s, which `info` and the times of a memory do without: import this late."""

import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec

from afterview.memory.format.layout import ArrayLayout, missing_value
from afterview.memory.format.zarr_store import CameraStore

_EVERY_CHUNK: Any = {"write_empty_chunks": True}  # else Zarr deletes a chunk whose every row is its fill value
_FLAT: Any = {
    "name": "default",
    "separator": ".",
}  # one file per chunk, none of the nested directories that each need an fsync

_CONFIG = threading.Lock()  # Zarr's configuration is one for all threads; each camera has a thread that writes

ArrayError = (OSError, AttributeError, KeyError, TypeError, ValueError, zarr.errors.BaseZarrError)
"""What Zarr raises for an array that is missing, damaged, or not an array."""


class Arrays:
    """The arrays under one directory: every chunk with a CRC-32C, every write durable when it returns."""

    def __init__(self, directory: Path, *, writable: bool) -> None:
        self._store, self._writable = CameraStore(directory, read_only=not writable), writable

    def create_group(self, path: str) -> None:
        """An empty group."""
        zarr.create_group(self._store, path=path)

    def create(self, path: str, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: str) -> None:
        """Lay out an array; chunk files that are there count again."""
        zarr.create_array(
            self._store, name=path, shape=shape, chunks=chunks, dtype=dtype, compressors=[Crc32cCodec()],
            fill_value=missing_value(dtype), chunk_key_encoding=_FLAT, config=_EVERY_CHUNK,
        )  # fmt: skip

    def put(self, path: str, values: NDArray[np.uint8], attributes: Mapping[str, Any]) -> None:
        """A whole array in one chunk, in place of whatever was there."""
        array = zarr.create_array(
            self._store, name=path, shape=values.shape, chunks=values.shape, dtype="u1",
            compressors=[Crc32cCodec()], attributes=dict(attributes),
            chunk_key_encoding=_FLAT, overwrite=True, config=_EVERY_CHUNK,
        )  # fmt: skip
        array[:] = values

    def open(self, path: str) -> Any:
        """The zarr.Array at `path`. Raises one of ArrayError."""
        if not self._writable:
            return zarr.open_array(self._store, path=path, mode="r")
        with _CONFIG, zarr.config.set({"array.write_empty_chunks": True}):  # open_array itself ignores it
            return zarr.open_array(self._store, path=path, mode="r+")

    def wrong(self, layout: ArrayLayout, rows: int) -> str | None:
        """What is wrong with the metadata of an array that should have so many rows, or None."""
        try:
            metadata = json.loads((self._store.root / layout.name / "zarr.json").read_text())
            chunk = metadata["chunk_grid"]["configuration"]["chunk_shape"]
            if list(chunk) != [layout.chunk, *layout.row] or np.dtype(metadata["data_type"]) != np.dtype(layout.dtype):
                return f"says chunks of {chunk} {metadata['data_type']}, expected {[layout.chunk, *layout.row]} {layout.dtype}"
            if metadata["shape"][0] < rows:
                return f"says {metadata['shape'][0]} rows, but {rows} are committed"
        except (OSError, ValueError, LookupError, TypeError) as error:
            return f"is missing or unreadable ({type(error).__name__})"
        return None if self._finds_chunks(layout) else "does not describe the chunks that are there"

    def _finds_chunks(self, layout: ArrayLayout) -> bool:
        """Whether Zarr finds the chunks of an array in its files, and knows a missing one."""
        try:
            array = self.open(layout.name)
            first = array.metadata.encode_chunk_key((0,) * array.ndim)
            missing = np.array_equal(array.fill_value, missing_value(layout.dtype), equal_nan=True)
        except ArrayError:
            return False
        return bool(first == layout.file(Path(), 0).name and missing)

    def reading_ahead(self, keys: Sequence[str]) -> AbstractContextManager[None]:
        """While these chunks are read one after the other, have those that lie on a store come in together."""
        return self._store.reading_ahead(keys)
