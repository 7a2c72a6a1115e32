"""What does not work is said, by health, metrics and every answer; the rest goes on; and it comes back by itself."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest

from afterview.memory.directory import Memory
from tests.support.object_memory import flush, set_store
from tests.support.object_server import Gate
from tests.support.processes import ROOT, environment
from tests.support.servers import wait_until
from tests.support.service import API, ServiceHere, record_camera

PATTERN = "lavfi:testsrc2=size=160x120:rate=5"
ASKED = {"question": "Did you see a red ring?"}
SMALL_DISK = 'mount -t tmpfs -o size=24m,mode=700 tmpfs /mnt && exec "$@"'


@pytest.fixture
def on_small_disk(tmp_path: Path) -> Iterator[tuple[httpx2.Client, Path, subprocess.Popen[str]]]:
    """A service whose memory lies on a disk of 24 MB of its own; a client, that disk as others see it, and the process."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare")
    config = tmp_path / "home.yaml"
    config.write_text(f"memory: /mnt/memory\nhttp: {{port: 0}}\ncameras:\n  yard: {{source: '{PATTERN}'}}\n")
    command = [sys.executable, "-m", "afterview", "serve", "--json", str(config)]
    process = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", SMALL_DISK, "sh", *command],
        cwd=ROOT, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    said = process.stdout.readline()
    try:
        if not said:
            pytest.skip(f"no disk can be mounted here: {process.communicate()[1][-200:]}")
        with httpx2.Client(base_url=json.loads(said)["url"], timeout=30, trust_env=False) as client:
            yield client, Path(f"/proc/{process.pid}/root/mnt"), process
    finally:
        process.kill()
        process.wait()


