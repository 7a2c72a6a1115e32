"""What every command prints with --json: its memory, cameras, times with their zone, and no sentences where programs read."""

import json
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from afterview.cli.main import build_parser, main
from afterview.cli.output.documents import columns_of
from afterview.memory.base.camera import CameraInfo, read_camera, write_camera
from afterview.memory.base.errors import RequestRefused
from afterview.memory.base.iso_times import TIMES, with_iso
from afterview.memory.base.lock import CameraLock
from afterview.memory.base.recorder import Command
from afterview.memory.base.settings import CameraSettings, write_settings
from afterview.memory.description import CameraDescription
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.open import open_camera
from afterview.stream.ingest.control import ControlServer
from tests.support.clips import make_clip
from tests.support.memory_world import make_frame, make_spec

FREE_TEXT = {
    "notice",
    "why",
    "reason",
    "what",
    "result",
    "question",
    "answer",
    "text",
    "detail",
    "clock",
    "picture_note",
    "settings_problem",
}
FIRST = 1_700_000_000.0  # time of frame 0 of the support module


def make_camera(memory: Path, name: str, *, frames: int = 20, zone: str = "Asia/Kolkata") -> Path:
    spec = make_spec()
    with open_camera(memory, name, spec, timezone=zone) as repository:
        for number in range(frames):
            repository.append(make_frame(number, spec))
    return repository.directory


