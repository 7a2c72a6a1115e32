"""A span of a camera as one file: features, times, images. For moving to another machine, and for training without a memory.

The file is a safetensors file (8 bytes of header length, JSON, raw arrays). It is streamed, so exporting a day uses little RAM:

    times, arrival_times, source_times f64 [T]; time_basis u8 [T]; pictures_damaged u8 [T] (if any is); embeddings f32 [T, De];
    tokens f16 [T, P, Dv], or i8 with scales f16 [T, Dv]: a token is then code * scale, rounded to float16 (memory.base.int8_tokens);
    images u8 [bytes], image_offsets i64 [T + 1]; gaps f64 [G, 4] (start, end, before which of these frames, reason)
    clips u8 [T] where tokens are merged in clips (memory.plans.clip_marks)
    metadata: format, checksum (CRC-32C of the whole file, with zeros instead of its eight digits), camera (JSON), spec (JSON)
"""

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from afterview.configs import ConfigError, load_mapping, why_unreadable
from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.durable import replacing
from afterview.memory.base.errors import DamagedMemory, FormatMismatch
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.int8_tokens import Codes, dequantise
from afterview.memory.base.records import GAP_REASONS, FrameRecord, Gap, TimeBasis
from afterview.memory.plans.clip_marks import whole_clips
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.memory.writing.repository import Repository

FORMAT = "afterimage-span-1"
_DAMAGED, _CLIPS = "pictures_damaged", "clips"
_NO_CHECKSUM = "crc32c:00000000"
_AT_ONCE = 256  # frames
_BLOCK = 1 << 20  # bytes
_TYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "int8": "I8", "uint8": "U8", "int64": "I64"}

Progress = Callable[[int, int], None]  # frames done, frames in all


def export_span(
    snapshot: MemorySnapshot, first: int, end: int, path: Path, progress: Progress = lambda done, total: None
) -> int:
    """Write rows [first, end) of a snapshot to `path`; returns the number of frames.

    Raises DamagedFrames if one cannot be read, StoreError if its store cannot be used, OSError.
    """
    ids = snapshot.ids[first:end]
    offsets = np.cumsum([0, *map(len, snapshot.images(ids))]).astype(np.int64)
    gaps = _gap_rows(snapshot, ids)
    spec, count = snapshot.spec, len(ids)
    shapes: list[tuple[str, str, tuple[int, ...]]] = [
        ("arrival_times", "float64", (count,)), ("embeddings", "float32", (count, spec.index.width)), ("gaps", "float64", gaps.shape),
        ("image_offsets", "int64", (count + 1,)), ("images", "uint8", (int(offsets[-1]),)), ("source_times", "float64", (count,)),
        ("time_basis", "uint8", (count,)), ("times", "float64", (count,)), *_token_shapes(spec, count),
    ]  # fmt: skip
    whole: dict[str, NDArray[Any]] = {"gaps": gaps, "image_offsets": offsets}
    damaged = snapshot.pictures_damaged(ids) if count else np.zeros(0, dtype=bool)
    if damaged.any():  # earlier versions ignore it
        shapes.append((_DAMAGED, "uint8", (count,)))
        whole[_DAMAGED] = damaged
    if spec.tokens.clip_marks:
        shapes.append((_CLIPS, "uint8", (count,)))
        whole[_CLIPS] = _whole_clips_only(snapshot, ids)
    about = {"camera": json.dumps(asdict(snapshot.info)), "spec": json.dumps(spec.document())}
    with replacing(path) as temporary, temporary.open("wb") as raw:
        header, file = _header(shapes, {"format": FORMAT, "checksum": _NO_CHECKSUM, **about}), _Summed(raw)
        file.write(header)
        for name, dtype, _ in shapes:
            if name in whole:
                file.write(np.ascontiguousarray(whole[name], dtype=dtype).tobytes())
                continue
            for start in range(0, count, _AT_ONCE):
                file.write(_rows(snapshot, name, dtype, ids[start : start + _AT_ONCE]))
                progress(start if name == "tokens" else 0, count)
        raw.seek(header.index(_NO_CHECKSUM.encode()))
        raw.write(file.checksum.encode())
    return count


class _Summed:
    """A file that is written from beginning to end, and its checksum."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._sum = file, google_crc32c.Checksum()

    def write(self, data: bytes) -> None:
        """Append."""
        self._file.write(data)
        self._sum.update(data)

    @property
    def checksum(self) -> str:
        """As long as _NO_CHECKSUM."""
        return f"crc32c:{self._sum.digest().hex()}"


def _checksum_holds(path: Path, said: str) -> bool:
    """Whether a file has the checksum that it names."""
    found, place = google_crc32c.Checksum(), said.encode()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            if place and place in block:  # it is at the beginning of the header
                block, place = block.replace(place, _NO_CHECKSUM.encode(), 1), b""
            found.update(block)
    return f"crc32c:{found.digest().hex()}" == said


def _token_shapes(spec: FeatureSpec, count: int) -> list[tuple[str, str, tuple[int, ...]]]:
    tokens = spec.tokens
    shape = (count, tokens.tokens_per_frame, tokens.width)
    if tokens.storage == "float16":
        return [("tokens", tokens.dtype, shape)]
    return [("tokens", "int8", shape), ("scales", "float16", (count, tokens.width))]


def _gap_rows(snapshot: MemorySnapshot, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    inside = [gap for gap in snapshot.gaps if len(ids) and ids[0] < gap.before_frame <= ids[-1]]
    rows = [
        (gap.start, gap.end, np.searchsorted(ids, gap.before_frame), GAP_REASONS.index(gap.reason)) for gap in inside
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def _whole_clips_only(snapshot: MemorySnapshot, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Clip marks; frames whose clip is not all in the span belong to none."""
    marks = snapshot.clip_marks(ids)
    kept, rows = np.zeros_like(marks), whole_clips(ids, marks).rows()
    kept[rows] = marks[rows]
    return kept


