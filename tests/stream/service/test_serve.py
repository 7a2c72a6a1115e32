"""`afterview serve` as a process: what it refuses to start with, and a life of it: reload, kill -9, restart, a clean end."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from afterview.cli.main import main
from afterview.memory.base.documents import write_json
from afterview.memory.directory import Memory
from afterview.memory.writing.open import open_camera
from afterview.stream.service.places import ServiceLock
from tests.support.memory_world import make_frame, make_spec
from tests.support.processes import ROOT, environment
from tests.support.servers import wait_until
from tests.support.service import API
from tests.support.systemd import Listener

PATTERN = "lavfi:testsrc2=size=160x120:rate=5"


# Runs the command line, and writes every address that Python looks up or connects to into the file that is its first argument.
TRACED = """
import sys
log = open(sys.argv.pop(1), "a", buffering=1)
def note(event, details):
    if event == "socket.connect" and isinstance(details[1], tuple):
        print(details[1][0], file=log)
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        print(details[0], file=log)
sys.addaudithook(note)
from afterview.cli.main import main
sys.exit(main())
"""


def serve(traced: Path, *arguments: str | Path, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TRACED, str(traced), "serve", "--json", *map(str, arguments)], cwd=ROOT, text=True,
        env=environment(HF_HUB_OFFLINE="0", **more), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*arguments: str | Path) -> str:
        """The one line of a service that does not start."""
        status = main(["serve", "--json", *map(str, arguments)])
        output, errors = capsys.readouterr()
        assert status == 2, errors
        lines = [line for line in errors.splitlines() if line.startswith("afterview: error: ")]
        assert len(lines) == 1, errors
        assert json.loads(output)["error"]["exit_status"] == 2
        return lines[0]

    return run


def record(memory: Path) -> Path:
    with open_camera(memory, "yard", make_spec()) as repository:
        repository.append(make_frame(0, make_spec()))
    return memory / "yard"


def test_a_second_service_a_port_in_use_and_other_faults_are_one_clear_line(
    tmp_path: Path, refusal: Callable[..., str]
) -> None:
    memory = tmp_path / "memory"
    camera = record(memory)
    with ServiceLock(memory) as lock:
        lock.say("http://127.0.0.1:1234")
        assert f"process {os.getpid()} at http://127.0.0.1:1234 serves this memory" in refusal(
            "--memory", memory, "--port", "0"
        )
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"port {port}: another program listens there" in refusal("--memory", memory, "--port", str(port))
    assert "a token or a user is needed" in refusal("--memory", memory, "--bind", "0.0.0.0", "--port", "0")
    write_json(camera / "camera.json", {"format": 99})
    assert "storage format 99" in refusal("--memory", memory, "--port", "0")
    config = tmp_path / "home.yaml"
    config.write_text("cameras:\n  door: {sorce: 1, source: rtsp://h/}\n")
    assert "home.yaml, line 2: cameras.door.sorce: unknown key" in refusal(config)
    config.write_text("http: {tls: {certificate: nowhere.pem, key: nowhere.key}}\n")
    assert "http.tls.certificate" in refusal(config, "--memory", memory, "--port", "0")


class Life:
    """A service that is killed and started again, with its clients."""

    def __init__(self, config: Path) -> None:
        self.config, self.process, self.traced = config, None, config.with_name("connections")
        self.systemd = Listener(str(config.with_name("notify")), hears=True)
        self.start()

    def start(self) -> None:
        self.systemd.told.clear()
        notify = {"NOTIFY_SOCKET": self.systemd.address, "WATCHDOG_USEC": "4000000"}
        self.process = serve(self.traced, self.config, **notify)
        assert self.process.stdout is not None
        self.url = json.loads(self.process.stdout.readline())["url"]

    def get(self, path: str) -> Any:
        return httpx2.get(f"{self.url}{path}", timeout=20).json()

    def states(self) -> dict[str, str]:
        return {camera["camera"]: camera["state"] for camera in self.get(f"{API}/cameras")["cameras"]}

    def end(self, number: int) -> tuple[int, str]:
        assert self.process is not None
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    config = tmp_path / "home.yaml"
    config.write_text(
        f"memory: memory\nhttp: {{port: 0}}\ncameras:\n  one: {{source: '{PATTERN}', masks: [[[0, 0], [1, 0], [1, 1]]]}}\n"
    )
    made = Life(config)
    yield made
    assert made.process is not None
    made.process.kill()
    made.systemd.close()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_life_with_reload_kill_and_restart(life: Life, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    assert wait_until(lambda: life.states() == {"one": "online"}, 90, every_s=0.3)
    added = httpx2.put(f"{life.url}{API}/cameras/two", json={"source": PATTERN, "paused": True}, timeout=30)
    assert added.status_code == 201
    assert wait_until(lambda: life.states()["two"] == "paused", 20)
    refused = httpx2.put(f"{life.url}{API}/cameras/one", json={"source": PATTERN}, timeout=30)
    assert "configuration file" in refused.json()["error"]["message"]
    life.config.write_text(
        life.config.read_text().replace("  one: ", "  three: {source: 'rtsp://127.0.0.1:9/x'}\n  one: ")
    )
    assert life.process is not None
    life.process.send_signal(signal.SIGHUP)
    assert wait_until(lambda: life.states().get("three") == "offline", 30)
    assert wait_until(lambda: life.systemd.told.count("READY=1") == 2, 10)
    reload = next(
        index for index, told in enumerate(life.systemd.told) if told.startswith("RELOADING=1\nMONOTONIC_USEC=")
    )
    assert life.systemd.told.index("READY=1") < reload
    assert wait_until(lambda: Memory(memory).camera("one").snapshot().frames >= 4, 20)
    before = Memory(memory).camera("one").snapshot()
    life.end(signal.SIGKILL)
    life.start()
    assert wait_until(lambda: life.states() == {"one": "online", "two": "paused", "three": "offline"}, 90, every_s=0.3)
    assert wait_until(lambda: Memory(memory).camera("one").snapshot().frames > before.frames, 30)
    after = Memory(memory).camera("one").snapshot()
    assert set(before.ids) <= set(after.ids)
    assert [gap.reason for gap in after.gaps][-1] == "crashed"
    answer = httpx2.post(
        f"{life.url}{API}/ask", json={"question": "Did you see a red ring?", "cameras": ["one"]}, timeout=60
    )
    assert answer.json()["coverage"]["frames"] >= after.frames
    ready = "STATUS=model ready; 1 of 3 cameras recorded, 1 paused"
    assert wait_until(lambda: ready in life.systemd.told, 20)
    status, log = life.end(signal.SIGTERM)
    assert (status, "Traceback" in log) == (0, False), log
    told = life.systemd.told
    assert "STATUS=model loading; 0 of 3 cameras recorded" in told
    assert told.index("READY=1") < told.index("STOPPING=1")
    assert told.count("WATCHDOG=1") >= 2
    assert Memory(memory).camera("one").snapshot().open_gap.reason == "not recording"  # type: ignore[union-attr]
    assert json.loads((memory / "one" / "settings.json").read_text())["masks"] == [[[0, 0], [1, 0], [1, 1]]]
    with ServiceLock(memory):
        pass  # it is free again
    reached = set(life.traced.read_text().split())
    assert reached <= {"127.0.0.1"}, "it reached what nobody configured"
