"""A whole run with exact models: its rows, its files, and what a crash leaves."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from afterview.cli.main import main
from afterview.configs import ConfigError, UsageError
from afterview.model.language.moments import clock
from afterview.training.data.annotation_files import read_items
from afterview.training.data.features import FeatureBank
from afterview.training.marathon.longvid import KINDS
from afterview.training.marathon.measure import measure
from afterview.training.marathon.rows import Checked, Video
from afterview.training.marathon.run import run, stages_of
from afterview.training.marathon.show import rows_of
from afterview.training.marathon.stages.files import DataSet
from afterview.training.marathon.stages.stage import NAMES
from afterview.training.marathon.worlds.exact import Truths
from afterview.training.marathon.worlds.judge import judge
from tests.training.marathon.conftest import EXACT, settings


def configured(directory: Path, **others: Any) -> Path:
    path = directory / "run.yaml"
    path.write_text(yaml.safe_dump(settings(**others)))
    return path


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.glob("[0-9]*/*.jsonl"))}


@pytest.fixture(scope="module")
def done(worlds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("done")
    ran = run(configured(directory), worlds, directory / "out")
    assert ran.failed == 0
    return directory / "out"


def test_every_kept_question_is_right_by_the_truth(done: Path, worlds: Path) -> None:
    truths, checked = Truths(worlds), [row for row in DataSet(done).rows("checks") if isinstance(row, Checked)]
    assert len(checked) > 50
    wrong = [row for row in checked if row.kept and not judge(row, truths.story(row.video)).right]
    assert not wrong
    assert all(
        row.letter and row.options["ABCD".index(row.letter)] == row.answer
        for row in checked
        if row.form == "choice" and row.kept
    )
    letters = [row.letter for row in checked if row.kept and len(row.options) == 4]
    assert min(letters.count(letter) for letter in "ABCD") >= len(letters) / 4 - 4
    assert len({row.key for row in checked}) == len(checked)


def test_videos_that_do_not_fit_are_named_with_the_reason(done: Path) -> None:
    rows = {row.video: row for row in DataSet(done).rows("videos") if isinstance(row, Video)}
    assert list(rows) == ["a.mp4", "more/b.mp4", "no video.mp4", "short.mp4"]
    assert [row.why[:14] for row in rows.values()] == ["", "", "cannot be read", "lasts 20 s, le"]
    assert {row["video"] for row in rows_of(done, "clips")} == {"a.mp4", "more/b.mp4"}


def test_the_annotations_are_what_train_takes(done: Path) -> None:
    reading = read_items(done / "train.json")
    assert not [*reading.conversations, *reading.media, *reading.shortened]
    samples = json.loads((done / "train.json").read_text())
    assert {sample["video"] for sample in samples} == {"a.mp4", "more/b.mp4"}
    assert all(2 <= len(sample["conversations"]) <= 10 for sample in samples)
    kept = sum(isinstance(row, Checked) and row.kept for row in DataSet(done).rows("checks"))
    assert sum(len(sample["conversations"]) for sample in samples) == 2 * kept
    choices = [turn["value"] for sample in samples for turn in sample["conversations"] if "\nA. " in turn["value"]]
    assert choices
    assert not (done / "test.json").exists()


def test_longvid_s_five_kinds_are_right_by_the_truth(done: Path, worlds: Path) -> None:
    assert not read_items(done / "longvid-train.json").conversations
    turns = [
        (sample["video"], kind, asked["value"], answer["value"])
        for sample in json.loads((done / "longvid-train.json").read_text())
        for kind, asked, answer in zip(
            sample["tasks"], sample["conversations"][::2], sample["conversations"][1::2], strict=True
        )
    ]
    assert {kind for _, kind, _, _ in turns} == set(KINDS)
    truths = Truths(worlds)
    for video, kind, asked, answer in turns:
        story, quoted = truths.story(video), asked.partition('"')[2].partition('"')[0]
        shown = [one for one in story.sightings if one.said() == quoted]
        if kind == "event counting":
            assert answer == str(len(shown))
        if kind == "temporal grounding":
            assert [f"From {clock(one.start_s)} to {clock(one.end_s)}." for one in shown] == [answer]
        if kind == "scene relation":
            parts = [f"the {part.scene} scene" for part in story.parts]
            assert parts[parts.index(quoted) + 1] == answer


def test_what_is_shown(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["marathon", "show", str(done)]) == 0
    shown = capsys.readouterr().out
    assert "3,300,000" in shown
    assert "temporal gap estimation" in shown
    assert main(["marathon", "stages", str(done), "--json"]) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert [one["state"] for one in stages] == ["done"] * len(NAMES)
    assert all(len(one["content"]) == 64 for one in stages)
    assert main(["marathon", "show", str(done), "--stage", "checks", "--limit", "2", "--json", "--video", "a.mp4"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 2
    page = (done / "sheet.html").read_text()
    assert page.count("data:image/jpeg;base64,") > 10
    assert "<script" not in page


class Crash(BaseException):
    """Ends a run as SIGKILL does: nobody catches it."""


def crash_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Crash before file `number` of a stage is written."""
    written, write = iter(range(1000)), DataSet.write

    def crashing(self: DataSet, *arguments: Any) -> None:
        if next(written) == number:
            raise Crash
        write(self, *arguments)

    monkeypatch.setattr(DataSet, "write", crashing)


