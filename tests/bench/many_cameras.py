"""Many live RTSP cameras in one process, in real time, with the built-in model: what is dropped, how late frames are, and what it takes.

MANY_CAMERAS (32) and MANY_MINUTES (10) change it. The cameras are served by a process of their own on the same machine.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from afterview.memory.directory import Memory
from afterview.model.checkpoint.loading import load_pretrained
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.address import parse_source
from tests.bench.table import Table
from tests.support.clips import make_clip
from tests.support.odd_rtsp import OddCamera

CAMERAS = int(os.environ.get("MANY_CAMERAS", "32"))
MINUTES = float(os.environ.get("MANY_MINUTES", "10"))
WIDTH, HEIGHT, RATE = 320, 180, 10
SAMPLE_S = 1.0  # between two samples
SETTLED = 0.3  # share of the run after which memory has reached its size


@dataclass
class Seen:
    """latencies: seconds from arrival to durable, of all frames. memory: resident MB, by second. server_s: CPU of the cameras' process."""

    latencies: list[float] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    threads: int = 0
    dropped: int = 0
    frames: int = 0
    missing_s: float = 0.0
    cpu_s: float = 0.0
    server_s: float = 0.0
    wall_s: float = 0.0


def run() -> list[Table]:
    """Takes MANY_MINUTES, and a minute."""
    with tempfile.TemporaryDirectory() as directory:
        clip = make_clip(Path(directory) / "clip.mp4", frames=20 * RATE, rate=RATE, width=WIDTH, height=HEIGHT)
        with _served(clip) as (urls, server):
            seen = run_loop(_watch(Path(directory) / "m", urls, server))
        for camera in Memory(Path(directory) / "m").cameras():
            snapshot = camera.snapshot()
            seen.missing_s += sum(gap.seconds for gap in snapshot.gaps if not gap.lasts)
    at, memory = np.array(seen.memory).T
    late = at >= SETTLED * at[-1]
    table = Table(
        f"{CAMERAS} live RTSP cameras in one process for {seen.wall_s / 60:.1f} min",
        [
            "frames", "dropped", "in gaps, s", "lag p50, s", "lag p99, s", "worst, s", "CPU, cores", "cameras' own CPU, cores",
            "resident, MB", "slope, MB/h", "threads",
        ],
        f"{WIDTH}x{HEIGHT} H.264 at {RATE} fps, a key frame every 2 s, one frame a second kept, tiny model, {os.cpu_count()} cores, load "
        f"average {os.getloadavg()[1]:.1f}. lag: from arrival to durable, all frames. slope: after the first {SETTLED:.0%}.",
    )  # fmt: skip
    lag = np.array(seen.latencies)
    table.add(
        seen.frames, seen.dropped, seen.missing_s, *(float(np.quantile(lag, share)) for share in (0.5, 0.99, 1.0)),
        seen.cpu_s / seen.wall_s, seen.server_s / seen.wall_s, float(memory[late].mean()),
        float(np.polyfit(at[late], memory[late], 1)[0] * 3600), seen.threads,
    )  # fmt: skip
    return [table]


async def _watch(memory: Path, urls: list[str], server: psutil.Process) -> Seen:
    encoders, seen, process = load_pretrained("tiny").encoders, Seen(), psutil.Process()
    async with Session(memory, encoders) as session:
        for number, url in enumerate(urls):
            session.add(f"camera {number}", IngestConfig(parse_source(url)))
        taken = dict.fromkeys(range(len(urls)), 0)
        began, cpu, served = time.monotonic(), process.cpu_times(), server.cpu_times()
        while time.monotonic() < began + 60 * MINUTES:
            await asyncio.sleep(SAMPLE_S)
            _take_latencies(session.cameras, taken, seen)
            seen.memory.append((time.monotonic() - began, process.memory_info().rss / 1e6))
        seen.wall_s = time.monotonic() - began
        seen.cpu_s, seen.server_s = _spent(process, cpu), _spent(server, served)
        seen.threads = process.num_threads()
        seen.dropped = sum(camera.inbox.dropped for camera in session.cameras)
        seen.frames = sum(camera.stats.recorded for camera in session.cameras)
        session.stop()
        await session.wait()
    return seen


def _take_latencies(cameras: list[CameraIngest], taken: dict[int, int], seen: Seen) -> None:
    for number, camera in enumerate(cameras):
        recorded = camera.stats.recorded
        if new := recorded - taken[number]:
            seen.latencies += list(camera.stats.latencies)[-new:]
        taken[number] = recorded


def _spent(process: psutil.Process, before: "psutil._common.pcputimes") -> float:
    now = process.cpu_times()
    return float(now.user + now.system - before.user - before.system)


@contextlib.contextmanager
def _served(clip: Path) -> Iterator[tuple[list[str], psutil.Process]]:
    """The cameras' addresses, served by another process until the end."""
    command = [sys.executable, "-m", "tests.bench.many_cameras", str(clip), str(CAMERAS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield [server.stdout.readline().strip() for _ in range(CAMERAS)], psutil.Process(server.pid)
        finally:
            server.terminate()


def serve(clip: Path, count: int) -> None:
    """Serve the clip by so many cameras, each with its own clock, until the process is ended."""
    with contextlib.ExitStack() as cameras:
        for number in range(count):
            camera = cameras.enter_context(OddCamera(clip, RATE, lambda second, first=number: 1000.0 * first + second))
            print(camera.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
