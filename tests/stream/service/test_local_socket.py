"""The socket in the memory: who can open it may do everything; whatever lies in its place, and however deep."""

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from afterview.cli.main import main
from afterview.memory.base.recorder import short_path
from afterview.stream.service.client import ServiceClient, _Connection, find_service
from afterview.stream.service.holder import LOCK, SOCKET, Holder, is_held, last_holder
from afterview.stream.service.local_socket import local_socket
from afterview.stream.service.places import ServiceLock
from tests.support.fake_service import fake_service
from tests.support.memory_world import START
from tests.support.processes import environment
from tests.support.service import API, ServiceHere, record_camera
from tests.support.unprivileged import public_directory, unprivileged

TOKEN = "a" * 40
RING = "Did you see a red ring?"

# Asks, and names what it has imported that takes long.
LIGHT = """
import sys
from afterview.cli.main import main
status = main(sys.argv[1:])
heavy = "torch transformers numpy pydantic fastapi starlette httpx httpx2 uvicorn zarr faiss av asyncio".split()
heavy = set(heavy) & set(sys.modules)
sys.exit(f"it imported {heavy}" if heavy else status)
"""


@pytest.fixture(scope="module")
def service(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceHere]:
    """With a token; in a directory whose path is too long for a socket's address."""
    memory = tmp_path_factory.mktemp("memory") / ("deep" * 20) / ("deeper" * 10)
    record_camera(memory, "yard", tiny, 20)
    token = memory.parent / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    with ServiceHere(
        memory, tiny, http={"token_file": str(token)}, headers={"Authorization": f"Bearer {TOKEN}"}
    ) as running:
        yield running


def asked(memory: Path) -> ServiceClient:
    found, why = find_service(memory)
    assert found is not None, why
    return found


def test_this_user_alone_can_open_it_and_needs_no_token(service: ServiceHere) -> None:
    status = (service.memory / SOCKET).lstat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o600
    client = asked(service.memory)
    assert client.get("/service")["model"]["name"] == "tiny"
    assert client.get("/cameras")["cameras"][0]["camera"] == "yard"
    job = client.post("/cameras/yard/forget?wait=20", {"start": START, "end": START + 1, "dry_run": True})
    assert (job["state"], job["error"]) == ("done", None)
    without = service.client.get(f"{API}/cameras", headers={"Authorization": ""})
    assert without.status_code == 401, "other doors keep theirs"


def request(memory: Path, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
    connection = _Connection(memory, 20)
    connection.request(method, path, body or None, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text)


def test_the_host_does_not_matter_but_sizes_do(service: ServiceHere) -> None:
    status, document = request(service.memory, "GET", "/health/ready", Host="evil.example")
    assert (status, document["disk"]["free_bytes"] is None) == (200, False), "it says all, as with the token"
    status, document = request(service.memory, "POST", f"{API}/ask", b"x" * (1 << 20) + b"x")
    assert (status, document["error"]["kind"]) == (413, "too_large")


def test_errors_name_the_memory_as_commands_do(service: ServiceHere) -> None:
    status, document = request(service.memory, "GET", f"{API}/cameras/garage")
    assert (status, document["error"]["kind"]) == (404, "memory_not_found")
    assert document["error"]["message"].startswith("no camera 'garage' in ")
    assert str(service.memory) in document["error"]["message"]
    assert str(service.memory) not in service.client.get(f"{API}/cameras/garage").text


def test_an_ask_imports_nothing_heavy(service: ServiceHere) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, "ask", RING, "--memory", str(service.memory)],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("yes\n", "no\n"))


def test_what_another_process_forgets_goes_from_the_exports_of_the_service(service: ServiceHere) -> None:
    job = service.json("POST", "/cameras/yard/export?wait=20", {}, status=202)
    assert job["state"] == "done"
    exports = service.memory / ".exports"
    assert len(os.listdir(exports)) == 1
    span = ("--from", str(START), "--to", str(START))
    assert main(["forget", "--memory", str(service.memory), "--camera", "yard", *span, "--yes", "-q"]) == 0
    assert os.listdir(exports) == []


@pytest.mark.parametrize("lies_there", ["socket", "file", "link"])
def test_what_a_killed_service_left_is_replaced(lies_there: str, tmp_path: Path) -> None:
    place, other = tmp_path / SOCKET, tmp_path / "other"
    other.write_text("stays")
    if lies_there == "socket":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(place))
    elif lies_there == "file":
        place.write_text("")
    else:
        place.symlink_to(other)
    with local_socket(tmp_path) as listener:
        assert listener is not None
        with socket.socket(socket.AF_UNIX) as client, short_path(tmp_path, SOCKET) as short:
            client.connect(short)
    assert not os.path.lexists(place)
    assert other.read_text() == "stays"


def test_a_file_system_without_sockets_costs_only_the_commands(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / SOCKET).mkdir()
    with local_socket(tmp_path) as listener:
        assert listener is None
    assert ".service.socket" in caplog.text
    assert "commands on this machine do not use the service" in caplog.text
    assert (tmp_path / SOCKET).is_dir()


def test_a_memory_that_is_moved_keeps_its_socket(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    with local_socket(before):
        before.rename(after)
        before.mkdir()
        (before / SOCKET).write_text("another's")
        assert (after / SOCKET).is_socket()
    assert not (after / SOCKET).exists()
    assert (before / SOCKET).read_text() == "another's"


def test_who_holds_a_memory(tmp_path: Path) -> None:
    assert (last_holder(tmp_path), is_held(tmp_path)) == (None, False)
    with ServiceLock(tmp_path) as lock:
        assert (last_holder(tmp_path), is_held(tmp_path)) == (Holder(os.getpid()), True)
        lock.say("http://127.0.0.1:8")
        assert str(last_holder(tmp_path)) == f"process {os.getpid()} at http://127.0.0.1:8"
    assert (last_holder(tmp_path), is_held(tmp_path)) == (None, False)
    assert find_service(tmp_path) == (None, "")
    (tmp_path / LOCK).write_text("{}")
    assert str(last_holder(tmp_path)) == "another process"
    assert find_service(tmp_path) == (None, ""), "nobody holds it"


def test_the_service_of_another_user_is_named_and_not_asked() -> None:
    with public_directory() as memory:
        with fake_service(memory):
            (memory / SOCKET).chmod(0o600)
            with unprivileged():
                found, why = find_service(memory)
        with unprivileged():
            ended = find_service(memory)
    assert found is None
    assert why.startswith("a service of another user serves this memory, and cannot be asked: .service.socket: ")
    assert ended == (None, "")
