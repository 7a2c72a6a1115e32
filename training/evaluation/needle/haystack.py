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
    items: ItemSet, encoders: Encoders, directory: Path, *, bank: int, report: Report = lambda done, total: None
) -> Table:
    """Encode, or read what is in `directory` already. bank: background frames. report: frames encoded, frames in all.

    Raises BenchmarkError if the haystack has too few frames.
    """
    unit = FRAMES_PER_CLIP if encoders.vision.spec.clip_marks else 1
    bank = bank // unit * unit
    total = bank + unit * len(items.pictures)
    background = _kept(
        _directory(directory, "haystack", items.haystack_fingerprint, encoders, bank),
        bank, lambda: items.haystack(bank), encoders, lambda done: report(done, total),
    )  # fmt: skip
    found = len(background[0]) // unit * unit
    if found < unit:
        raise BenchmarkError(f"{items.name}: the haystack has no frame; give a video with frames")
    pictures = _kept(
        _directory(directory, "pictures", items.fingerprint, encoders, len(items.pictures)),
        unit * len(items.pictures), lambda: _repeated(items, unit), encoders, lambda done: report(bank + done, total),
    )  # fmt: skip
    report(total, total)
    tokens = np.concatenate([background[0][:found], pictures[0]])
    vectors = np.concatenate([background[1][:found], pictures[1]])
    first = {key: found + unit * number for number, key in enumerate(items.pictures)}
    return Table(tokens, vectors, found, first, unit)


def _repeated(items: ItemSet, unit: int) -> Iterator[Pixels]:
    """Every picture, as many times as a clip has frames."""
    for draw in items.pictures.values():
        picture = draw()
        for _ in range(unit):
            yield picture


def _directory(directory: Path, what: str, fingerprint: str, encoders: Encoders, count: int) -> Path:
    """Where these rows are kept: other frames, encoders or numbers of them have another directory."""
    key = f"{fingerprint} {encoders.vision.spec.model_dump_json()} {encoders.index.spec.model_dump_json()} {count}"
    return directory / f"{what}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _kept(
    directory: Path,
    count: int,
    frames: Callable[[], Iterator[Pixels]],
    encoders: Encoders,
    report: Callable[[int], None],
) -> tuple[NDArray[np.floating], NDArray[np.float32]]:
    make_directory(directory)
    parts: list[tuple[NDArray[np.floating], NDArray[np.float32]]] = []
    reading: Iterator[Pixels] | None = None
    for first in range(0, count, _PART):
        path, size = directory / f"{first:06d}.safetensors", min(_PART, count - first)
        part = _read(path)
        if part is None:
            reading = reading or islice(frames(), first, None)
            part = _encode(islice(reading, size), encoders, partial(_shift, report, first))
            if len(part[0]):
                with replacing(path) as unfinished:
                    save_file({"tokens": part[0], "vectors": part[1]}, unfinished)
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


def _read(path: Path) -> tuple[NDArray[np.floating], NDArray[np.float32]] | None:
    if not path.exists():
        return None
    try:
        found = load_file(path)
        return found["tokens"], found["vectors"]
    except (SafetensorError, KeyError, OSError) as error:
        raise BenchmarkError(f"{path}: is damaged ({error}); remove it, and its frames are encoded again") from None


def _encode(
    frames: Iterator[Pixels], encoders: Encoders, report: Callable[[int], None]
) -> tuple[NDArray[np.floating], NDArray[np.float32]]:
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
