"""`import afterview`: what it shows, what it takes, and that its documentation is true."""

import contextlib
import inspect
import io
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import afterview
from afterview import api
from afterview.cli.main import main
from afterview.configs import errors as config_errors
from afterview.memory.base import errors as memory_errors
from afterview.memory.writing.open import open_camera
from afterview.model.base import errors as model_errors
from tests.support.memory_world import make_frame
from tests.support.model_server import MODEL, Misdeeds, model_server
from tests.support.pictured import record_pictured

ROOT = Path(__file__).parents[2]
START = datetime(2026, 11, 27, 7, tzinfo=UTC).timestamp()  # 08:00 in Paris
SECONDS = 40
QUESTION = "Which scene do you see now?"


@pytest.fixture(scope="module")
def model() -> afterview.AfterviewModel:
    return afterview.load_pretrained("tiny")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, model: afterview.AfterviewModel) -> afterview.Memory:
    """Two cameras in two zones, with the same times."""
    path = tmp_path_factory.mktemp("api") / "cameras"
    spec = model.encoders.feature_spec
    for name, zone in (("hall", "Europe/Paris"), ("yard", "Asia/Tokyo")):
        with open_camera(path, name, spec, timezone=zone) as repository:
            for number in range(SECONDS):
                repository.append(make_frame(number, spec, time=START + number))
    return afterview.open(path)


def frames(seen: afterview.Memory, model: afterview.AfterviewModel, **span: Any) -> int:
    """How many frames of the hall a question with this span is about."""
    return afterview.ask(seen, QUESTION, camera="hall", model=model, **span).coverage[0].frames


# --- names ---


def test_everything_public_is_shown_and_there() -> None:
    assert {"open", "ask", "search", "info", "load_pretrained", "Memory", "Answer"} <= set(dir(afterview))
    assert dir(afterview) == sorted(afterview.__all__)
    for name in afterview.__all__:
        assert getattr(afterview, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'asks'"):
        afterview.asks  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("module", [config_errors, memory_errors, model_errors])
def test_every_error_of_a_memory_and_a_model_is_public(module: Any) -> None:
    own = [
        name
        for name, kind in vars(module).items()
        if inspect.isclass(kind) and issubclass(kind, afterview.AfterviewError)
    ]
    assert {name: getattr(afterview, name, None) for name in own} == {name: getattr(module, name) for name in own}


def test_types_hold_in_a_strict_script(tmp_path: Path) -> None:
    """mypy follows the package's types; what it depends on is left out, because reading torch takes a minute."""
    script, settings = tmp_path / "script.py", tmp_path / "mypy.ini"
    script.write_text(SCRIPT)
    skipped = ",".join(
        f"{name}.*"
        for name in ("torch", "transformers", "zarr", "faiss", "pydantic", "obstore", "httpx2", "safetensors")
    )
    settings.write_text(f"[mypy]\nstrict = True\nfollow_imports = silent\n[mypy-{skipped}]\nfollow_imports = skip\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", settings, "--cache-dir", tmp_path / "cache", script],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "MYPYPATH": str(ROOT)},
    )  # fmt: skip
    wrong = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(wrong) == 2, done.stdout
    assert 'no attribute "asks"' in wrong[0]
    assert 'incompatible type "bytes"' in wrong[1]


SCRIPT = """
from datetime import UTC, datetime, timedelta
from pathlib import Path

import afterview


def newest(memory: afterview.Memory, model: afterview.AfterviewModel) -> dict[str, float]:
    answer: afterview.Answer = afterview.ask(memory, "Which scene?", at=datetime.now(UTC), last=timedelta(hours=2), model=model)
    weights: list[float] = [frame.weight for frame in answer.evidence]
    frames: list[int] = [coverage.frames for coverage in answer.coverage]
    document: dict[str, object] = answer.to_dict()
    found = afterview.search(memory, "a ring", camera=["a"], at="yesterday 14:00", start=1.0)
    images: list[bytes] = [hit.image for hit in found.hits]
    print(weights, frames, document["answer"], images)
    return {camera.info.name: camera.last_time or 0.0 for camera in afterview.info(memory)}


try:
    print(newest(afterview.open(Path("cameras")), afterview.load_pretrained("tiny")))
except (afterview.MemoryNotFound, afterview.NothingRecorded) as error:
    print(error, error.exit_status)
afterview.asks("x")
afterview.ask("cameras", b"What?")
"""


# --- times ---


