"""Where the sealed rows of a camera are stored: arrays, chunk sizes, chunk files. Only this module knows the file names.

    frames/         times, arrival_times, source_times f64 [N]; time_basis u8 [N]; images/K u8 [bytes] with its offsets;
                    gaps f64 [G, 4]: start, end, before_frame, reason
    generation-N/   tokens [N, P, Dv], float16, or int8 with scales f16 [N, Dv]; embeddings f32 [N, De];
                    coarse, coarse_scales: downsampled tokens of old frames, whose full tokens are deleted;
                    clips u8 [N]: the place of each frame in its clip, where tokens are merged in clips (memory.plans.clip_marks)

A chunk is one file ARRAY/c.K (c.K.0.0 for tokens): rows [K * size, (K + 1) * size), then a CRC-32C.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from afterview.configs.system_errors import is_misplaced, reason
from afterview.memory.base.errors import Unreadable
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.int8_tokens import MISSING_CODE
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.format.in_place import read_overwritten
from afterview.memory.plans.downsampling import ARRAYS, FEWER

TOKEN_CHUNK = 16  # frames; a single frame is read 4 times faster than from chunks of 64 (measured, 64x1152 float16)
SCALAR_CHUNK = (
    4096  # rows; the times of 30 days are 633 files, not 40,500. A chunk is replaced atomically while it fills
)
GAP_CHUNK = 1024  # rows
ROWS_AHEAD = 4096  # rows allocated at a time, so that array metadata is written once per so many frames

SCALARS = {"times": "f8", "arrival_times": "f8", "source_times": "f8", "time_basis": "u1"}
IMAGES = "frames/images"
MISSING = "is missing"  # what is wrong with a chunk without a file


def generation_name(number: int) -> str:
    """The directory of generation `number`."""
    return f"generation-{number}"


def journal_name(generation: int) -> str:
    """The journal's file. Each generation has its own, so that one commit switches sealed and unsealed features together."""
    return "journal" if generation == 1 else f"journal-{generation}"


def generations(camera: Path) -> list[int]:
    """Numbers of a camera's generations, ascending, including one that is being built. Raises Unreadable."""
    try:
        entries = [entry.name for entry in os.scandir(camera) if entry.is_dir()]
    except FileNotFoundError:
        return []
    except OSError as error:  # `glob` would find none
        raise Unreadable.from_system(error, camera) from None
    names = [name.removeprefix("generation-") for name in entries if name.startswith("generation-")]
    return sorted(int(name) for name in names if name.isdigit())


def is_replica(camera: Path, generation: int) -> bool:
    """Whether the directory only mirrors what was published (memory.sync.replica): no process ever wrote a camera there."""
    return not any(os.path.lexists(camera / name) for name in (journal_name(generation), "lock"))


def may_be_remote(key: str) -> bool:
    """Whether a file of a camera may lie in a bucket instead: a chunk of features, or a pack of images with its metadata.

    Zarr also looks for files of its older format (`.zarray`). They are nowhere, and the bucket is not asked for them.
    """
    folder, _, name = key.rpartition("/")
    if folder.startswith(f"{IMAGES}/"):
        return name.startswith("c.") or name == "zarr.json"
    return name.startswith("c.") and folder.startswith("generation-")


