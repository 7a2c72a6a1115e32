"""A bank of frames of the world: clips of every thing in every scene, and empty scenes.

Training stories are composed from it, so a training step never renders. One job renders one scene of one seed. A share
of the jobs renders at full size and goes through a real H.264 file, read by the reader that ingest uses.

Legend: F frames, C clips, S pixels per side.
"""

import math
import multiprocessing
import signal
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from afterview.configs import Schema
from afterview.model.vision.preprocess import to_square
from afterview.training.base.progress import Report
from afterview.training.base.seeds import seeded
from afterview.training.world.render import Renderer
from afterview.training.world.script import Event, Script, StorySegment, WorldConfig, place_event
from afterview.training.world.vocabulary import (
    COLOURS,
    DIGITS,
    FIRST_TRAINING_SEED,
    PLACES,
    ROWS,
    SCENES,
    SHAPES,
    SIZES,
    WORDS,
)

DAY_S: Final = 86_400.0
HOURS: Final = 12  # a job's frames are spread over this many hours of the day; the light is drawn once per hour
PIXELS: Final = "bank.pixels"  # file of the bank's frames
NO_LABEL: Final = -1
LABELS: Final = ("kind", "colour", "shape", "size", "text", "place", "scene")
VALUES: Final[dict[str, tuple[str, ...]]] = {
    "kind": ("object", "digit", "word"),
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "size": tuple(SIZES),
    "text": (*DIGITS, *WORDS),
    "place": (*PLACES, *ROWS),
    "scene": SCENES,
}
CODE: Final = {label: {value: number for number, value in enumerate(values)} for label, values in VALUES.items()}


class BankConfig(Schema):
    """Size of the bank. A job is one scene of one seed."""

    seeds: int = 240
    clips: int = 40  # per job
    backgrounds: int = 60  # per job
    image_size: int = 128  # pixels
    encoded: float = 0.34  # share of the jobs that render at 640x360 and go through H.264
    first_seed: int = FIRST_TRAINING_SEED
    workers: int = 0  # worker processes; 0: one per core


@dataclass(frozen=True)
class Job:
    """One scene of one seed, and the place of its frames in the bank."""

    seed: int
    scene: str
    first_frame: int
    times: tuple[float, ...]  # story times of its frames
    script: Script


@dataclass(frozen=True)
class Bank:
    """pixels uint8 [F, S, S, 3]. labels int16 [F, len(LABELS)], NO_LABEL if a frame has none. centres float32 [F, 2], NaN without event.

    clips: (event, first frame). backgrounds: frames by scene.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int16]
    centres: NDArray[np.float32]
    clips: tuple[tuple[Event, int], ...]
    backgrounds: dict[str, NDArray[np.int64]]


def plan_bank(config: BankConfig) -> list[Job]:
    """All jobs, determined by the configuration."""
    jobs: list[Job] = []
    done = 0
    for number in range(config.seeds):
        for scene in SCENES:
            job = plan_job(config.first_seed + number, scene, config, done)
            done += len(job.times)
            jobs.append(job)
    return jobs


def make_bank(config: BankConfig, directory: Path, report: Report | None = None) -> Bank:
    """Render the bank. Its pixels are in a memory-mapped file in `directory`. report: jobs done, jobs in all."""
    jobs = plan_bank(config)
    path, shape = directory / PIXELS, shape_of(jobs, config)
    pixels = np.memmap(path, np.uint8, "w+", shape=shape)
    every = max(1, round(1 / config.encoded)) if config.encoded else 0
    work = [(job, path, shape, bool(every) and number // len(SCENES) % every == 0) for number, job in enumerate(jobs)]
    report = report or (lambda done, total: None)
    if config.workers == 1:
        for done, item in enumerate(work, 1):
            _render_job(item)
            report(done, len(work))
    else:
        with multiprocessing.get_context("spawn").Pool(config.workers or None, leave_ctrl_c) as pool:
            for done, _ in enumerate(pool.imap_unordered(_render_job, work, chunksize=4), 1):
                report(done, len(work))
    return index_bank(jobs, pixels)


def shape_of(jobs: list[Job], config: BankConfig) -> tuple[int, int, int, int]:
    """Shape of the bank's pixels, [F, S, S, 3]."""
    return jobs[-1].first_frame + len(jobs[-1].times), config.image_size, config.image_size, 3