@pytest.mark.parametrize(
    "at",
    [
        START + 10,
        int(START) + 10,
        np.float64(START + 10),
        np.int64(START + 10),
        Fraction(START + 10),
        datetime(2026, 11, 27, 8, 0, 10),
        datetime(2026, 11, 27, 7, 0, 10, tzinfo=UTC),
        datetime(2026, 11, 27, 16, 0, 10, tzinfo=timezone(timedelta(hours=9))),
        "2026-11-27 08:00:10",
        "2026-11-27T07:00:10Z",
        str(START + 10),
    ],
)
def test_a_time_is_seconds_a_datetime_or_a_text(
    seen: afterview.Memory, model: afterview.AfterviewModel, at: Any
) -> None:
    assert frames(seen, model, at=at) == 11
    assert frames(seen, model, start=at) == SECONDS - 10
    assert len(afterview.search(seen, "a ring", camera="hall", at=at, top=100, model=model).hits) == 11


@pytest.mark.parametrize("last", [5, 5.0, np.int64(5), timedelta(seconds=5), "5s", "5 seconds"])
def test_a_length_is_seconds_a_timedelta_or_a_text(
    seen: afterview.Memory, model: afterview.AfterviewModel, last: Any
) -> None:
    assert frames(seen, model, at=START + 10, last=last) == 6
    assert (
        len(afterview.search(seen, "a ring", camera="hall", at=START + 10, last=last, top=100, model=model).hits) == 6
    )


def test_cameras_that_disagree_about_a_time(seen: afterview.Memory, model: afterview.AfterviewModel) -> None:
    for at in ("2026-11-27 08:00:10", datetime(2026, 11, 27, 8, 0, 10)):
        with pytest.raises(
            afterview.UsageError, match=r"at: .* different moments in the cameras' zones \(Asia/Tokyo, Europe/Paris\)"
        ):
            afterview.ask(seen, QUESTION, at=at, model=model)
    answer = afterview.ask(seen, QUESTION, at="2026-11-27T08:00:10+01:00", model=model)
    assert [(coverage.camera, coverage.frames) for coverage in answer.coverage] == [("hall", 11), ("yard", 11)]
    found = afterview.search(seen, "a ring", at="2026-11-27 16:00:10", top=100, model=model)  # in the zone of each
    assert {hit.camera for hit in found.hits} == {"hall", "yard"}
    assert sum(hit.camera == "yard" for hit in found.hits) == 11


def test_an_hour_that_comes_twice(seen: afterview.Memory) -> None:
    for at in (datetime(2026, 10, 25, 2, 30), datetime(2026, 10, 25, 2, 30, fold=1)):
        with pytest.raises(afterview.UsageError, match=r"at: .*comes twice.*02:30:00\+02:00 or"):
            afterview.ask(seen, QUESTION, camera="hall", at=at)


# --- wrong arguments: before a model is loaded, with the argument's name ---

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"question": ""}, "question: is empty"),
    ({"question": None}, "question: give a text, not None"),
    ({"question": 5}, "question: give a text, not int"),
    ({"question": "x" * 20_000}, "question: has 20000 characters; at most"),
    ({"memory": None}, "memory: give what afterview.open returned, or a path, not None"),
    ({"memory": 5}, "memory: give what"),
    ({"memory": ""}, "path is empty"),
    ({"memory": Path("s3://bucket/x")}, "as a text, s3://bucket/prefix"),
    ({"camera": 5}, "camera: give a name, or a list of names, not int '5'"),
    ({"camera": []}, "camera: the list is empty"),
    ({"camera": ["hall", None]}, "camera: give a name, or a list"),
    ({"camera": b"hall"}, "camera: give a name, or a list"),
    ({"camera": "attic"}, "no camera 'attic'"),
    ({"at": True}, "at: 'True' is not a time; give Unix seconds, a datetime, or a text"),
    ({"at": float("nan")}, "at: 'nan' lies beyond"),
    ({"at": 1.8e12}, "at: .* lies beyond the years"),
    ({"at": "soon"}, "at: 'soon' is not a time; write"),
    ({"at": ""}, "at: '' is not a time"),
    ({"at": b"now"}, "at: .* is not a time; give"),
    ({"at": [1]}, "at: .* is not a time; give"),
    ({"at": timedelta(1)}, "at: .* is not a time; give"),
    ({"at": datetime.min}, "at: .* lies beyond the years"),
    ({"start": "2099"}, "start: '2099' is not clear"),
    ({"start": START + 5, "at": START}, "the span ends before it begins"),
    ({"start": START, "last": 5}, "start and last both say"),
    ({"last": False}, "last: 'False' is not a duration; give seconds, a timedelta, or a text"),
    ({"last": 0}, "last: '0' must be longer than 0"),
    ({"last": -5}, "last: '-5' must be longer than 0"),
    ({"last": "soon"}, "last: 'soon' is not a duration; write"),
    ({"last": 1e12}, "longer than a hundred years"),
    ({"last": datetime.max}, "last: .* is not a duration"),
    ({"model": 5}, "model: give what afterview.load_pretrained returned, or the name of a model, not int"),
]


