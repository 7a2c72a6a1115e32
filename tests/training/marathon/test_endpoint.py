"""Models behind a real HTTP endpoint that speaks OpenAI's protocol and misbehaves: nothing lost, nothing asked twice, the same rows."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from afterview.configs import UsageError
from afterview.training.base.errors import EndpointError
from afterview.training.marathon.config import EndpointConfig
from afterview.training.marathon.models.answers import KeptAnswers
from afterview.training.marathon.models.endpoint import Endpoint
from afterview.training.marathon.models.replies import BadAnswer, answer_in, usable_part
from afterview.training.marathon.models.shapes import (
    AnswersAnswer,
    CaptionAnswer,
    ClipCaptionAnswer,
    CompareAnswer,
    EventsAnswer,
    QuestionsAnswer,
    schema_of,
)
from afterview.training.marathon.rows import Checked
from afterview.training.marathon.run import run
from afterview.training.marathon.stages.files import DataSet
from afterview.training.marathon.worlds.exact import Truths
from afterview.training.marathon.worlds.judge import judge
from tests.support.marathon_server import MarathonServer, by_label, marathon_server, none
from tests.training.marathon.conftest import settings
from tests.training.marathon.test_run import contents


def endpoint(server: MarathonServer, **others: Any) -> dict[str, Any]:
    given = {
        "kind": "openai",
        "url": server.url,
        "model": "truth",
        "label_requests": True,
        "timeout_s": 3.0,
        "at_once": 4,
        "tries": 4,
    }
    return {**given, **others}


def configured(directory: Path, server: MarathonServer, **others: Any) -> Path:
    one = endpoint(server, **others)
    models = {"captioner": one, "writer": one, "looks": [one], "blind": one}
    path = directory / "run.yaml"
    path.write_text(yaml.safe_dump(settings(models=models, clips={"seconds": 60, "frames": 2, "image_size": 64})))
    return path


def exact(directory: Path, worlds: Path) -> dict[str, bytes]:
    path = directory / "exact.yaml"
    path.write_text(yaml.safe_dump(settings(clips={"seconds": 60, "frames": 2, "image_size": 64})))
    run(path, worlds, directory / "exact")
    return contents(directory / "exact")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between tries are those of a test."""
    monkeypatch.setattr("afterview.training.marathon.models.endpoint._FIRST_WAIT_S", 0.02)


def test_a_server_that_misbehaves_costs_nothing(worlds: Path, tmp_path: Path) -> None:
    with marathon_server(worlds, mischief=by_label) as server:
        ran = run(configured(tmp_path, server), worlds, tmp_path / "out")
        asked = len(server.asked)
        again = run(configured(tmp_path, server), worlds, tmp_path / "out", redo="clip-captions")
    assert ran.failed == 0
    assert {"busy", "error", "cut", "malformed", "fenced", "stall", "break", "wrong shape"} <= set(server.happened)
    assert max(server.answered.values()) == 1, "an answer was asked for twice"
    assert len(server.asked) == asked, "the second run asked"
    assert not any(of.get("asked") for of in again.asked.values())
    assert set(server.pictures) == {2}
    assert server.formats == {"json_schema"}
    assert contents(tmp_path / "out") == exact(tmp_path, worlds)
    truths = Truths(worlds)
    kept = [row for row in DataSet(tmp_path / "out").rows("checks") if isinstance(row, Checked) and row.kept]
    assert len(kept) > 40
    assert all(judge(row, truths.story(row.video)).right for row in kept)


def test_an_item_that_fails_is_counted_and_the_rest_goes_on(worlds: Path, tmp_path: Path) -> None:
    def mischief(label: str) -> str:
        return "wrong shape" if label.startswith("questions a.mp4/object") else ""

    with marathon_server(worlds, mischief=mischief) as server:
        config = configured(tmp_path, server)
        config.write_text(config.read_text() + "repairs: 0\n")
        ran = run(config, worlds, tmp_path / "out")
    assert ran.failed == 2
    assert ran.stages["questions"]["reasons"] == {"the JSON does not have the shape that was asked for": 2}
    topics = {
        row.topic
        for row in DataSet(tmp_path / "out").rows("checks")
        if isinstance(row, Checked) and row.video == "a.mp4"
    }
    assert topics == {"temporality", "spatiality", "action", "scene", "event"}


def test_an_answer_without_words_is_one_that_cannot_be_used(worlds: Path, tmp_path: Path) -> None:
    """A model that ends at once says the same to the same request: it is told so, instead of being asked again and again."""
    silent = {"events a.mp4", "questions more/b.mp4/scene/choice"}
    with marathon_server(worlds, mischief=lambda label: "silent" if label in silent else "") as server:
        ran = run(configured(tmp_path, server), worlds, tmp_path / "out")
    assert ran.failed == 0
    assert ran.asked["writer, checker, blind"]["repaired"] == 2
    assert {server.asked[label] for label in silent} == {2}
    assert contents(tmp_path / "out") == exact(tmp_path, worlds)