def leave_ctrl_c() -> None:
    """For workers: ignore Ctrl-C. It reaches every process of a terminal, and the parent process ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def index_bank(jobs: list[Job], pixels: NDArray[np.uint8]) -> Bank:
    """The bank of rendered jobs: what every frame shows, and which frames form a clip."""
    labels = np.full((len(pixels), len(LABELS)), NO_LABEL, np.int16)
    centres = np.full((len(pixels), 2), np.nan, np.float32)
    clips: list[tuple[Event, int]] = []
    empty: dict[str, list[int]] = {scene: [] for scene in SCENES}
    for job in jobs:
        for row, t in enumerate(job.times, job.first_frame):
            labels[row, LABELS.index("scene")] = CODE["scene"][job.scene]
            shown = next(iter(job.script.visible_at(t)), None)
            if shown is None:
                empty[job.scene].append(row)
                continue
            for column, label in enumerate(LABELS[:-1]):
                value = getattr(shown, label)
                labels[row, column] = NO_LABEL if value is None else CODE[label][value]
            centres[row] = shown.centre_at(t)
            if math.ceil(shown.start_s) == t:
                clips.append((shown, row))
    return Bank(pixels, labels, centres, tuple(clips), {scene: np.array(rows) for scene, rows in empty.items()})


def things(scene: str) -> list[dict[str, str]]:
    """Everything that can be shown in a scene. Digits count twice, because they are the hardest to see."""
    pairs = WorldConfig().colour_shape_pairs()
    objects = [
        {"kind": "object", "colour": colour, "shape": shape, "size": size} for colour, shape in pairs for size in SIZES
    ]
    digits = [{"kind": "digit", "text": text} for text in DIGITS] * 2
    return objects + digits + [{"kind": "word", "text": text} for text in WORDS]


def plan_job(seed: int, scene: str, config: BankConfig, first_frame: int) -> Job:
    """The job of a scene of a seed, whose frames begin at `first_frame` of the bank."""
    rng = seeded(f"bank 1, seed {seed}, {scene}")
    pool = things(scene)
    cast = [thing for _ in range(-(-config.clips // len(pool))) for thing in rng.sample(pool, len(pool))][
        : config.clips
    ]
    hours = [rng.uniform(0, 23.9) * 3600 for _ in range(HOURS)]
    starts = sorted(_starts(rng, hours, config.clips))
    events = tuple(
        place_event(rng, thing, number, start, rng.randint(1, 5), scene, 0.25)
        for number, (thing, start) in enumerate(zip(cast, starts, strict=True))
    )
    busy = {second for event in events for second in _seconds(event)}
    quiet: set[float] = set()
    while len(quiet) < config.backgrounds:
        second = float(int(rng.choice(hours)) + rng.randrange(300))
        if second not in busy and second < DAY_S:
            quiet.add(second)
    segment = StorySegment(
        scene=scene, start_s=0.0, end_s=DAY_S, offset=rng.random(), drift=rng.choice((-1, 1)) * rng.uniform(0.006, 0.025),
        passer_speed=rng.choice((-1, 1)) * rng.uniform(0.03, 0.12), passer_height=rng.uniform(0.15, 0.85),
    )  # fmt: skip
    script = Script(
        seed=seed, duration_s=DAY_S, start_hour=0.0, config=WorldConfig(), segments=(segment,), events=events
    )
    return Job(seed, scene, first_frame, tuple(sorted(busy | quiet)), script)


def _starts(rng: Random, hours: list[float], count: int) -> Iterator[float]:
    """Start times in tenths of seconds, at least eight seconds apart, in blocks of five minutes with the same light."""
    each = -(-count // len(hours))
    blocks = sorted(int(hour) // 600 * 600 for hour in hours)
    taken: set[int] = set()
    for number in range(count):
        block = blocks[number // each]
        slot = next(s for s in range(block, int(DAY_S), 10) if s not in taken)
        taken.add(slot)
        yield slot + rng.randrange(10) / 10


def _seconds(event: Event) -> list[float]:
    """The whole seconds at which an event is visible."""
    return [float(second) for second in range(math.ceil(event.start_s), math.ceil(event.end_s))]


def _render_job(item: tuple[Job, Path, tuple[int, ...], bool]) -> None:
    job, path, shape, encoded = item
    rows = np.memmap(path, np.uint8, "r+", shape=shape)[job.first_frame : job.first_frame + len(job.times)]
    for row, square in enumerate(rendered(job, shape[1], encoded=encoded)):
        rows[row] = square


def rendered(job: Job, size: int, *, encoded: bool) -> Iterator[NDArray[np.uint8]]:
    """The frames of a job, uint8 [size, size, 3] each. encoded: at full size and through H.264."""
    width, height = (640, 360) if encoded else (320, 180)
    renderer = Renderer(job.script, width=width, height=height)
    drawn = (renderer.frame(t) for t in job.times)
    for picture in _through_h264(drawn, width, height) if encoded else drawn:
        yield to_square(picture, size)


def _through_h264(pictures: Iterator[NDArray[np.uint8]], width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """The frames after H.264 encoding and decoding. Needs PyAV."""
    from afterview.stream.media import VideoWriter
    from afterview.stream.source.address.address import parse_source
    from afterview.stream.source.config import SourceConfig
    from afterview.stream.source.events import Frame
    from afterview.stream.source.reader import read_events

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "clips.mp4"
        with VideoWriter(path, width, height, rate=10) as writer:
            for picture in pictures:
                writer.write(picture)
        for event in read_events(parse_source(str(path)), SourceConfig(), stop=threading.Event(), keep_trying=False):
            if isinstance(event, Frame):
                yield event.picture.rgb()
