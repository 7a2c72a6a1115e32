"""Soak test in real time: one `afterview watch` records eleven odd cameras, whose faults come and go: `python -m tests.soak cameras`.

Two processes: `tests.soak.odd_cameras` serves the cameras, `tests.soak.watched` is the product. Everything that happens is appended to one
file of events; afterwards each camera's memory is compared with its acknowledgements. `tests.soak.cameras_report.report_of(FILE)` judges
that file, also of a run that was killed. Do not change the files of the checkout during a run: some modules are loaded late.
"""

import io
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from afterview.memory.base.records import frame_crc
from afterview.memory.fsck.fsck import fsck
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.snapshot import MemorySnapshot
from tests.crash.promises import read_acks
from tests.soak.cameras_report import Report, report_of
from tests.soak.events import append
from tests.support.soak_schedule import PLANS

ROOT = Path(__file__).parents[2]
SEED = 22
_START_WITHIN_S, _STOP_WITHIN_S = 90.0, 60.0


def run(hours: float) -> Report:
    """Record for so many hours; the report."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    events = Path(tempfile.gettempdir()) / f"soak-cameras-{stamp}.jsonl"
    print(f"events: {events}", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-cameras-") as directory:
        record(events, Path(directory), hours)
        for name in PLANS:
            if (Path(directory) / "memory" / name / "camera.json").exists():
                examine(events, Path(directory) / "memory" / name, Path(directory) / f"{name}.acks")
    return report_of(events)


def record(events: Path, directory: Path, hours: float) -> None:
    """Run both processes; events get everything that can be seen meanwhile."""
    append(events, "begin", hours=hours, seed=SEED, commit=commit(), cores=os.cpu_count(), cameras=list(PLANS))
    with ExitStack() as running:
        log = running.enter_context(events.with_suffix(".log").open("wb"))
        servers = _start(running, "odd_cameras", [str(events), str(hours * 3600), str(SEED)], log)
        urls: dict[str, str] = json.loads(_line(servers))
        options = ["--memory", str(directory / "memory"), "--keep-trying", "--json"]
        for name in urls:
            options += ["--camera", name, "--ack-file", str(directory / f"{name}.acks")]
        began = time.monotonic()
        watch = _start(running, "watched", [str(events), "watch", *urls.values(), *options], log)
        _wait_for_frames(directory, list(urls), watch)
        assert servers.stdin is not None
        servers.stdin.write(b"start\n")
        servers.stdin.flush()
        append(events, "start", took_s=round(time.monotonic() - began, 1))
        ended = _wait(watch, hours * 3600)
        append(events, "stop", early=ended)
        watch.send_signal(signal.SIGINT)
        try:
            output, _ = watch.communicate(timeout=_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            append(events, "harness", what=f"watch did not stop within {_STOP_WITHIN_S:g} s")
            watch.kill()
            output, _ = watch.communicate()
        append(events, "end", status=watch.returncode, document=_json(output))


def commit() -> str:
    """The commit that runs, marked where files differ from it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return described.stdout.strip() or "unknown"


def _start(running: ExitStack, module: str, arguments: list[str], log: IO[bytes]) -> "subprocess.Popen[bytes]":
    """A process of this folder. It is killed when `running` ends."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.soak.{module}", *arguments],
        cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
    )  # fmt: skip
    running.callback(_kill, process)
    return process


def _kill(process: "subprocess.Popen[bytes]") -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.kill()
    process.wait()


def _line(process: "subprocess.Popen[bytes]") -> str:
    """Its first line of output, within a bound."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if selector.select(_START_WITHIN_S):
            return process.stdout.readline().decode()
    raise RuntimeError("the cameras did not start")


def _wait_for_frames(directory: Path, names: list[str], watch: "subprocess.Popen[bytes]") -> None:
    """Until each camera has a durable frame, within a bound: one that has none later on is reported."""
    deadline = time.monotonic() + _START_WITHIN_S
    files = [directory / f"{name}.acks" for name in names]
    while not all(path.exists() and path.stat().st_size for path in files) and time.monotonic() < deadline:
        if watch.poll() is not None:
            raise RuntimeError("watch ended before it recorded anything")
        time.sleep(0.5)


def _wait(watch: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Wait; True if it ended early."""
    try:
        watch.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _json(output: bytes) -> Any:
    try:
        return json.loads(output.splitlines()[-1])  # what the first short watch printed comes before it
    except (ValueError, IndexError):
        return None


def _sizes(snapshot: MemorySnapshot) -> dict[str, int]:
    """How many stored pictures have each size."""
    sizes = (Image.open(io.BytesIO(image)).size for image in snapshot.images(snapshot.ids))
    return dict(Counter(f"{width}x{height}" for width, height in sizes))


def described(camera: Path, snapshot: MemorySnapshot) -> dict[str, Any]:
    """What a camera's memory holds, for its event: frames' times, gaps, sizes of pictures, what fsck found."""
    ahead = snapshot.times - snapshot.scalars("arrival_times", snapshot.ids)
    gaps = [gap for gap in (*snapshot.gaps, snapshot.open_gap) if gap is not None]
    return {
        "sizes": _sizes(snapshot), "damage": [f"{finding.where.name} {finding.what}" for finding in fsck(camera).damage],
        "ahead_s": round(float(ahead.max()), 3) if len(ahead) else None, "bases": snapshot.time_bases(snapshot.ids),
        "times": [round(time, 2) for time in snapshot.times.tolist()],
        "gaps": [[round(gap.start, 2), None if gap.lasts else round(gap.end, 2), gap.reason] for gap in gaps],
    }  # fmt: skip


def examine(events: Path, camera: Path, acks_file: Path) -> None:
    """Compare a camera's memory with what was acknowledged; its frames' times and gaps become an event."""
    snapshot, acks = CameraReader(camera).snapshot(), read_acks(acks_file)
    present = set(snapshot.ids.tolist())
    held = np.array([ack.frame for ack in acks if ack.frame in present], dtype=np.int64)
    rows = zip(snapshot.images(held), snapshot.tokens(held), snapshot.embeddings(held), strict=True)
    crcs = {int(frame): frame_crc(*row) for frame, row in zip(held, rows, strict=True)}
    times = dict(zip(snapshot.ids.tolist(), snapshot.times.tolist(), strict=True))
    altered = sum((times[ack.frame], crcs[ack.frame]) != (ack.time, ack.crc) for ack in acks if ack.frame in crcs)
    append(
        events, "camera", camera=camera.name, acked=len(acks), missing=len(acks) - len(held), altered=altered,
        **described(camera, snapshot),
    )  # fmt: skip
