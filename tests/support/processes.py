"""Processes that tests start: their environment, ports, priority, and two of one training on one machine."""

import contextlib
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WITHIN_S = 240


def environment(**more: str) -> dict[str, str]:
    """The environment of a process that imports from this checkout."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def free_port() -> int:
    """A port that nobody listens on, below those that the system gives to clients: it stays free while a server is away and comes back."""
    dice = random.SystemRandom()  # a training seeds `random`: two tests at once would draw the same ports
    for _ in range(200):
        port = dice.randrange(20_000, 32_000)
        with socket.socket() as found, contextlib.suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port")


def as_urgent_as_this(process: int) -> None:
    """Let a process with a session of its own have this one's nice value also among sessions, where Linux groups processes by them."""
    try:
        Path(f"/proc/{process}/autogroup").write_text(str(os.nice(0)))
    except OSError:
        pass  # no such groups here, or not allowed: the run is as good, on a busy machine slower


def in_two(*arguments: str) -> list[subprocess.CompletedProcess[str]]:
    """Run `python ARGUMENTS` in two processes that know each other, without a launcher that would end them."""
    port = str(free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, *arguments], text=True, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(
                RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2",
                MASTER_ADDR="127.0.0.1", MASTER_PORT=port, ACCELERATE_USE_CPU="true",
            ),
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        outputs = [process.communicate(timeout=WITHIN_S) for process in processes]
        return [
            subprocess.CompletedProcess(process.args, process.returncode, *output)
            for process, output in zip(processes, outputs, strict=True)
        ]
    finally:
        for process in processes:
            process.kill()
