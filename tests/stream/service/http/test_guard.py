"""What the service refuses, over real connections: other hosts and pages, missing tokens, large and slow requests, too many connections."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import wait_until
from tests.support.service import API, ServiceHere, record_camera

TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def service(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceHere]:
    memory = tmp_path_factory.mktemp("memory")
    record_camera(memory, "yard", tiny, 3)
    http = {"header_timeout_s": 0.5, "body_timeout_s": 0.5, "most_connections": 8, "allowed_hosts": ["nvr.home"]}
    with ServiceHere(memory, tiny, http=http) as running:
        yield running


@pytest.fixture(scope="module")
def with_token(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceHere]:
    memory = tmp_path_factory.mktemp("memory")
    record_camera(memory, "yard", tiny, 3)
    token = memory.parent / f"{memory.name}.token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    with ServiceHere(memory, tiny, http={"token_file": str(token)}) as running:
        yield running


def connect(service: ServiceHere) -> socket.socket:
    host, port = service.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def exchange(service: ServiceHere, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """What comes back until the service closes the connection."""
    with connect(service) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause_s)
        received = b""
        while part := connection.recv(65536):
            received += part
        return received


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"Host": "evil.example"}, 421, "host_refused"),
        ({"Host": "evil.example:8077"}, 421, "host_refused"),
        ({"Host": "127.0.0.1.evil.example"}, 421, "host_refused"),
        ({"Host": "192.168.1.9"}, 421, "host_refused"),
        ({"Host": "["}, 421, "host_refused"),
        ({"Host": "user@localhost@evil.example"}, 421, "host_refused"),
        ({"Origin": "https://evil.example"}, 403, "origin_refused"),
        ({"Origin": "null"}, 403, "origin_refused"),
        ({"Origin": "http://localhost:1"}, 403, "origin_refused"),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403, "origin_refused"),
        ({"Host": "localhost:9"}, 200, None),
        ({"Host": "LOCALHOST."}, 200, None),
        ({"Host": "nvr.home"}, 200, None),
        ({"Host": "nvr.home", "Origin": "https://nvr.home"}, 200, None),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200, None),
        ({"Sec-Fetch-Site": "same-origin"}, 200, None),
    ],
)
def test_only_names_and_pages_of_this_machine(
    service: ServiceHere, headers: dict[str, str], status: int, kind: str | None
) -> None:
    answer = service.client.get(f"{API}/cameras", headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json().get("error", {}).get("kind") == kind
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_its_own_page_may_ask(service: ServiceHere) -> None:
    assert service.client.get(f"{API}/cameras", headers={"Origin": service.url}).status_code == 200


def test_without_the_token_only_health(with_token: ServiceHere) -> None:
    client = with_token.client
    for path in (f"{API}/cameras", "/metrics", f"{API}/openapi.json", f"{API}/cameras/yard/frames/1/image", "/nothing"):
        for headers in ({}, {"Authorization": "Bearer wrong-token-wrong-token"}, {"Authorization": f"Basic {TOKEN}"}):
            answer = client.get(path, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert ("the one that came is wrong" in answer.text) == bool(headers)
            assert TOKEN not in answer.text
        if path != "/nothing":
            assert client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert client.get("/health/live").status_code == 200
    with_token.json(
        "PUT", "/cameras/pattern", {"source": "lavfi:testsrc2=size=64x64:rate=5"}, status=201,
        headers={"Authorization": f"Bearer {TOKEN}"},
    )  # fmt: skip
    assert client.get("/health/ready").json()["lag_s"] == {}
    assert "pattern" in client.get("/health/ready", headers={"Authorization": f"Bearer {TOKEN}"}).json()["lag_s"]


def test_a_body_that_is_too_large_or_too_slow(service: ServiceHere) -> None:
    stated = service.client.post(f"{API}/ask", content=b"x" * (2 << 20), headers={"Content-Type": "application/json"})
    assert (stated.status_code, stated.json()["error"]["kind"]) == (413, "too_large")
    head = b"POST /api/v1/ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    chunk = b"80000\r\n" + b" " * 0x80000 + b"\r\n"
    assert exchange(service, head + b"Transfer-Encoding: chunked\r\n\r\n", chunk, chunk, chunk).startswith(
        b"HTTP/1.1 413"
    )
    began = time.monotonic()
    assert exchange(service, head + b'Content-Length: 100\r\n\r\n{"question":').startswith(b"HTTP/1.1 408")
    assert time.monotonic() - began < 5


def test_a_head_that_is_too_large_or_too_slow(service: ServiceHere) -> None:
    large = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000
    assert exchange(service, large).startswith(b"HTTP/1.1 400")
    began = time.monotonic()
    assert exchange(service, b"GET /health/live HTTP/1.1\r\n", b"Host: local", pause_s=0.1) == b""
    assert exchange(service) == b""
    assert time.monotonic() - began < 5


def test_half_open_connections_are_bounded_and_end(service: ServiceHere) -> None:
    held = []
    try:
        for _ in range(40):
            held.append(connect(service))
        assert wait_until(lambda: _answers(service), 10)
    finally:
        for connection in held:
            connection.close()
    assert wait_until(lambda: _answers(service), 5)


def _answers(service: ServiceHere) -> bool:
    try:
        return exchange(
            service, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


@pytest.mark.parametrize(
    "path",
    [
        "/cameras/..%2F..%2Fetc/frames/1/image",
        "/cameras/%2e%2e/frames/1/image",
        "/cameras/answers",
        "/cameras/%00",
        "/cameras/yard%00/frames/1",
        "/cameras/yard/frames/..%2F1",
        "/answers/..%2F..%2Fyard",
        "/answers/%2e%2e",
        "/jobs/..%2F..%2Fetc%2Fpasswd/file",
        "/cameras/yard/frames/1/image/../../../../service",
        "/cameras/" + "x" * 3000,
    ],
)
def test_paths_lead_nowhere_else(service: ServiceHere, path: str) -> None:
    answer = exchange(service, f"GET {API}{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.split(b" ", 2)[1] in (b"404", b"422", b"400"), answer[:300]


def test_secrets_of_sources_are_never_shown(service: ServiceHere, caplog: pytest.LogCaptureFixture) -> None:
    source = "rtsp://viewer:hunter2hunter2@127.0.0.1:9/stream?token=abcdefgh1234"
    with caplog.at_level("DEBUG"):
        put = service.client.put(f"{API}/cameras/secret", json={"source": source})
        assert put.status_code == 201, put.text
        assert wait_until(lambda: service.state_of("secret") in ("offline", "failed"), 10)
        seen = [put.text, service.client.get(f"{API}/cameras").text, service.client.get("/metrics").text, caplog.text,
                service.client.get(f"{API}/cameras/secret").text, service.client.get("/health/ready").text]  # fmt: skip
    service.json("DELETE", "/cameras/secret", status=204)
    assert not [text for text in seen if "hunter2" in text or "abcdefgh1234" in text]
    assert "rtsp://***@127.0.0.1:9/stream?token=***" in seen[1]
    stored = service.memory / ".cameras.json"
    assert stored.stat().st_mode & 0o777 == 0o600


def test_variables_are_not_filled_for_clients(
    service: ServiceHere, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AFTERVIEW_DOOR", "a-secret-of-this-machine")
    refused = service.json("PUT", "/cameras/thief", {"source": "rtsp://127.0.0.1/{AFTERVIEW_DOOR}"}, status=400)
    assert "configuration file" in refused["error"]["message"]
    assert "a-secret" not in str(refused)


@pytest.mark.parametrize(
    "source",
    [
        "lavfi:movie=/etc/hostname",
        "lavfi:testsrc2,drawtext=textfile=/etc/passwd",
        "lavfi:color=c=red[a];[a]subtitles=/etc/passwd",
        "LAVFI:testsrc2,null",
        "front.mp4",
        "/etc/passwd",
        "gopher://h/",
        "",
    ],
)
def test_clients_cannot_have_files_of_this_machine_read(service: ServiceHere, source: str) -> None:
    refused = service.client.put(f"{API}/cameras/thief", json={"source": source})
    assert refused.status_code in (400, 422), refused.text
    assert "thief" not in service.client.get(f"{API}/cameras").text


def test_a_wrong_value_is_not_quoted(service: ServiceHere) -> None:
    refused = service.json("PUT", "/cameras/door", {"source": ["rtsp://u:hunter2hunter2@h/"]}, status=422)
    assert "hunter2" not in str(refused)
