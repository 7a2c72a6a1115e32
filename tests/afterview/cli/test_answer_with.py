"""`ask --answer-with URL` and `chat --answer-with URL`."""

import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from afterview.cli.main import main
from afterview.memory.directory import Memory
from tests.conftest import SHARED_VIDEOS
from tests.support.model_server import MODEL, Misdeeds, ModelServer, model_server
from tests.support.pictured import record_pictured

VIDEO = SHARED_VIDEOS / "one-by-one-person-detection.mp4"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server() as running:
        yield running


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from afterview.model.checkpoint.loading import load_encoders

    path = tmp_path_factory.mktemp("memory")
    record_pictured(path, "door", 5, load_encoders("tiny").feature_spec)
    return path


def ask(memory: Path, *more: str) -> int:
    return main(["ask", "Is a cat on the sofa?", "--memory", str(memory), *more])


def test_the_screen_says_who_answered_and_what_left_the_machine(
    memory: Path, server: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(memory, "--answer-with", server.url, "--answer-frames", "3") == 0
    out = capsys.readouterr().out
    assert out.startswith("CONFIRMED: the picture is brightest in [3]")
    assert "\nverdict: confirmed (the picture is brightest in [3]" in out
    assert re.search(
        rf"note: answered by {MODEL} at {server.host}, an address of this machine, which was sent 3 frames \(\d+ kB\)",
        out,
    )
    cited, *sent = re.findall(r"frame (\d+) +(cited|sent) ", out)
    assert cited == ("4", "cited")
    assert [standing for _, standing in sent] == ["sent", "sent"]
    assert "coverage\n  door: 5 frames" in out


def test_json_has_it_too(memory: Path, server: ModelServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(memory, "--answer-with", server.url, "--answer-model", "other", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    provenance = document["provenance"]
    assert provenance["answered_by"] == {"host": server.host, "model": "other", "reported_model": MODEL}
    assert provenance["sent"]["frames"] == 5
    assert provenance["sent"]["bytes"] == server.chats[0].size
    assert document["evidence"][0]["frame"] == 4


def test_the_key_is_in_a_variable(
    memory: Path, server: ModelServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.wrong.key = "my-secret-key-77"
    monkeypatch.setenv("AFTERVIEW_ANSWER_KEY", "another-key-8888")
    assert ask(memory, "--answer-with", server.url) == 1
    said = capsys.readouterr()
    assert "refuses the key" in said.err
    assert "another-key-8888" not in said.err + said.out
    monkeypatch.setenv("AFTERVIEW_ANSWER_KEY", "my-secret-key-77")
    assert ask(memory, "--answer-with", server.url) == 0


def test_a_failure_is_one_line_and_status_1(
    memory: Path, server: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.wrong = Misdeeds(status=404, body=b'{"error": {"message": "model not found"}}')
    assert ask(memory, "--answer-with", server.url, "--answer-model", "nope") == 1
    said = capsys.readouterr()
    assert f"the model server {server.host} has nothing there or no model 'nope' (404: 'model not found')" in said.err
    assert "CONFIRMED" not in said.out
    assert len(server.chats) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--answer-with", "box"], "--answer-with: not an http:// or https:// address"),
        (["--answer-model", "x"], "--answer-model is about a model server; give its address, too"),
        (["--answer-with", "http://127.0.0.1:1", "--answer-frames", "0"], "--answer-frames 0: must be from 1 to 256"),
        (["--answer-with", "http://127.0.0.1:1", "--answer-timeout", "nan"], "--answer-timeout: 'nan' is not a number"),
    ],
)
def test_wrong_options_are_usage(
    memory: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(memory, *options) == 2
    assert said in capsys.readouterr().err


def test_a_chat_with_a_server(
    memory: Path, server: ModelServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Is it bright?\nWhere is it brightest?\n"))
    assert main(["chat", "--memory", str(memory), "--answer-with", server.url]) == 0
    said = capsys.readouterr()
    assert f"questions go to {server.host}: up to 8 frames of each camera are sent" in said.err
    assert len(said.out.splitlines()) == len(server.chats) == 2


@pytest.mark.skipif(not VIDEO.exists(), reason="no footage beside this checkout")
@pytest.mark.slow
def test_real_footage(tmp_path: Path, server: ModelServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(VIDEO), "--memory", str(tmp_path), "--camera", "hall", "--timezone", "UTC", "-qq"]) == 0
    capsys.readouterr()
    options = ["--answer-with", server.url, "--answer-frames", "6", "--answer-image-size", "240", "--json"]
    assert main(["ask", "Does a person walk past?", "--memory", str(tmp_path), *options]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    (chat,) = server.chats
    snapshot = Memory(tmp_path).camera("hall").snapshot()
    frames = document["provenance"]["sent"]["frame_ids"]
    assert frames == sorted(frames)
    labels = [
        f"Frame {place}, camera hall, {snapshot.info.show(snapshot.time_of(frame))}:"
        for place, frame in enumerate(frames, 1)
    ]
    assert [one.label for one in chat.frames] == labels
    assert {min(one.size) for one in chat.frames} == {240}
    best = max(chat.frames, key=lambda one: one.gray)
    assert document["evidence"][0]["frame"] == frames[best.number - 1]
    assert document["coverage"]["frames"] == snapshot.frames
