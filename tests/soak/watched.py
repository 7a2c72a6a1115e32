"""`afterview watch` with a thread that samples its process from inside: `python -m tests.soak.watched EVENTS WATCH_ARGUMENTS...`.

It runs the command line itself; only Supervisor.add is wrapped, so that the cameras' states can be read. Appends to EVENTS: "sample" every
10 s, "state" for each change of a camera's state, detail or clock, and "level" before the command and after it. Before the first level one
camera was recorded for a moment.

Threads: `soak-sampler` reads counters that belong to other threads, as CameraIngest.status allows.
"""

import asyncio
import gc
import os
import re
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from afterview.cli.main import main as run_command
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.supervisor import Supervisor
from tests.soak.events import append

SAMPLER = "soak-sampler"
EVERY_S = 10.0
_LOOK_S = 0.5
_CHANGING = re.compile(r"; next try in [0-9.]+ s|\d\d:\d\d:\d\d[.0-9]*")  # parts of a detail that differ at every try


class _Sampler:
    """Samples one process."""

    def __init__(self, events: Path) -> None:
        self._events, self._process = events, psutil.Process()
        self.cameras: list[CameraIngest] = []
        self._states: dict[str, tuple[str, ...]] = {}
        self._counted: dict[str, int] = {}
        self._lags: dict[str, list[float]] = {}
        self._ahead: dict[str, float] = {}
        self.stop = threading.Event()

    def run(self) -> None:
        due = time.monotonic()
        while not self.stop.wait(_LOOK_S):
            for camera in list(self.cameras):
                self._look(camera)
            if time.monotonic() >= due:
                due += EVERY_S
                self._sample()

    def _look(self, camera: CameraIngest) -> None:
        stats = camera.stats
        recorded, latencies = stats.recorded, list(stats.latencies)
        new = recorded - self._counted.get(camera.id, 0)
        self._counted[camera.id] = recorded
        if new > 0:
            self._lags.setdefault(camera.id, []).extend(round(lag, 3) for lag in latencies[-new:])
        status = camera.status()
        if status.last_time is not None and new > 0:
            ahead = status.last_time - time.time()
            self._ahead[camera.id] = max(ahead, self._ahead.get(camera.id, -1e9))
        said = status.state, status.detail, status.clock or "", status.cause or ""
        known = tuple(_CHANGING.sub("", text) for text in said)
        if known != self._states.get(camera.id):
            self._states[camera.id] = known
            append(self._events, "state", camera=camera.id, state=said[0], detail=said[1], clock=said[2], cause=said[3])

    def _sample(self) -> None:
        lags, self._lags = self._lags, {}
        ahead, self._ahead = self._ahead, {}
        cameras = {}
        for camera in list(self.cameras):
            status = camera.status()
            cameras[camera.id] = {
                "recorded": status.recorded,
                "dropped": status.dropped,
                "reconnects": status.reconnects,
                "last_time": status.last_time,
                "damaged": camera.stats.damaged,
            }
        append(
            self._events, "sample", **level(self._process), load=round(os.getloadavg()[0], 2),
            tasks=_tasks(), cameras=cameras, lags=lags, ahead={name: round(value, 3) for name, value in ahead.items()},
        )  # fmt: skip


def level(process: psutil.Process) -> dict[str, Any]:
    """What a process holds now."""
    times = process.cpu_times()
    return {
        "rss_mb": round(process.memory_info().rss / 1e6, 2),
        "fds": process.num_fds(),
        "threads": process.num_threads(),
        "cpu_s": round(times.user + times.system, 2),
    }


def _tasks() -> int:
    """asyncio tasks of all loops that are not done."""
    name = "_scheduled_tasks" if sys.version_info >= (3, 12) else "_all_tasks"
    scheduled: Any = getattr(asyncio.tasks, name)
    for _ in range(5):
        try:
            return sum(not task.done() for task in list(scheduled))
        except RuntimeError:  # changed while it was read
            continue
    return -1


def _files() -> list[str]:
    """What the open files of this process are."""
    names = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            names.append(re.sub(r"\d+", "N", os.readlink(f"/proc/self/fd/{descriptor}")))
        except OSError:
            continue
    return sorted(names)


def _level(events: Path, when: str, process: psutil.Process) -> None:
    names = [thread.name for thread in threading.enumerate() if thread.name not in (SAMPLER, "MainThread")]
    append(events, "level", when=when, **level(process), names=names, tasks=_tasks(), files=_files())


def _warm_up() -> None:
    """Record one camera for a moment: what libraries keep for the rest of the process (pools, the event loop of zarr) is there then."""
    with tempfile.TemporaryDirectory() as directory:
        run_command(["watch", "lavfi:testsrc2=size=320x180:rate=10", "--memory", directory, "--for", "3s", "-qq"])
    gc.collect()


def main() -> int:
    events = Path(sys.argv[1])
    sampler, process = _Sampler(events), psutil.Process()
    add = Supervisor.add

    def noted(self: Supervisor, *arguments: Any, **options: Any) -> CameraIngest:
        camera = add(self, *arguments, **options)
        sampler.cameras.append(camera)
        return camera

    Supervisor.add = noted  # type: ignore[method-assign]
    _warm_up()
    _level(events, "before", process)
    thread = threading.Thread(target=sampler.run, name=SAMPLER, daemon=True)
    thread.start()
    status = run_command(sys.argv[2:])
    sampler.stop.set()
    thread.join()
    sampler.cameras.clear()
    deadline = time.monotonic() + 10
    while threading.active_count() > 1 and time.monotonic() < deadline:
        time.sleep(0.2)
    gc.collect()
    _level(events, "after", process)
    return status


if __name__ == "__main__":
    sys.exit(main())
