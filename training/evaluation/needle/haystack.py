"""Features of background frames and of pictures, encoded once, and haystacks of any length made of them.

A haystack repeats its background frames: it is a list of row numbers, so 100,000 frames cost no more memory than 1,000. The rows are kept
in a directory, a file for every part, so an interrupted run does not encode them again.

Legend: B rows of the table, T frames of a haystack, P tokens per frame, Dv vision width, De width of the index.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from afterview.memory.base.durable import make_directory, replacing
from afterview.model.base.settings import FRAMES_PER_CLIP
from afterview.model.checkpoint.models import Encoders
from afterview.model.vision.preprocess import to_square
from afterview.training.base.errors import BenchmarkError
from afterview.training.base.progress import Report
from afterview.training.evaluation.needle.items import ItemSet, Pixels

Rows = tuple[NDArray[np.floating], NDArray[np.float32]]  # tokens, vectors
_PART: Final = 512  # frames of one file
_AT_ONCE: Final = 32  # frames that the encoders handle at a time


@dataclass(frozen=True)
class Table:
    """Rows of background frames, then those of pictures. A picture has `unit` rows: one frame, or the frames of one clip.

    tokens: [B, P, Dv]. vectors: float32 [B, De], unit vectors of the index. first: row of each picture's first frame, by key.
    """

    tokens: NDArray[np.floating]
    vectors: NDArray[np.float32]
    background: int
    first: dict[str, int]
    unit: int

    def haystack(self, frames: int, pictures: Sequence[tuple[int, str]]) -> NDArray[np.int64]:
        """Rows of a haystack of `frames` background frames with pictures before given frames: int64 [T].

        Where clips are encoded, a picture is inserted at the nearest border of two clips before that frame.
        """
        rows = np.arange(frames, dtype=np.int64) % self.background
        parts, begun = [], 0
        for place, key in sorted(pictures, key=lambda pair: pair[0]):
            border = place // self.unit * self.unit
            parts += [rows[begun:border], np.arange(self.first[key], self.first[key] + self.unit)]
            begun = border
        return np.concatenate([*parts, rows[begun:]])


def make_table(
    items: ItemSet,
    encoders: Encoders,
    directory: Path,
    *,
    bank: int,
    keys: Sequence[str] | None = None,
    report: Report = lambda done, total: None,
) -> Table:
    """Encode, or read what is in `directory` already. bank: background frames. keys: pictures that are needed; None: all.
    report: frames encoded, frames in all.

    Raises BenchmarkError if the haystack has too few frames.
    """
    unit = FRAMES_PER_CLIP if encoders.vision.spec.clip_marks else 1
    needed = list(items.pictures) if keys is None else sorted(set(keys))
    bank = bank // unit * unit
    total = bank + unit * len(needed)
    background = _kept(
        _directory(directory, "haystack", f"{items.haystack_fingerprint} {bank}", encoders),
        bank, lambda: items.haystack(bank), encoders, lambda done: report(done, total),
    )  # fmt: skip
    found = len(background[0]) // unit * unit
    if found < unit:
        raise BenchmarkError(f"{items.name}: the haystack has no frame; give a video with frames")
    place = _directory(directory, "pictures", items.fingerprint, encoders)
    pictures = []
    for number, key in enumerate(needed, 1):
        pictures.append(_picture(place, key, items, unit, encoders))
        report(bank + unit * number, total)
    tokens = np.concatenate([background[0][:found], *(picture[0] for picture in pictures)])
    vectors = np.concatenate([background[1][:found], *(picture[1] for picture in pictures)])
    return Table(tokens, vectors, found, {key: found + unit * number for number, key in enumerate(needed)}, unit)


def _picture(place: Path, key: str, items: ItemSet, unit: int, encoders: Encoders) -> Rows:
    """The rows of one picture, from its own file if it was encoded before."""
    path = place / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"
    if (kept := _read(path)) is not None:
        return kept
    made = _encode(iter([items.pictures[key]()] * unit), encoders, lambda done: None)
    make_directory(place)
    _write(path, made)
    return made


def _directory(directory: Path, what: str, fingerprint: str, encoders: Encoders) -> Path:
    """Where these rows are kept: other frames or encoders have another directory."""
    key = f"{fingerprint} {encoders.vision.spec.model_dump_json()} {encoders.index.spec.model_dump_json()}"
    return directory / f"{what}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _kept(
    directory: Path,
    count: int,
    frames: Callable[[], Iterator[Pixels]],
    encoders: Encoders,
    report: Callable[[int], None],
) -> Rows:
    make_directory(directory)
    parts: list[Rows] = []
    reading: Iterator[Pixels] | None = None
    for first in range(0, count, _PART):
        path, size = directory / f"{first:06d}.safetensors", min(_PART, count - first)
        part = _read(path)
        if part is None:
            reading = reading or islice(frames(), first, None)
            part = _encode(islice(reading, size), encoders, partial(_shift, report, first))
            if len(part[0]):
                _write(path, part)
        elif reading is not None:
            next(islice(reading, size, size), None)
        parts.append(part)
        report(first + len(part[0]))
        if len(part[0]) < size:  # the video ends
            break
    tokens, vectors = zip(*parts, strict=True)
    return np.concatenate(tokens), np.concatenate(vectors)


def _shift(report: Callable[[int], None], first: int, done: int) -> None:
    report(first + done)


def _write(path: Path, rows: Rows) -> None:
    with replacing(path) as unfinished:
        save_file({"tokens": rows[0], "vectors": rows[1]}, unfinished)


def _read(path: Path) -> Rows | None:
    if not path.exists():
        return None
    try:
        found = load_file(path)
        tokens, vectors = found["tokens"], found["vectors"]
        if tokens.ndim != 3 or vectors.ndim != 2 or len(tokens) != len(vectors):
            raise ValueError(f"its arrays have shapes {tokens.shape} and {vectors.shape}")
        return tokens, vectors
    except (SafetensorError, KeyError, OSError, ValueError) as error:
        raise BenchmarkError(f"{path}: is damaged ({error}); remove it, and its frames are encoded again") from None


def _encode(frames: Iterator[Pixels], encoders: Encoders, report: Callable[[int], None]) -> Rows:
    """Tokens and vectors of frames, both empty without any."""
    spec, side = encoders.vision.spec, encoders.index.spec.resolution
    tokens: list[NDArray[np.floating]] = [np.zeros((0, spec.tokens_per_frame, spec.width), spec.dtype)]
    vectors: list[NDArray[np.float32]] = [np.zeros((0, encoders.index.spec.width), np.float32)]
    done = 0
    while group := list(islice(frames, _AT_ONCE)):
        tokens.append(encoders.vision.encode(np.stack([to_square(rgb, spec.resolution) for rgb in group])))
        vectors.append(encoders.index.encode_images(np.stack([to_square(rgb, side) for rgb in group])))
        done += len(group)
        report(done)
    return np.concatenate(tokens), np.concatenate(vectors)
