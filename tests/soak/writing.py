"""Soak test of one camera's writer, at high speed: `python -m tests.soak writing`.

Frames of the built-in model's size go through the write thread, the journal, seals, retention (12 h) and the index, while a reader
takes snapshots and searches, with outages injected. No encoder runs: it keeps no state. Resident memory, open files and threads may not
grow with time; the disk grows until retention holds it.
"""

import random
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from matplotlib.figure import Figure

from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.settings import CameraSettings, write_settings
from afterview.memory.format.usage import bytes_under
from afterview.memory.fsck.fsck import fsck
from afterview.memory.index.frame_index import FrameIndex
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.open import open_camera
from afterview.stream.ingest.config import Controls
from afterview.stream.ingest.items import Interruption
from afterview.stream.ingest.queues import Blocking
from afterview.stream.ingest.status import IngestStats
from afterview.stream.ingest.write import CameraWriter, Stored
from tests.bench.memory import tiny_spec
from tests.bench.table import Table
from tests.support.memory_world import START, make_frame

SAMPLE_S = 1800.0  # stream time between two samples
OUTAGE_EVERY_S = 1200.0  # on average
KEPT_DAYS = 0.5
SETTLED = 0.55  # share of the run after which everything has reached its size (retention included)


@dataclass
class Samples:
    """One row per sample: stream hours, resident MB, open files, threads, MB on disk, search ms."""

    rows: list[tuple[float, float, int, int, float, float]] = field(default_factory=list)

    def column(self, number: int) -> np.ndarray:
        """One column."""
        return np.array([row[number] for row in self.rows])


def soak(memory: Path, spec: FeatureSpec, hours: float) -> tuple[Samples, int, int]:
    """Run it. Returns samples, frames, outages."""
    repository = open_camera(memory, "a", spec)
    write_settings(repository.directory, CameraSettings(days=KEPT_DAYS))
    outbox: Blocking[Stored] = Blocking(64)
    writer = CameraWriter(repository, outbox, IngestStats(), Controls(CameraSettings(), None))
    thread = threading.Thread(target=writer.run, name="write-a", daemon=True)
    thread.start()
    samples = Samples()
    outages = _feed(writer, outbox, repository.directory, spec, hours, samples)
    outbox.close()
    thread.join()
    return samples, CameraReader(memory / "a").snapshot().frames, outages


def _feed(
    writer: CameraWriter, outbox: Blocking[Stored], camera: Path, spec: FeatureSpec, hours: float, samples: Samples
) -> int:
    dice, process = random.Random(1), psutil.Process()
    reader, index = CameraReader(camera), FrameIndex(camera / "index")
    models = [make_frame(number, spec) for number in range(256)]  # content repeats; times do not
    now, due, outages, number = START, START + SAMPLE_S, 0, 0
    while now < START + hours * 3600:
        now += 1.0
        if dice.random() < 1 / OUTAGE_EVERY_S:
            outbox.put(Interruption("lost"))
            now += dice.uniform(5, 90)
            outages += 1
        made = models[number % len(models)]
        outbox.put(type(made)(**{**vars(made), "time": now, "arrival_time": now}))
        number += 1
        if now >= due:
            due += SAMPLE_S
            writer.command({"do": "enforce"})
            snapshot = reader.snapshot()
            index.catch_up(snapshot)
            began = time.perf_counter()
            index.search(models[7].embedding, 16, snapshot)
            search = (time.perf_counter() - began) * 1e3
            rss, files = process.memory_info().rss / 1e6, process.num_fds()
            samples.rows.append(
                ((now - START) / 3600, rss, files, process.num_threads(), bytes_under(camera) / 1e6, search)
            )
    return outages


def slope(samples: Samples, column: int) -> float:
    """Change per stream hour in the settled part of the run."""
    hours, values = samples.column(0), samples.column(column)
    late = hours >= SETTLED * hours[-1]
    return float(np.polyfit(hours[late], values[late], 1)[0])


@dataclass
class Report:
    """What one run showed."""

    samples: Samples
    frames: int
    outages: int
    hours: float
    wall_s: float
    clean: bool  # whether fsck found no damage afterwards

    def text(self) -> str:
        """The figures, as a Markdown table."""
        speed = self.hours * 3600 / self.wall_s
        table = Table(
            f"{self.hours:g} h of stream time in {self.wall_s / 60:.1f} min ({speed:.0f} times real time)",
            ["what", "after 1 h", "at the end", f"slope per hour over the last {100 * (1 - SETTLED):.0f} %"],
            f"{self.outages} injected outages; {self.frames} frames remembered at the end (retention {KEPT_DAYS * 24:g} h); "
            f"fsck afterwards: {'clean' if self.clean else 'DAMAGE'}.",
        )
        names = ("resident memory (MB)", "open files", "threads", "disk (MB)", "search (ms)")
        for number, name in enumerate(names, 1):
            values = self.samples.column(number)
            table.add(name, float(values[min(1, len(values) - 1)]), float(values[-1]), slope(self.samples, number))
        return table.markdown()

    def plot(self, path: Path) -> None:
        """Four charts over the stream hours."""
        figure = Figure(figsize=(9.6, 5.6), layout="constrained")
        names = [(1, "resident memory, MB"), (4, "disk, MB"), (2, "open files"), (5, "search, ms")]
        for axes, (column, name) in zip(figure.subplots(2, 2).flat, names, strict=True):
            axes.plot(self.samples.column(0), self.samples.column(column))
            axes.set(title=name, xlabel="hours of stream")
            axes.set_ylim(0, 1.1 * float(self.samples.column(column).max()) or 1.0)
        figure.savefig(path, dpi=100)


def run(hours: float) -> Report:
    """The soak test of this file over so many hours of stream time."""
    with tempfile.TemporaryDirectory() as directory:
        began = time.perf_counter()
        samples, frames, outages = soak(Path(directory) / "m", tiny_spec(), hours)
        wall = time.perf_counter() - began
        clean = not fsck(Path(directory) / "m" / "a").damage
    return Report(samples, frames, outages, hours, wall, clean)
