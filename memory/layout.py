"""Where the sealed rows of a camera lie: arrays, chunk sizes, chunk files. The one place that knows the file names.

    frames/         times, arrival_times, source_times f64 [N]; time_basis u8 [N]; images/K u8 [bytes] with its offsets;
                    gaps f64 [G, 4]: start, end, before_frame, reason
    generation-N/   tokens [N, P, Dv]; embeddings f32 [N, De]

A chunk is one file ARRAY/c.K (c.K.0.0 for tokens): rows [K * size, (K + 1) * size), then a CRC-32C.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

SEAL_FRAMES = 64  # frames; 9.4 MB of published tokens: large enough to write once, small enough to hold in the journal
TOKEN_CHUNK = (
    16  # frames; one frame out of many is read 4 times faster than from chunks of 64 (measured, 64x1152 float16)
)
SCALAR_CHUNK = (
    4096  # rows; so that the times of 30 days are 633 files, not 40,500. Rewritten (atomically) while it fills
)
GAP_CHUNK = 1024  # rows
ROWS_AHEAD = 4096  # rows allocated at a time: one write of array metadata per so many frames

SCALARS = {"times": "f8", "arrival_times": "f8", "source_times": "f8", "time_basis": "u1"}
IMAGES = "frames/images"


def generation_name(number: int) -> str:
    """The directory of generation `number`."""
    return f"generation-{number}"


def journal_name(generation: int) -> str:
    """The journal's file: each generation has its own, so that one commit switches features sealed and not sealed together."""
    return "journal" if generation == 1 else f"journal-{generation}"


def generations(camera: Path) -> list[int]:
    """Numbers of the generations that a camera has, ascending; one that is still being built included."""
    names = [entry.name.removeprefix("generation-") for entry in camera.glob("generation-*") if entry.is_dir()]
    return sorted(int(name) for name in names if name.isdigit())


@dataclass(frozen=True)
class ArrayLayout:
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
        """What is wrong with a chunk's file, or None."""
        try:
            data = self.file(camera, chunk).read_bytes()
        except FileNotFoundError:
            return "is missing"
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        if len(data) != self.chunk_bytes:
            return f"has {len(data)} bytes instead of {self.chunk_bytes}"
        return None if checksum_holds(data) else "fails its checksum"

    def rows(self, camera: Path, chunk: int) -> NDArray[np.generic]:
        """All rows of a chunk that `check` found sound."""
        data = self.file(camera, chunk).read_bytes()[:-4]
        return np.frombuffer(data, dtype=self.dtype).reshape(self.chunk, *self.row)


def checksum_holds(data: bytes) -> bool:
    """The last four bytes are the CRC-32C of those before."""
    return google_crc32c.value(data[:-4]).to_bytes(4, "little") == data[-4:]


def with_checksum(data: bytes) -> bytes:
    """`data` and its CRC-32C: the content of a chunk file."""
    return data + google_crc32c.value(data).to_bytes(4, "little")


def scalar_layouts() -> Iterator[ArrayLayout]:
    """The arrays of one number per frame."""
    for name, dtype in SCALARS.items():
        yield ArrayLayout(f"frames/{name}", SCALAR_CHUNK, (), dtype)


def feature_layouts(
    generation: int, tokens_row: tuple[int, int], dtype: str, embedding: int
) -> tuple[ArrayLayout, ArrayLayout]:
    """Tokens and embeddings of a generation. tokens_row: (tokens per frame, width); embedding: its width."""
    name = generation_name(generation)
    return (
        ArrayLayout(f"{name}/tokens", TOKEN_CHUNK, tokens_row, dtype),
        ArrayLayout(f"{name}/embeddings", SEAL_FRAMES, (embedding,), "float32"),
    )
