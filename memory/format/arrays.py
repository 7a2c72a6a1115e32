"""The Zarr arrays of a camera. Import this late: loading Zarr takes 0.2 s, and `info` and the times of a memory do not need it."""

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

from afterview.configs import why_unreadable
from afterview.memory.base.errors import require_content
from afterview.memory.format.layout import StoredArray, missing_value
from afterview.memory.format.zarr_store import CameraStore

_EVERY_CHUNK: Any = {"write_empty_chunks": True}  # otherwise Zarr deletes a chunk that holds only the fill value
_FLAT: Any = {
    "name": "default",
    "separator": ".",
}  # one file per chunk: nested directories would each need an fsync

_CONFIG = threading.Lock()  # Zarr's configuration is one for all threads; each camera has a thread that writes

ArrayError = (OSError, AttributeError, KeyError, TypeError, ValueError, zarr.errors.BaseZarrError)
"""What Zarr raises for an array that is missing or damaged."""


class ZarrArrays:
    """The arrays under one directory: every chunk with a CRC-32C, every write durable when it returns."""

    def __init__(self, directory: Path, *, writable: bool) -> None:
        self._store, self._writable = CameraStore(directory, read_only=not writable), writable

    def create_group(self, path: str) -> None:
        """An empty group."""
        zarr.create_group(self._store, path=path)

    def create(self, path: str, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: str) -> None:
        """Write an array's metadata; existing chunk files belong to it."""
        zarr.create_array(
            self._store, name=path, shape=shape, chunks=chunks, dtype=dtype, compressors=[Crc32cCodec()],
            fill_value=missing_value(dtype), chunk_key_encoding=_FLAT, config=_EVERY_CHUNK,
        )  # fmt: skip

    def put(self, path: str, values: NDArray[np.uint8], attributes: Mapping[str, Any]) -> None:
        """Replace an array by one of a single chunk."""
        opened = zarr.create_array(
            self._store, name=path, shape=values.shape, chunks=values.shape, dtype="u1",
            compressors=[Crc32cCodec()], attributes=dict(attributes),
            chunk_key_encoding=_FLAT, overwrite=True, config=_EVERY_CHUNK,
        )  # fmt: skip
        opened[:] = values

    def open(self, path: str) -> Any:
        """The zarr.Array at `path`. Raises one of ArrayError."""
        if not self._writable:
            return zarr.open_array(self._store, path=path, mode="r")
        with _CONFIG, zarr.config.set({"array.write_empty_chunks": True}):  # open_array itself ignores it
            return zarr.open_array(self._store, path=path, mode="r+")

    def wrong(self, array: StoredArray, rows: int) -> str | None:
        """What is wrong with the metadata of an array that should have that many rows, or None. Raises Unreadable."""
        path = self._store.root / array.name / "zarr.json"
        try:
            metadata = json.loads(path.read_text())
            chunk = metadata["chunk_grid"]["configuration"]["chunk_shape"]
            if list(chunk) != [array.chunk, *array.row] or np.dtype(metadata["data_type"]) != np.dtype(array.dtype):
                return f"says chunks of {chunk} {metadata['data_type']}, expected {[array.chunk, *array.row]} {array.dtype}"
            if metadata["shape"][0] < rows:
                return f"says {metadata['shape'][0]} rows, but {rows} are committed"
        except (OSError, ValueError, LookupError, TypeError) as error:
            require_content(error, path)
            return f"is missing or unreadable ({why_unreadable(error)})"
        return None if self._finds_chunks(array) else "does not describe the existing chunks"

    def _finds_chunks(self, array: StoredArray) -> bool:
        """Whether Zarr finds the array's chunk files and recognises a missing one."""
        try:
            opened = self.open(array.name)
            first = opened.metadata.encode_chunk_key((0,) * opened.ndim)
            missing = np.array_equal(opened.fill_value, missing_value(array.dtype), equal_nan=True)
        except ArrayError:
            return False
        return bool(first == array.file(Path(), 0).name and missing)

    def reading_ahead(self, keys: Sequence[str]) -> AbstractContextManager[None]:
        """While the caller reads these chunks one after the other, request those in a bucket together."""
        return self._store.reading_ahead(keys)
