"""Every printed time names its zone, the camera's, on both days of the year when the clocks change; times themselves know no zone."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from afterview.cli.main import main
from afterview.cli.output.recording import describe_waiting
from afterview.cli.output.stores import describe_store
from afterview.memory.base.camera import CameraInfo, new_camera
from afterview.memory.directory import Memory
from afterview.memory.sync.status import StoreStatus
from afterview.memory.writing.open import open_camera
from afterview.model.checkpoint.loading import AfterviewModel, load_pretrained
from afterview.stream.ingest.upload import UploadProgress
from tests.support.memory_world import make_frame

AUTUMN = datetime(2026, 10, 25, 1, 0, tzinfo=UTC).timestamp()  # 03:00 CEST becomes 02:00 CET
SPRING = datetime(2026, 3, 29, 1, 0, tzinfo=UTC).timestamp()  # 02:00 CET becomes 03:00 CEST
SECONDS = (-2, -1, 0, 1, 1800)  # from the change: half an hour is missing after it
TIME = re.compile(r"\d\d:\d\d:\d\d( \w+)?")


@pytest.fixture(scope="module")
def model() -> AfterviewModel:
    return load_pretrained("tiny")


def record(memory: Path, model: AfterviewModel, change: float) -> None:
    spec = model.encoders.feature_spec
    with open_camera(memory, "Tor", spec, timezone="Europe/Berlin") as repository:
        for number, second in enumerate(SECONDS):
            repository.append(make_frame(number, spec, time=change + second))


COMMANDS = {
    "info": ["info", "{memory}"],
    "ask": ["ask", "What thing was there?", "--memory", "{memory}", "--evidence", "5"],
    "search": ["search", "a red square", "--memory", "{memory}"],
    "fsck": ["fsck", "{memory}"],
    "keep": ["keep", "--memory", "{memory}", "--from", "{change}", "--to", "{last}"],
    "retain": ["retain", "--memory", "{memory}", "--days", "30"],
    "forget": ["forget", "--memory", "{memory}", "--yes", "--from", "{change}", "--to", "{last}"],
    "ask what is gone": ["ask", "What thing was there?", "--memory", "{memory}", "--from", "{change}"],
}


def run(name: str, memory: Path, change: float, capsys: pytest.CaptureFixture[str]) -> str:
    places = {"memory": memory, "change": change, "last": change + 1}
    main([argument.format_map(places) for argument in COMMANDS[name]])
    out, error = capsys.readouterr()
    return out + error


@pytest.mark.parametrize(
    ("change", "before", "after", "later"),
    [
        (AUTUMN, "2026-10-25 02:59:58 CEST", "2026-10-25 02:00:01 CET", "2026-10-25 02:30:00 CET"),
        (SPRING, "2026-03-29 01:59:58 CET", "2026-03-29 03:00:01 CEST", "2026-03-29 03:30:00 CEST"),
    ],
    ids=["autumn", "spring"],
)
def test_every_command_prints_times_with_the_cameras_zone(
    model: AfterviewModel,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: float,
    before: str,
    after: str,
    later: str,
) -> None:
    record(tmp_path, model, change)
    said = {name: run(name, tmp_path, change, capsys) for name in COMMANDS}
    for name, text in said.items():
        for time in TIME.finditer(text):
            assert (time[1] or "").strip() in ("CET", "CEST"), f"{name} prints a time without its zone: {text}"
    for name in ("info", "ask"):
        assert f"{before} to {later}" in said[name]
        assert f"gap: {after} to {later}, 29 min 59 s (jump)" in said[name]
    for name in ("ask", "search"):
        assert before in said[name]
        assert after in said[name]
    assert f" to {after}" in said["forget"]
    assert f" to {after} is no longer remembered" in said["ask what is gone"]
    times = Memory(tmp_path).camera("tor").snapshot().times
    assert times.tolist() == [change - 2, change - 1, change + 1800]  # a forgotten second is a second, in any zone


def test_since_when_a_store_is_silent_is_said_with_the_zone() -> None:
    info = new_camera("Tor", fps=1.0, timezone="Europe/Berlin")
    stored = StoreStatus("s3://bucket/home", "no answer", unreachable_since=AUTUMN)
    assert describe_store(stored, info).endswith("store unavailable since 2026-10-25 02:00:00 CET (no answer)")
    upload = UploadProgress("s3://bucket/home", seals=1, silent_since=AUTUMN - 1, why="no answer")
    assert describe_waiting(upload, info).endswith("store unavailable since 02:59:59 CEST (no answer)")


def test_whose_clock_gave_the_times_is_said(
    model: AfterviewModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path, model, AUTUMN)  # made-up frames are dated by arrival
    assert main(["info", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cameras"][0]["time_basis"] == {"arrival": 5}
    assert main(["ask", "What now?", "--memory", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["coverage"]["time_basis"] == {"arrival": 5}
    assert "times from: arrival at this machine" in run("ask", tmp_path, AUTUMN, capsys)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Niue"])
def test_a_time_that_no_calendar_holds_can_be_shown(zone: str) -> None:
    """Damaged sources say such times, and what was recorded must be found all the same."""
    gate = CameraInfo("gate", "gate", timezone=zone)
    for seconds, shown in ((253_402_300_799.0, "9999-12-3"), (1e300, "9999-12-3"), (-1e300, "1-01-0")):
        assert gate.show(seconds).lstrip("0").startswith(shown)
        assert TIME.search(gate.show_clock(seconds))
