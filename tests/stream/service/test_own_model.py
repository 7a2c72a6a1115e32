"""A service whose questions go to a model server of the user's own: every door says so, and nothing else of the service notices."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from afterview.configs import ConfigError
from afterview.stream.service.answer_with_config import AnswerWithConfig, model_server
from afterview.stream.service.config import ServiceConfig, load_service_config, needs_restart
from afterview.stream.service.mqtt.payloads import last_answer
from afterview.stream.session import Session
from tests.stream.service.mcp.conftest import call, text_of
from tests.support.memory_world import START
from tests.support.model_server import MODEL, Misdeeds, ModelServer
from tests.support.model_server import model_server as running_server
from tests.support.openai_client import client_of, user
from tests.support.pictured import record_pictured
from tests.support.servers import wait_until
from tests.support.service import ServiceHere, sent_events

QUESTION = "Is a cat on the sofa?"  # which the built-in model declines


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with running_server() as running:
        yield running


@pytest.fixture(scope="module")
def recorded(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    memory = tmp_path_factory.mktemp("memory")
    record_pictured(memory, "door", 12, tiny.encoders.feature_spec)
    return memory


def config_of(server: ModelServer, **more: Any) -> dict[str, Any]:
    return {"url": server.url, "first_token_s": 5.0, "timeout_s": 10.0, "frames": 4, **more}


def metric(service: ServiceHere, name: str) -> float:
    for line in service.client.get("/metrics").text.splitlines():
        if line.startswith(f"afterview_{name}"):
            return float(line.rpartition(" ")[2])
    raise AssertionError(name)


def test_every_door_says_who_answered_and_what_left_the_machine(
    tiny: Any, recorded: Path, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def built_in(*given: Any, **more: Any) -> None:
        raise AssertionError("the built-in model was asked")

    monkeypatch.setattr(Session, "ask", built_in)
    with ServiceHere(recorded, tiny, answer_with=config_of(server)) as service:
        document = service.json("POST", "/ask", {"question": QUESTION})
        by_openai = client_of(service).chat.completions.create(model="afterview", messages=[user(QUESTION)]).to_dict()
        by_mcp = call(service.url, "auto", "ask", {"question": QUESTION})
        with service.client.stream("POST", "/api/v1/ask", json={"question": QUESTION, "stream": True}) as response:
            events = list(sent_events(response.iter_lines()))
        sent = sum(chat.size for chat in server.chats)
        assert metric(service, "answer_with_requests_total") == 4
        assert metric(service, "answer_with_frames_sent_total") == 16
        assert metric(service, "answer_with_bytes_sent_total") == sent
        assert metric(service, 'answer_with_questions_total{outcome="answered"}') == 4
    assert by_mcp.structured_content is not None
    assert by_mcp.structured_content["cameras"][0]["answered_by"]["host"] == server.host
    assert "Verdict (door): confirmed" in text_of(by_mcp)
    assert f"Note: answered by {MODEL} at {server.host}" in text_of(by_mcp)
    by_mqtt = last_answer(document)
    assert by_mqtt["notes"][0].startswith(f"answered by {MODEL} at {server.host}")
    assert len([kind for kind, _ in events if kind == "text"]) > 3  # word by word
    for found in (document, by_openai["afterview"], events[-1][1]):
        assert found["provenance"]["answered_by"] == {"host": server.host, "model": MODEL, "reported_model": MODEL}
        assert found["provenance"]["sent"]["frames"] == 4
        assert found["provenance"]["verdict"]["verdict"] == "confirmed"
        assert (
            f"answered by {MODEL} at {server.host}, an address of this machine, which was sent 4 frames"
            in found["notice"]
        )
        assert found["coverage"]["last_time"] == START + 11
        assert len(found["evidence"]) == 4


def test_only_what_the_built_in_model_declines(tiny: Any, recorded: Path, server: ModelServer) -> None:
    with ServiceHere(recorded, tiny, answer_with=config_of(server, questions="declined")) as service:
        own = service.json("POST", "/ask", {"question": "Did you see a red ring?"})
        assert server.chats == []
        assert "answered_by" not in own["provenance"]
        foreign = service.json("POST", "/ask", {"question": QUESTION})
    assert len(server.chats) == 1
    assert not foreign["declined"]
    assert foreign["provenance"]["answered_by"]["host"] == server.host


def test_what_was_not_recorded_then_is_answered_without_the_server(
    tiny: Any, recorded: Path, server: ModelServer
) -> None:
    with ServiceHere(recorded, tiny, answer_with=config_of(server)) as service:
        found = service.json("POST", "/ask", {"question": QUESTION, "at": START - 50}, status=404)
    assert "nothing was recorded before" in found["error"]["message"]
    assert server.paths == []


def test_a_failure_is_an_error_of_the_gateway_and_health_says_it(
    tiny: Any, recorded: Path, server: ModelServer
) -> None:
    server.wrong = Misdeeds(body=b"<html>", content_type="text/html")
    with ServiceHere(recorded, tiny, answer_with=config_of(server, timeout_s=2.0)) as service:
        found = service.json("POST", "/ask", {"question": QUESTION}, status=502)
        assert found["error"]["kind"] == "model_server"
        assert found["error"]["message"].startswith(f"the model server {server.host} sends 'text/html'")
        assert any("sends 'text/html'" in note for note in service.client.get("/health/ready").json()["notes"])
        server.wrong = Misdeeds(busy=[(429, "9")])
        answer = service.client.post("/api/v1/ask", json={"question": QUESTION})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "9")
        server.wrong = Misdeeds()
        service.json("POST", "/ask", {"question": QUESTION})
        assert not [note for note in service.client.get("/health/ready").json()["notes"] if "answer_with" in note]


def test_a_client_that_leaves_ends_the_request(tiny: Any, recorded: Path, server: ModelServer) -> None:
    server.wrong = Misdeeds(pieces=["one ", "two "], stall_after=1, stall_stream_s=1.0)
    with ServiceHere(recorded, tiny, answer_with=config_of(server)) as service:
        body = {"question": QUESTION, "stream": True}
        with service.client.stream("POST", "/api/v1/ask", json=body) as response:
            next(kind for kind, _ in sent_events(response.iter_lines()) if kind == "text")
        assert wait_until(lambda: metric(service, 'answer_with_questions_total{outcome="cancelled"}') == 1, 5)
        assert server.gone.wait(5)


def test_a_server_that_stalls_holds_up_neither_the_built_in_model_nor_the_service(
    tiny: Any, recorded: Path, server: ModelServer
) -> None:
    server.wrong = Misdeeds(stall_s=30.0)
    wanted = config_of(server, questions="declined", at_once=1, longest_queue=1, timeout_s=20.0)
    with ServiceHere(recorded, tiny, answer_with=wanted) as service:
        stuck = [threading.Thread(target=_quietly, args=(service,)) for _ in range(2)]
        for thread in stuck:
            thread.start()
        assert wait_until(lambda: metric(service, "answer_with_waiting") == 1, 5)
        full = service.json("POST", "/ask", {"question": QUESTION}, status=429)
        assert full["error"]["kind"] == "too_many_questions"
        began = time.monotonic()
        own = service.json("POST", "/ask", {"question": "Did you see a red ring?"})
        assert "answered_by" not in own["provenance"]
        assert service.json("GET", "/cameras")["cameras"]
        assert time.monotonic() - began < 10
    for thread in stuck:  # the end of the service ends them
        thread.join(5)
        assert not thread.is_alive()


def _quietly(service: ServiceHere) -> None:
    try:
        httpx2.post(f"{service.url}/api/v1/ask", json={"question": QUESTION}, timeout=30, trust_env=False)
    except httpx2.HTTPError:
        pass


def test_the_key_comes_from_a_variable_or_a_file(tmp_path: Path) -> None:
    config = AnswerWithConfig.model_validate({"url": "http://box:1", "key": "{AFTERVIEW_ANSWER_KEY}"})
    with pytest.raises(ConfigError, match="the variable AFTERVIEW_ANSWER_KEY is not set"):
        model_server(config, {})
    made = model_server(config, {"AFTERVIEW_ANSWER_KEY": "a-key-of-mine"})
    assert made.key == "a-key-of-mine"
    assert "a-key-of-mine" not in repr(made) + repr(config)
    file = tmp_path / "key"
    file.write_text("from-a-file\n")
    file.chmod(0o600)
    assert model_server(AnswerWithConfig(url="http://box:1", key_file=file), {}).key == "from-a-file"
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="mode 644"):
        model_server(AnswerWithConfig(url="http://box:1", key_file=file), {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("answer_with: {url: 'ftp://box'}", "line 1: answer_with.url: not an http:// or https:// address"),
        ("answer_with: {modle: x, url: 'http://box'}", "answer_with.modle: unknown key; did you mean 'model'?"),
        ("answer_with: {url: 'http://box', frames: 0}", "answer_with.frames"),
        ("answer_with: {url: 'http://box', key: a, key_file: b}", "the key is given twice"),
        ("answer_with: {}", "answer_with.url"),
    ],
)
def test_the_section_is_read_strictly(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "home.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as failure:
        load_service_config(path)
    assert said in str(failure.value)


def test_it_is_off_by_default_and_a_change_needs_no_restart() -> None:
    before = ServiceConfig()
    assert before.answer_with is None
    after = ServiceConfig.model_validate({"answer_with": {"url": "http://box"}})
    assert needs_restart(before, after) == []
    assert json.loads(after.model_dump_json())["answer_with"]["questions"] == "all"


def said_by_reload(caplog: pytest.LogCaptureFixture) -> str:
    """What the newest SIGHUP said."""
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith("SIGHUP")][-1]


def test_a_reload_adds_changes_and_removes_it_and_says_what_changed(
    tiny: Any, recorded: Path, server: ModelServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", "afterview")
    with ServiceHere(recorded, tiny) as service, running_server() as other:
        assert "afterview_answer_with" not in service.client.get("/metrics").text
        service.reload(answer_with=config_of(server))
        goes = f"questions go to {server.host}: up to 4 frames of each camera are sent to that address of this machine"
        assert f"no camera changed, answer_with: added, {goes}" in said_by_reload(caplog)
        assert metric(service, "answer_with_requests_total") == 0
        answered_by(service, server)
        service.reload(answer_with=config_of(server))
        assert "answer_with" not in said_by_reload(caplog)
        service.reload(answer_with=config_of(server, frames=2, at_once=1))
        assert "answer_with: changed (frames, at_once), questions go to" in said_by_reload(caplog)
        assert answered_by(service, server)["sent"]["frames"] == 2
        monkeypatch.setenv("AFTERVIEW_ANSWER_KEY", "a-new-key-of-mine")
        service.reload(answer_with=config_of(server, key="{AFTERVIEW_ANSWER_KEY}"))
        monkeypatch.setenv("AFTERVIEW_ANSWER_KEY", "a-newer-key-of-mine")
        service.reload(answer_with=config_of(server, key="{AFTERVIEW_ANSWER_KEY}"))
        assert "answer_with: changed (key), " in said_by_reload(caplog)
        answered_by(service, server)
        assert server.chats[-1].headers["Authorization"] == "Bearer a-newer-key-of-mine"
        service.reload(answer_with=config_of(server, key="{AFTERVIEW_MISSING}"))
        assert "nothing changed: answer_with.key: the variable AFTERVIEW_MISSING is not set" in said_by_reload(caplog)
        service.reload(answer_with=config_of(other))
        assert "answer_with: changed (url, key), " in said_by_reload(caplog)
        answered_by(service, other)
        service.reload(answer_with=None)
        assert "answer_with: removed, the model of the service is asked" in said_by_reload(caplog)
        assert "answered_by" not in service.json("POST", "/ask", {"question": "Did you see a red ring?"})["provenance"]
        assert metric(service, f'answer_with_requests_total{{host="{server.host}"}}') == 3
        assert metric(service, f'answer_with_requests_total{{host="{other.host}"}}') == 1
    assert "key-of-mine" not in caplog.text


def answered_by(service: ServiceHere, server: ModelServer) -> dict[str, Any]:
    """The provenance of an answer, which this server gave."""
    provenance: dict[str, Any] = service.json("POST", "/ask", {"question": QUESTION})["provenance"]
    assert provenance["answered_by"]["host"] == server.host
    return provenance


@pytest.mark.parametrize("gone", [True, False])
def test_a_server_that_a_reload_took_away_gets_nothing_more_and_one_that_stays_answers(
    tiny: Any, recorded: Path, server: ModelServer, gone: bool
) -> None:
    server.wrong = Misdeeds(
        stall_s=30.0 if gone else 4.0
    )  # so long both questions must be there at once, on a busy machine, too
    wanted = config_of(server, at_once=1, first_token_s=20.0, timeout_s=20.0)
    with ServiceHere(recorded, tiny, answer_with=wanted) as service:
        answers: list[httpx2.Response] = []
        asking = [threading.Thread(target=_ask_into, args=(service, answers)) for _ in range(2)]
        for thread in asking:
            thread.start()
        assert wait_until(lambda: len(server.chats) == 1 and metric(service, "answer_with_waiting") == 1, 15)
        service.reload(answer_with=None if gone else {**wanted, "frames": 1})
        for thread in asking:
            thread.join(20)
        if not gone:
            assert [answer.json()["provenance"]["sent"]["frames"] for answer in answers] == [4, 4]
            return
        assert [(answer.status_code, answer.headers["Retry-After"]) for answer in answers] == [(503, "1")] * 2
        why = f"answer_with was removed while the model server {server.host} was asked; nothing more is sent to it"
        assert all(why in answer.json()["error"]["message"] for answer in answers)
        assert len(server.chats) == 1


def _ask_into(service: ServiceHere, answers: list[httpx2.Response]) -> None:
    address = f"{service.url}/api/v1/ask"
    answers.append(httpx2.post(address, json={"question": QUESTION}, timeout=30, trust_env=False))
