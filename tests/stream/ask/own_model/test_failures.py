"""A model server that stalls, lies, sends HTML, redirects, repeats itself or dies costs one clear line, and no part of its words counts."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from afterview.configs import UsageError
from afterview.memory.directory import Memory
from afterview.stream.ask.own_model.answerer import OwnModelAnswerer
from afterview.stream.ask.own_model.errors import ModelServerBusy, ModelServerError
from afterview.stream.ask.own_model.replies import BadReply, Events
from afterview.stream.ask.own_model.server import ModelServer as Server
from afterview.stream.ask.own_model.server import split_address
from afterview.stream.ask.own_model.words import LONGEST, Words, without_loop
from afterview.stream.ask.question import Answer, Question
from afterview.stream.source.address.redact import hide_values
from tests.support.certificates import make_certificates
from tests.support.model_failures import FAILURES
from tests.support.model_server import MODEL, Misdeeds, ModelServer, model_server
from tests.support.pictured import MadeEncoders, record_pictured


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Memory:
    path = tmp_path_factory.mktemp("memory")
    record_pictured(path, "door", 3)
    return Memory(path)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server() as running:
        yield running


def ask(
    memory: Memory, url: str, *, sent: list[int] | None = None, said: list[str] | None = None, **changes: Any
) -> Answer:
    base, query = split_address(url)
    limits: dict[str, Any] = {"connect_s": 1.0, "first_token_s": 0.4, "timeout_s": 3.0, "model": MODEL, **changes}
    counted = [] if sent is None else sent
    answerer = OwnModelAnswerer(
        memory,
        MadeEncoders(),
        Server(base, query=query, **limits),
        on_sent=lambda _, size: counted.append(size),  # type: ignore[arg-type]
    )
    return answerer.ask(Question("What is there?"), on_text=(said if said is not None else []).append)


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_one_line_that_names_the_server_and_the_remedy(
    memory: Memory, server: ModelServer, name: str
) -> None:
    wrong, said = FAILURES[name]
    server.wrong = replace(wrong, busy=list(wrong.busy))
    began = time.monotonic()
    with pytest.raises(ModelServerError, match=said) as failure:
        ask(memory, server.url)
    text = str(failure.value)
    assert text.startswith(f"the model server {server.host} ")
    assert "; " in text
    assert text.isprintable()
    assert len(text) < 600
    assert time.monotonic() - began < 2.5
    assert len(server.chats) == 1


def test_nobody_listens(memory: Memory) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ModelServerError, match=rf"127.0.0.1:{port} cannot be reached .*; check that it runs"):
        ask(memory, f"http://127.0.0.1:{port}")


def test_a_server_that_speaks_no_tls(memory: Memory, server: ModelServer) -> None:
    with pytest.raises(
        ModelServerError, match=r"speaks no TLS \(.*\); write http:// in its address: answer_with"
    ) as failure:
        ask(memory, server.url.replace("http:", "https:"))
    assert f"the model server {server.host} " in str(failure.value)


def test_a_certificate_that_nobody_vouches_for(memory: Memory, tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.load_cert_chain(made / "server.pem", made / "server.key")
    with model_server(secure) as server:
        with pytest.raises(
            ModelServerError, match=r"cannot be trusted .*certificate.*; give its authorities with ca of answer_with"
        ):
            ask(memory, server.url.replace("http:", "https:"))
        assert server.chats == []
        trusting = ssl.create_default_context(cafile=made / "ca.pem")
        assert (
            "brightest in [3]" in ask(memory, server.url.replace("http:", "https:"), tls=trusting, connect_s=5.0).text
        )


def test_a_server_that_speaks_no_http(memory: Memory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            connection.close()

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(ModelServerError, match="broke off the connection"):
            ask(memory, f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()


def test_the_whole_has_a_limit_however_alive_the_server_seems(memory: Memory, server: ModelServer) -> None:
    server.wrong = Misdeeds(pieces=[""] * 10_000, stall_after=None)
    server.wrong.endless = ""
    with pytest.raises(ModelServerError, match=r"did not answer within 0.8 s|sends more than"):
        ask(memory, server.url, timeout_s=0.8)


def test_an_answer_without_end_is_cut_and_that_is_said(memory: Memory, server: ModelServer) -> None:
    server.wrong = Misdeeds(pieces=[f"word{number} " for number in range(4000)])
    answer = ask(memory, server.url)
    assert len(answer.text) <= LONGEST
    assert f"door: the answer was cut: it was longer than {LONGEST} characters" in str(answer.notice)
    assert answer.parts[0].provenance["cut"]


def test_a_loop_is_cut_and_that_is_said(memory: Memory, server: ModelServer) -> None:
    server.wrong.endless = "a bird and "
    answer = ask(memory, server.url, first_token_s=2.0)
    assert answer.text == "a bird and"
    assert "it repeated itself without end" in str(answer.notice)


def test_too_few_tokens_are_said(memory: Memory, server: ModelServer) -> None:
    server.wrong = Misdeeds(pieces=["A bird on the"], finish="length")
    assert "it had as many tokens as are allowed" in str(ask(memory, server.url).notice)


@pytest.mark.parametrize(
    "wrong", [Misdeeds(whole=True), Misdeeds(no_stream=True), Misdeeds(done=False), Misdeeds(finish=None)]
)
def test_servers_differ_and_that_is_fine(memory: Memory, server: ModelServer, wrong: Misdeeds) -> None:
    server.wrong = wrong
    assert "brightest in [3]" in ask(memory, server.url).text


def test_without_streaming(memory: Memory, server: ModelServer) -> None:
    answer = ask(memory, server.url, stream=False)
    assert server.chats[0].body["stream"] is False
    assert answer.parts[0].tokens is not None
    assert (answer.parts[0].tokens.prompt, answer.parts[0].tokens.answer) == (100, 7)


def test_a_busy_server_is_asked_again_when_it_says_so(memory: Memory, server: ModelServer) -> None:
    server.wrong.busy = [(429, "0.2"), (503, "0")]
    sent: list[int] = []
    answer = ask(memory, server.url, sent=sent)
    assert len(server.chats) == len(sent) == 3
    left: Any = answer.parts[0].provenance["sent"]
    assert (left["requests"], left["bytes"]) == (3, sum(sent))


def test_a_server_that_is_busy_for_ever_does_not_get_the_frames_for_ever(memory: Memory, server: ModelServer) -> None:
    server.wrong.busy = [(429, "0")] * 50
    with pytest.raises(ModelServerError, match=r"is busy \(429"):
        ask(memory, server.url)
    assert len(server.chats) == 8


def test_a_busy_server_says_for_how_long(memory: Memory, server: ModelServer) -> None:
    server.wrong.busy = [(429, "7")]
    with pytest.raises(ModelServerBusy) as failure:
        ask(memory, server.url)
    assert failure.value.retry_after_s == 7


def test_thoughts_are_no_part_of_the_answer(memory: Memory, server: ModelServer) -> None:
    server.wrong.pieces = ["<th", "ink>Is it? [1]</th", "ink>\n\nA bird in ", "[2]."]
    said: list[str] = []
    answer = ask(memory, server.url, said=said)
    assert answer.text == "".join(said) == "A bird in [2]."
    assert answer.parts[0].provenance["cited"] == [2]


def test_a_key_goes_to_the_server_and_is_never_shown(memory: Memory, server: ModelServer) -> None:
    server.wrong.key = "the-right-key-000"
    ask(memory, server.url, key="the-right-key-000")
    hide_values(["a-wrong-key-12345"])
    with pytest.raises(ModelServerError, match="refuses the key") as failure:
        ask(memory, server.url, key="a-wrong-key-12345")
    assert "a-wrong-key-12345" not in str(failure.value)


def test_no_proxy_of_the_environment_gets_a_frame(
    memory: Memory, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with model_server() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{proxy.host}")
        monkeypatch.delenv("no_proxy", raising=False)
        ask(memory, server.url)
        assert proxy.paths == []
        assert len(server.chats) == 1


def test_a_redirect_to_another_host_gets_nothing(memory: Memory, server: ModelServer) -> None:
    with model_server() as other:
        server.wrong = Misdeeds(status=308, headers={"Location": f"{other.url}/chat/completions"})
        with pytest.raises(ModelServerError, match="frames go nowhere else"):
            ask(memory, server.url)
        assert other.paths == []


def test_several_models_must_be_named(memory: Memory, server: ModelServer) -> None:
    server.models = ["one", "two"]
    with pytest.raises(ModelServerError, match="has 2 models: 'one', 'two'; name one with --answer-model"):
        ask(memory, server.url, model=None)
    assert server.chats == []


@pytest.mark.parametrize(
    ("given", "chat"),
    [
        ("http://127.0.0.1:11434", "http://127.0.0.1:11434/v1/chat/completions"),
        ("http://box:8000/v1/", "http://box:8000/v1/chat/completions"),
        ("https://api.example.com/openai/v1/chat/completions", "https://api.example.com/openai/v1/chat/completions"),
        ("https://a.example/x?api-version=1", "https://a.example/x/chat/completions?api-version=1"),
    ],
)
def test_addresses(given: str, chat: str) -> None:
    base, query = split_address(given)
    assert Server(base, query=query).chat_url == chat


@pytest.mark.parametrize(
    "given",
    [
        "box:8000",
        "ftp://box",
        "http://",
        "http://me:secret-word@box",
        "http://box/#x",
        "http://b ox",
        "http://[::1",
        "http://box:99999",
    ],
)
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(UsageError) as failure:
        split_address(given)
    assert "secret-word" not in str(failure.value)


@pytest.mark.parametrize(
    ("address", "here"),
    [("http://127.0.0.1:1/v1", True), ("http://[::1]/v1", True), ("http://localhost/v1", True), ("http://10.0.0.7/v1", False),
     ("https://api.example.com/v1", False), ("http://localhost.example.com/v1", False)],
)  # fmt: skip
def test_what_leaves_this_machine(address: str, here: bool) -> None:
    server = Server(address)
    assert server.is_here is here
    assert ("leave this machine" in server.what_it_gets) is not here


def test_what_is_a_loop() -> None:
    assert without_loop("It is a bird. " + "Yes. " * 60) == "It is a bird. Yes"
    assert without_loop("-" * 80 + " a table " + "-" * 80) is None
    assert without_loop("1, 2, 3, 4, 5, 6") is None
    assert without_loop("") is None


def test_words_that_only_look_like_thoughts() -> None:
    words = Words()
    for piece in ("<thi", "ng> is a tag"):
        words.add(piece)
    words.end()
    assert words.text == "<thing> is a tag"
    short = Words()
    short.add("<th")
    short.end()
    assert short.text == "<th"


def test_a_damaged_picture_is_left_out_and_that_is_said(tmp_path: Path, server: ModelServer) -> None:
    from afterview.memory.writing.open import open_camera
    from tests.support.memory_world import START, make_frame, make_spec

    record_pictured(tmp_path, "door", 2)
    with open_camera(tmp_path, "door", make_spec()) as repository:
        repository.append(make_frame(2, make_spec(), time=START + 2))  # its picture is no JPEG
        repository.sync()
    answer = ask(Memory(tmp_path), server.url)
    assert [one.number for one in server.chats[0].frames] == [1, 2]
    assert "door: 1 chosen frame could not be read and left out" in str(answer.notice)


def test_a_long_event_that_comes_in_small_pieces_costs_little() -> None:
    events, began = Events(), time.process_time()

    def take_all() -> None:
        for _ in range(600_000):
            list(events.add(b"x"))

    with pytest.raises(BadReply, match="an event without an end"):
        take_all()
    assert time.process_time() - began < 10.0  # copied with every piece it would be minutes
