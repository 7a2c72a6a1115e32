"""What `ask` and `search` show and save, `show`, and `answers`: files, documents and lines."""

import argparse
import io
import json
import logging
import math
import os
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image

from afterview.cli.commands import search as search_command
from afterview.cli.main import main
from afterview.cli.output.answers import by_reason, describe_gaps, looks_in_lines, split_evidence
from afterview.cli.viewer import open_picture
from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.counts import spell_bytes
from afterview.memory.base.records import Gap
from afterview.memory.base.typed_times import spell_duration
from afterview.memory.directory import Memory
from afterview.memory.format.layout import IMAGES
from afterview.stream.ask.question import Evidence
from tests.support.clips import make_clip

START = 1_700_000_000.0  # 2023-11-14 23:13:20 in Paris
ISO = "2023-11-14T23:13:"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Camera `hall`: 70 frames, 64 of them sealed."""
    directory = tmp_path_factory.mktemp("looking")
    clip, path = make_clip(directory / "clip.mp4", frames=700, rate=10), directory / "m"
    replay = ["replay", str(clip), "--memory", str(path), "--camera", "Hall", "--start", str(START)]
    with redirect_stdout(io.StringIO()):
        assert main([*replay, "--timezone", "Europe/Paris", "-q"]) == 0
    return path


@pytest.fixture
def memory(recorded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(recorded, tmp_path / "m", ignore=shutil.ignore_patterns("answers")))


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """What a command prints with --json."""

    def run(*arguments: object) -> dict[str, Any]:
        capsys.readouterr()
        assert main([*map(str, arguments), "--json"]) == 0
        return cast(dict[str, Any], json.loads(capsys.readouterr().out))

    return run


def kind(path: Path) -> str | None:
    with Image.open(path) as image:
        return image.format


def test_a_search_saves_what_it_found_and_shows_it(
    memory: Path, tmp_path: Path, say: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "found.jpg"
    said = say("search", "a red ring", "--memory", memory, "--top", 3, "--sheet", sheet)
    assert said["sheet"] == str(sheet)
    assert kind(sheet) == "JPEG"
    assert len(said["hits"]) == 3
    snapshot = Memory(memory).camera("hall").snapshot()
    for hit in said["hits"]:
        assert hit["time"] == START + hit["frame"]
        assert hit["time_iso"] == snapshot.info.local(hit["time"]).isoformat(timespec="milliseconds")
        assert hit["time_iso"].endswith("+01:00")
        path = Path(hit["image"])
        assert path.parent == memory / "answers" / said["id"]
        assert path.read_bytes() == snapshot.image(hit["frame"])
    assert said["asked_iso"].endswith("+01:00")
    assert said["saved"]["in_memory"] is True
    assert main(["search", "a red ring", "--memory", str(memory), "--top", "1"]) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert "  2023-11-14 23:1" in line
    assert " CET  frame" in line
    assert Path(line.split()[-1]).is_file()


def test_a_picture_file_is_checked_before_a_model_is_loaded(
    memory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = tmp_path / "taken.png"
    taken.write_bytes(b"mine")
    monkeypatch.setattr(
        "afterview.model.checkpoint.for_questions.load_for_questions", lambda *_, **__: pytest.fail("loaded")
    )
    monkeypatch.setattr("afterview.model.checkpoint.loading.load_encoders", lambda *_, **__: pytest.fail("loaded"))
    wrong = {
        str(taken): "exists already",
        str(tmp_path / "a.gif"): "ends in .jpg or .png",
        str(tmp_path / "nowhere" / "a.png"): "no directory",
        str(tmp_path): "ends in .jpg or .png",
    }
    for command in (["ask", "What?"], ["search", "a ring"]):
        for path, why in wrong.items():
            assert main([*command, "--memory", str(memory), "--sheet", path]) == 2
            assert why in capsys.readouterr().err
    assert taken.read_bytes() == b"mine"
    assert not (memory / "answers").exists()


def test_an_answer_is_saved_and_opens_again(
    memory: Path, tmp_path: Path, say: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "proof.png"
    asking = ("ask", "Did you see a red ring?", "--memory", memory, "--at", START + 60)
    said = say(*asking, "--evidence", 4, "--sheet", sheet)
    assert kind(sheet) == "PNG"
    assert said["options"]["at_iso"] == "2023-11-14T23:14:20.000+01:00"
    assert said["coverage"]["first_time_iso"] == f"{ISO}20.000+01:00"
    assert said["evidence"][0]["time_iso"].endswith("+01:00")
    listed = say("answers", "--memory", memory)
    assert listed["saved"] == 1
    assert listed["bytes"] == sum(path.stat().st_size for path in (memory / "answers" / said["id"]).iterdir())
    assert listed["answers"][0]["text"] == "Did you see a red ring?"
    assert listed["answers"][0]["answer"] == said["answer"]
    assert listed["answers"][0]["asked_iso"] == said["asked_iso"]
    again = say("answers", said["id"][:5], "--memory", memory, "--sheet", tmp_path / "again.png")
    changed = {"sheet", "timing", "saved"}
    assert {key: value for key, value in again.items() if key not in changed} == {
        key: value for key, value in said.items() if key not in changed
    }
    assert (tmp_path / "again.png").read_bytes() == sheet.read_bytes()
    moved = shutil.move(memory, tmp_path / "moved")
    assert say("answers", said["id"], "--memory", moved)["memory"] == str(moved), (
        "the memory that the command worked on"
    )
    shutil.move(moved, memory)
    assert say("info", memory)["answers"] == {"saved": 1, "bytes": listed["bytes"]}
    assert main(["info", str(memory)]) == 0
    assert f"1 saved answer: {spell_bytes(listed['bytes'])}" in capsys.readouterr().out
    assert main(["answers", said["id"], "--memory", str(memory)]) == 0
    printed = capsys.readouterr().out
    assert "question: Did you see a red ring?" in printed
    assert "as of 2023-11-14 23:14:20 CET" in printed
    assert said["evidence"][0]["image"] in printed


def test_answers_are_deleted_on_request_only(
    memory: Path,
    say: Callable[..., dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = [say("search", text, "--memory", memory, "--top", 1)["id"] for text in ("a ring", "a box", "a star")]
    base = ["answers", "--memory", str(memory), "--delete"]
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for arguments, status in (([ids[0]], 2), ([], 2), (["--all", ids[0]], 2), ([ids[0], "--dry-run"], 0)):
        assert main([*base, *arguments]) == status
    assert len(list((memory / "answers").iterdir())) == 3
    assert say(*base, ids[0], "--yes")["deleted"][0]["id"] == ids[0]
    assert [one["id"] for one in say("answers", "--memory", memory, "--limit", 5)["answers"]] == [ids[2], ids[1]]
    assert main(["answers", "--memory", str(memory), "--limit", "1"]) == 0
    assert "and 1 older ones; --limit 2 lists all" in capsys.readouterr().out
    for said, status, left in (("n\n", 1, 2), ("", 1, 2), ("y\n", 0, 0)):
        terminal = io.StringIO(said)
        monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("sys.stdin", terminal)
        assert main([*base, "--all"]) == status
        assert len(list((memory / "answers").iterdir())) == left


def test_what_an_earlier_version_saved_is_listed(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = memory / "answers" / "0123456789ab"
    old.mkdir(parents=True)
    (old / "hall-7.jpg").write_bytes(b"jpeg")
    assert main(["answers", "--memory", str(memory)]) == 0
    assert "earlier version saved only its images" in capsys.readouterr().out
    assert main(["answers", "0123", "--memory", str(memory)]) == 0
    assert str(old / "hall-7.jpg") in capsys.readouterr().out


def test_forgetting_reaches_what_ask_and_search_saved(
    memory: Path, say: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = say("ask", "Did you see a red ring?", "--memory", memory)
    found = say("search", "a ring", "--memory", memory, "--top", 70)
    assert len(found["hits"]) == 70
    forget = [
        "forget",
        "--yes",
        "--memory",
        str(memory),
        "--camera",
        "hall",
        "--from",
        str(START + 5),
        "--to",
        str(START + 24),
    ]
    assert main([*forget, "--yes"] if "--yes" in _options("forget") else forget) == 0
    left = sorted(int(path.stem.split("-")[1]) for path in (memory / "answers" / found["id"]).glob("*.jpg"))
    assert left == [*range(5), *range(25, 70)]
    again = say("answers", found["id"], "--memory", memory)
    assert sorted(hit["frame"] for hit in again["hits"]) == left
    assert again["forgotten"] == {"hall": {"frames": 20, "shown": 20}}
    again = say("answers", asked["id"], "--memory", memory)
    assert "forgotten" in again["answer"]
    assert not [item for item in again["evidence"] if 5 <= item["frame"] < 25]
    assert main(["answers", "--memory", str(memory)]) == 0
    assert capsys.readouterr().out.count("partly forgotten") == 2


def _options(command: str) -> str:
    from afterview.cli.main import build_parser

    actions = [one for one in build_parser()._actions if isinstance(one, argparse._SubParsersAction)]
    return cast(str, actions[0].choices[command].format_help())


def test_show_writes_the_stored_image(
    memory: Path, tmp_path: Path, say: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = Memory(memory).camera("hall").snapshot()
    at = ("show", "--memory", memory, "--camera", "Hall", "--at", f"{ISO}30.4+01:00")
    said = say(*at, "--output", tmp_path / "a.jpg")
    (frame,) = said["frames"]
    assert (frame["frame"], frame["before_s"], frame["image"]) == (10, 0.4, str(tmp_path / "a.jpg"))
    assert frame["time_iso"] == f"{ISO}30.000+01:00"
    assert (tmp_path / "a.jpg").read_bytes() == snapshot.image(10)
    assert main([*map(str, at), "--output", str(tmp_path / "a.jpg")]) == 2
    assert "exists already" in capsys.readouterr().err
    say(*at, "--output", tmp_path / "a.jpg", "--force")
    say(*at, "--output", tmp_path / "b.png")
    assert kind(tmp_path / "b.png") == "PNG"
    newest = say("show", "--memory", memory)["frames"][0]
    assert newest["frame"] == 69
    assert Path(newest["image"]).read_bytes() == snapshot.image(69)
    assert say("show", "--memory", memory, "--frame", 3)["frames"][0]["time"] == START + 3
    assert not (memory / "answers").exists()


def test_a_search_where_nothing_was_recorded_is_an_error_as_for_ask(
    memory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(search_command, "load_model_encoders", None)  # found before the model is loaded
    for span, why in (
        (["--last", "1h"], "its frames lie between"),
        (["--at", "1600000000"], "before 2023-11-14 23:13:20"),
    ):
        assert main(["search", "a red ring", "--memory", str(memory), *span]) == 2
        assert why in capsys.readouterr().err
    assert not (memory / "answers").exists()


def test_show_makes_a_sheet_of_a_span(memory: Path, tmp_path: Path, say: Callable[..., dict[str, Any]]) -> None:
    span = ("show", "--memory", memory, "--from", START + 10, "--to", START + 50)
    said = say(*span, "--count", 5, "--sheet", tmp_path / "span.jpg")
    assert [frame["frame"] for frame in said["frames"]] == [10, 20, 30, 40, 50]
    assert kind(tmp_path / "span.jpg") == "JPEG"
    assert len(say(*span)["frames"]) == 12
    assert kind(Path(say(*span, "--output", tmp_path / "span.png")["sheet"])) == "PNG"


@pytest.mark.parametrize(
    ("arguments", "status", "why"),
    [
        (["--at", "1600000000"], 2, "nothing was recorded before"),
        (["--at", "2099-01-01"], 2, "lies in the future"),
        (["--at", "soon"], 2, "is not a time"),
        (["--at", ""], 2, "--at: is empty"),
        (["--frame", "70"], 2, "its frames are 0 to 69"),
        (["--frame", "-1"], 2, "at least 0"),
        (["--frame", "1", "--at", "now"], 2, "give one of them"),
        (["--frame", "1", "--count", "3"], 2, "give one of them"),
        (["--last", "1h", "--from", "now"], 2, "leave out --from and --to"),
        (["--count", "0"], 2, "between 1 and 100"),
        (["--count", "101"], 2, "between 1 and 100"),
        (["--camera", "cellar"], 2, "there are: hall"),
        (["--from", "1700000010", "--to", "1700000005"], 2, "ends before it begins"),
        (["--count", "3", "--sheet", "{new}.jpg", "--output", "{new}.png"], 2, "not both"),
    ],
)
def test_mistakes(
    memory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, why: str
) -> None:
    given = [argument.format(new=tmp_path / "new") for argument in arguments]
    assert main(["show", "--memory", str(memory), *given]) == status
    assert why in capsys.readouterr().err


def test_show_says_which_frames_are_damaged(memory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blob = memory / "hall" / IMAGES / "0" / "c.0"
    data = bytearray(blob.read_bytes())
    data[50] ^= 1
    blob.write_bytes(data)
    assert main(["show", "--memory", str(memory), "--frame", "3", "--output", str(tmp_path / "a.jpg")]) == 1
    assert "cannot be shown" in capsys.readouterr().out
    assert not (tmp_path / "a.jpg").exists()
    span = ["--from", str(START + 60), "--to", str(START + 69), "--count", "10", "--sheet", str(tmp_path / "b.png")]
    assert main(["show", "--memory", str(memory), *span, "--json"]) == 0
    frames = json.loads(capsys.readouterr().out)["frames"]
    assert [bool(frame["problem"]) for frame in frames] == [True] * 4 + [False] * 6  # the rest is not sealed
    assert kind(tmp_path / "b.png") == "PNG"


def test_the_desktop_opens_the_picture(
    memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    program, said = tmp_path / "xdg-open", tmp_path / "opened"
    program.write_text(f'#!/bin/sh\necho "$1" > "{said}"\ntest "$1" != "{tmp_path}/bad.png"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    caplog.set_level(logging.WARNING)
    sheet = tmp_path / "a.png"
    showing = ["show", "--memory", str(memory), "--frame", "3", "--sheet", str(sheet), "--force", "--open"]
    assert main(showing) == 0
    assert "no desktop" in caplog.text
    assert str(sheet) in caplog.text
    assert not said.exists()
    monkeypatch.setenv("DISPLAY", ":0")
    assert main(showing) == 0
    assert said.read_text().strip() == str(sheet)
    assert not open_picture(tmp_path / "bad.png")
    assert "status 1" in caplog.text
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert not open_picture(sheet)
    assert "no xdg-open" in caplog.text


def evidence(*weights: float) -> list[Evidence]:
    return [Evidence("a", number, START + number, weight, b"") for number, weight in enumerate(weights)]


def test_evidence_below_one_percent_is_counted() -> None:
    shown, rest = split_evidence(evidence(0.6, 0.3, 0.01, 0.0099, 0.001))
    assert [item.frame for item in shown] == [0, 1, 2]
    assert rest == "2 more below 1 %"
    assert split_evidence(evidence(0.6)) == (evidence(0.6), "")
    assert split_evidence([]) == ([], "")
    shown, rest = split_evidence(evidence(*[0.004] * 5))
    assert len(shown) == 3
    assert rest == "the attention is spread: no frame has 1 % of it; 2 more are left out"


def test_ten_gaps_are_listed_and_the_others_counted() -> None:
    info = CameraInfo("a", "a")
    gaps = [Gap(START + 1000 * n, START + 1000 * n + 60 + n, "lost", n) for n in range(46)]
    lines = describe_gaps([*gaps, Gap(START + 99_000, math.nan, "not recording", -1)], info)
    assert len(lines) == 11
    assert "since" in lines[9]
    assert lines[0] == f"gap: {info.show(gaps[37].start)} to {info.show(gaps[37].end)}, 1 min 37 s (lost)"
    whole = spell_duration(sum(gap.seconds for gap in gaps[:37]))
    assert lines[10].startswith(f"and 37 more gaps, {whole} in all")
    assert describe_gaps(gaps[:10], info)[-1].startswith("gap: ")


def test_a_reason_is_said_once() -> None:
    why = "no camera was named, and all that can answer are asked"
    assert by_reason("asked", [("a", why), ("b", why)]) == [f"asked a, b: {why}"]
    near = "its frames are the most similar to the question (place {} of 5, similarity 0.{}0)"
    assert by_reason("asked", [("a", near.format(1, 9)), ("b", near.format(2, 8)), ("c", "it was named")]) == [
        "asked a (place 1 of 5, similarity 0.90), b (place 2 of 5, similarity 0.80): its frames are the most similar to the question",
        "asked c: it was named",
    ]


def test_an_answer_says_its_looks_and_which_names_are_not_as_the_model_or_the_question_has_them() -> None:
    assert looks_in_lines({}) == []
    (looked,) = looks_in_lines({"looks": [{"times": 2}, {"times": 1}]})
    assert "3 times" in looked
    corrected, unmatched = looks_in_lines({"names_corrected": 1, "names_unmatched": 2})
    assert corrected.startswith("1 name corrected")
    assert unmatched.startswith("2 names not as in the question")
