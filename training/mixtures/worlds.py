"""Worlds for the pipeline, composed from a bank of frames: their truth is exact, and nothing is rendered or encoded.

    DIR/short-0001.mp4          two grey pictures, as long as the world: the pipeline probes a file. Nobody looks at the pictures; the
                                captioner answers from the truth
    DIR/short-0001.truth.json   the truth, as `afterview world make` writes it
    DIR/short-0001.npy          the bank's row of every second, int32 [T]; written last

A world's events are clips of the bank (training.tiny.stories.use_clips), so the features of its frames are rows of the bank's table.
"""

import io
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.durable import make_directory, write_file
from afterview.stream.media import VideoWriter
from afterview.training.base.errors import TrainingError
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.base.seeds import seeded
from afterview.training.mixtures.plan import LengthPlan
from afterview.training.tiny.bank import Job
from afterview.training.tiny.stories import Shelf, shelf_of, use_clips
from afterview.training.world.script import make_script
from afterview.training.world.story import Script
from afterview.training.world.truth import VideoFacts, truth_of, truth_path

_LOGGER = logging.getLogger(__name__)
_TRIES: Final = 1000  # seeds of a world, until the bank has a clip of everything that it shows
_SIDE: Final = 16  # pixels of the grey pictures
_CODEC: Final = "mpeg4"


def shelves(jobs: Sequence[Job], held_out: int) -> tuple[Shelf, Shelf]:
    """The bank's clips in two: of its first seeds, to train on, and of its last `held_out` seeds. No frame is in both."""
    seeds = sorted({job.seed for job in jobs})
    later = set(seeds[len(seeds) - held_out :])
    return shelf_of([job for job in jobs if job.seed not in later]), shelf_of(
        [job for job in jobs if job.seed in later]
    )


def make_worlds(
    lengths: Mapping[str, LengthPlan], count: int, shelf: Shelf, directory: Path, *, first_seed: int,
    progress: ShowProgress = unseen,
) -> None:  # fmt: skip
    """Make `count` worlds of each length in `directory`, as far as they are not there."""
    make_directory(directory)
    wanted = list(_wanted(lengths, count, directory, first_seed))
    with progress(f"worlds {directory.parent.name}", "worlds") as report:
        for number, (path, plan, seed) in enumerate(wanted, 1):
            if not rows_path(path).exists():
                _make(path, plan, shelf, seed)
            report(number, len(wanted))


def _wanted(
    lengths: Mapping[str, LengthPlan], count: int, directory: Path, first_seed: int
) -> Iterator[tuple[Path, LengthPlan, int]]:
    for place, (name, plan) in enumerate(lengths.items()):
        for number in range(count):
            yield directory / f"{name}-{number:04d}.mp4", plan, first_seed + place * count + number


def rows_path(video: Path) -> Path:
    """The file of a world's rows."""
    return video.with_suffix(".npy")


def load_rows(video: Path) -> NDArray[np.int32]:
    """A world's rows, int32 [T]. Raises TrainingError for a missing or damaged file."""
    path = rows_path(video)
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        rows = None
    if not isinstance(rows, np.ndarray) or rows.dtype != np.int32 or rows.ndim != 1:
        raise TrainingError(f"{path}: is missing or damaged; delete {path.parent.parent}, and it is made again")
    return rows


def length_name(video: str) -> str:
    """The length that a world's file is named by."""
    return video.rpartition("-")[0]


def _make(path: Path, plan: LengthPlan, shelf: Shelf, seed: int) -> None:
    rng = seeded(f"mixtures 1, world {seed}")
    script, clips = _composed(plan, shelf, seed, rng)
    seconds = int(script.duration_s)
    _write_grey(path, seconds)
    facts = VideoFacts(start_s=0.0, end_s=float(seconds), rate=1.0, width=_SIDE, height=_SIDE, codec=_CODEC)
    write_file(truth_path(path), json.dumps(truth_of(script, facts)).encode())
    rows = bank_rows(script, clips, shelf, np.random.default_rng(rng.getrandbits(64)))
    buffer = io.BytesIO()
    np.save(buffer, rows)
    write_file(rows_path(path), buffer.getvalue())


def _composed(plan: LengthPlan, shelf: Shelf, seed: int, rng: Random) -> tuple[Script, tuple[int, ...]]:
    low, high = plan.seconds
    seconds = float(round(math.exp(rng.uniform(math.log(low), math.log(high)))))
    for attempt in range(_TRIES):
        script = make_script(seed * _TRIES + attempt, seconds, plan.world)
        try:
            return use_clips(script, shelf, rng)
        except TrainingError:  # the bank lacks something that it shows
            continue
    raise TrainingError(
        f"world {seed}: the bank has too few clips for its things; give it more seeds, or worlds fewer things"
    )


def bank_rows(script: Script, clips: Sequence[int], shelf: Shelf, draw: np.random.Generator) -> NDArray[np.int32]:
    """The bank's row of every whole second: of the clip that is shown, otherwise of an empty scene."""
    rows = np.empty(int(script.duration_s), np.int32)
    for segment in script.segments:
        first, end = math.ceil(segment.start_s), min(len(rows), math.ceil(segment.end_s))
        empty = shelf.backgrounds[segment.scene]
        rows[first:end] = empty[draw.integers(len(empty), size=max(0, end - first))]
    for event, clip in zip(script.events, clips, strict=True):
        first, end = math.ceil(event.start_s), min(len(rows), math.ceil(event.end_s))
        rows[first:end] = np.arange(clip, clip + end - first)
    return rows


def _write_grey(path: Path, seconds: int) -> None:
    picture = np.full((_SIDE, _SIDE, 3), 128, np.uint8)
    with VideoWriter(path, _SIDE, _SIDE, rate=1, codec=_CODEC) as video:
        video.write(picture, 0.0)
        video.write(picture, float(seconds - 1))
