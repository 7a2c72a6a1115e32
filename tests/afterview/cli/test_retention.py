"""`retain`, `forget` and `keep --clear`: they show what would go, ask, and say what went; forecasts share the disk."""

import json
import shutil
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from afterview.cli.main import main
from afterview.cli.output.deletions import count_cameras
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.fsck.fsck import fsck
from afterview.memory.plans.retention import DAY, Growth, Limits, disk_full_in, forecast, plan_evictions
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.open import open_camera
from afterview.stream.ingest.commands import BY_COMMAND
from tests.memory.writing.test_remove import files_with
from tests.support.memory_world import START, make_frame, make_spec

SPEC = make_spec()
FRAMES = 300
_Usage = namedtuple("_Usage", "total used free")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cameras of 300 frames, to copy."""
    memory = tmp_path_factory.mktemp("recorded")
    for name in ("a", "b"):
        with open_camera(memory, name, SPEC) as repository:
            for number in range(FRAMES):
                repository.append(make_frame(number, SPEC))
    return memory


@pytest.fixture
def memory(tmp_path: Path, recorded: Path) -> Path:
    """Two cameras of 300 frames."""
    return Path(shutil.copytree(recorded, tmp_path / "m"))


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> Any:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out or "null")


def frames(memory: Path) -> list[int]:
    return [CameraReader(memory / name).snapshot().frames for name in ("a", "b")]


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A person at a terminal."""
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdin, "readline", lambda: text, raising=False)


DELETING = [
    ["forget", "--camera", "a", "--from", str(START + 10), "--to", str(START + 19)],
    ["retain", "--days", str(150 / DAY)],
    ["retain", "--camera", "a", "--gb", "0.0001"],
]


