"""A day of one camera at high speed: `python -m tests.bench.soak [--hours 24]`. Writes soak.md and soak.png beside this file.

Frames of the embedded model's size go through the write thread, the journal, seals, retention (12 h) and the index, while a reader
takes snapshots and searches, with outages injected. No encoder runs: it keeps no state. What may not grow with time must not: resident
memory, open files, threads; the disk grows until retention holds it.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from PIL import Image, ImageDraw

from afterview.memory.base.settings import CameraSettings, write_settings
from afterview.memory.base.spec import FeatureSpec
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
from tests.bench.table import Table
from tests.support.memory_world import START, make_frame

HERE = Path(__file__).parent
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
    """Run it; samples, frames, outages."""
    repository = open_camera(memory, "a", spec)
    write_settings(repository.directory, CameraSettings(days=KEPT_DAYS))
    outbox: Blocking[Stored] = Blocking(64)
    writer = CameraWriter(repository, outbox, IngestStats(), Controls(CameraSettings(), None))
    thread = threading.Thread(target=writer.run, name="write-a")
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
    """Change per stream hour over the settled part of the run."""
    hours, values = samples.column(0), samples.column(column)
    late = hours >= SETTLED * hours[-1]
    return float(np.polyfit(hours[late], values[late], 1)[0])


def report(samples: Samples, frames: int, outages: int, hours: float, wall_s: float, clean: bool) -> Table:
    """Figures."""
    table = Table(
        f"Soak: {hours:g} h of stream time in {wall_s / 60:.1f} min ({hours * 3600 / wall_s:.0f} times real time)",
        ["what", "after 1 h", "at the end", f"slope per hour over the last {100 * (1 - SETTLED):.0f} %"],
        f"{outages} injected outages; {frames} frames remembered at the end (retention {KEPT_DAYS * 24:g} h); fsck afterwards: "
        f"{'clean' if clean else 'DAMAGE'}.",
    )  # fmt: skip
    names = ("resident memory (MB)", "open files", "threads", "disk (MB)", "search (ms)")
    for number, name in enumerate(names, 1):
        values = samples.column(number)
        table.add(name, float(values[min(1, len(values) - 1)]), float(values[-1]), slope(samples, number))
    return table


def plot(samples: Samples, path: Path) -> None:
    """Four small charts over the stream hours."""
    image = Image.new("RGB", (960, 560), "white")
    draw = ImageDraw.Draw(image)
    for place, (column, name) in enumerate(
        [(1, "resident memory, MB"), (4, "disk, MB"), (2, "open files"), (5, "search, ms")]
    ):
        left, top = 60 + place % 2 * 480, 40 + place // 2 * 270
        hours, values = samples.column(0), samples.column(column)
        most = float(values.max()) * 1.1 or 1.0
        draw.rectangle((left, top, left + 380, top + 190), outline="grey")
        draw.text((left, top - 18), f"{name} (0 to {most:.0f}) over {hours[-1]:.0f} h of stream", fill="black")
        points = [
            (left + 380 * hour / hours[-1], top + 190 * (1 - value / most))
            for hour, value in zip(hours, values, strict=True)
        ]
        draw.line(points, fill="#0b62a4", width=2)
    image.save(path)


def main() -> int:
    """Run, report, plot."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0, help="of stream time (default: 24)")
    parser.add_argument("--output", type=Path, default=HERE, help="where soak.md and soak.png go")
    arguments = parser.parse_args()
    from tests.bench.memory import tiny_spec

    with tempfile.TemporaryDirectory() as directory:
        began = time.perf_counter()
        samples, frames, outages = soak(Path(directory) / "m", tiny_spec(), arguments.hours)
        wall = time.perf_counter() - began
        clean = not fsck(Path(directory) / "m" / "a").damage
    text = report(samples, frames, outages, arguments.hours, wall, clean).markdown()
    plot(samples, arguments.output / "soak.png")
    (arguments.output / "soak.md").write_text(f"# Soak\n{text}\n![samples](soak.png)\n")
    print(text)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
