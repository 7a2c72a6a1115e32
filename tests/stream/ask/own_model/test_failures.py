"""A model server that stalls, lies, sends HTML, redirects, repeats itself or dies costs one clear line, and no part of its words counts."""

import socket
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
from afterview.stream.ask.own_model.server import ModelServer as Server
from afterview.stream.ask.own_model.server import split_address
from afterview.stream.ask.own_model.words import LONGEST, Words, without_loop
from afterview.stream.ask.question import Answer, Question
from afterview.stream.source.address.redact import hide_values
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


PAGE = b"<!DOCTYPE html><html><title>Router login</title></html>"
SSE = "text/event-stream"
_WORD = b'data: {"choices": [{"delta": {"content": "A bird"}}]}\n\n'
FAILURES = {
    "a page": (Misdeeds(body=PAGE, content_type="text/html"), "sends 'text/html' instead of a chat completion; check that the address"),
    "no type": (Misdeeds(body=b"{}", content_type=" "), "sends no content type instead"),
    "no JSON": (Misdeeds(body=b"Hello!"), "sends what is no JSON: 'Hello!'"),
    "other JSON": (Misdeeds(body=b'{"ok": true}'), "it has no choices"),
    "a list": (Misdeeds(body=b"[1]"), "sends JSON that is no chat completion"),
    "deep JSON": (Misdeeds(body=b"[" * 100_000), "sends what is no JSON"),
    "odd content": (Misdeeds(body=b'{"choices": [{"message": {"content": 5}}]}'), "its content is no text"),
    "an error in 200": (Misdeeds(body=b'{"error": {"message": "out of memory"}}'), "reports an error: 'out of memory'"),
    "a refusal": (Misdeeds(body=b'{"choices": [{"message": {"refusal": "I must not."}}]}'), "refuses to answer: 'I must not.'"),
    "a filter": (Misdeeds(pieces=[], finish="content_filter"), r"refuses to answer \(content_filter\)"),
    "nothing": (Misdeeds(pieces=[]), r"answered with no words \(finish_reason 'stop'\); raise max_tokens"),
    "only thoughts": (Misdeeds(pieces=["<think>hmm, ", "a bird?"], finish="length"), "ended without a word of answer"),
    "401": (Misdeeds(status=401, body=b'{"error": {"message": "bad"}}'), r"wants a key \(401: 'bad'\); set AFTERVIEW_ANSWER_KEY"),
    "404": (Misdeeds(status=404, body=PAGE), r"has nothing there or no model 'looker-7b' \(404: a web page\)"),
    "413": (Misdeeds(status=413), "takes no question of this size .*; lower frames or image_size"),
    "400": (Misdeeds(status=400, body=b'{"detail": "no images"}'), r"does not take the question \(400: 'no images'\); check"),
    "500": (Misdeeds(status=500, body=b"Traceback\x1b[2J\nboom"), r"failed \(500: 'Traceback\\x1b\[2J boom'\); see its log"),
    "a redirect": (Misdeeds(status=307, headers={"Location": "http://elsewhere.example/v1"}), "redirects to 'http://elsewhere.example/v1'"),
    "no head": (Misdeeds(stall_s=9.0), r"said nothing for 0.4 s; see whether its model is loaded"),
    "a stall": (Misdeeds(pieces=["A ", "bird ", "is"], stall_after=2), "stopped in the middle: it said nothing for 0.4 s"),
    "comments": (Misdeeds(comments_only=True), "said no word for 0.4 s"),
    "a death": (Misdeeds(pieces=["A ", "bird ", "is"], die_after=2), "broke off in the middle, after 7 characters .* is no answer"),
    "no end": (Misdeeds(pieces=["A bird"], finish=None, done=False), "broke off in the middle"),
    "broken events": (Misdeeds(raw=[_WORD, b"data: {broken\n\n"]), "'{broken'; .*; what it said before is no answer"),
    "no events": (Misdeeds(raw=[PAGE + b"\n\n"]), "breaks the protocol of server-sent events"),
    "an error event": (Misdeeds(raw=[_WORD, b'data: {"error": {"message": "CUDA error"}}\n\n']), "reports an error: 'CUDA error'"),
    "an endless line": (Misdeeds(raw=[b"data: " + b"x" * 600_000]), "sends an event without an end"),
    "a lie": (Misdeeds(whole=True, lie_about_length=50), "broke off the connection"),
    "compressed": (Misdeeds(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), "compressed"),
    "busy for ever": (Misdeeds(busy=[(429, "60")]), r"is busy \(429: 'too many requests'\), and asks to wait 60 s"),
    "busy, odd date": (Misdeeds(busy=[(503, "Fri, 31 Dec 9999 23:59:59 GMT")]), "asks to wait 86400 s"),
}  # fmt: skip


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