@pytest.mark.parametrize(("given", "said"), WRONG)
def test_errors_say_what_to_give(
    seen: afterview.Memory, given: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_loaded", None)  # nothing is loaded for a wrong question
    monkeypatch.setattr(api, "_encoders", None)
    rest = {"camera": "hall", **given}
    memory, text = rest.pop("memory", seen), rest.pop("question", QUESTION)
    with pytest.raises(afterview.UsageError, match=said) as raised:
        afterview.ask(memory, text, **rest)
    assert str(raised.value).isprintable()
    with pytest.raises(afterview.UsageError, match=said.replace("question:", "text:")):
        afterview.search(memory, text, **rest)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seed": 1.5}, "seed: give a whole number"),
        ({"seed": -1}, "seed: -1 must be between"),
        ({"evidence": True}, "evidence: give a whole number"),
        ({"evidence": -1}, "evidence: -1 must be"),
        ({"on_text": 5}, "on_text: give a function"),
    ],
)
def test_other_errors_of_a_question(seen: afterview.Memory, given: dict[str, Any], said: str) -> None:
    with pytest.raises(afterview.UsageError, match=said):
        afterview.ask(seen, QUESTION, **given)


def test_other_errors(seen: afterview.Memory) -> None:
    with pytest.raises(afterview.UsageError, match="top: 0 must be between 1"):
        afterview.search(seen, "a ring", top=0)
    with pytest.raises(afterview.UsageError, match="path: give a directory or s3"):
        afterview.open(None)  # type: ignore[arg-type]
    with pytest.raises(afterview.UsageError, match="memory: give what"):
        afterview.info(5)  # type: ignore[arg-type]
    with pytest.raises(afterview.MemoryNotFound):
        afterview.info("nowhere")


# --- the same as the command line ---


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


VARYING = {"id", "timing", "image", "lag_s"}  # from one answer to the next


def assert_part_of(document: Any, whole: Any) -> None:
    """Every value of the document is in the other one, too."""
    if isinstance(document, dict):
        assert set(document) <= set(whole)
        for key in set(document) - VARYING:
            assert_part_of(document[key], whole[key])
    elif isinstance(document, list):
        assert len(document) == len(whole)
        for one, other in zip(document, whole, strict=True):
            assert_part_of(one, other)
    else:
        assert document == whole


