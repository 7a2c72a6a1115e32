"""Features of needle pictures and of a bank of the world, encoded once by the shipped tower, for the needle lessons.

Neither pixels nor the tower are needed afterwards. A picture depends only on the configuration and its number.

Legend: F frames, P tokens per frame, Dv vision width.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from afterview.configs import Schema
from afterview.memory.base.durable import replacing, write_file
from afterview.model.vision.preprocess import to_square
from afterview.model.vision.tower import GRID, VisionEncoder, pool
from afterview.training.base.progress import Report
from afterview.training.base.seeds import seeded
from afterview.training.tiny.bank import CODE, LABELS, NO_LABEL, Bank, BankConfig, Job, index_bank, plan_bank, rendered
from afterview.training.world.needles import DAY_S, NeedleCanvas, NeedlePicture, draw_picture, draw_thing
from afterview.training.world.vocabulary import SCENES

_AT_ONCE: Final = 64  # frames that the tower handles at a time
FEATURES: Final = "features.f16"
_DONE: Final = "features.done"
_KINDS: Final = ("object", "object", "object", "object", "digit", "word")  # of pictures without a clue


class PicturesConfig(Schema):
    """How many needle pictures are drawn. A job is one scene of one seed."""

    seeds: int = 30
    with_clue: int = 40  # per job
    without_clue: int = 40  # per job
    first_seed: int  # of the training split, above those of the bank


@dataclass(frozen=True)
class Gallery:
    """All needle pictures, and the row of the first one in the table of features."""

    pictures: tuple[NeedlePicture, ...]
    times: tuple[float, ...]
    first_row: int


def plan_gallery(config: PicturesConfig, first_row: int) -> Gallery:
    """All pictures in order, determined by the configuration."""
    pictures, times = [], []
    for seed in range(config.first_seed, config.first_seed + config.seeds):
        for scene in SCENES:
            rng = seeded(f"needle pictures 1, seed {seed}, {scene}")
            hours = [rng.uniform(0, 23.9) * 3600 for _ in range(8)]
            for number in range(config.with_clue + config.without_clue):
                clue = None
                if number < config.with_clue:
                    thing = draw_thing(rng, "object")
                    pair = draw_thing(rng, "object", without=[(thing["colour"], thing["shape"])])
                    clue = (pair["colour"], pair["shape"])
                else:
                    thing = draw_thing(rng, rng.choice(_KINDS))
                pictures.append(draw_picture(rng, thing, scene, clue))
                # sorted by the hour of the light, so that a lit panorama serves several
                times.append(hours[number % 8] // 300 * 300 + rng.uniform(0, 299))
    return Gallery(tuple(pictures), tuple(min(t, DAY_S - 1) for t in times), first_row)


def encode(
    bank: BankConfig, pictures: PicturesConfig, vision: VisionEncoder, directory: Path, report: Report
) -> tuple[Tensor, Bank, Gallery]:
    """The features of the bank's frames and of the pictures, float16 [F, P, Dv], with what each shows. Encoded once.

    The table lies in a file, which is mapped. An interrupted call continues with the job that it had begun.
    """
    directory.mkdir(parents=True, exist_ok=True)
    jobs = plan_bank(bank)
    frames = jobs[-1].first_frame + len(jobs[-1].times)
    gallery = plan_gallery(pictures, frames)
    shape = (frames + len(gallery.pictures), GRID * GRID, vision.spec.width)
    table = _table(directory / FEATURES, shape)
    parts: list[tuple[int, Callable[[int], Iterator[NDArray[np.uint8]]]]] = [
        *_bank_parts(bank), *_gallery_parts(pictures)
    ]  # fmt: skip
    done = _done(directory / _DONE)
    row = 0
    for number, (count, draw) in enumerate(parts, 1):
        if number > done:
            table[row : row + count] = _encoded(draw(bank.image_size), vision)
            table.flush()
            write_file(directory / _DONE, json.dumps({"jobs": number}).encode())
        row += count
        report(number, len(parts))
    labels = index_bank(jobs, np.zeros((frames, 1), np.uint8))
    return torch.from_numpy(table), _with_pictures(labels, gallery), gallery


def _done(path: Path) -> int:
    return int(json.loads(path.read_text(encoding="utf-8"))["jobs"]) if path.exists() else 0


def _table(path: Path, shape: tuple[int, int, int]) -> np.memmap[tuple[int, ...], np.dtype[np.float16]]:
    if not path.exists():
        with replacing(path) as partial:
            np.memmap(partial, np.float16, "w+", shape=shape).flush()
    return np.memmap(path, np.float16, "r+", shape=shape)


class _BankPart:
    """Draws the frames of one job of the bank."""

    def __init__(self, bank: BankConfig, job: Job, number: int) -> None:
        self._bank, self._job, self._number = bank, job, number

    def __call__(self, size: int) -> Iterator[NDArray[np.uint8]]:
        every = max(1, round(1 / self._bank.encoded)) if self._bank.encoded else 0
        encoded = bool(every) and self._number // len(SCENES) % every == 0
        yield from rendered(self._job, size, encoded=encoded)


class _GalleryPart:
    """Draws the needle pictures of one seed and scene."""

    def __init__(self, gallery: Gallery, first: int, count: int, seed: int) -> None:
        self._gallery, self._first, self._count, self._seed = gallery, first, count, seed

    def __call__(self, size: int) -> Iterator[NDArray[np.uint8]]:
        chosen = range(self._first, self._first + self._count)
        canvas = NeedleCanvas(self._seed, self._gallery.pictures[self._first].thing.scene, width=320, height=180)
        order = sorted(chosen, key=lambda number: self._gallery.times[number])
        drawn = {n: to_square(canvas.draw(self._gallery.pictures[n], self._gallery.times[n]), size) for n in order}
        yield from (drawn[number] for number in chosen)


def _bank_parts(bank: BankConfig) -> Iterator[tuple[int, _BankPart]]:
    for number, job in enumerate(plan_bank(bank)):
        yield len(job.times), _BankPart(bank, job, number)


def _gallery_parts(config: PicturesConfig) -> Iterator[tuple[int, _GalleryPart]]:
    gallery, each = plan_gallery(config, 0), config.with_clue + config.without_clue
    for number in range(config.seeds * len(SCENES)):
        yield each, _GalleryPart(gallery, number * each, each, config.first_seed + number // len(SCENES))


@torch.inference_mode()
def _encoded(frames: Iterator[NDArray[np.uint8]], vision: VisionEncoder) -> NDArray[np.float16]:
    pixels = torch.from_numpy(np.stack(list(frames)))
    like = next(vision.tower.parameters()).dtype
    parts = []
    for part in pixels.split(_AT_ONCE):
        images = (part.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        parts.append(pool(vision.run(images.to(like)), GRID).half())
    return torch.cat(parts).numpy()


def _with_pictures(bank: Bank, gallery: Gallery) -> Bank:
    """The bank with the labels of the pictures: those of the thing, not of the clue."""
    labels = np.full((len(gallery.pictures), len(LABELS)), NO_LABEL, np.int16)
    for row, picture in enumerate(gallery.pictures):
        for column, label in enumerate(LABELS):
            value = getattr(picture.thing, label)
            labels[row, column] = NO_LABEL if value is None else CODE[label][value]
    both = np.concatenate([bank.labels, labels])
    centres = np.concatenate([bank.centres, np.full((len(labels), 2), np.nan, np.float32)])
    return Bank(bank.pixels, both, centres, bank.clips, bank.backgrounds)
