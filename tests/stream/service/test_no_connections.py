"""A service connects to nothing that was not configured: it runs without a network, and a trace of its system calls shows no try."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterview.memory.base.errors import RepositoryError
from afterview.memory.directory import Memory
from tests.support.processes import ROOT, environment
from tests.support.servers import wait_until

QUESTION = "Which scene do you see now?"
# The loopback of a new network namespace is down. Brought up by hand, because `ip` is not everywhere.
WITH_LOOPBACK = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
    fcntl.ioctl(link, 0x8914, struct.pack("16sh14x", b"lo", 0x49))  # SIOCSIFFLAGS: up, loopback, running
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A service with one camera in an empty network, and the file with its `connect` calls and those of its children."""
    if shutil.which("strace") is None:
        pytest.skip("no strace (apt-get install strace)")
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody make a network namespace (unshare -rn)")
    config, trace = tmp_path / "home.yaml", tmp_path / "trace"
    camera = "lavfi:testsrc2=size=160x120:rate=5"
    config.write_text(f"memory: {tmp_path / 'memory'}\nhttp: {{port: 0}}\ncameras:\n  yard: {{source: '{camera}'}}\n")
    strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto", "-o", str(trace)]
    serve = [sys.executable, "-m", "afterview", "serve", "--json", str(config)]
    process = subprocess.Popen(
        ["unshare", "-rn", sys.executable, "-c", WITH_LOOPBACK, *strace, *serve],
        cwd=ROOT, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield process, trace
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # strace, and what it traces
        process.wait()


def reached(trace: Path) -> list[str]:
    """The calls that name an address of a network."""
    return [line for line in trace.read_text().splitlines() if re.search(r"sa_family=AF_INET", line)]


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.timeout(240)
def test_a_service_without_a_network_records_and_answers_and_connects_to_nothing(
    traced: tuple[subprocess.Popen[str], Path], tmp_path: Path
) -> None:
    process, trace = traced
    memory = tmp_path / "memory"
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    assert said["url"].startswith("http://127.0.0.1:")

    def recorded() -> bool:
        try:
            return Memory(memory).camera("yard").snapshot().frames >= 3
        except RepositoryError:
            return False  # it is being made

    assert wait_until(recorded, 120, every_s=0.5)
    asked = subprocess.run(
        [sys.executable, "-m", "afterview", "ask", QUESTION, "--memory", str(memory), "--json"],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["cameras"][0]["camera"] == "yard"
    os.kill(said["pid"], signal.SIGTERM)  # strace itself would let it run on
    process.wait(60)
    assert reached(trace) == []


def test_a_try_would_be_seen(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("no strace (apt-get install strace)")
    trace = tmp_path / "trace"
    program = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"
    command = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto", "-o", str(trace)]
    subprocess.run([*command, sys.executable, "-c", program], check=True)
    assert len(reached(trace)) == 1
