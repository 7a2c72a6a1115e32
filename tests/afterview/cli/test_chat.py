"""`afterview chat`: lines in, answers out. In this process; the input is a file, or a terminal that a test types into."""

import builtins
import io
import json
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from afterview.cli.main import main
from afterview.stream.ask import finding
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.question import Question
from afterview.stream.errors import Cancelled
from tests.support.clips import make_clip

START = 1_700_000_000.0
RING, SCENE = "Did you see a red ring?", "Which scene do you see now?"


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat")
    clip = make_clip(folder / "clip.mp4", frames=60, rate=10)
    for name in ("hall", "Front door"):
        assert (
            main(["replay", str(clip), "--memory", str(folder / "m"), "--camera", name, "--start", str(START), "-q"])
            == 0
        )
    return folder / "m"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Question]:
    """The questions that reach the answerer."""
    questions: list[Question] = []
    real = Answerer.ask

    def ask(self: Answerer, question: Question, **options: Any) -> Any:
        questions.append(question)
        return real(self, question, **options)

    monkeypatch.setattr(Answerer, "ask", ask)
    return questions


def piped(monkeypatch: pytest.MonkeyPatch, memory: Path, *lines: str, options: tuple[str, ...] = ()) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    return main(["chat", "--memory", str(memory), *options])


def typed(monkeypatch: pytest.MonkeyPatch, memory: Path, *lines: str | type[BaseException]) -> int:
    """A person at a terminal; a class is raised at the prompt. Then Ctrl-D."""
    source: Iterator[str | type[BaseException]] = iter(lines)

    def read(prompt: str) -> str:
        line = next(source, EOFError)
        if not isinstance(line, str):
            raise line
        return line

    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr(builtins, "input", read)
    return main(["chat", "--memory", str(memory)])


def test_a_pipe_gets_one_line_for_each_question(
    memory: Path, asked: list[Question], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status = piped(
        monkeypatch, memory, f"hall: {RING}", "", f"/at {START + 2}", "  " + SCENE, "/camera Front door", "/at", SCENE,
        "/last 2s", SCENE, "/quit", "never asked?",
        options=("--from", str(START), "--evidence", "1"),
    )  # fmt: skip
    assert status == 1, "the last question failed"
    assert [(one.text, one.cameras, one.start, one.at, one.last_s, one.evidence) for one in asked] == [
        (RING, ("hall",), START, None, None, 1),
        (SCENE, ("hall",), START, START + 2, None, 1),
        (SCENE, ("front-door",), START, None, None, 1),
        (SCENE, ("front-door",), None, None, 2.0, 1),
    ]
    out, err = capsys.readouterr()
    assert "nothing was recorded in that span" in err, "the last two seconds: no frame"
    assert [line for line in out.splitlines() if "hall" in line or "front-door" in line] == out.splitlines()
    assert len(out.splitlines()) == 3


def test_json_is_a_document_for_each_question_and_each_failure(
    memory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status = piped(
        monkeypatch, memory, RING, "/at 1 January 1970", "/nothing", "gate?", "/camera gate", options=("--json",)
    )
    out, err = capsys.readouterr()
    documents = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert [document.get("question", document.get("error", {}).get("kind")) for document in documents] == [
        RING, "usage", "usage", "gate?", "memory_not_found",
    ]  # fmt: skip
    assert documents[0]["memory"] == str(memory)
    assert {camera["camera"] for camera in documents[0]["cameras"]} == {"hall", "front-door"}
    assert all(document["error"]["message"] in err for document in documents if "error" in document)
    assert "loading" not in err


def test_the_answers_are_those_of_ask_and_are_saved(
    memory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert piped(monkeypatch, memory, SCENE, SCENE, options=("--json", "--camera", "hall", "--evidence", "8")) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert main(["ask", SCENE, "--memory", str(memory), "--camera", "hall", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    for document in (first, second):
        assert document["answer"] == alone["answer"]
        assert document["provenance"] == alone["provenance"]
        frames = [[(item["frame"], item["weight"]) for item in one["evidence"]] for one in (document, alone)]
        assert frames[0] == frames[1]
        assert main(["answers", document["id"], "--memory", str(memory), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["question"] == SCENE


def test_a_person_sees_the_answer_its_evidence_and_what_counts_next(
    memory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(monkeypatch, memory, "/help", "/at 2001-01-01", RING, "/at", f"hall: {RING}", "/camera") == 0
    out, err = capsys.readouterr()
    assert "  hall: 6 frames until 2023-11-14 22:13:25" in out
    assert "; answer " in out
    assert "front-door" not in out
    assert "/camera NAME" in err, "/help"
    assert "asking all cameras, as of 2001-01-01 00:00:00" in err
    assert "error: " in err, "nothing was recorded by then: the chat goes on"
    assert err.rstrip().endswith("asking all cameras, as of now")


def test_hostile_lines_cost_themselves_alone(
    memory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        b"\xff\xfe?", b"a\0b: who?", b"/camera a\0b", b"/camera " + b"x" * 5000, b"x" * 5000 + b": who?", b"/at \xff", b"/", b":", b"hall:",
        b"../../etc/passwd: who?", b"/camera ,", b"/last -1h", b"/last nan", SCENE.encode(),
    ]  # fmt: skip
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\r\n".join(lines)), encoding="utf-8"))
    assert main(["chat", "--memory", str(memory), "--json"]) == 1
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(documents) == len(lines)
    failures = [document["error"]["kind"] for document in documents if "error" in document]
    assert set(failures) <= {"usage", "memory_not_found"}
    assert documents[-1]["question"] == SCENE
    assert {camera["camera"] for camera in documents[-1]["cameras"]} == {"hall", "front-door"}, "as before"


class Interrupted:
    """Answers while somebody presses Ctrl-C so many times."""

    times = 1

    def __init__(self, memory: Any, model: Any, **options: Any) -> None:
        self.memory = memory

    def ask(self, question: Question, *, cancel: threading.Event, **options: Any) -> None:
        for _ in range(self.times):
            signal.raise_signal(signal.SIGINT)
        assert cancel.is_set()
        raise Cancelled("the question was cancelled")


@pytest.mark.parametrize(
    ("times", "lines", "status"),
    [
        (1, (RING, RING), 0),  # each is cancelled, the chat goes on
        (1, (RING, KeyboardInterrupt), 130),
        (2, (RING,), 130),
        (1, (RING, "/camera", KeyboardInterrupt, "/quit"), 0),  # another command came between
        (1, (KeyboardInterrupt, KeyboardInterrupt), 130),
        (1, (KeyboardInterrupt, RING), 0),
    ],
)
def test_ctrl_c_cancels_an_answer_and_a_second_one_ends(
    times: int, lines: tuple[str | type[BaseException], ...], status: int,
    memory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(finding, "Answerer", Interrupted)
    monkeypatch.setattr(Interrupted, "times", times)
    before = signal.getsignal(signal.SIGINT)
    assert typed(monkeypatch, memory, *lines) == status
    assert signal.getsignal(signal.SIGINT) == before
    err = capsys.readouterr().err
    if status == 0:
        assert err.count("\ncancelled; Ctrl-C again ends the chat") == sum(line == RING for line in lines)