def test_documents_are_those_of_the_commands(
    seen: afterview.Memory, model: afterview.AfterviewModel, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--memory", str(seen.path), "--at", str(START + 20))
    answer = afterview.ask(str(seen.path), QUESTION, at=START + 20)
    assert_part_of(json.loads(json.dumps(answer.to_dict())), printed(capsys, "ask", QUESTION, *where))
    found = afterview.search(seen.path, "a ring", at=START + 20, top=3)
    assert_part_of(json.loads(json.dumps(found.to_dict())), printed(capsys, "search", "a ring", *where, "--top", "3"))
    described = afterview.info(seen)
    assert [camera.info.name for camera in described] == ["hall", "yard"]
    assert len(described) == 2
    assert_part_of(json.loads(json.dumps(described.to_dict())), printed(capsys, "info", str(seen.path)))


def test_a_memory_stays_the_same_one_in_another_directory(
    seen: afterview.Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(seen.path.parent)
    relative = afterview.open(seen.path.name)
    monkeypatch.chdir(tmp_path)
    with open_camera(Path(seen.path.name), "other", relative.camera("hall").spec) as repository:
        repository.append(make_frame(0, repository.spec))
    assert [camera.info.id for camera in afterview.info(relative)] == ["hall", "yard"]
    assert [camera.info.id for camera in afterview.info(seen.path.name)] == ["other"]


def test_hits_have_their_images(seen: afterview.Memory, model: afterview.AfterviewModel) -> None:
    hits = afterview.search(seen, "a ring", camera=["hall"], top=3, model=model).hits
    assert len(hits) == 3
    for hit in hits:
        assert hit.time == START + hit.frame
        assert hit.image == seen.camera("hall").snapshot().image(hit.frame) != b""


def test_a_camera_that_cannot_be_read_is_named(
    tmp_path: Path, model: afterview.AfterviewModel, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = model.encoders.feature_spec
    for name in ("hall", "yard"):
        with open_camera(tmp_path, name, spec) as repository:
            repository.append(make_frame(0, spec, time=START))
    (tmp_path / "hall" / "camera.json").write_text("{")
    described = afterview.info(tmp_path)
    assert [camera.info.id for camera in described] == ["yard"]
    assert "camera.json" in described.skipped["hall"]
    assert printed(capsys, "info", str(tmp_path))["skipped"] == described.skipped
    (tmp_path / "yard" / "camera.json").write_text("{")
    with pytest.raises(afterview.AfterviewError):
        afterview.info(tmp_path)


# --- docs/python.md ---


@pytest.fixture
def documented(tmp_path: Path, model: afterview.AfterviewModel, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that docs/python.md is run in: a shorter memory than there, that begins at the same time."""
    spec = model.encoders.feature_spec
    with open_camera(tmp_path / "cameras", "hall", spec, timezone="Europe/Paris") as repository:
        for number in range(300):
            repository.append(make_frame(number, spec, time=START + number))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_documentation_runs_and_is_true(documented: Path) -> None:
    text = (ROOT / "docs" / "python.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```\n.*?```text\n(.*?)```", text, re.S)
    assert len(blocks) == text.count("```python")
    names: dict[str, Any] = {}
    for code, output in blocks:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(code, "docs/python.md", "exec"), names)
        assert shape(out.getvalue()) == shape(output)
    assert out.getvalue() == output, "of times and errors, which do not depend on what was seen"


def shape(output: str) -> list[str]:
    """Lines without what the model saw: scenes, numbers of frames, and times."""
    return [re.sub(r"^[a-z]+$", "SCENE", re.sub(r"\d[\d.]*", "0", line)) for line in output.splitlines()]


# --- subtitles ---

SRT = "".join(f"{n}\n00:00:{n:02},000 --> 00:00:{n:02},900\nword{n}\n\n" for n in range(SECONDS))


def test_subtitles_are_a_file_or_the_text_of_one(
    seen: afterview.Memory, model: afterview.AfterviewModel, tmp_path: Path
) -> None:
    def counts(subtitles: str | Path) -> object:
        answer = afterview.ask(seen, QUESTION, camera="hall", at=START + 9, model=model, subtitles=subtitles)
        return answer.parts[0].provenance["subtitles"]

    (tmp_path / "a.srt").write_text(SRT)
    rows = [{"timestamp": [n, n + 0.9], "text": f"word{n}"} for n in range(SECONDS)]
    expected = {"used": 10, "until": START + 9, "later": 30, "earlier": 0, "over_limit": 0, "empty": 0, "unreadable": 0}
    for given in (SRT, tmp_path / "a.srt", str(tmp_path / "a.srt"), json.dumps(rows), f"WEBVTT\r\n\r\n{SRT}"):
        assert counts(given) == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"subtitles": b"1"}, "subtitles: give a file, or the text of one, not bytes"),
        ({"subtitles": " "}, "subtitles: are empty"),
        ({"subtitles": "nowhere.srt"}, "nowhere.srt: cannot be read"),
        ({"subtitles": "[nowhere].srt"}, "cannot be read"),
        ({"subtitles": Path("nowhere.srt")}, "nowhere.srt: cannot be read"),
        ({"subtitles": "no\ntimes"}, "subtitles: holds no subtitles"),
        ({"subtitles": "[1]"}, "subtitles: holds no subtitles"),
        ({"subtitles": SRT}, "camera: subtitles belong to one recording, and 2 are asked; name one camera"),
        ({"stop": 5}, "stop: give a text, or a list of texts, not int"),
        ({"stop": ["a", 5]}, "stop: give a text, or a list of texts"),
    ],
)
def test_wrong_subtitles_and_stops_are_refused_before_a_model_is_loaded(
    seen: afterview.Memory, given: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_loaded", None)
    with pytest.raises(afterview.UsageError) as refused:
        afterview.ask(seen, QUESTION, **given)
    assert said in str(refused.value)


# --- weights that are not here ---

NOT_HERE = """
import logging, sys, afterview
logging.basicConfig(format="%(message)s", stream=sys.stdout)
sys.modules["torch"] = None  # importing it fails
for call in (
    lambda: afterview.load_pretrained("hour-llava-3b"),
    lambda: afterview.ask(sys.argv[1], "What?", camera="hall", model="hour-llava-3b"),
    lambda: afterview.search(sys.argv[1], "a ring", model="hour-llava-3b"),
    lambda: afterview.ask_recording("nothing.mp4", "What?", model="videochat-flash-2b"),
):
    try:
        call()
    except (afterview.NotPulled, ImportError) as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize("offline", ["1", "0"])
def test_the_command_that_fetches_weights_is_named_before_torch_is_loaded(
    seen: afterview.Memory, tmp_path: Path, offline: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOT_HERE, str(seen.path)], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": offline, "TRANSFORMERS_OFFLINE": "0"},
    )  # fmt: skip
    lines, head = done.stdout.splitlines(), "NotPulled " if offline == "1" else "note: "
    named = [line for line in lines if line.startswith(f"{head}model '")]
    assert [line.partition("`")[2].partition("`")[0] for line in named] == [
        *["afterview models pull hour-llava-3b"] * 3, "afterview models pull videochat-flash-2b"
    ], done.stdout + done.stderr  # fmt: skip
    assert ("; loading asks the hub for them now" in done.stdout) == (offline == "0")
    assert ("ModuleNotFoundError" in done.stdout) == (offline == "0"), "torch only then"


# --- a model of the user's own ---


def test_a_server_of_the_users_own_answers(
    tmp_path: Path, model: afterview.AfterviewModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_pictured(tmp_path, "hall", 12, model.encoders.feature_spec, start=START, zone="Europe/Paris")
    pieces: list[str] = []
    with model_server() as server:
        monkeypatch.setenv("AFTERVIEW_ANSWER_KEY", "key-of-the-environment")
        answer = afterview.ask(
            tmp_path, "Is it bright?", last=timedelta(seconds=12), at=START + 11, model=model, on_text=pieces.append,
            answer_with={"url": server.url, "frames": 3, "image_size": 60},
        )  # fmt: skip
        brightest = server.chats[0].frames[-1]
        assert answer.text == "".join(pieces) == f"CONFIRMED: the picture is brightest in [3], {brightest.label}"
        assert brightest.label == "Frame 3, camera hall, 2026-11-27 08:00:11 CET:"
        assert [one.size for one in server.chats[0].frames] == [(80, 60)] * 3
        assert server.chats[0].headers["Authorization"] == "Bearer key-of-the-environment"
        assert answer.evidence[0].frame == 11
        assert answer.parts[0].provenance["answered_by"] == {
            "host": server.host, "model": MODEL, "reported_model": MODEL
        }  # fmt: skip
        with pytest.raises(afterview.NothingRecorded):
            afterview.ask(tmp_path, "Is it bright?", at=START - 5, model=model, answer_with=server.url)
        assert len(server.chats) == 1
        server.wrong = Misdeeds(status=500, body=b"out of memory")
        with pytest.raises(afterview.ModelServerError, match=r"failed \(500: 'out of memory'\); see its log"):
            afterview.ask(tmp_path, "Is it bright?", model=model, answer_with=server.url)
        server.wrong = Misdeeds(busy=[(429, "600")])
        with pytest.raises(afterview.ModelServerBusy) as busy:
            afterview.ask(tmp_path, "Is it bright?", model=model, answer_with=server.url)
        assert busy.value.retry_after_s == 600


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"http://box", "answer_with: give an address, or a mapping with url, not bytes"),
        ("ftp://box", "answer_with: url: not an http:// or https:// address"),
        ({}, "answer_with: url: is missing"),
        ({"url": "http://box", "modle": "x"}, "modle: unknown key; did you mean 'model'?"),
        ({"url": "http://box", "at_once": 1}, "answer_with: at_once is for a service; leave it out"),
        ({"url": "http://box", "frames": 0}, "frames: must be at least 1"),
        ({"url": "http://box", "key": b"secret"}, "key: must be text"),
        ({"url": "http://box", "key": "secret\n"}, "answer_with.key: a key has printable ASCII characters only"),
        ("http://me:secret@box", "an address with a user name or a password is not taken"),
    ],
)
def test_a_server_that_cannot_be_is_refused_before_anything_is_read(given: Any, said: str) -> None:
    with pytest.raises(afterview.UsageError) as failure:
        afterview.ask("nowhere", QUESTION, answer_with=given)
    assert said in str(failure.value)
    assert "secret" not in str(failure.value)
