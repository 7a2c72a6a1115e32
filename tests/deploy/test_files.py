"""The files in deploy/: that they are what their tools take, and that what they name exists."""

import contextlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from afterview.cli.main import build_parser
from afterview.stream.service.config import load_service_config
from tests.support.processes import free_port

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TOOLS = Path(sys.executable).parent


def directives() -> list[tuple[str, str]]:
    """The Containerfile as (instruction, arguments), continued lines joined."""
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in lines]


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


@pytest.mark.parametrize(
    "command",
    [
        ["hadolint", "deploy/Containerfile"],
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml"],
    ],
    ids=lambda command: command[0],
)
def test_linters_find_nothing(command: list[str]) -> None:
    if not (tool := TOOLS / command[0]).exists():
        pytest.skip(f"{command[0]} is not installed; it is part of the dev install")
    done = subprocess.run([str(tool), *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_copies_what_there_is_and_what_a_build_needs() -> None:
    copied = [
        name
        for kind, rest in directives()
        if kind == "COPY" and not rest.startswith("--from")
        for name in rest.split()[:-1]
    ]
    assert all((ROOT / name).exists() for name in copied), copied
    needed = {"pyproject.toml", "setup.py", "constraints.txt", project()["readme"], *project()["license-files"]}
    needed |= {path.resolve().name for path in (ROOT / "afterview").iterdir() if path.is_symlink()} | {"afterview"}
    assert needed <= set(copied)
    kept = {line[1:] for line in (DEPLOY / "Containerfile.dockerignore").read_text().splitlines() if line[0] == "!"}
    assert kept == set(copied)


def test_the_image_is_pinned_and_runs_as_somebody_without_rights() -> None:
    found = dict(directives())  # the last of each
    images = [rest.split()[0] for kind, rest in directives() if kind == "FROM"]
    assert len(set(images)) == 1
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+\.\d+-slim-\w+", images[0])
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", found["USER"])
    assert not re.search(r"(?i)(password|token|secret)\s*=", (DEPLOY / "Containerfile").read_text())
    command = json.loads(found["ENTRYPOINT"]) + json.loads(found["CMD"])
    assert command[0] in project()["scripts"]
    build_parser().parse_args(command[1:])
    extras = re.search(r"'\.\[([a-z0-9,]+)\]'", (DEPLOY / "Containerfile").read_text())
    assert extras is not None
    assert set(extras[1].split(",")) <= set(project()["optional-dependencies"])
    assert "serve" in extras[1].split(",")


def test_the_cameras_of_the_example_are_those_of_mediamtx() -> None:
    services, image = compose()["services"], dict(directives())
    config = load_service_config(DEPLOY / "home.yaml")
    variables = services["mediamtx"]["environment"]
    paths = {name.split("_")[2].lower() for name in variables if name.endswith("_SOURCE")}
    assert {camera.source for camera in config.cameras.values()} == {f"rtsp://mediamtx:8554/{path}" for path in paths}
    assert len(paths) == 2
    own = services["afterview"]
    assert str(config.memory) in json.loads(image["VOLUME"])
    assert {volume.split(":")[1] for volume in own["volumes"]} == set(json.loads(image["VOLUME"]))
    assert own["user"] == image["USER"]
    assert own["healthcheck"]["test"][1:] == json.loads(image["HEALTHCHECK"].partition("CMD ")[2])
    assert own["read_only"] is True
    assert (DEPLOY / own["build"]["context"] / own["build"]["dockerfile"]).is_file()
    build_parser().parse_args(own["command"])
    assert own["configs"][0]["target"] in own["command"]
    assert own["environment"]["AFTERVIEW_TOKEN_FILE"] == f"/run/secrets/{own['secrets'][0]}"
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service.get("ports", ()))
    for service in services.values():
        assert service["cap_drop"] == ["ALL"]
        assert not service["user"].startswith("0")
        assert ":" in service["image"].rpartition("/")[2]


def test_the_unit_is_what_systemd_takes(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (Debian package systemd)")
    version = int(subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True).stdout.split()[1])
    text = (DEPLOY / "afterview.service").read_text()
    started = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert started is not None
    build_parser().parse_args(shlex.split(started[1])[1:])
    text = text.replace(started[0], "ExecStart=/bin/true").replace("Documentation=", "#")
    if version < 253:
        text = text.replace("Type=notify-reload", "Type=notify")
    unit = tmp_path / "afterview.service"
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_unit_is_closed_and_watched() -> None:
    lines = (DEPLOY / "afterview.service").read_text().splitlines()
    assert {
        "Type=notify-reload", "User=afterview", "ProtectSystem=strict", "ProtectHome=yes", "NoNewPrivileges=yes",
        "CapabilityBoundingSet=", "StateDirectory=afterview", "Restart=on-failure", "WatchdogSec=60",
        "Environment=AFTERVIEW_TOKEN_FILE=%d/token",
    } <= set(lines)  # fmt: skip
    credentials = {line.partition("=")[2].split(":")[0] for line in lines if line.startswith("LoadCredential=")}
    named = {name for line in lines if line.startswith("Environment=") for name in re.findall(r"_FILE=%d/(\w+)", line)}
    assert credentials == named == {"token"}


@contextlib.contextmanager
def answering(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/health/live"
        finally:
            server.shutdown()


def health(url: str) -> int:
    done = subprocess.run(
        [sys.executable, str(DEPLOY / "health.py")], capture_output=True, timeout=30,
        env={"AFTERVIEW_HEALTH_URL": url, "http_proxy": "http://127.0.0.1:9"},
    )  # fmt: skip
    return done.returncode


def test_the_health_check_of_the_image() -> None:
    with answering(200) as url:
        assert health(url) == 0
    with answering(503) as url:
        assert health(url) == 1
    assert health(f"http://127.0.0.1:{free_port()}/health/live") == 1
    assert health("nonsense") == 1