def test_a_request_that_is_refused_is_not_sent_again_and_others_are(
    worlds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A video too long for the context has many refused requests in a row: that is no reason to end, as long as others are taken."""
    monkeypatch.setattr("afterview.training.marathon.models.endpoint._MOST_FAILURES", 3)
    refused: Callable[[str], bool] = lambda label: label.startswith("questions a.mp4")  # noqa: E731
    with marathon_server(worlds, mischief=lambda label: "refuse" if refused(label) else "") as server:
        ran = run(configured(tmp_path, server, at_once=1), worlds, tmp_path / "out")
    assert ran.failed == 12
    assert [count for label, count in server.asked.items() if refused(label)] == [1] * 12
    with (
        marathon_server(worlds, mischief=lambda label: "refuse") as server,
        pytest.raises(EndpointError, match=r"3 requests failed one after another.*longer than the context"),
    ):
        run(configured(tmp_path, server, at_once=1), worlds, tmp_path / "none")


QUESTION = {
    "task": "object attribute",
    "question": "What colour?",
    "answer": "red",
    "spans": [{"start_s": 0, "end_s": 2}],
}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (json.dumps({"questions": [QUESTION, QUESTION]})[:-40], 1),  # cut off in the second one
        (json.dumps({"questions": [QUESTION, {**QUESTION, "answer": ""}, "what?", QUESTION]}), 2),
        (json.dumps([QUESTION, 7]), 1),
        (json.dumps({"questions": [QUESTION]})[:-60], None),
        (json.dumps({"questions": [{**QUESTION, "question": "x" * 401}]}), None),
        ("{" * 2000 + "}" * 2000, None),
        ("no", None),
        ('{"questions": 7}', None),
    ],
)
def test_whole_questions_of_an_answer_that_is_not(text: str, kept: int | None) -> None:
    found = usable_part(text, QuestionsAnswer)
    assert (None if found is None else len(found.questions)) == kept
    assert usable_part(text, EventsAnswer) is None, "events without the rest of them are no answer"


def test_a_penalty_for_repeats_is_sent_where_it_is_set_and_is_another_model(worlds: Path, tmp_path: Path) -> None:
    plain = {"kind": "openai", "url": "http://127.0.0.1:1/v1", "model": "m"}
    before = Endpoint("models.writer", EndpointConfig.model_validate(plain)).identity
    assert before == "openai http://127.0.0.1:1/v1 m schema None 4096", (
        "kept answers of earlier runs are those of this model"
    )
    after = Endpoint("models.writer", EndpointConfig.model_validate({**plain, "frequency_penalty": 0.5})).identity
    assert after != before
    with marathon_server(worlds) as server:
        config = configured(tmp_path, server, frequency_penalty=0.5)
        run(config, worlds, tmp_path / "out", until="clip-captions")
    assert server.penalties == {0.5}


def test_schemas_have_no_lengths_that_grammars_refuse() -> None:
    """llama.cpp takes none of 2,000 and more. How many entries there are to be is said where it is known."""
    for shape in (ClipCaptionAnswer, EventsAnswer, CaptionAnswer, QuestionsAnswer, AnswersAnswer, CompareAnswer):
        text = json.dumps(schema_of(shape))
        assert not [word for word in ("maxLength", "maxItems", "maximum") if f'"{word}"' in text]
        assert '"minLength"' in text or shape in (AnswersAnswer, CompareAnswer)
    assert schema_of(AnswersAnswer, (4, 4))["properties"]["answers"]["maxItems"] == 4
    assert "wrong" in schema_of(QuestionsAnswer, (0, 2))["$defs"]["SaidQuestion"]["properties"]
    with pytest.raises(BadAnswer, match="caption: must have at most 4000 characters"):
        answer_in(json.dumps({"caption": "x" * 4001}), CaptionAnswer)


def test_a_video_without_all_captions_asks_nothing(worlds: Path, tmp_path: Path) -> None:
    def mischief(label: str) -> str:
        return "malformed" if label == "clip_caption a.mp4#60-120" else ""

    with marathon_server(worlds, mischief=mischief) as server:
        config = configured(tmp_path, server)
        config.write_text(config.read_text() + "repairs: 0\n")
        ran = run(config, worlds, tmp_path / "out")
    assert ran.failed == 1
    assert ran.stages["events"]["left_out"] == 1
    assert {row.video for row in DataSet(tmp_path / "out").rows("checks")} == {"more/b.mp4"}


def test_settings_that_no_request_fares_better_with_end_the_run(
    worlds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with marathon_server(worlds) as server:
        wrong = configured(tmp_path, server, url=f"{server.url}/nowhere")
        monkeypatch.setattr(
            "tests.support.marathon_server._Handler.do_POST", lambda self: self._send(404, {"error": {"message": "no"}})
        )
        with pytest.raises(EndpointError, match=r"models.captioner: .*check url, model and key_variable"):
            run(wrong, worlds, tmp_path / "out")
    monkeypatch.setattr("afterview.training.marathon.models.endpoint._MOST_FAILURES", 3)
    gone = configured(tmp_path, server)
    with pytest.raises(EndpointError, match=r"\d requests failed one after another"):
        run(gone, worlds, tmp_path / "other")
    assert not list((tmp_path / "other").glob("03-*/*.jsonl"))


def test_a_key_comes_from_the_environment_and_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    config = EndpointConfig(kind="openai", url="http://127.0.0.1:1/v1", model="m", key_variable="MARATHON_KEY")
    monkeypatch.delenv("MARATHON_KEY", raising=False)
    with pytest.raises(UsageError, match="MARATHON_KEY, which is not set"):
        Endpoint("models.writer", config)
    monkeypatch.setenv("MARATHON_KEY", "secret-1")
    made = Endpoint("models.writer", config)
    assert "secret-1" not in made.identity + repr(made._server)
    with pytest.raises(UsageError, match="password"):
        Endpoint("models.writer", EndpointConfig(kind="openai", url="http://me:word@host/v1", model="m"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"caption": "a"}', "a"),
        ('Here:\n```json\n{"caption": "a",}\n```', "a"),
        ('{"caption": "a"} and more {words}', None),
        ("\u201cno\u201d", None),
        ('{\u201ccaption\u201d: \u201ca\u201d}', "a"),
        ('{"caption": "a', None),
        ('{"caption": ""}', None),
        ('{"caption": "\\ud800"}', None),
        ('{"caption": "\\ud83d\\ude00"}', "\U0001f600"),
        ('{"caption": 3}', None),
        ('{"caption": NaN}', None),
        ("[" * 100_000, None),
        ("[" * 500 + "]" * 500, None),
        ("", None),
        ('{"caption": "' + "x" * 5000 + '"}', None),
    ],
)  # fmt: skip
def test_answers_are_found_mended_or_refused(text: str, found: str | None) -> None:
    if found is None:
        with pytest.raises(BadAnswer):
            answer_in(text, CaptionAnswer)
    else:
        assert answer_in(text, CaptionAnswer).caption == found


def test_a_file_that_holds_no_answers(tmp_path: Path) -> None:
    (tmp_path / "answers.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(UsageError, match="holds no answers that can be read"):
        KeptAnswers(tmp_path)


@pytest.mark.thorough
@pytest.mark.integration
@pytest.mark.parametrize(
    ("point", "step"), [("marathon.after-answer", 37), ("marathon.before-file", 5), ("marathon.before-done", 4)]
)
def test_killed_in_every_part_the_rows_are_the_same(point: str, step: int, worlds: Path, tmp_path: Path) -> None:
    """SIGKILL in a process of its own, again and again, each time a little later."""
    program = "import sys; from afterview.cli.main import main; sys.exit(main(sys.argv[1:]))"
    kills = 0
    with marathon_server(worlds, mischief=none) as server:
        config = configured(tmp_path, server, at_once=1)
        command = ["marathon", "run", str(config), "--videos", str(worlds), "--out", str(tmp_path / "out"), "-q"]
        for _ in range(40):
            environment = {**os.environ, "AFTERVIEW_FAILPOINT": f"{point}:{step}"}
            done = subprocess.run(
                [sys.executable, "-c", program, *command], env=environment, capture_output=True, timeout=120
            )
            if done.returncode == 0:
                break
            assert done.returncode == -signal.SIGKILL, done.stderr.decode()
            kills += 1
    assert kills >= 2
    assert max(server.answered.values()) == 1
    assert contents(tmp_path / "out") == exact(tmp_path, worlds)


def test_ctrl_c_does_not_wait_for_the_server(worlds: Path, tmp_path: Path) -> None:
    """What hangs is given up, the retries that are left are not made, and the next run continues."""
    with marathon_server(worlds, mischief=lambda label: "stall") as server:
        config = configured(tmp_path, server, timeout_s=60.0)
        timer = threading.Timer(1.0, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
        began = time.monotonic()
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            run(config, worlds, tmp_path / "out")
        assert time.monotonic() - began < 6.0, "a stall lasts 8 s"
        server.mischief = none
        assert run(config, worlds, tmp_path / "out").failed == 0
