"""Duration of commands that load no model: the interpreter's start, `--help`, and `info` of an empty and of a real memory."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.writing.open import open_camera
from tests.bench.table import Table
from tests.support.memory_world import make_frame, make_spec

CAMERAS, RUNS = 4, 7


def run() -> list[Table]:
    """Takes ten seconds."""
    table = Table(
        "Start of commands that load no model",
        ["command", "seconds", "of process time", "interpreters' starts"],
        f"Median of {RUNS} runs, in turn; process time is user and system time. Last column: seconds over those of `python -c pass`.",
    )
    with tempfile.TemporaryDirectory() as directory:
        _fill(Path(directory))
        commands = {
            "python -c pass": ("-c", "pass"),
            "afterview --help": ("-m", "afterview", "--help"),
            "afterview info, no memory there": ("-m", "afterview", "info", str(Path(directory) / "nowhere")),
            f"afterview info, {CAMERAS} cameras": ("-m", "afterview", "info", directory),
        }
        runs = [[_seconds(*arguments) for arguments in commands.values()] for _ in range(RUNS)]
    wall = [statistics.median(run[number][0] for run in runs) for number in range(len(commands))]
    for number, name in enumerate(commands):
        busy = statistics.median(run[number][1] for run in runs)
        table.add(name, f"{wall[number]:.2f}", f"{busy:.2f}", f"{wall[number] / wall[0]:.0f}")
    return [table]


def _fill(memory: Path) -> None:
    spec = make_spec()
    for camera in range(CAMERAS):
        repository = open_camera(memory, f"camera{camera}", spec)
        for number in range(SEAL_FRAMES + 1):
            repository.append(make_frame(number, spec))
        repository.close()


def _seconds(*arguments: str) -> tuple[float, float]:
    """Wall and process seconds of one interpreter."""
    before, started = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
    wall, after = time.perf_counter() - started, os.times()
    return wall, (after.children_user + after.children_system) - (before.children_user + before.children_system)
