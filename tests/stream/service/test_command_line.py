"""Commands where a service holds the memory: they say the same as without it, and one line when it fails."""

import io
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from afterview import __version__
from afterview.cli import asking
from afterview.cli.main import main
from afterview.memory.directory import Memory
from afterview.stream.service import client
from tests.support.fake_service import fake_service
from tests.support.memory_world import START, make_frame, make_spec
from tests.support.servers import wait_until
from tests.support.service import ServiceHere, record_camera
from tests.support.slow_model import SlowModel

RING = "Did you see a red ring?"
READY = {"state": "ready", "detail": "", "name": "tiny", "index_encoder": "x", "notice": ""}


@pytest.fixture(scope="module")
def memory(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cameras; no service has it."""
    made = tmp_path_factory.mktemp("memory")
    record_camera(made, "Front door", tiny, 150, missing=range(60, 90))
    record_camera(made, "yard", tiny, 5)
    return made


@pytest.fixture(scope="module")
def service(memory: Path, tiny: Any) -> Iterator[ServiceHere]:
    with ServiceHere(memory, tiny) as running:
        running.json(
            "GET", "/cameras/front DOOR"
        )  # its note stands in the service's log, once: here that is the command's, too
        yield running


@pytest.fixture(autouse=True)
def version(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of ServiceHere."""
    monkeypatch.setattr("afterview.cli.asking.__version__", "test")


@pytest.fixture
def loaded(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Commands get the tiny model at once; which names they loaded."""
    names: list[str] = []

    def load(name: str, **options: Any) -> Any:
        names.append(name)
        return tiny

    monkeypatch.setattr("afterview.model.checkpoint.for_questions.load_for_questions", load)
    monkeypatch.setattr(
        "afterview.model.checkpoint.loading.load_encoders", lambda *given, **o: load(*given, **o).encoders
    )
    return names


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command: status, output, errors."""

    def command(*arguments: str | Path) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        output, errors = capsys.readouterr()
        return status, output, re.sub(r"(answering|searching).* \.\.\. [\d.]+ s\n", "", errors)  # of a busy machine

    return command


def same(text: str) -> str:
    """A command's output without what differs between two answers: ids, and how long things took."""
    text = re.sub(r"\b[0-9a-f]{12}\b", "ID", text).replace('"version": "test"', f'"version": "{__version__}"')
    text = re.sub(r'"(asked|asked_iso|lag_s|recall_s|first_token_s|total_s)": ("[^"]*"|[\d.]+)', r'"\1": ...', text)
    text = re.sub(r"newest frame is .* older", "newest frame is ... older", text)
    return re.sub(r"after [\d.]+ s", "after ... s", text)


@pytest.mark.parametrize(
    "arguments",
    [
        ("ask", RING),
        ("ask", RING, "--json"),
        ("ask", RING, "--camera", "front DOOR", "--last", "3 d"),  # nothing was recorded in that span
        ("ask", RING, "--camera", "front DOOR", "--json"),  # a note says which camera is meant
        ("ask", RING, "--camera", "yard", "--from", str(START), "--at", str(START + 2), "--evidence", "2"),
        ("ask", RING, "--at", str(START - 5)),
        ("ask", RING, "--json", "--seed", "3", "--temperature", "0.7", "--top-p", "0.9", "--top-k", "5", "--max-tokens", "2",
         "--repetition-penalty", "1.1", "--stop", "x"),
        ("ask", "What is the capital of France?", "--json"),  # the model declines
        ("ask", RING, "--camera", "garage"),
        ("ask", RING, "--from", "tomorrow"),
        ("ask", "x" * 2001),
        ("ask", RING, "--temperature", "-1"),
        ("ask", RING, "--model", "tiny", "--json"),
        ("search", "a red ring"),
        ("search", "a red ring", "--json", "--top", "40"),
        ("search", "a red ring", "--camera", "yard", "--at", str(START + 2)),
        ("search", "a red ring", "--last", "10s"),
        ("search", "a red ring " * 60),
    ],
)  # fmt: skip
def test_commands_say_the_same_with_and_without_a_service(
    arguments: tuple[str, ...], service: ServiceHere, run: Callable[..., Any], loaded: list[str]
) -> None:
    by_service = run(*arguments, "--memory", service.memory)
    assert not loaded, "it loaded a model"
    here = run(*arguments, "--memory", service.memory, "--no-service")
    assert same(by_service[1]) == same(here[1])
    assert same(by_service[2]) == same(here[2])
    assert by_service[0] == here[0]


def test_images_and_the_saved_answer_are_those_of_the_memory(
    service: ServiceHere, tiny: Any, run: Callable[..., Any]
) -> None:
    status, output, _ = run("ask", RING, "--camera", "yard", "--memory", service.memory, "--json")
    answer = json.loads(output)
    assert status == 0
    assert answer["saved"] == {
        "directory": str(service.memory / "answers" / answer["id"]),
        "in_memory": True,
        "notes": [],
    }
    spec = tiny.encoders.feature_spec
    assert len(answer["evidence"]) == 5
    for item in answer["evidence"]:
        assert Path(item["image"]).read_bytes() == make_frame(item["frame"], spec).image
    again = json.loads(run("answers", answer["id"], "--memory", service.memory, "--json")[1])
    assert (again["answer"], again["evidence"]) == (answer["answer"], answer["evidence"])


def test_a_service_of_another_version_is_a_note(
    service: ServiceHere, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterview.cli.asking.__version__", "9.9")
    status, _, errors = run("ask", RING, "--camera", "yard", "--memory", service.memory)
    assert (status, errors) == (
        0,
        "note: the service of this memory is afterview test, this command 9.9; restart the service\n",
    )


def test_a_search_by_http_is_opened_by_the_command_line(service: ServiceHere, run: Callable[..., Any]) -> None:
    found = service.json("POST", "/search", {"text": "a ring", "cameras": ["yard"], "at": "2023-11-14 23:13:22"})
    status, output, errors = run("answers", found["id"], "--memory", service.memory)
    assert status == 0, errors
    assert ", as of 2023-11-14 23:13:22 CET" in output


def test_an_answer_that_is_saved_nowhere_is_shown(
    service: ServiceHere, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "afterview.stream.ask.saved_answers._write", lambda record, directory: ("the disk is full", None)
    )
    status, output, errors = run("ask", RING, "--camera", "yard", "--memory", service.memory, "--json")
    answer = json.loads(output)
    assert (status, len(answer["evidence"]), answer["saved"]["directory"]) == (0, 5, None)
    assert "saved nowhere: not in the memory (the disk is full)" in errors


def test_tokens_are_shown_as_they_come(
    service: ServiceHere, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    status, output, _ = run("ask", RING, "--camera", "yard", "--memory", service.memory)
    assert status == 0
    assert re.match(r"(yes|no)\n\n", output)


def test_a_chat_goes_by_the_service(
    service: ServiceHere, run: Callable[..., Any], loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = f"yard: {RING}\n/at {START + 2}\n{RING}\n/camera garage\n"

    def chat(*more: str) -> Any:
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        return run("chat", "--memory", service.memory, *more)

    for option in ((), ("--json",)):
        by_service = chat(*option)
        assert not loaded
        here = chat(*option, "--no-service")
        loaded.clear()
        assert (by_service[0], same(by_service[1]), same(by_service[2])) == (here[0], same(here[1]), same(here[2]))
        assert by_service[0] == 1, "the last line names no camera"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("ask", RING, "--model", "hour-llava-3b"), "--model hour-llava-3b: the service of this memory has loaded tiny; leave out"),
        (("ask", RING, "--index-encoder", "google/x"), "--index-encoder google/x: the service of this memory has loaded"),
        (("ask", RING, "--evidence", "1000"), "the service does not take that: body.evidence: must be at most 256"),
        (("search", "a ring", "--top", "5000"), "the service does not take that: body.top: must be at most 1000"),
    ],
)  # fmt: skip
def test_what_the_service_cannot_do_is_refused_with_the_remedy(
    arguments: tuple[str, ...], why: str, service: ServiceHere, run: Callable[..., Any]
) -> None:
    status, output, errors = run(*arguments, "--memory", service.memory)
    assert (status, output) == (2, "")
    assert why in errors
    assert "--no-service" in errors


def test_what_does_not_work_now_is_a_note(tiny: Any, tmp_path: Path, run: Callable[..., Any]) -> None:
    record_camera(tmp_path, "yard", tiny, 5)
    source = {"source": "rtsp://127.0.0.1:9/x"}
    with ServiceHere(tmp_path, tiny, cameras={"yard": source}) as service:
        assert wait_until(lambda: service.state_of("yard") == "offline", 20)
        _, output, errors = run("ask", RING, "--memory", tmp_path)
    assert "note: camera 'yard' is not recorded now: offline: " in errors
    assert "offline" not in output


def test_a_memory_of_another_model_is_refused_with_the_remedy(
    tiny: Any, tmp_path: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with __import__("afterview.memory.writing.open", fromlist=["x"]).open_camera(
        tmp_path, "hall", make_spec()
    ) as camera:
        camera.append(make_frame(0, make_spec()))
    with ServiceHere(tmp_path, tiny):
        status, _, errors = run("ask", RING, "--memory", tmp_path, "--camera", "hall")
    assert status == 2
    assert errors.endswith("; --no-service loads a model in this command instead\n")


def test_a_service_that_loads_its_model_is_waited_for(
    tiny: Any, tmp_path: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    record_camera(tmp_path, "yard", tiny, 5)
    go = threading.Event()
    announcing = asking.for_a_question

    def noted(*, as_json: bool) -> Any:
        threading.Timer(0.9, go.set).start()  # from when the command waits, however long it took to begin
        return announcing(as_json=as_json)

    monkeypatch.setattr(asking, "for_a_question", noted)

    def load(name: str, index: str | None) -> Any:
        assert go.wait(20)
        return tiny

    with ServiceHere(tmp_path, load, wait=False):
        status, output, errors = run("ask", RING, "--memory", tmp_path)
    assert (status, output[:2] in ("ye", "no")) == (0, True)
    assert "waiting for the service of this memory, which is loading its model ... 0." in errors


def test_a_service_without_a_model_says_why(tmp_path: Path, tiny: Any, run: Callable[..., Any]) -> None:
    record_camera(tmp_path, "yard", tiny, 5)

    def load(name: str, index: str | None) -> Any:
        raise MemoryError("no room on this card")

    with ServiceHere(tmp_path, load):
        status, _, errors = run("ask", RING, "--memory", tmp_path)
    assert status == 1
    assert "could not load its model: MemoryError: no room on this card; --no-service loads a model" in errors


def test_a_full_queue_and_an_ending_service_are_one_line(
    tiny: Any, tmp_path: Path, slow: SlowModel, run: Callable[..., Any]
) -> None:
    record_camera(tmp_path, "yard", tiny, 5)
    with ServiceHere(tmp_path, tiny, http={"longest_queue": 1}) as service:
        results: list[Any] = []
        asking = [
            threading.Thread(target=lambda: results.append(main(["ask", RING, "--memory", str(tmp_path)])))
            for _ in range(2)
        ]
        for thread in asking:
            thread.start()
        assert wait_until(lambda: service.json("GET", "/service")["questions"]["waiting"] == 1, 10)
        status, output, errors = run("ask", RING, "--memory", tmp_path, "--json")
        assert status == 1
        assert re.search(r"afterview: error: 1 questions are waiting; try again in \d+ s", errors)
        assert json.loads(output)["error"]["kind"] == "too_many_questions"
    for thread in asking:
        thread.join(10)
    assert results == [1, 1]
    errors = run("info", tmp_path)[2]  # what the others said
    assert errors.count("the service is ending") == 2


def test_ctrl_c_cancels_the_generation_in_the_service(
    tiny: Any, tmp_path: Path, slow: SlowModel, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any]
) -> None:
    record_camera(tmp_path, "yard", tiny, 5)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    def interrupted(text: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("afterview.cli.commands.ask.printable", interrupted)
    with ServiceHere(tmp_path, tiny):
        assert run("ask", RING, "--memory", tmp_path)[0] == 130
        assert wait_until(lambda: slow.cancelled == 1, 5)


def test_a_chat_cancels_the_generation_in_the_service(tiny: Any, tmp_path: Path, slow: SlowModel) -> None:
    record_camera(tmp_path, "yard", tiny, 5)
    with ServiceHere(tmp_path, tiny):
        found, _ = client.find_service(tmp_path)
        assert found is not None
        cancel = threading.Event()
        events = found.events("/ask", {"question": RING}, sent=lambda: None, cancel=cancel)
        assert next(events)[0] == "cameras"
        assert next(events) == ("text", {"text": "no"})
        cancel.set()
        with pytest.raises(client.Cancelled):
            next(events)
        assert wait_until(lambda: slow.cancelled == 1, 5)


def respond(connection: socket.socket, document: Any, kind: str = "application/json") -> None:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    connection.sendall(head.encode() + body)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n20\r\nevent: text\ndata: {\"te",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\nevent: text\ndata: {\"text\": \"no\"}\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{}",
        b"SSH-2.0-what\r\n",
    ],
)  # fmt: skip
def test_a_service_that_dies_in_the_middle_is_one_line(
    reply: bytes, memory: Path, tmp_path: Path, tiny: Any, run: Any
) -> None:
    record_camera(tmp_path, "yard", tiny, 5)

    def answer(connection: socket.socket, line: str) -> None:
        if line.startswith("GET"):
            respond(connection, {"version": "test", "model": READY})
        elif reply:
            connection.sendall(reply)

    with fake_service(tmp_path, answer):
        status, output, errors = run("ask", RING, "--memory", tmp_path)
    assert (status, output) == (1, "")
    assert re.fullmatch(
        r"afterview: error: process \d+ at http://127.0.0.1:1, which serves this memory, ended before it answered( \(.*\))?; "
        r"run the command again\n", errors,
    )  # fmt: skip


@pytest.mark.parametrize("silent", [True, False])
def test_a_service_that_cannot_be_asked_is_a_note_and_the_command_answers_itself(
    silent: bool, tiny: Any, tmp_path: Path, run: Any, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_PATIENCE_S", 0.3)
    monkeypatch.setattr(client, "_STARTS_WITHIN_S", 0.1)
    record_camera(tmp_path, "yard", tiny, 5)
    with fake_service(tmp_path):
        if not silent:
            (tmp_path / client.SOCKET).unlink()
        status, output, errors = run("ask", RING, "--memory", tmp_path)
    assert (status, output[:2] in ("ye", "no"), loaded) == (0, True, ["tiny"])
    why = "but does not answer" if silent else "but cannot be asked: .service.socket: "
    assert re.match(
        rf"note: process \d+ at http://127.0.0.1:1 serves this memory, {why}.*; this command loads a model of its own\n",
        errors,
    )


def test_after_a_kill_commands_do_their_work_alone(tiny: Any, tmp_path: Path, run: Any, loaded: list[str]) -> None:
    record_camera(tmp_path, "yard", tiny, 5)
    (tmp_path / ".service").write_text('{"pid": 1, "url": "http://127.0.0.1:8077"}')
    with socket.socket(socket.AF_UNIX) as dead, client.short_path(tmp_path, client.SOCKET) as short:
        dead.bind(short)
    status, _, errors = run("ask", RING, "--memory", tmp_path)
    assert (status, errors, loaded) == (0, "", ["tiny"])
    assert Memory(tmp_path).camera_ids() == ["yard"]
    with ServiceHere(tmp_path, tiny) as service:  # it replaces the dead socket
        loaded.clear()
        assert run("ask", RING, "--memory", service.memory)[0] == 0
    assert not loaded
    assert not (tmp_path / client.SOCKET).exists()


def test_other_commands_see_nothing_of_the_socket(service: ServiceHere, run: Any) -> None:
    for command in (("info",), ("fsck",), ("answers",), ("mask", "--all"), ("retain",)):
        status, output, errors = run(*command, "--memory", service.memory)
        assert status == 0, errors
        assert ".service" not in output + errors


def test_every_error_of_the_service_keeps_its_class() -> None:
    for known in client._below(client.AfterviewError):
        document = {"error": {"kind": client.error_kind(known), "message": "why"}}
        error = client.error_of(document, 500)
        assert client.error_kind(type(error)) == client.error_kind(known)
        assert str(error) == "why"
    other = client.error_of({"error": {"kind": "host_refused", "message": "why"}}, 421)
    assert (client.error_kind(other), str(other), other.exit_status) == ("host_refused", "why", 1)
    assert client.error_of({}, 500).exit_status == 1
