"""`afterview serve`: how long until it is ready, first token and whole answer over HTTP with live cameras and clients, and searches.

The memory is made up: 600 frames of one camera, which every question names. Live cameras are FFmpeg's test pictures, made in the
service's own process, so what they cost is the service's. SERVICE_QUESTIONS (100) changes how many questions each row has.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import numpy as np
import psutil

from afterview.memory.directory import Memory
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from tests.bench.startup import process_seconds
from tests.bench.table import Table
from tests.support.servers import wait_until
from tests.support.service import API, record_camera, sent_events

FRAMES, QUESTIONS = 600, int(os.environ.get("SERVICE_QUESTIONS", "100"))
SOURCE = "lavfi:testsrc2=size=320x180:rate=10"
CAMERAS, CLIENTS = (1, 4, 8), (1, 8, 50)
SETTLE_S = 62.0  # the loop's lag is that of the last minute, and its first is that of loading torch
SEARCH_S, TOP = 5.0, 10
QUESTION = "Did you see a red ring?"
PROCESSES = 9  # runs of `afterview ask`


@dataclass
class Running:
    """A service process. ready_s: from its start until questions are answered. listening_s: until it listens."""

    process: subprocess.Popen[str]
    url: str
    listening_s: float
    ready_s: float

    @property
    def resident_mb(self) -> float:
        return psutil.Process(self.process.pid).memory_info().rss / 1e6


def run() -> list[Table]:
    """Takes seven minutes."""
    start = Table(
        "Start of the service",
        ["live cameras", "listens after, s", "ready after, s", "loop lag p99 of the first minute, s", "resident after it, MB"],
        "The built-in model, one run each. It listens and answers for frames and timelines while the model loads.",
    )  # fmt: skip
    answers = Table(
        f"Answers over HTTP: {FRAMES} frames of memory, the built-in model, {QUESTIONS} questions a row",
        ["live cameras", "clients", "first token p50, s", "p95", "p99", "answer p50, s", "p95", "p99", "answers/s", "dropped",
         "ingest lag, s", "loop lag p99, s", "resident, MB"],
        "Seconds as a client sees them, the wait for its turn included; first token: the first event with text. One question is "
        "answered at a time, so with n clients each waits for n - 1 others. Cameras are test pictures, made in the same process. "
        f"Load average {os.getloadavg()[0]:.1f} at the start.",
    )  # fmt: skip
    searches = Table(
        f"Searches: {FRAMES} frames of one camera, the best {TOP}",
        ["what", "clients", "requests/s"],
        "Over HTTP a search embeds the text, opens the frames, and is saved. Index: FAISS and the check of its snapshot.",
    )
    commands = Table(
        "ask as a whole process, with the service there",
        ["live cameras", "seconds", "worst", "of process time"],
        f"Median of {PROCESSES} runs after a first one; one client, as in the rows above. Process time: of the command alone.",
    )
    model = load_pretrained("tiny")
    for cameras in CAMERAS:
        with tempfile.TemporaryDirectory() as directory:
            record_camera(Path(directory), "hall", model, FRAMES)
            with _service(Path(directory), cameras) as running:
                time.sleep(SETTLE_S)
                lag = _metric(running, "loop_lag_seconds")
                start.add(cameras, running.listening_s, running.ready_s, lag, f"{running.resident_mb:.0f}")
                commands.add(cameras, *_commands(Path(directory)))
                for clients in CLIENTS:
                    answers.add(cameras, clients, *_row(running, clients))
            if cameras == CAMERAS[0]:
                _search(searches, Path(directory), model)
    return [start, answers, searches, commands]


def _row(running: Running, clients: int) -> list[object]:
    began = time.monotonic()
    first, whole = _ask(running.url, clients)
    rate = len(whole) / (time.monotonic() - began)
    spread = [float(np.percentile(times, share)) for times in (first, whole) for share in (50, 95, 99)]
    measured = (_metric(running, name) for name in ("frames_dropped_total", "feature_lag_seconds", "loop_lag_seconds"))
    return [*spread, rate, *measured, f"{running.resident_mb:.0f}"]


def _commands(memory: Path) -> tuple[float, float, float]:
    """Median and worst wall seconds of `afterview ask`, and the median of its process time."""
    runs = [
        process_seconds("-m", "afterview", "ask", QUESTION, "--memory", str(memory), "--camera", "hall")
        for _ in range(PROCESSES + 1)
    ][1:]
    wall, busy = zip(*runs, strict=True)
    return float(np.median(wall)), max(wall), float(np.median(busy))


def _search(table: Table, directory: Path, model: AfterviewModel) -> None:
    """Searches over HTTP without live cameras, then what they consist of in this process."""
    with _service(directory, 0) as running:
        for clients in (1, 8):
            body = {"text": QUESTION, "cameras": ["hall"], "top": TOP}

            def request(client: httpx2.Client, body: dict[str, object] = body) -> None:
                client.post(f"{API}/search", json=body).raise_for_status()

            rate = _rate(lambda: httpx2.Client(base_url=running.url, timeout=60), request, clients)
            table.add("over HTTP", clients, rate)
    memory = Memory(directory)
    index, reader, encoder = memory.index("hall"), memory.camera("hall"), model.encoders.index
    index.catch_up(reader.snapshot())
    query = encoder.encode_texts([QUESTION])[0]
    table.add("text encoder alone", 1, _rate(contextlib.nullcontext, lambda _: encoder.encode_texts([QUESTION]), 1))
    table.add("index alone", 1, _rate(contextlib.nullcontext, lambda _: index.search(query, TOP, reader.snapshot()), 1))


def _rate(
    opened: Callable[[], contextlib.AbstractContextManager[object]], act: Callable[..., object], clients: int
) -> float:
    """How often a second `clients` threads do something."""
    counts = [0] * clients
    end = time.monotonic() + SEARCH_S

    def client(number: int) -> None:
        with opened() as own:
            while time.monotonic() < end:
                act(own)
                counts[number] += 1

    _together(lambda number: lambda: client(number), clients)
    return sum(counts) / SEARCH_S


def _together(work: Callable[[int], Callable[[], None]], clients: int) -> None:
    threads = [threading.Thread(target=work(number)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextlib.contextmanager
def _service(memory: Path, cameras: int) -> Iterator[Running]:
    config = memory.parent / f"{memory.name}.yaml"
    lines = [f"  live {number}: {{source: '{SOURCE}'}}" for number in range(cameras)]
    config.write_text(
        "\n".join(
            [f"memory: {memory}", "http: {port: 0, longest_queue: 64}", "cameras:" if lines else "cameras: {}", *lines]
        )
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
                body = {"question": QUESTION, "cameras": ["hall"], "stream": True}
                with asking.stream("POST", f"{API}/ask", json=body) as response:
                    for kind, _ in sent_events(response.iter_lines()):
                        if kind == "text" and not seen:
                            seen = True
                            first.append(time.monotonic() - began)
                whole.append(time.monotonic() - began)

    _together(lambda number: client, clients)
    return first, whole


def _metric(running: Running, name: str) -> float:
    """The largest value of a metric; of a counter the sum."""
    metrics = httpx2.get(f"{running.url}/metrics").text
    values = [float(value) for value in re.findall(rf"^afterview_{name}(?:\{{.*\}})? (\S+)$", metrics, re.MULTILINE)]
    return sum(values) if name.endswith("_total") else max(values, default=0.0)