@dataclass(frozen=True)
class StoredArray:
    """One array: its name under the camera's directory, rows per chunk, and the shape and type of a row."""

    name: str
    chunk: int
    row: tuple[int, ...]
    dtype: str

    def file(self, camera: Path, chunk: int) -> Path:
        """The file of a chunk."""
        return camera / self.name / ".".join(["c", str(chunk), *["0"] * len(self.row)])

    def chunks(self, first: int, end: int) -> range:
        """The chunks that hold rows [first, end)."""
        return range(first // self.chunk, -(-end // self.chunk))

    @property
    def chunk_bytes(self) -> int:
        """Size of a chunk file."""
        return self.chunk * int(np.prod(self.row, dtype=np.int64)) * np.dtype(self.dtype).itemsize + 4

    def check(self, camera: Path, chunk: int) -> str | None:
        """What is wrong with a chunk's file, or None. Raises Unreadable."""
        return self._load(camera, chunk)[1]

    def rows(self, camera: Path, chunk: int) -> NDArray[Any]:
        """All rows of a chunk that `check` found sound."""
        return self._shaped(self._load(camera, chunk)[0])

    def read(self, camera: Path, first: int, end: int) -> NDArray[Any]:
        """Rows [first, end); those of a missing or damaged chunk are NaN (0 for integers). Raises Unreadable."""
        rows = np.full((end - first, *self.row), np.nan if self.dtype.startswith("f") else 0, dtype=self.dtype)
        for chunk in self.chunks(first, end):
            begin = chunk * self.chunk
            low, high = max(first, begin), min(end, begin + self.chunk)
            data, wrong = self._load(camera, chunk)
            if wrong is None:
                rows[low - first : high - first] = self._shaped(data)[low - begin : high - begin]
        return rows

    def _load(self, camera: Path, chunk: int) -> tuple[bytes, str | None]:
        path = self.file(camera, chunk)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return b"", MISSING
        except OSError as error:
            if not is_misplaced(error):  # nothing is known about the rows, so they are not lost
                raise Unreadable.from_system(error, path) from None
            return b"", f"cannot be read ({reason(error, path)})"
        if len(data) != self.chunk_bytes:
            return b"", f"has {len(data)} bytes instead of {self.chunk_bytes}"
        if not checksum_holds(data):
            data = read_overwritten(camera, self.file(camera, chunk))
        return (data[:-4], None) if checksum_holds(data) else (b"", "fails its checksum")

    def _shaped(self, data: bytes) -> NDArray[Any]:
        return np.frombuffer(data, dtype=self.dtype).reshape(self.chunk, *self.row)


def missing_value(dtype: str) -> float:
    """The value that rows of a missing chunk have. It is never stored."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return np.nan
    return MISSING_CODE if kind == np.int8 else 255


def is_missing(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values of feature rows belong to a missing chunk."""
    return np.isnan(rows) if rows.dtype.kind == "f" else rows == MISSING_CODE


def checksum_holds(data: bytes) -> bool:
    """Whether the last four bytes are the CRC-32C of the others."""
    return google_crc32c.value(data[:-4]).to_bytes(4, "little") == data[-4:]


def with_checksum(data: bytes) -> bytes:
    """`data` and its CRC-32C: the content of a chunk file."""
    return data + google_crc32c.value(data).to_bytes(4, "little")


def scalar_array(name: str) -> StoredArray:
    """One of SCALARS: an array of one number per frame."""
    return StoredArray(f"frames/{name}", SCALAR_CHUNK, (), SCALARS[name])


def scalar_arrays() -> Iterator[StoredArray]:
    """All of SCALARS."""
    return map(scalar_array, SCALARS)


def gaps_array() -> StoredArray:
    """The gap records: start, end, before_frame, reason."""
    return StoredArray("frames/gaps", GAP_CHUNK, (4,), "f8")


def feature_arrays(generation: int, spec: FeatureSpec) -> tuple[StoredArray, ...]:
    """Tokens and embeddings of a generation, scales for int8 tokens, and marks of clips."""
    name, tokens = generation_name(generation), spec.tokens
    row = (tokens.tokens_per_frame, tokens.width)
    embeddings = StoredArray(f"{name}/embeddings", SEAL_FRAMES, (spec.index.width,), "float32")
    clips = (clips_array(generation),) if tokens.clip_marks else ()
    if tokens.storage == "float16":
        return StoredArray(f"{name}/tokens", TOKEN_CHUNK, row, tokens.dtype), embeddings, *clips
    # Scales are small: one file per seal, like embeddings.
    scales = StoredArray(f"{name}/scales", SEAL_FRAMES, (tokens.width,), "float16")
    return StoredArray(f"{name}/tokens", TOKEN_CHUNK, row, "int8"), scales, embeddings, *clips


def clips_array(generation: int) -> StoredArray:
    """The clip marks of a generation: small, and read for a whole span, so stored like times."""
    return StoredArray(f"{generation_name(generation)}/clips", SCALAR_CHUNK, (), "uint8")


def downsampled_arrays(generation: int, spec: FeatureSpec) -> tuple[StoredArray, ...]:
    """Tokens (and scales) of downsampled frames. The arrays are created when they are first needed."""
    name, tokens = generation_name(generation), spec.tokens
    row = (tokens.tokens_per_frame // FEWER, tokens.width)
    if tokens.storage == "float16":
        return (StoredArray(f"{name}/{ARRAYS['tokens']}", SEAL_FRAMES, row, tokens.dtype),)
    scales = StoredArray(f"{name}/{ARRAYS['scales']}", SEAL_FRAMES, (tokens.width,), "float16")
    return StoredArray(f"{name}/{ARRAYS['tokens']}", SEAL_FRAMES, row, "int8"), scales
