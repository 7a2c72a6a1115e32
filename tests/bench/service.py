"""`afterview serve`: how long until it is ready, and first token and whole answer over HTTP, with live cameras and several clients.

The memory is made up: 600 frames of one camera, which every question names. Live cameras are FFmpeg's test pictures, made in the
service's own process, so what they cost is the service's. SERVICE_QUESTIONS (40) changes how many questions each row has.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import numpy as np
import psutil

from afterview.model.checkpoint.loading import load_pretrained
from tests.bench.startup import process_seconds
from tests.bench.table import Table
from tests.support.servers import wait_until
from tests.support.service import API, record_camera, sent_events

FRAMES, QUESTIONS = 600, int(os.environ.get("SERVICE_QUESTIONS", "40"))
SOURCE = "lavfi:testsrc2=size=320x180:rate=10"
ROWS = ((0, 1), (1, 1), (4, 1), (8, 1), (4, 8))  # live cameras, clients
PROCESSES = 9  # runs of `afterview ask`
SETTLE_S = 8.0


@dataclass
class Running:
    """A service process. ready_s: from its start until questions are answered. listening_s: until it listens."""

    process: subprocess.Popen[str]
    url: str
    listening_s: float
    ready_s: float


def run() -> list[Table]:
    """Takes four minutes."""
    start = Table(
        "Start of the service",
        ["live cameras", "listens after, s", "ready after, s"],
        "The built-in model, one run each.",
    )
    answers = Table(
        f"Answers over HTTP: {FRAMES} frames of memory, the built-in model, {QUESTIONS} questions a row",
        ["live cameras", "clients", "first token p50, s", "p95", "p99", "answer p50, s", "p95", "p99", "dropped", "loop lag p99, s",
         "resident, MB"],
        "Seconds as a client sees them, the wait for its turn included; first token: the first event with text. Cameras are test "
        "pictures, made in the same process.",
    )  # fmt: skip
    processes = Table(
        "ask as a whole process, with the service there",
        ["live cameras", "seconds", "worst", "of process time", "the same over HTTP, s"],
        f"Median of {PROCESSES} runs after a first one. Process time: of the command alone. Last: the whole answer, from the table above.",
    )
    model = load_pretrained("tiny")
    for cameras, clients in ROWS:
        with tempfile.TemporaryDirectory() as directory:
            record_camera(Path(directory), "hall", model, FRAMES)
            with _service(Path(directory), cameras) as running:
                if clients == 1:
                    start.add(cameras, running.listening_s, running.ready_s)
                time.sleep(SETTLE_S)
                first, whole = _ask(running.url, clients)
                if clients == 1:
                    processes.add(cameras, *_ask_by_command(Path(directory)), float(np.median(whole)))
                metrics = httpx2.get(f"{running.url}/metrics").text
                resident = psutil.Process(running.process.pid).memory_info().rss / 1e6
                spread = [float(np.percentile(times, share)) for times in (first, whole) for share in (50, 95, 99)]
                dropped, late = (_sum(metrics, name) for name in ("frames_dropped_total", "loop_lag_seconds"))
                answers.add(cameras, clients, *spread, dropped, late, f"{resident:.0f}")
    return [start, answers, processes]


@contextlib.contextmanager
def _service(memory: Path, cameras: int) -> Iterator[Running]:
    config = memory.parent / f"{memory.name}.yaml"
    lines = [f"  live {number}: {{source: '{SOURCE}'}}" for number in range(cameras)]
    config.write_text(
        "\n".join([f"memory: {memory}", "http: {port: 0}", "cameras:" if lines else "cameras: {}", *lines])
    )
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "afterview", "serve", "--json", str(config)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        listening_s = time.monotonic() - began
        ready = f"{url}/health/ready"
        assert wait_until(lambda: httpx2.get(ready).json()["model"]["state"] == "ready", 120)
        yield Running(process, url, listening_s, time.monotonic() - began)
    finally:
        process.terminate()
        process.wait(30)
        config.unlink()


def _ask(url: str, clients: int) -> tuple[list[float], list[float]]:
    first: list[float] = []
    whole: list[float] = []

    def client() -> None:
        with httpx2.Client(base_url=url, timeout=60) as asking:
            for _ in range(QUESTIONS // clients):
                began, seen = time.monotonic(), False
                body = {"question": "Did you see a red ring?", "cameras": ["hall"], "stream": True}
                with asking.stream("POST", f"{API}/ask", json=body) as response:
                    for kind, _ in sent_events(response.iter_lines()):
                        if kind == "text" and not seen:
                            seen = True
                            first.append(time.monotonic() - began)
                whole.append(time.monotonic() - began)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return first, whole


def _ask_by_command(memory: Path) -> tuple[float, float, float]:
    """Median and worst wall seconds of the whole command, and the median of its process time."""
    command = ("-m", "afterview", "ask", "Did you see a red ring?", "--memory", str(memory), "--camera", "hall")
    runs = [process_seconds(*command) for _ in range(PROCESSES + 1)][1:]
    wall, busy = zip(*runs, strict=True)
    return float(np.median(wall)), max(wall), float(np.median(busy))


def _sum(metrics: str, name: str) -> float:
    return sum(float(value) for value in re.findall(rf"^afterview_{name}(?:\{{.*\}})? (\S+)$", metrics, re.MULTILINE))
