"""The adapter of lmms-eval: what it reads of a task, how it asks a worker or a service, and the real harness where it is installed."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest

from afterview.cli.main import main

ADAPTER = Path(__file__).parents[2] / "adapters" / "lmms_eval"
TASKS = Path(__file__).parent / "lmms_eval_task"
HARNESS = os.environ.get("AFTERVIEW_LMMS_PYTHON", "")  # the Python of an environment with lmms-eval and the adapter

STUB = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    answer = {"id": request["id"]}
    if request["do"] == "hello":
        answer |= {"protocol": PROTOCOL, "model": "stub", "weights": "sha256:0"}
    elif request["do"] == "likelihood":
        answer |= {"log_likelihood": -len(request["continuation"]) - request.get("start", 0) - request.get("end", 0), "greedy": False}
    elif "boom" in request["prompt"]:
        answer |= {"error": "no such thing", "kind": "usage"}
    elif "end" in request["prompt"]:
        sys.exit(3)
    else:
        answer["text"] = json.dumps({key: request[key] for key in sorted(request) if key != "id"})
    print(json.dumps(answer), flush=True)
"""


class Base:
    """As lmms_eval.api.model.lmms, as far as the adapter uses it."""

    def __init__(self) -> None:
        self.cache_hook = SimpleNamespace(add_partial=lambda *_: None)
        self.task_dict: dict[str, Any] = {}

    def clean(self) -> None:
        """Frees what the model holds."""


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The adapter's modules, with a stand-in for lmms-eval."""
    for name in ("lmms_eval", "lmms_eval.api", "lmms_eval.api.instance", "lmms_eval.api.model"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["lmms_eval.api.instance"].Instance = SimpleNamespace  # type: ignore[attr-defined]
    sys.modules["lmms_eval.api.model"].lmms = Base  # type: ignore[attr-defined]
    monkeypatch.syspath_prepend(str(ADAPTER))
    import afterview_lmms_eval.exchange as exchange
    import afterview_lmms_eval.models as models

    yield SimpleNamespace(exchange=exchange, models=models)
    for name in [name for name in sys.modules if name.startswith("afterview_lmms_eval")]:
        del sys.modules[name]


@pytest.fixture
def stub(tmp_path: Path) -> list[str]:
    """A command that speaks the worker's protocol."""
    path = tmp_path / "stub.py"
    path.write_text(STUB.replace("PROTOCOL", "1"))
    return [sys.executable, str(path)]


def request(*arguments: Any) -> SimpleNamespace:
    return SimpleNamespace(args=arguments)


def turn(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def test_a_chat_is_one_video_and_its_text(adapter: SimpleNamespace) -> None:
    video, text = {"type": "video", "url": "a.mp4"}, {"type": "text", "text": "What?"}
    read = adapter.models.read_messages
    assert read(turn(video, text)) == ("a.mp4", (None, None), "What?")
    assert read([{"role": "system", "content": "Be brief."}, *turn(video, text)])[2] == "Be brief.\nWhat?"
    assert read(turn({**video, "start_time": 2, "end_time": 9}, text))[1] == (2.0, 9.0)
    part = {"path": "a.mp4", "video_start": 1.5, "video_end": None}
    assert read(turn({"type": "video", "url": part}, text))[:2] == ("a.mp4", (1.5, None))
    assert read(turn(text), ("b.mp4", (None, None)))[0] == "b.mp4"
    assert read(turn({**video, "start": 2, "end": 9}, text))[1] == (2.0, 9.0)
    assert read(turn({"type": "video", "url": {"path": "a.mp4"}, "video_start": 3}, text))[1] == (3.0, None)
    said = {"role": "assistant", "content": [{"type": "text", "text": "the red one"}]}
    with pytest.raises(adapter.exchange.AfterviewError, match="role 'assistant'"):
        read([*turn(video, text), said, *turn({"type": "text", "text": "And then?"})])
    for shown in (
        [],
        [video, video],
        [{"type": "image", "url": {"path": "a.jpg"}}],
        [{"type": "image", "url": object()}],
        [{"type": "audio", "url": "a.wav"}],
    ):
        with pytest.raises(adapter.exchange.AfterviewError, match=r"one video at a time|no video file"):
            read(turn(*shown, text))


def test_an_answer_ends_at_the_first_stop_text(adapter: SimpleNamespace) -> None:
    assert adapter.models.until("red\nblue", "\n") == "red"
    assert adapter.models.until("red. Blue", ["\n\n", "."]) == "red"
    assert adapter.models.until("red", None) == adapter.models.until("red", [""]) == "red"
    assert adapter.models.plain_text("<image>\n<video>What?") == "What?"


def test_a_worker_is_asked_and_its_errors_are_told(adapter: SimpleNamespace, stub: list[str]) -> None:
    worker = adapter.exchange.Worker(stub, "tiny", "work")
    assert (worker.model, worker.weights) == ("stub", "sha256:0")
    asked = json.loads(worker.generate("file:///v/a.mp4", "What?", 5, (None, 7.0)))
    assert asked == {"do": "generate", "end": 7.0, "max_new_tokens": 5, "prompt": "What?", "video": "/v/a.mp4"}
    assert worker.likelihood("/v/a.mp4", "What?", "red", (10.0, 20.0)) == (-33.0, False)
    with pytest.raises(adapter.exchange.AfterviewError, match="no such thing"):
        worker.generate("/v/a.mp4", "boom", None, (None, None))
    assert worker.generate("/v/a.mp4", "and on", None, (None, None))
    with pytest.raises(adapter.exchange.AfterviewError, match="ended with status 3"):
        worker.generate("/v/a.mp4", "end", None, (None, None))
    worker.close()
    with pytest.raises(adapter.exchange.AfterviewError, match="command=/path/to/afterview"):
        adapter.exchange.Worker("/nowhere/afterview", "tiny", "work")
    Path(stub[1]).write_text(STUB.replace("PROTOCOL", "2"))
    with pytest.raises(adapter.exchange.AfterviewError, match="speaks protocol 2, not 1"):
        adapter.exchange.Worker(stub, "tiny", "work")


def test_both_kinds_of_model_answer_tasks(adapter: SimpleNamespace, stub: list[str]) -> None:
    documents = {"task": {"test": [{"video": "/v/a.mp4", "question": "What?"}]}}
    chat = adapter.models.AfterviewChat(command=" ".join(stub))
    chat.task_dict = documents
    settings = {"max_new_tokens": 4, "until": ["}"]}

    def messages(document: dict[str, str], round_idx: int | None = None, **rounds: Any) -> Any:
        if round_idx is None:
            return turn({"type": "video", "url": document["video"]}, {"type": "text", "text": document["question"]})
        answers = rounds["previous_output"]
        return (
            (None, True, answers, None)
            if round_idx == 2
            else (turn({"type": "text", "text": f"And {len(answers)}?"}), False, answers, 1)
        )

    (answer,) = chat.generate_until([request("", messages, settings, 0, "task", "test")])
    assert '"max_new_tokens": 4' in answer
    assert "}" not in answer
    (rounds,) = chat.generate_until_multi_round([request("", messages, {}, 0, "task", "test")])
    assert [json.loads(one)["prompt"] for one in rounds] == ["What?", "And 1?"]
    assert {json.loads(one)["video"] for one in rounds} == {"/v/a.mp4"}
    with pytest.raises(NotImplementedError, match="--force_simple"):
        chat.loglikelihood([])
    chat.clean()
    simple = adapter.models.AfterviewSimple(command=" ".join(stub))
    simple.task_dict = documents
    shown = lambda document: [document["video"]]  # noqa: E731
    found = simple.loglikelihood([request("What?", word, shown, 0, "task", "test") for word in ("red", "blue")])
    assert found == [(3.0, False), (4.0, False)]  # losses: the smaller is the better
    part = lambda document: [{"url": document["video"], "video_start": 10, "video_end": 20}]  # noqa: E731
    assert simple.loglikelihood([request("What?", "red", part, 0, "task", "test")]) == [(33.0, False)]  # of that part
    (answer,) = simple.generate_until([request("<video>What?", {}, shown, 0, "task", "test")])
    assert json.loads(answer)["prompt"] == "What?"
    simple.clean()
    with pytest.raises(adapter.exchange.AfterviewError, match="unknown temper"):
        adapter.models.AfterviewSimple(temper=1)


class Door(BaseHTTPRequestHandler):
    """Answers once with 503, then as the door for clients of OpenAI does."""

    seen: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        """One completion."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append({**body, "key": self.headers.get("Authorization")})
        if len(self.seen) == 1:
            self._send(503, {"error": {"message": "loading"}}, {"Retry-After": "0"})
        elif "boom" in json.dumps(body):
            self._send(400, {"error": {"message": "file: is not in openai.folders"}}, {})
        else:
            self._send(200, {"choices": [{"message": {"content": "red"}}]}, {})

    def _send(self, status: int, document: dict[str, Any], headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

    def log_message(self, format: str, *_: Any) -> None:
        """Says nothing."""


def test_a_service_is_asked_over_http(adapter: SimpleNamespace) -> None:
    Door.seen.clear()
    server = HTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        service = adapter.exchange.Service(f"http://127.0.0.1:{server.server_port}/v1/", "secret")
        assert service.generate("/v/a b.mp4", "What?", 4, (None, None)) == "red"
        assert len(Door.seen) == 2
        (shown, text) = Door.seen[1]["messages"][0]["content"]
        assert shown["video_url"]["url"] == "file:///v/a%20b.mp4"
        assert (text["text"], Door.seen[1]["max_tokens"], Door.seen[1]["key"]) == ("What?", 4, "Bearer secret")
        with pytest.raises(adapter.exchange.AfterviewError, match=r"not in openai\.folders"):
            service.generate("/v/boom.mp4", "What?", None, (None, None))
        with pytest.raises(adapter.exchange.AfterviewError, match="with a worker only"):
            service.generate("/v/a.mp4", "What?", None, (0.0, 1.0))
        with pytest.raises(adapter.exchange.AfterviewError, match="no probabilities"):
            service.likelihood("/v/a.mp4", "What?", "red", (None, None))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    with pytest.raises(adapter.exchange.AfterviewError, match="is `afterview serve` running there"):
        service.generate("/v/a.mp4", "What?", None, (None, None))
    with pytest.raises(adapter.exchange.AfterviewError, match="give an address"):
        adapter.exchange.Service("127.0.0.1:8077")


def run_harness(tmp_path: Path, task: str, rows: list[dict[str, Any]], *more: str) -> dict[str, Any]:
    """The results of the real lmms-eval for a task of these rows."""
    tmp_path.mkdir(exist_ok=True)
    data = tmp_path / f"{task}.json"
    data.write_text(json.dumps(rows))
    tasks = tmp_path / task
    tasks.mkdir()
    (tasks / f"{task}.yaml").write_text((TASKS / f"{task}.yaml").read_text().replace("DATA", str(data)))
    (tasks / "afterview_own.py").write_text((TASKS / "afterview_own.py").read_text())
    starter = tmp_path / "afterview.sh"  # lmms-eval splits --model_args at commas and equals signs
    starter.write_text(f'#!/bin/sh\nPYTHONPATH={Path(__file__).parents[2]} exec {sys.executable} -m afterview "$@"\n')
    starter.chmod(0o755)
    arguments = [
        HARNESS, "-m", "lmms_eval", "--model", "afterview", "--tasks", task, "--include_path", str(tasks),
        "--model_args", f"command={starter},work={tmp_path / 'memories'}", "--output_path", str(tmp_path / "results"),
        "--log_samples", "--batch_size", "1", *more,
    ]  # fmt: skip
    settings = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    settings.pop("PYTHONPATH", None)
    done = subprocess.run(arguments, env=settings, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    (found,) = (tmp_path / "results").rglob("*_results.json")
    samples = next((tmp_path / "results").rglob(f"*samples_{task}.jsonl")).read_text().splitlines()
    return {
        "results": json.loads(found.read_text())["results"][task],
        "samples": [json.loads(line) for line in samples],
    }


def _answer(sample: dict[str, Any]) -> str:
    found = sample["filtered_resps"]
    return found if isinstance(found, str) else str(found[0])


@pytest.mark.slow
@pytest.mark.skipif(not HARNESS, reason="AFTERVIEW_LMMS_PYTHON names no Python with lmms-eval and adapters/lmms_eval")
def test_the_real_harness_says_what_our_own_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = [
        "world",
        "make",
        str(tmp_path / "one.mp4"),
        "--seed",
        "9",
        "--for",
        "70s",
        "--rate",
        "2",
        "--questions",
        "12",
        "--json",
    ]
    assert main(made) == 0
    asked = [one for one in json.loads(capsys.readouterr().out)["questions"] if one["value"] is None]
    rows = [{"video": str(tmp_path / "one.mp4"), "question": one["text"], "answer": one["answer"]} for one in asked]
    harness = run_harness(tmp_path, "afterview_own", rows)
    own = [{**row, "video": "one.mp4", "id": str(number)} for number, row in enumerate(rows)]
    (tmp_path / "questions.json").write_text(json.dumps(own))
    run = [
        "evaluate",
        "run",
        "own",
        "--data",
        str(tmp_path),
        "--model",
        "tiny",
        "--out",
        str(tmp_path / "own"),
        "--json",
    ]
    assert main([*run, "--work", str(tmp_path / "memories")]) == 0
    document = json.loads(capsys.readouterr().out)
    ours = [json.loads(line) for line in (tmp_path / "own" / "items.jsonl").read_text().splitlines()]
    theirs = [_answer(sample) for sample in sorted(harness["samples"], key=lambda sample: sample["doc_id"])]
    assert theirs == [row["answer"] for row in ours]
    key = next(name for name in harness["results"] if name.startswith("right,"))
    assert harness["results"][key] == pytest.approx(document["scores"]["exact"]["value"], abs=1e-4)
    options = [[one["answer"], *one["wrong"]] for one in asked if len(one["wrong"]) > 1]
    chosen = [one for one in asked if len(one["wrong"]) > 1]
    rows = [
        {"video": str(tmp_path / "one.mp4"), "question": one["text"], "options": given, "truth": 0}
        for one, given in zip(chosen, options, strict=True)
    ]  # fmt: skip
    weighed = run_harness(tmp_path / "second", "afterview_choice", rows, "--force_simple")
    right = [one["text"] for one, answer in zip(asked, theirs, strict=True) if answer == one["answer"]]
    scored = [sample for sample in weighed["samples"] if sample["input"] in right]
    assert scored
    assert all(sample["right"] == 1.0 for sample in scored)  # what it says is what it thinks likeliest
