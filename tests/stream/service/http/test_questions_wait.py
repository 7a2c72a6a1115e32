"""Questions that wait, that are refused, and whose clients leave. The model is replaced by one that answers when it is told to."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from afterview.stream.errors import Cancelled
from afterview.stream.service.http import server
from afterview.stream.session import Session
from tests.support.servers import wait_until
from tests.support.service import API, ServiceHere, record_camera
from tests.support.slow_model import SlowModel

BODY = {"question": "Did you see a red ring?"}


@pytest.fixture
def service(tiny: Any, tmp_path: Path, slow: SlowModel) -> Iterator[ServiceHere]:
    record_camera(tmp_path, "yard", tiny, 3)
    with ServiceHere(tmp_path, tiny, http={"longest_queue": 2}) as running:
        yield running


def leave_early(service: ServiceHere, *, stream: bool) -> None:
    """Ask, and leave without an answer."""
    with httpx2.Client(base_url=service.url, timeout=0.3, trust_env=False) as client:
        if stream:
            with client.stream("POST", f"{API}/ask", json={**BODY, "stream": True}) as response:
                next(response.iter_lines())
        else:
            with pytest.raises(httpx2.ReadTimeout):
                client.post(f"{API}/ask", json=BODY)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_cancels_its_generation(service: ServiceHere, slow: SlowModel, stream: bool) -> None:
    leave_early(service, stream=stream)
    assert wait_until(lambda: slow.cancelled == 1, 5)
    assert service.json("GET", "/service")["questions"]["waiting"] == 0
    assert 'afterview_questions_total{outcome="cancelled"} 1' in service.client.get("/metrics").text
    leave_early(service, stream=stream)  # the turn was given back
    assert wait_until(lambda: slow.asked == 2, 5)


async def much(session: Session, model: Any, question: Any, on_text: Any, on_cameras: Any, **_: Any) -> Any:
    on_cameras(["yard"], {})
    for _ in range(32):
        on_text("x" * 1_000_000)
    raise Cancelled("told to")


def test_a_client_that_does_not_read_keeps_nobody_waiting(
    service: ServiceHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More text than the buffers of a connection hold, and a client that reads none of it."""

    monkeypatch.setattr(Session, "ask", much)
    with (
        httpx2.Client(base_url=service.url, timeout=20, trust_env=False) as client,
        client.stream("POST", f"{API}/ask", json={**BODY, "stream": True}),
    ):
        answer = service.client.post(f"{API}/ask", json=BODY, timeout=5)
        assert answer.json()["error"]["message"] == "told to"


def test_a_client_that_reads_nothing_loses_its_connection(
    service: ServiceHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "UNREAD_S", 0.3)
    monkeypatch.setattr(Session, "ask", much)
    found = service.service._server
    assert found is not None
    connections = found.server_state.connections
    with (
        httpx2.Client(base_url=service.url, timeout=20, trust_env=False) as client,
        client.stream("POST", f"{API}/ask", json={**BODY, "stream": True}) as response,
    ):
        assert len(connections) == 2
        assert wait_until(lambda: len(connections) == 1, 10)
        with pytest.raises(httpx2.RemoteProtocolError):
            response.read()


def test_errors_of_streams_and_jobs_do_not_tell_where_the_memory_lies(
    service: ServiceHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def damaged(session: Session, model: Any, question: Any, on_text: Any, on_cameras: Any, **_: Any) -> Any:
        on_cameras(["yard"], {})
        raise Cancelled(f"{service.memory}/yard: damaged")

    monkeypatch.setattr(Session, "ask", damaged)
    streamed = service.client.post(f"{API}/ask", json={**BODY, "stream": True}).text
    (service.memory / "yard" / "committed").write_text("")
    job = service.json("POST", "/cameras/yard/export?wait=20", {}, status=202)
    for said in (streamed, job["error"]["message"]):
        assert "the memory/yard" in said
        assert str(service.memory) not in said


def test_a_full_queue_says_when_to_come_again(service: ServiceHere, slow: SlowModel) -> None:
    asking = [
        threading.Thread(target=lambda: httpx2.post(f"{service.url}{API}/ask", json=BODY, timeout=20)) for _ in range(3)
    ]
    for thread in asking:
        thread.start()
    assert wait_until(lambda: service.json("GET", "/service")["questions"]["waiting"] == 2, 5)
    refused = service.client.post(f"{API}/ask", json=BODY)
    assert (refused.status_code, refused.json()["error"]["kind"]) == (429, "too_many_questions")
    assert int(refused.headers["retry-after"]) >= 1
    streamed = service.client.post(f"{API}/ask", json={**BODY, "stream": True})
    assert streamed.status_code == 429
    slow.go.set()
    for thread in asking:
        thread.join(10)
    assert slow.asked == 3
    assert "afterview_questions_refused_total 2" in service.client.get("/metrics").text


def test_stopping_does_not_wait_for_questions_and_listeners(tiny: Any, tmp_path: Path, slow: SlowModel) -> None:
    record_camera(tmp_path, "yard", tiny, 3)
    found: list[Any] = []

    def ask(body: dict[str, Any]) -> None:
        try:
            found.append(httpx2.post(f"{service.url}{API}/ask", json=body, timeout=20).status_code)
        except httpx2.TransportError as error:
            found.append(type(error))

    with ServiceHere(tmp_path, tiny) as service:
        asking = [threading.Thread(target=ask, args=({**BODY, "stream": stream},)) for stream in (True, False, False)]
        for thread in asking:
            thread.start()
        with service.client.stream("GET", f"{API}/events") as events:
            lines = events.iter_lines()
            next(lines)
            assert wait_until(lambda: slow.asked == 1 and len(service.memory.name) > 0, 5)
            service.stop(within_s=10)
        for thread in asking:
            thread.join(10)
            assert not thread.is_alive()
    assert len(found) == 3
