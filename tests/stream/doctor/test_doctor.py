"""`afterview doctor`: each check with what makes it complain, and the whole command."""

import json
import socket
import sys
import threading
import time
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from afterview.cli.main import main
from afterview.memory.writing.open import open_camera
from afterview.model.base.machine import Gpu, Machine
from afterview.stream.doctor import machine, places
from afterview.stream.doctor.cameras import check_camera
from afterview.stream.doctor.findings import Finding, start
from afterview.stream.service.config import CameraConfig, HttpConfig
from tests.support.memory_world import START, make_frame, make_spec
from tests.support.mjpeg_server import Request, jpeg, picture_server

MACHINE = Machine("a processor", 4, ("avx2",), 16 * 10**9, 8 * 10**9, (), "2.13")


def states(findings: Iterable[Finding]) -> dict[str, str]:
    return {finding.check: finding.state for finding in findings}


def test_a_check_that_hangs_or_fails_ends_as_a_finding() -> None:
    ended = threading.Event()

    def hang() -> list[Finding]:
        ended.wait(30)
        return []

    def fail() -> list[Finding]:
        raise ZeroDivisionError

    (hung,), (failed,) = start("mount", hang)(0.05), start("odd", fail)(5)
    ended.set()
    assert (hung.state, hung.text) == ("warning", "did not end within 0.05 s")
    assert (failed.state, failed.text) == ("warning", "could not be checked (ZeroDivisionError)")


def test_the_build_of_torch_is_read_without_loading_it() -> None:
    import torch

    assert machine.torch_cuda() == torch.version.cuda
    assert states(machine.check_python()) == {"python": "ok", "torch": "ok"}


def test_a_gpu_that_torch_does_not_use_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Machine("a", 4, (), 16 * 10**9, 10**9, (Gpu("NVIDIA T4", 16 * 10**9, "550"),), "2.13")
    monkeypatch.setattr(machine, "torch_cuda", lambda: None)
    found = {finding.check: finding for finding in machine.check_processor(gpu)}
    assert found["gpu"].state == "problem"
    assert "install a build for CUDA" in found["gpu"].remedy
    assert found["memory of the machine"].state == "warning"
    monkeypatch.setattr(machine, "torch_cuda", lambda: "12.8")
    assert states(machine.check_processor(gpu))["gpu"] == "ok"
    without = {"processor": "ok", "memory of the machine": "ok", "gpu": "ok", "encoders": "ok"}
    assert states(machine.check_processor(MACHINE)) == without


def test_a_clock_that_cannot_be_right(monkeypatch: pytest.MonkeyPatch) -> None:
    (old,) = machine.check_clock(None, now=1_000_000.0)
    assert (old.state, "before this program was made" in old.text) == ("problem", True)
    now = time.time()
    (behind,) = machine.check_clock(now + 3600, now=now)
    assert (behind.state, "before the newest frame" in behind.text) == ("problem", True)
    for synchronised, state in ((True, "ok"), (False, "warning"), (None, "ok")):
        monkeypatch.setattr(machine, "is_synchronised", lambda value=synchronised: value)
        assert states(machine.check_clock(now - 5, now=now)) == {"clock": state}


def test_what_ffmpeg_can_do() -> None:
    found = {finding.check: finding for finding in machine.check_ffmpeg()}
    assert found["ffmpeg"].state == "ok"
    assert "h264" in found["ffmpeg"].text
    assert found["protocols"].values["lacking"] in ([], ["srt"])


def test_a_memory_that_is_damaged_missing_or_sound(tmp_path: Path) -> None:
    assert states(places.check_memory(tmp_path / "none")) == {"memory": "ok"}
    spec = make_spec()
    with open_camera(tmp_path, "hall", spec) as repository:
        for number in range(3):
            repository.append(make_frame(number, spec))
    (sound,) = places.check_memory(tmp_path)
    assert (sound.state, sound.values["frames"]) == ("ok", 3)
    assert places.newest_frame(tmp_path) == START + 2
    assert places.recorded_model(tmp_path) == (spec.model, spec.index.encoder)
    (tmp_path / "hall" / "committed").write_text("{")
    (damaged,) = places.check_memory(tmp_path)
    assert damaged.state == "problem"
    assert "afterview fsck" in damaged.remedy


def test_room_and_speed_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_WRITE_BYTES", 1 << 20)
    found = {finding.check: finding for finding in places.check_disk(tmp_path / "memory")}
    assert found["disk speed"].values["bytes_per_s"] > 0
    assert not list(tmp_path.iterdir()), "nothing is left behind"
    monkeypatch.setattr(places, "_NO_ROOM", 1e18)
    monkeypatch.setattr(places, "_SLOW_BYTES", 1e18)
    assert states(places.check_disk(tmp_path)) == {"disk room": "problem", "disk speed": "warning"}