def test_a_run_that_crashes_at_every_file_makes_the_same_rows(
    done: Path, worlds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, crashes = configured(tmp_path), 0
    while True:
        with monkeypatch.context() as patch:
            crash_at(patch, 1)  # each attempt writes one more file
            try:
                run(config, worlds, tmp_path / "out")
                break
            except Crash:
                crashes += 1
    assert crashes == 2 * len(NAMES) - 1
    assert contents(tmp_path / "out") == contents(done)
    assert (tmp_path / "out" / "train.json").read_bytes() == (done / "train.json").read_bytes()


def test_stages_one_by_one_and_a_second_run_asks_nothing(done: Path, worlds: Path, tmp_path: Path) -> None:
    config, out = configured(tmp_path), tmp_path / "out"
    for name in NAMES:
        ran = run(config, worlds, out, until=name)
        assert list(ran.stages)[-1] == name
        assert ran.exported is None
    ran = run(config, worlds, out)
    assert not any(count for of in ran.asked.values() for count in of.values())
    assert ran.exported is not None
    assert contents(out) == contents(done)


def test_another_configuration_is_refused_until_the_stage_is_made_anew(worlds: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(configured(tmp_path), worlds, out)
    other = configured(tmp_path, questions={"open": 2, "choice": 0})
    with pytest.raises(
        UsageError, match=r"07-questions: was made of something else \(settings changed\).*--redo questions"
    ):
        run(other, worlds, out)
    ran = run(other, worlds, out, redo="questions")
    assert ran.exported is not None
    assert 0 < ran.exported.questions <= 2 * 6 * 2
    (worlds / "late.mp4").write_bytes(b"x")
    try:
        with pytest.raises(UsageError, match=r"01-videos: was made of something else \(found changed\)"):
            run(other, worlds, out)
    finally:
        (worlds / "late.mp4").unlink()


def test_wrong_input_is_refused_in_plain_words(
    worlds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str) -> str:
        assert main(["marathon", *arguments]) == 2
        return capsys.readouterr().err

    config, out = str(configured(tmp_path)), str(tmp_path / "out")
    assert "no such stage" in said("run", config, "--videos", str(worlds), "--out", out, "--until", "captions")
    assert "is not a directory" in said("run", config, "--videos", str(tmp_path / "x"), "--out", out)
    (tmp_path / "empty").mkdir()
    assert "holds no video file" in said("run", config, "--videos", str(tmp_path / "empty"), "--out", out)
    assert "holds no run" in said("stages", str(tmp_path))
    assert "either --videos DIR or --assume" in said("plan", config)
    assert main(["marathon", "plan", config, "--assume", "3x1m"]) == 0
    assert "3 videos left out" in capsys.readouterr().out
    assert "for example 1000x20m" in said("plan", config, "--assume", "many")
    mistaken = {"kind": "world", "drop": 0.5}
    twins = str(configured(tmp_path, models={"captioner": mistaken, "writer": EXACT, "looks": [mistaken]}))
    assert "give it a seed of its own" in said("run", twins, "--videos", str(worlds), "--out", out)
    wrong = configured(tmp_path, models={"captioner": {"kind": "openai"}, "writer": EXACT})
    with pytest.raises(ConfigError, match=r"models.captioner\S*url: is missing"):
        run(wrong, worlds, tmp_path / "out")


def test_a_damaged_file_of_a_stage_is_named(done: Path, worlds: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(configured(tmp_path), worlds, out, until="clips")
    path = out / "02-clips" / "00000.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match=r"02-clips/00000.jsonl: cannot be read in line \d+ .*--redo clips"):
        run(configured(tmp_path), worlds, out)
    run(configured(tmp_path), worlds, out, redo="clips")
    assert contents(out) == contents(done)


def test_two_runs_in_one_directory(done: Path, worlds: Path, tmp_path: Path) -> None:
    import fcntl

    with (done / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another run is at work there"):
            run(configured(tmp_path), worlds, done)


@pytest.mark.thorough
def test_the_checks_catch_what_a_faulty_captioner_leads_to(worlds: Path, tmp_path: Path) -> None:
    """Few videos: the figures are in training/marathon/RESULTS.md."""
    found = measure(worlds, tmp_path, rates=[0.2])
    lines = {one["name"]: one for one in found["runs"]}
    assert lines["exact"]["wrong"] == 0
    assert lines["exact"]["lost"] <= 0.02
    assert lines["all 20%"]["wrong"] > 20
    assert lines["all 20%"]["caught"] >= 0.8
    assert lines["all 20%"]["lost"] <= 0.15
    low, high = lines["all 20%"]["caught_interval"]
    assert low < lines["all 20%"]["caught"] <= high
    assert lines["all 20%"]["caught_by_captions"] <= 0.2
    faults = found["writer"]["faults"]
    assert all(one["made"] and one["caught"] == 1 for one in faults.values()), faults
    assert found["writer"]["lost"] <= 0.02
    assert "| second |" in (tmp_path / "measured.md").read_text()


def test_the_plan_counts_what_a_run_asks(worlds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(tmp_path)
    ran = run(config, worlds, tmp_path / "out")
    assert main(["marathon", "plan", str(config), "--videos", str(worlds), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    asked = sum(of.get("asked", 0) for of in ran.asked.values())
    assert plan["videos"] == 2
    assert abs(plan["total"]["requests"] - asked) < 0.25 * asked
    assert main(["marathon", "plan", str(config), "--assume", "1000x20m", "--json"]) == 0
    large = json.loads(capsys.readouterr().out)
    assert large["hours"] == pytest.approx(333.33)
    clips = next(one for one in large["stages"] if one["stage"] == "clip-captions")
    assert clips["requests"] == 1000 * 27


def test_stages_of_a_run_in_the_middle(worlds: Path, tmp_path: Path) -> None:
    run(configured(tmp_path), worlds, tmp_path / "out", until="events")
    states = [one["state"] for one in stages_of(tmp_path / "out")]
    assert states == ["done"] * 4 + ["waiting"] * (len(NAMES) - 4)


@pytest.mark.thorough
def test_features_lie_beside_the_annotations(worlds: Path, tmp_path: Path) -> None:
    ran = run(configured(tmp_path, features="tiny"), worlds, tmp_path / "out")
    assert ran.exported is not None
    assert not ran.exported.features_failed
    bank = FeatureBank(tmp_path / "out" / "features")
    samples = json.loads((tmp_path / "out" / "train.json").read_text())
    assert {bank.rows(sample["video"], sample["data_source"]) for sample in samples} == {180, 200}


def test_without_further_captioners_and_with_a_name_that_is_no_folder(worlds: Path, tmp_path: Path) -> None:
    ran = run(configured(tmp_path, models={"captioner": EXACT, "writer": EXACT}), worlds, tmp_path / "out")
    assert ran.stages["further-captions"]["rows"] == ran.stages["agreed-captions"]["rows"] == 0
    assert ran.exported is not None
    assert ran.exported.questions > 40
    with pytest.raises(ConfigError, match="name: is also the name of a folder"):
        run(configured(tmp_path, name="../mine"), worlds, tmp_path / "out")