@pytest.mark.parametrize("command", DELETING)
def test_without_a_terminal_and_without_yes_nothing_is_deleted(
    memory: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--memory", str(memory)]) == 2
    error = capsys.readouterr().err
    assert "nothing was deleted" in error
    assert "--yes" in error
    assert "frames would be" in error
    assert frames(memory) == [FRAMES, FRAMES]
    assert not (memory / "settings.json").exists()
    assert not (memory / "a" / "settings.json").exists()


@pytest.mark.parametrize("command", DELETING)
def test_a_person_is_asked(
    memory: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, "\n")
    assert main([*command, "--memory", str(memory)]) == 1
    assert frames(memory) == [FRAMES, FRAMES]
    answer(monkeypatch, "y\n")
    assert main([*command, "--memory", str(memory)]) == 0
    assert frames(memory)[0] < FRAMES


def test_dry_run_shows_what_goes_and_what_stays_and_changes_nothing(
    memory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = run(capsys, *DELETING[0], "--memory", str(memory), "--dry-run")
    assert document["dry_run"] is True
    (camera,) = document["cameras"]
    assert camera["camera"] == "a"
    assert (camera["would_delete"]["frames"], camera["stays"]["frames"]) == (10, FRAMES - 10)
    assert (camera["would_delete"]["start"], camera["would_delete"]["end"]) == (START + 10, START + 19)
    assert camera["would_delete"]["start_iso"].startswith("2023-11-14T")
    assert camera["would_delete"]["bytes"] > 0
    document = run(capsys, *DELETING[1], "--memory", str(memory), "--dry-run")
    assert [camera["would_delete"]["frames"] for camera in document["cameras"]] == [64, 64]
    assert frames(memory) == [FRAMES, FRAMES]
    assert not (memory / "settings.json").exists()


def test_what_went_is_what_was_shown(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = run(capsys, *DELETING[1], "--memory", str(memory), "--dry-run")["cameras"]
    went = run(capsys, *DELETING[1], "--memory", str(memory), "--yes")["cameras"]
    for before, after in zip(shown, went, strict=True):
        evicted = after["evicted"]
        assert (evicted["frames"], evicted["start"], evicted["end"]) == (64, START, START + 63)
        assert evicted["frames"] == before["would_delete"]["frames"]
        assert evicted["bytes"] > 0
        assert evicted["start_iso"].startswith("2023-11-14T")
        assert after["by"] == BY_COMMAND
    (a, _) = run(capsys, "info", str(memory))["cameras"]
    assert (a["evictions"]["frames"], a["evictions"]["last_limit"]) == (64, "days")
    assert a["evictions"]["last_at"] > START
    assert main(["info", str(memory)]) == 0
    assert "64 frames were evicted" in capsys.readouterr().out


def test_a_limit_that_deletes_nothing_now_needs_no_question_and_says_what_it_will_do(
    memory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["retain", "--memory", str(memory), "--days", "30"]) == 0
    out = capsys.readouterr().out
    assert "from now on frames are deleted once they are 30 days older" in out
    assert "up to 2 min 08 s of recording longer" in out
    assert main(["forget", "--memory", str(memory), "--camera", "a", "--last", "1s"]) == 0  # no frame is that new


def test_a_limit_of_one_camera_that_shrinks_the_share_of_another_shows_both(
    memory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "retain", "--memory", str(memory), "--gb", "0.01")
    shown = run(capsys, "retain", "--memory", str(memory), "--camera", "a", "--gb", "0.0099", "--dry-run")["cameras"]
    assert [camera["would_delete"]["frames"] > 0 for camera in shown] == [False, True]
    went = run(capsys, "retain", "--memory", str(memory), "--camera", "a", "--gb", "0.0099", "--yes")["cameras"]
    assert [camera["evicted"]["frames"] > 0 for camera in went] == [False, True]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["retain", "--forever", "--days", "3"], "--forever removes all limits; leave out --days"),
        (["retain", "--forever", "--gb", "3"], "leave out --gb"),
        (["retain", "--forever", "--coarse-days", "3"], "leave out --coarse-days"),
        (["retain", "--dry-run"], "--dry-run: of what?"),
        (["keep", "--camera", "a", "--clear", "--last", "1h"], "leave out --from, --to and --last"),
        (["keep", "--camera", "a", "--last", "1h", "--dry-run"], "give --clear"),
        (["pause", "--all", "--camera", "a"], "give one of them"),
        (["mask", "--all", "--camera", "a", "--clear"], "give one of them"),
    ],
)
def test_options_that_would_win_over_each_other_are_refused(
    memory: Path, command: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--memory", str(memory)]) == 2
    assert message in capsys.readouterr().err


def test_keep_clear_asks_where_limits_then_delete(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--memory", str(memory), "--camera", "a"]
    run(capsys, "keep", *where, "--from", str(START), "--to", str(START + 5))
    run(capsys, "retain", *where, "--days", str(150 / DAY))
    assert frames(memory)[0] == FRAMES  # the span protects the whole chunk
    assert main(["keep", *where, "--clear"]) == 2
    assert frames(memory)[0] == FRAMES
    assert run(capsys, "keep", *where, "--clear", "--yes")["cameras"][0]["evicted"]["frames"] == SEAL_FRAMES


# --- how exact days are ---


def test_frames_from_before_an_interruption_do_not_stay_with_the_chunk_that_spans_it(tmp_path: Path) -> None:
    late = 20 * DAY
    times = [START + number + (late if number >= 90 else 0) for number in range(300)]
    with open_camera(tmp_path, "a", SPEC) as repository:
        for number, time in enumerate(times):
            repository.append(make_frame(number, SPEC, time=time))
        done = repository.enforce(Limits(7 * DAY, None))
    assert done.frames == 90
    snapshot = CameraReader(tmp_path / "a").snapshot()
    assert snapshot.ids.tolist() == list(range(90, 300))
    assert [(gone.first, gone.end, gone.limit) for gone in snapshot.removed] == [(0, 90, "days")]
    for number in (0, 63, 64, 89):
        assert files_with(tmp_path, number) == []
    for number in (90, 127, 299):
        assert snapshot.image(number) == make_frame(number, SPEC).image
    assert fsck(tmp_path / "a").findings == []


def test_no_frame_stays_longer_than_its_limit_and_the_grace() -> None:
    times = np.arange(640.0)
    for extra in (0.0, 5 * DAY):
        spread = times + extra * (times >= 300)
        held = np.ones(640, dtype=bool)
        plans = plan_evictions(spread, held, sealed=576, limits=Limits(100.0, None), used=0, keep=(), fps=1.0)
        for plan in plans:
            for first, end in plan.ranges:
                held[first:end] = False
        assert spread[held].min() >= spread[-1] - 100 - 128
        assert (spread[~held] < spread[-1] - 100).all()


# --- forecasts ---


def test_forecasts_of_several_cameras_share_the_disk(
    memory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: _Usage(10**12, 0, 10**9))
    a, b = (camera["forecast"] for camera in run(capsys, "retain", "--memory", str(memory))["cameras"])
    together = (a["bytes_per_day"] + b["bytes_per_day"]) / DAY
    assert a["disk_full_in_s"] == pytest.approx(10**9 / together, rel=0.01)
    assert a["disk_full_in_s"] == b["disk_full_in_s"]
    assert a["disk_cameras"] == ["a", "b"]
    assert a["recorded_now"] is False
    run(capsys, "pause", "--memory", str(memory), "--camera", "b")
    a, b = (camera["forecast"] for camera in run(capsys, "retain", "--memory", str(memory))["cameras"])
    assert a["disk_cameras"] == b["disk_cameras"] == ["a"]
    assert a["disk_full_in_s"] == pytest.approx(10**9 / a["bytes_per_day"] * DAY, rel=0.01)
    with open_camera(memory, "b", SPEC):  # nothing grows while the only camera with a recording process is paused
        a, _ = (camera["forecast"] for camera in run(capsys, "retain", "--memory", str(memory))["cameras"])
    assert (a["disk_cameras"], a["disk_full_in_s"], a["recorded_now"]) == ([], None, True)
    assert main(["retain", "--memory", str(memory)]) == 0
    assert "at the rate of 'a' (as if it were recorded now)" in capsys.readouterr().out


def test_a_disk_is_full_once_all_growing_cameras_have_used_it_up() -> None:
    assert disk_full_in([Growth(10.0, None), Growth(30.0, None)], 80.0) == pytest.approx(2 * DAY)
    assert disk_full_in([Growth(10.0, DAY), Growth(30.0, None)], 100.0) == pytest.approx(3 * DAY)
    assert disk_full_in([Growth(10.0, DAY), Growth(30.0, DAY)], 100.0) is None
    assert disk_full_in([], 100.0) is None
    own = forecast(1_000, 86400, 1.0, Limits(None, 5_000), free=10_000, others=[Growth(2_000, None)])
    assert own.limit_in_s == pytest.approx(4 * DAY)
    assert own.disk_full_in_s == pytest.approx(10_000 / 3_000 * DAY)
    assert own.full_in_s == own.disk_full_in_s


def test_a_limit_that_kept_spans_hold_open_is_said(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = ["--memory", str(memory), "--camera", "a"]
    run(capsys, "keep", *named, "--from", "@1", "--to", "@4000000000")
    assert main(["retain", *named, "--gb", "0.000001"]) == 0
    assert "at its limit: only whole chunks of frames that are not kept can be deleted" in capsys.readouterr().out


def test_many_cameras_of_a_disk_are_not_all_named() -> None:
    assert count_cameras(["a", "b", "c", "d"]) == "'a', 'b', 'c', 'd'"
    assert count_cameras(["a", "b", "c", "d", "e", "f"]) == "'a', 'b', 'c', 'd' and 2 more"


def test_a_limit_that_is_reached_is_not_reached_in_no_time(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retain", "--memory", str(memory), "--camera", "a", "--gb", "0.000001", "--yes"]) == 0
    assert "; it is at its limit: only whole chunks" in capsys.readouterr().out