def test_weights_and_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert states(places.check_weights("tiny", None)) == {"weights": "ok"}
    (lacking,) = places.check_weights("hour-llava-3b", None)
    assert (lacking.state, "afterview models pull hour-llava-3b" in lacking.describe()) == ("problem", True)
    assert states(places.check_weights("hour-lava", None)) == {"weights": "problem"}
    assert states(places.check_hub("tiny")) == {"hub": "ok"}  # HF_HUB_OFFLINE
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert states(places.check_hub("tiny")) == {"hub": "warning"}
    assert states(places.check_hub("hour-llava-3b")) == {"hub": "problem"}


class _Service(BaseHTTPRequestHandler):
    answer = b'{"status": "degraded", "model": {}, "notes": ["camera door is not recorded now"]}'

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_the_port_is_free_taken_or_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.listen(1)
        taken = HttpConfig(port=other.getsockname()[1])
        monkey = pytest.MonkeyPatch()
        monkey.setattr(places, "_HTTP_S", 0.2)
        assert states(places.check_port(taken)) == {"port": "problem"}
        monkey.undo()
    assert states(places.check_port(taken)) == {"port": "ok"}
    server = HTTPServer(("127.0.0.1", 0), _Service)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        (found,) = places.check_port(HttpConfig(port=server.server_address[1]))
    finally:
        server.shutdown()
        server.server_close()
    assert (found.check, found.state) == ("service", "warning")
    assert "camera door is not recorded now" in found.text


def test_a_camera_is_measured() -> None:
    found = list(check_camera("test", CameraConfig(source="lavfi:testsrc2=size=320x180:rate=10"), 0.5, {}))
    assert states(found) == {"camera test": "ok", "camera test, clock": "ok"}
    values = found[0].values
    assert (values["width"], values["height"]) == (320, 180)
    assert values["decode_cpu_s_per_s"] < 1


def test_a_camera_of_single_pictures_is_measured() -> None:
    def script(request: Request) -> object:
        return request.answer(jpeg(len(request.path)))

    with picture_server(script) as server:
        found = list(check_camera("door", CameraConfig(source=server.url), 0.5, {}))
    assert states(found)["camera door"] == "ok", found


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("rtsp://viewer:geheim7@127.0.0.1:9/x", "cannot be reached"),
        ("rtsp://viewer:{AFTERVIEW_NOBODY_SET}@127.0.0.1/x", "AFTERVIEW_NOBODY_SET"),
        ("ftp://viewer:geheim7@127.0.0.1/x", "ftp"),
    ],
)
def test_a_camera_that_cannot_be_watched_is_a_problem_without_its_secrets(source: str, message: str) -> None:
    (found,) = start("camera door", lambda: check_camera("door", CameraConfig(source=source), 0.2, {}))(20)
    assert found.state == "problem"
    assert message in found.text
    assert "geheim7" not in found.describe() + json.dumps(found.to_dict())


def test_the_whole_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(places, "_WRITE_BYTES", 1 << 20)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "home.yaml"
    config.write_text(
        f"memory: memory\nhttp: {{port: {port}}}\ncameras:\n  test: {{source: 'lavfi:testsrc2=size=320x180:rate=10'}}\n"
        "  gone: {source: 'rtsp://viewer:geheim7@127.0.0.1:9/x'}\n  idle: {source: 'rtsp://127.0.0.1:9/x', paused: true}\n"
    )
    assert main(["doctor", str(config), "--for", "0.3s", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    found = {one["check"]: one for one in document["findings"]}
    assert found["configuration"]["state"] == "ok"
    assert [one["check"] for one in document["findings"] if one["state"] == "problem"] == ["camera gone"]
    assert document["problem"] == 1
    assert found["camera idle"]["state"] == "ok"
    assert main(["doctor", str(config), "--for", "0.3s"]) == 1
    text = capsys.readouterr().out
    assert "geheim7" not in text
    assert "problem  camera gone:" in text
    config.write_text("camras: {}\n")
    assert main(["doctor", str(config), "--memory", str(tmp_path / "memory"), "--for", "0.3s"]) == 1
    assert "did you mean 'cameras'" in capsys.readouterr().out
    assert main(["doctor", "--for", "1h"]) == 2


def test_it_loads_no_torch(tmp_path: Path) -> None:
    import subprocess

    from tests.support.processes import ROOT, environment

    program = (
        "import sys; from afterview.cli.main import main; status = main(sys.argv[1:]); "
        "assert 'torch' not in sys.modules; sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "doctor", "--memory", str(tmp_path / "memory")],
        capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=120,
    )  # fmt: skip
    assert "python: " in done.stdout
    assert "AssertionError" not in done.stderr, done.stderr