def nodes(value: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value of a document with the keys that lead to it."""
    yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from nodes(item, *path, key)
    elif isinstance(value, list):
        for item in value:
            yield from nodes(item, *path)


def check(document: dict[str, Any], zones: dict[str, str]) -> None:
    """A document keeps the rules of docs/cli.md. zones: UTC offsets by camera."""
    assert next(iter(document)) == "memory"
    for camera in document.get("cameras", []):
        assert camera["camera"] in zones
    for path, value in nodes(document):
        if isinstance(value, dict):
            for key, seconds in value.items():
                if isinstance(seconds, float) and 1e9 < seconds < 5e9:
                    assert key in {*TIMES, "asked"}, f"{key}: a time that iso_times does not know"
                    moment = datetime.fromisoformat(value[f"{key}_iso"])
                    assert moment.timestamp() == pytest.approx(seconds, abs=0.002)
                    assert value[f"{key}_iso"][-6:] in zones.values()
        if isinstance(value, str) and not FREE_TEXT & set(path) and not {"skipped", "stale"} & set(path):
            assert value.count(" ") < 3, f"{path}: a sentence: {value}"


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    make_camera(tmp_path / "m", "Front door")
    return tmp_path / "m"


@pytest.mark.parametrize(
    "command",
    [
        ["info"],
        ["fsck"],
        ["retain"],
        ["retain", "--days", "30", "--gb", "5"],
        ["mask"],
        ["mask", "--polygon", "0,0 1,0 1,1"],
        ["keep", "--from", str(FIRST), "--to", str(FIRST + 3)],
        ["keep"],
        ["pause"],
        ["resume"],
        ["forget", "--yes", "--from", str(FIRST + 5), "--to", str(FIRST + 7)],
        ["store"],
        ["store", "status"],
        ["store", "set"],
        ["export", "{file}"],
    ],
)
def test_documents_keep_the_rules(
    command: list[str], memory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agree = ["--yes"] if "--yes" in options(command[0]) else []
    filled = [part.format(file=tmp_path / "span") for part in command]
    assert main([*filled, *agree, "--memory", str(memory), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["memory"] == str(memory)
    check(document, {"front-door": "+05:30"})


def options(command: str) -> set[str]:
    """The options of a command; some ask before they delete, unless --yes is given."""
    (commands,) = (action for action in build_parser()._actions if action.dest == "command")
    assert isinstance(commands.choices, dict)
    return set(commands.choices[command]._option_string_actions)


def test_documents_of_recording_and_asking_keep_the_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, where = make_clip(tmp_path / "clip.mp4", frames=30, rate=10), ["--memory", str(tmp_path / "m"), "--json"]
    replay = ["replay", str(clip), "--camera", "hall", "--start", "2026-11-27T08:00", "--timezone", "Europe/Paris"]
    asked = (replay, ["ask", "Did you see a red ring?"], ["search", "a red ring"], ["info"])
    for command in asked:
        assert main([*command, *where]) == 0
        document = json.loads(capsys.readouterr().out)
        assert any(key.endswith("_iso") for path, _ in nodes(document) for key in path), command
        check(document, {"hall": "+01:00"})


def test_a_time_is_in_the_zone_of_the_nearest_camera() -> None:
    paris, tokyo = CameraInfo("a", "A", timezone="Europe/Paris"), CameraInfo("b", "B", timezone="Asia/Tokyo")
    document = {
        "time": 0.0,
        "cameras": [{"camera": "b", "gaps": [{"start": 0.0, "end": None}]}, {"camera": "?", "at": 1}],
    }
    found = with_iso(document, {"a": paris, "b": tokyo}, paris)
    assert found["time_iso"] == "1970-01-01T01:00:00.000+01:00"
    assert found["cameras"][0]["gaps"][0]["start_iso"] == "1970-01-01T09:00:00.000+09:00"
    assert found["cameras"][0]["gaps"][0]["end_iso"] is None
    assert found["cameras"][1]["at_iso"] == "1970-01-01T01:00:01.000+01:00"
    assert with_iso({"time": float("nan")}, {}, paris)["time_iso"] is None
    assert with_iso(document, {}) == document, "without a zone nothing is made up"


# --- info ---


def test_info_tells_rules_removed_spans_and_the_recorder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    camera = make_camera(tmp_path, "yard")
    with open_camera(tmp_path, "yard", make_spec()) as repository:
        repository.forget(FIRST + 5, FIRST + 7)
    masks = (((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)),)
    write_settings(camera, CameraSettings(days=30, gigabytes=2, masks=masks, paused=True, keep=((FIRST, FIRST + 1),)))

    with CameraLock(camera / "lock", camera="yard"), ControlServer(camera, lambda command: {}):
        described = CameraDescription.of(CameraReader(camera), now=FIRST + 19 + 42).to_dict()
        assert main(["info", str(tmp_path)]) == 0
        text = capsys.readouterr().out
    assert described["limits"] == {"days": 30, "gigabytes": 2, "coarse_days": None}
    assert (described["paused"], described["masks"]) == (True, [[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]])
    assert described["keep"] == [[FIRST, FIRST + 1]]
    assert described["keep_iso"] == [["2023-11-15T03:43:20.000+05:30", "2023-11-15T03:43:21.000+05:30"]]
    (gone,) = described["no_longer_remembered"]
    assert (gone["start"], gone["end"], gone["frames"], gone["reason"]) == (FIRST + 5, FIRST + 7, 3, "forgotten")
    writer = described["writer"]
    assert described["recording"] is True
    assert (writer["host"], writer["recording"]) == (socket.gethostname(), True)
    assert described["lag_s"] == 42
    said = [
        f"process {writer['pid']} on",
        "paused",
        "limits: 30 days and 2 GB",
        "masks: 1",
        "kept:",
        "3 frames, forgotten",
    ]
    assert all(part in text for part in said), text

    after = CameraDescription.of(CameraReader(camera)).to_dict()
    assert (after["recording"], after["writer"]) == (False, None)


def test_a_recorder_that_does_not_tell_its_state_is_said_to_be_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of an older version refuses the question, and one that hangs never answers."""
    camera = make_camera(tmp_path, "yard")
    monkeypatch.setattr("afterview.memory.base.recorder._STATE_PATIENCE_S", 0.2)

    def refuses(command: Command) -> dict[str, Any]:
        raise RequestRefused("unknown command 'status'")

    def hangs(command: Command) -> dict[str, Any]:
        time.sleep(0.6)
        return {}

    for handle, why in ((refuses, "unknown command"), (hangs, "did not answer within 0.2 s")):
        with CameraLock(camera / "lock", camera="yard"), ControlServer(camera, handle):
            state = CameraDescription.of(CameraReader(camera)).to_dict()["state"]
            assert main(["info", str(tmp_path)]) == 0
        assert state["state"] == "unknown"
        assert why in state["detail"]
        assert "  unknown (camera 'yard': " in capsys.readouterr().out


def test_another_writer_is_no_recorder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    camera = make_camera(tmp_path, "yard")
    with CameraLock(camera / "lock", camera="yard"):
        described = CameraDescription.of(CameraReader(camera)).to_dict()
        assert main(["info", str(tmp_path)]) == 0
    assert (described["recording"], described["writer"]["recording"]) == (False, False)
    assert "being changed by process" in capsys.readouterr().out


def test_a_copy_without_the_recorder_s_files_makes_nothing_up(tmp_path: Path) -> None:
    camera = make_camera(tmp_path, "yard")
    (camera / "lock").unlink()
    described = CameraDescription.of(CameraReader(camera)).to_dict()
    assert (described["recording"], described["limits"], described["masks"]) == (None, None, None)
    assert "the machine that records" in described["settings_problem"]


def test_damaged_settings_hide_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    camera = make_camera(tmp_path, "yard")
    (camera / "settings.json").write_text("{")
    assert main(["info", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "20 frames" in said
    assert "settings: unknown" in said
    assert "settings.json" in said


def test_the_zone_is_the_camera_s(tmp_path: Path) -> None:
    camera = make_camera(tmp_path, "yard")
    info = read_camera(camera)
    write_camera(camera, CameraInfo(**{**vars(info), "timezone": "America/New_York"}))
    assert CameraDescription.of(CameraReader(camera)).to_dict()["first_time_iso"] == "2023-11-14T17:13:20.000-05:00"


def test_a_count_is_no_time() -> None:
    """The demo counts the questions that it `asked`."""
    assert with_iso({"right": 9, "asked": 10}, {}, CameraInfo("a", "a")) == {"right": 9, "asked": 10}


def test_names_of_several_cameras_stand_in_a_column() -> None:
    long = "n" * 200
    assert columns_of(["hall", "玄関", "front-door"]) == {
        "hall": "hall      ", "玄関": "玄関      ", "front-door": "front-door",
    }  # fmt: skip
    assert columns_of(["hall", long]) == {"hall": "hall".ljust(32), long: long}