def fill(path: Path) -> None:
    """Take all the space that is left."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_full_disk_stops_recording_until_there_is_room(
    on_small_disk: tuple[httpx2.Client, Path, "subprocess.Popen[str]"],
) -> None:
    client, disk, process = on_small_disk

    def ready() -> httpx2.Response:
        return client.get("/health/ready")

    def recorded() -> int:
        return int(client.get(f"{API}/cameras/yard").json()["recorded"])

    assert wait_until(lambda: ready().json()["cameras"]["recorded"] == 1 and recorded() >= 3, 120, every_s=0.3)
    fill(disk / "filling")
    assert wait_until(lambda: ready().status_code == 503, 30, every_s=0.2)
    found = ready().json()
    assert (found["status"], found["disk"]["full"]) == ("not ready", True)
    assert any("camera 'yard' is not recorded now: disk full" in note for note in found["notes"])
    assert any("the disk has 0.00 GB left" in note for note in found["notes"])
    answer = client.post(f"{API}/ask", json=ASKED)
    assert answer.status_code == 200, answer.text
    assert any("camera 'yard' is not recorded now: disk full" in note for note in answer.json()["notes"])
    assert any("saved" in note for note in answer.json()["notes"])
    assert client.get("/health/live").status_code == 200
    before = recorded()
    time.sleep(1.5)
    assert recorded() == before
    (disk / "filling").unlink()
    assert wait_until(lambda: ready().status_code == 200 and recorded() > before, 60, every_s=0.2)
    assert ready().json()["cameras"]["recorded"] == 1
    assert client.post(f"{API}/ask", json=ASKED).json()["notes"] == []
    snapshot = Memory(disk / "memory").camera("yard").snapshot()
    holes = [(first, second) for first, second in pairwise(snapshot.times) if second - first > 2.6]
    assert holes == [(gap.start, gap.end) for gap in snapshot.gaps if gap.reason == "dropped"]
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in log) == (0, False), log


@pytest.mark.integration
def test_a_store_that_does_not_answer_costs_only_what_lies_there(tiny: Any, tmp_path: Path, gate: Gate) -> None:
    record_camera(tmp_path, "yard", tiny, 200)
    set_store(tmp_path, gate.endpoint, timeout_s=1.0)
    flush(tmp_path / "yard")
    with ServiceHere(tmp_path, tiny, cameras={"pattern": {"source": PATTERN}}) as service:
        asked = {**ASKED, "cameras": ["yard"]}
        assert wait_until(lambda: service.json("GET", "/cameras/pattern")["recorded"] >= 2, 20)
        gate.shut()
        began = time.monotonic()
        answer = service.json("POST", "/ask", asked)
        took = time.monotonic() - began
        assert answer["coverage"]["unreachable"] > 0
        (note,) = answer["notes"]
        assert note.startswith(f"camera 'yard': {answer['coverage']['unreachable']} frames could not be read: ")
        assert took < 15
        before = service.json("GET", "/cameras/pattern")["recorded"]
        assert wait_until(lambda: service.json("GET", "/cameras/pattern")["recorded"] >= before + 3, 20)
        assert service.state_of("pattern") == "online"
        gate.open()
        assert wait_until(lambda: service.json("POST", "/ask", asked)["coverage"]["unreachable"] == 0, 60, every_s=0.5)
        assert service.json("POST", "/ask", asked)["notes"] == []


def test_a_damaged_model_is_a_state_until_it_is_mended(tiny: Any, tmp_path: Path) -> None:
    from afterview.model.checkpoint.loading import load_pretrained

    record_camera(tmp_path / "memory", "yard", tiny, 3)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{")

    def load(name: str, index: str | None) -> Any:
        whole = (tmp_path / "mended").exists()
        return tiny if whole else load_pretrained(str(tmp_path / "model"), recorded_index=index)

    with ServiceHere(tmp_path / "memory", load, cameras={"pattern": {"source": PATTERN}}) as service:
        ready = service.client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
        assert ready.json()["model"]["state"] == "failed"
        assert "config.json" in ready.json()["model"]["detail"]
        refused = service.json("POST", "/ask", ASKED, status=503)
        assert "config.json" in refused["error"]["message"]
        assert "afterview_model_ready 0" in service.client.get("/metrics").text
        assert service.state_of("pattern") == "starting"
        assert service.client.get(f"{API}/cameras/yard/image").status_code == 200
        (tmp_path / "mended").touch()
        service.in_loop(lambda engine: engine.reload(service.config))
        assert wait_until(lambda: service.client.get("/health/ready").json()["status"] == "ready", 20)
        assert service.json("POST", "/ask", ASKED)["answer"]


def test_an_encoder_that_cannot_keep_up_drops_the_oldest_and_says_so(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterview.stream.ingest.camera.LIVE_QUEUE_S", 0.5)
    encode = tiny.encoders.vision.encode

    def slow(pixels: Any) -> Any:
        time.sleep(0.8)
        return encode(pixels)

    with ServiceHere(tmp_path, tiny, cameras={"pattern": {"source": PATTERN, "fps": 5}}) as service:
        assert wait_until(lambda: service.json("GET", "/cameras/pattern")["recorded"] >= 2, 20)
        with monkeypatch.context() as patched:
            patched.setattr(tiny.encoders.vision, "encode", slow)
            assert wait_until(lambda: service.json("GET", "/cameras/pattern")["dropped"] >= 3, 30)
        assert wait_until(lambda: "dropped" in _reasons(service), 20)
        least = service.json("GET", "/cameras/pattern")["dropped"]  # it may grow on a busy machine
        said = r"camera 'pattern': (\d+) frames were dropped, because the machine could not keep up"
        places = [
            (said, "\n".join(service.json("POST", "/ask", ASKED)["notes"])),
            (said, "\n".join(service.client.get("/health/ready").json()["notes"])),
            (r'afterview_frames_dropped_total\{camera="pattern",reason="queue full"\} (\d+)', service.client.get("/metrics").text),
        ]  # fmt: skip
        most = service.json("GET", "/cameras/pattern")["dropped"]
        for pattern, text in places:
            found = re.search(pattern, text)
            assert found is not None, text
            assert least <= int(found[1]) <= most
        assert service.state_of("pattern") == "online"
        assert service.json("POST", "/ask", ASKED)["coverage"]["gaps"]


def _reasons(service: ServiceHere) -> list[str]:
    return [gap["reason"] for gap in service.json("GET", "/cameras/pattern/timeline")["gaps"]]