def _rows(snapshot: MemorySnapshot, name: str, dtype: str, ids: NDArray[np.int64]) -> bytes:
    if name == "images":
        return b"".join(snapshot.images(ids))
    if name in ("tokens", "scales"):
        return snapshot.stored_tokens(ids)[name].tobytes()
    if name == "embeddings":
        return snapshot.embeddings(ids).tobytes()
    return np.asarray(snapshot.scalars(name, ids), dtype=dtype).tobytes()


def _header(shapes: list[tuple[str, str, tuple[int, ...]]], metadata: dict[str, str]) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata}
    offset = 0
    for name, dtype, shape in shapes:
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        header[name] = {"dtype": _TYPES[dtype], "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


class SpanFile:
    """An exported span, read piece by piece. Raises FormatMismatch or DamagedMemory for another file."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = safe_open(path, framework="numpy")
            about = self._file.metadata() or {}
        except OSError as error:
            raise DamagedMemory(f"{path}: cannot be read ({why_unreadable(error)})") from None
        except SafetensorError:
            raise FormatMismatch(f"{path}: not an exported span, or cut off; `afterview export` writes one") from None
        if about.get("format") != FORMAT:
            other = f"; its format is '{about['format']}'" if "format" in about else ""
            raise FormatMismatch(f"{path}: not an exported span of format {FORMAT}{other}")
        said = about.get("checksum")  # earlier versions wrote none
        if said is not None and not _checksum_holds(path, said):
            raise DamagedMemory(f"{path}: was damaged after the export (its checksum is wrong); export it again")
        try:
            self.info = CameraInfo(**json.loads(about["camera"]))
            self.spec = load_mapping(json.loads(about["spec"]), FeatureSpec, source=str(path))
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            reason = str(error) if isinstance(error, ConfigError) else "the description of its camera is not readable"
            raise FormatMismatch(f"{path}: {reason}; export it again") from None
        self.times: NDArray[np.float64] = self._file.get_tensor("times")

    def gaps(self) -> dict[int, Gap]:
        """Gaps by the row of the frame that ends them."""
        rows = self._file.get_tensor("gaps")
        return {
            int(before): Gap(start, end, GAP_REASONS[int(reason)], int(before)) for start, end, before, reason in rows
        }

    def frames(self) -> Iterator[FrameRecord]:
        """Every frame, in order."""
        quantised = self.spec.tokens.storage == "int8"
        names = ["tokens", "embeddings", "images", *(["scales"] if quantised else [])]
        slices = {name: self._file.get_slice(name) for name in names}
        arrival, source, basis = (
            self._file.get_tensor(name) for name in ("arrival_times", "source_times", "time_basis")
        )
        marked = _DAMAGED in self._file.keys()  # noqa: SIM118 (not a dict)
        damaged = self._file.get_tensor(_DAMAGED) if marked else np.zeros(len(self.times), dtype=np.uint8)
        clips = self._file.get_tensor(_CLIPS).tolist() if self.spec.tokens.clip_marks else [None] * len(self.times)
        offsets = self._file.get_tensor("image_offsets")
        for start in range(0, len(self.times), _AT_ONCE):
            stop = min(start + _AT_ONCE, len(self.times))
            tokens, embeddings = slices["tokens"][start:stop], slices["embeddings"][start:stop]
            codes = Codes(tokens, slices["scales"][start:stop]) if quantised else None
            tokens = dequantise(codes) if codes else tokens
            blob = (
                slices["images"][int(offsets[start]) : int(offsets[stop])]
                if offsets[stop] > offsets[start]
                else np.empty(0, np.uint8)
            )
            for row in range(start, stop):
                low, high = offsets[row] - offsets[start], offsets[row + 1] - offsets[start]
                yield FrameRecord(
                    time=float(self.times[row]), arrival_time=float(arrival[row]), source_time=float(source[row]),
                    time_basis=TimeBasis(int(basis[row])), image=blob[low:high].tobytes(),
                    tokens=tokens[row - start], embedding=embeddings[row - start],
                    codes=Codes(codes.codes[row - start], codes.scales[row - start]) if codes else None,
                    picture_damaged=bool(damaged[row]), clip=clips[row],
                )  # fmt: skip


def import_span(span: SpanFile, repository: Repository, progress: Progress = lambda done, total: None) -> int:
    """Append an exported span to a camera, with its gaps; returns the number of frames.

    Raises ValueError if its times do not follow the camera's newest, OSError if the disk refuses.
    """
    gaps = span.gaps()
    for number, frame in enumerate(span.frames()):
        if number in gaps:
            repository.missed(gaps[number].reason)
        repository.append(frame)
        if number % 64 == 63:
            repository.sync()
            progress(number + 1, len(span.times))
    repository.sync()
    return len(span.times)
