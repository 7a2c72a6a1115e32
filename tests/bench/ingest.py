"""Ingest of a file: the pipeline against its slowest stage alone, memory growth, and the time until a frame can be used."""

import asyncio
import math
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import torch
import yaml

from afterview.memory.base.records import FrameRecord
from afterview.memory.writing.open import open_camera
from afterview.model.checkpoint.loading import load_encoders, load_pretrained
from afterview.model.checkpoint.models import AfterviewModel, Encoders
from afterview.stream.ask.question import Question
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.ingest.encode import ENCODER_BATCH, encode_frames
from afterview.stream.ingest.preprocess import Sampled
from afterview.stream.ingest.queues import Closed
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.address import parse_source
from afterview.training.world import World
from afterview.training.world.video import write_video
from tests.bench.table import Table

BASE_224 = {
    "name": "siglip-base-224-geometry",
    "trained": False,
    "notice": "random weights",
    "index_encoder": None,
    "architecture": {
        "vision": {"width": 768, "layers": 11, "heads": 12, "mlp_width": 3072, "image_size": 224, "patch_size": 16},
        "language": {"width": 128, "layers": 1, "heads": 2, "key_value_heads": 2, "mlp_width": 256},
        "index_vision": {"width": 96, "layers": 2, "heads": 4, "mlp_width": 384, "image_size": 64, "patch_size": 8},
        "index_text": {"width": 96, "layers": 2, "heads": 4, "mlp_width": 384, "positions": 64},
    },
}


def run() -> list[Table]:
    """Takes about four minutes."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        video, short = directory / "ten-minutes.mp4", directory / "one-minute.mp4"
        write_video(World(1, 600.0), video)
        write_video(World(1, 600.0), short, end_s=60.0)
        preset = directory / "base.yaml"
        preset.write_text(yaml.safe_dump(BASE_224))
        torch.set_num_threads(1)
        tiny = load_pretrained("tiny")
        tables = [_growth(directory, video, tiny.encoders)]
        pipeline = Table(
            "Ingest of a file: whole pipeline against its slowest stage alone",
            [
                "geometry",
                "frames",
                "decode alone /s",
                "encode alone /s",
                "write alone /s",
                "pipeline /s",
                "of the slowest stage",
            ],
            "640x360 H.264 at 10 frames per second, sampled at 1; stages measured one after another in the same run. Encoders run on "
            "one torch thread at the tiny geometry and on two at the base geometry.",
        )
        _stages(pipeline, "tiny", directory, video, tiny.encoders)
        torch.set_num_threads(2)
        _stages(pipeline, "SigLIP-base-224", directory, short, load_encoders(preset))
        torch.set_num_threads(1)
        return [pipeline, *tables, _live(directory, tiny)]


def _stages(table: Table, geometry: str, directory: Path, video: Path, encoders: Encoders) -> None:
    config = IngestConfig(parse_source(str(video)), live=False, start=1e9)
    sampled, decode_s = _decode_alone(config, directory, encoders)
    encode_frames(encoders, sampled[:ENCODER_BATCH])  # warm
    records: list[FrameRecord] = []
    encode_s = _timed(lambda: records.extend(_encode_alone(encoders, sampled)))
    write_s = _timed(lambda: _write_alone(directory, geometry, encoders, records))
    whole_s = min(_whole(directory, f"{geometry} whole {trial}", config, encoders) for trial in range(2))
    count = len(sampled)
    slowest = max(decode_s, encode_s, write_s)
    table.add(
        geometry, count, f"{count / decode_s:.0f}", f"{count / encode_s:.1f}", f"{count / write_s:.0f}", f"{count / whole_s:.1f}",
        f"{100 * slowest / whole_s:.0f} %",
    )  # fmt: skip


def _decode_alone(config: IngestConfig, directory: Path, encoders: Encoders) -> tuple[list[Sampled], float]:
    with open_camera(directory / "decode", "d", encoders.feature_spec) as repository:
        ingest = CameraIngest(config, repository, encoders, threading.Condition())
        taken: list[Sampled] = []

        def drain() -> None:
            with suppress(Closed):
                while True:
                    taken.extend(item for item in ingest.inbox.take(64) if isinstance(item, Sampled))

        drainer = threading.Thread(target=drain, daemon=True)
        drainer.start()
        seconds = _timed(lambda: ingest.decode())
        drainer.join()
    return taken, seconds


def _encode_alone(encoders: Encoders, sampled: list[Sampled]) -> list[FrameRecord]:
    batches = [sampled[start : start + ENCODER_BATCH] for start in range(0, len(sampled), ENCODER_BATCH)]
    return [record for batch in batches for record in encode_frames(encoders, batch)]


def _write_alone(directory: Path, name: str, encoders: Encoders, records: list[FrameRecord]) -> None:
    with open_camera(directory / "write", name, encoders.feature_spec) as repository:
        for start in range(0, len(records), ENCODER_BATCH):
            for record in records[start : start + ENCODER_BATCH]:
                repository.append(record)
            repository.sync()


def _whole(directory: Path, name: str, config: IngestConfig, encoders: Encoders) -> float:
    async def main() -> None:
        async with Session(directory / "whole", encoders) as session:
            session.add(name, config)
            await session.run()

    return _timed(lambda: run_loop(main()))


def _growth(directory: Path, video: Path, encoders: Encoders) -> Table:
    """Resident memory while ten minutes are replayed at full speed, from the first minute of stream on."""
    process, readings = psutil.Process(), []

    async def main() -> None:
        async with Session(directory / "growth", encoders) as session:
            ingest = session.add("growth", IngestConfig(parse_source(str(video)), live=False, start=1e9))
            task = asyncio.create_task(session.run())
            while not task.done():
                if ingest.stats.recorded >= 60:
                    readings.append(process.memory_info().rss / 1e6)
                await asyncio.sleep(0.05)
            await task

    run_loop(main())
    table = Table(
        "Ten-minute replay at full speed: resident memory",
        ["after 1 min of stream, MB", "at its highest, MB", "growth, MB"],
    )
    table.add(f"{readings[0]:.0f}", f"{max(readings):.0f}", f"{max(readings) - readings[0]:.1f}")
    return table


def _live(directory: Path, model: AfterviewModel) -> Table:
    """One camera at 1 FPS for 40 s with continuous questions, against the same camera without questions."""
    table = Table(
        "One live camera at 1 FPS (640x360 test pattern at 25 FPS), tiny model, 40 s",
        ["", "questions", "frames", "dropped", "arrival to answerable, median s", "worst s"],
        "Answerable: durable and visible to a reader in another process.",
    )
    for label, asking in (("alone", False), ("questions all the while", True)):
        ingest, questions = run_loop(_watch(directory / label.split()[0], model, asking))
        latencies = ingest.stats.latencies
        worst = max(latencies) if latencies else math.nan
        table.add(
            label,
            questions,
            ingest.stats.recorded,
            ingest.inbox.dropped,
            f"{ingest.stats.median_latency():.3f}",
            f"{worst:.3f}",
        )
    return table


async def _watch(memory: Path, model: AfterviewModel, asking: bool) -> tuple[CameraIngest, int]:
    questions = 0
    async with Session(memory, model.encoders) as session:
        ingest = session.add("pattern", IngestConfig(parse_source("lavfi:testsrc2=size=640x360:rate=25")))
        task = asyncio.create_task(session.run())
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            if asking and ingest.stats.recorded:
                await session.ask(model, Question("What thing was there?"))
                questions += 1
            await asyncio.sleep(0.01)
        session.stop()
        await task
    return ingest, questions


def _timed(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began
