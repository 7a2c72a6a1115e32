"""The worker that answers other environments: one JSON object a line, errors answered and never fatal."""

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest

from afterview.training.evaluation import worker
from afterview.training.evaluation.benchmarks.asking import Reply
from afterview.training.evaluation.worker import Worker, serve


class Spy(Worker):
    """Answers without a model."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def _of(self, request: Any) -> Any:
        worker._text(request, "video")
        return self

    def ask(self, asked: Any) -> Reply:
        """As MemoryAsker does."""
        self.asked.append(asked)
        if asked.prompt == "bug":
            raise KeyError("a bug")
        return Reply("red", 0.5, frames=9)

    def continuation(self, asked: Any, text: str) -> tuple[float, bool]:
        """As the worker's asker does."""
        return math.nan if text == "nan" else -1.5, text == "red"


def answers(*lines: Any) -> list[dict[str, Any]]:
    said = io.StringIO()
    serve(Spy(), [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines], said)
    return [json.loads(line) for line in said.getvalue().splitlines()]


def ask(**more: Any) -> dict[str, Any]:
    return {"id": 1, "do": "generate", "video": "a.mp4", "prompt": "What?", **more}


def test_requests_are_answered_in_order() -> None:
    spy, said = Spy(), io.StringIO()
    asked = [ask(start=1, end=2.5, max_new_tokens=4), ask(id="b", do="likelihood", continuation="red")]
    serve(spy, [json.dumps(one).encode() for one in asked], said)
    assert [json.loads(line) for line in said.getvalue().splitlines()] == [
        {"id": 1, "text": "red", "frames": 9, "seconds": 0.5}, {"id": "b", "log_likelihood": -1.5, "greedy": True}
    ]  # fmt: skip
    (first,) = spy.asked
    assert (first.start_s, first.end_s, first.max_new_tokens, first.recall) == (1.0, 2.5, 4, "What?")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "no JSON"),
        (b"[1]", "no JSON object"),
        (b"[" * 100_000, "no JSON"),
        (b'{"id": 1, "prompt": "\xff"}', "not UTF-8"),
        ({"id": 1}, "send hello, generate or likelihood"),
        (ask(prompt=""), "prompt"),
        (ask(prompt=["What?"]), "prompt"),
        (ask(prompt="x" * 100_001), "at most 100000"),
        (ask(video=None), "video"),
        (ask(video="a\0.mp4"), "video"),
        (ask(max_new_tokens=0), "max_new_tokens"),
        (ask(max_new_tokens=True), "max_new_tokens"),
        (ask(start=-1), "start"),
        (ask(end="noon"), "end"),
        (ask(do="likelihood"), "continuation"),
        (b"x" * 4_000_001, "4000001 bytes"),
    ],
)
def test_a_wrong_request_is_answered_with_its_error_and_the_next_is_read(line: Any, message: str) -> None:
    wrong, right = answers(line, ask())
    assert message in wrong["error"]
    assert wrong["kind"] == "usage"
    assert right["text"] == "red"


def test_a_bug_costs_one_answer() -> None:
    wrong, right = answers(ask(prompt="bug"), ask())
    assert (wrong["kind"], right["text"]) == ("bug", "red")


def test_an_answer_that_is_no_json_is_answered_with_its_error() -> None:
    wrong, right = answers(ask(id=7, do="likelihood", continuation="nan"), ask())
    assert (wrong["id"], wrong["kind"], right["text"]) == (7, "failed", "red")
    assert "NaN" in wrong["error"]


def test_a_missing_video_is_named(tmp_path: Path) -> None:
    plain = Worker.__new__(Worker)
    said = io.StringIO()
    serve(plain, [json.dumps(ask(video=str(tmp_path / "none.mp4"))).encode()], said)
    assert "none.mp4: no such file" in json.loads(said.getvalue())["error"]
