"""Mixtures of short and long worlds: worlds composed from a bank, batches of one length, the report, and a whole that survives SIGKILL."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from afterview.cli.main import main
from afterview.configs import ConfigError, ExitStatus, UsageError
from afterview.memory.base.lock import file_lock
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.language.moments import MOMENT
from afterview.stream.source.recordings.pictures_at import recording_facts
from afterview.training.ablations.queue import LOCK
from afterview.training.ablations.start import FEATURES
from afterview.training.ablations.train import STUDY, WEIGHTS
from afterview.training.base.errors import TrainingError
from afterview.training.core.trainer import LOG
from afterview.training.evaluation.fingerprint import values_fingerprint
from afterview.training.evaluation.results import Row, read_rows, tables
from afterview.training.marathon.rows import Checked
from afterview.training.marathon.run import run as run_pipeline
from afterview.training.marathon.stages.files import DataSet
from afterview.training.marathon.worlds.exact import Truths
from afterview.training.marathon.worlds.judge import judge
from afterview.training.mixtures import worlds
from afterview.training.mixtures.ask import ANSWERS, VECTORS
from afterview.training.mixtures.lessons import lesson
from afterview.training.mixtures.plan import SHIPPED, Mixtures, length_of_batch, read_mixtures
from afterview.training.mixtures.queue import RUNS, run_mixtures
from afterview.training.mixtures.report import Run, comparisons, document, guessed, markdown
from afterview.training.mixtures.told import ToldSet, read_told
from afterview.training.mixtures.worlds import load_rows, make_worlds, rows_path, shelves
from afterview.training.tiny.bank import CODE, LABELS, Bank, index_bank, plan_bank, shape_of
from afterview.training.tiny.texts import Words
from afterview.training.world.truth import read_truth, truth_path


@pytest.fixture(scope="module")
def shipped() -> Mixtures:
    return read_mixtures(SHIPPED)


def changed(directory: Path, **keys: Any) -> Path:
    """The shipped configuration with other keys."""
    path = directory / "mixtures.yaml"
    values = {**yaml.safe_load(SHIPPED.read_text()), "ablations": str(SHIPPED.parent / "ablations.yaml"), **keys}
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture(scope="module")
def videos(shipped: Mixtures, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two worlds of each length, of scenery to train on."""
    directory = tmp_path_factory.mktemp("mixtures") / "videos"
    shelf, _ = shelves(plan_bank(shipped.recipe().bank), shipped.config.held_out_scenery)
    make_worlds(shipped.config.lengths, 2, shelf, directory, first_seed=11)
    return directory


@pytest.fixture(scope="module")
def told(shipped: Mixtures, videos: Path) -> ToldSet:
    config, out = videos.parent / "pipeline.json", videos.parent / "set"
    config.write_text(shipped.config.pipeline.model_dump_json())
    run_pipeline(config, videos, out)
    tokenizer = load_pretrained("tiny", device=torch.device("cpu"), dtype=torch.float32).tokenizer
    assert tokenizer is not None
    return read_told(videos, out, Words(tokenizer), shipped.config)


@pytest.fixture(scope="module")
def bank(shipped: Mixtures) -> Bank:
    jobs = plan_bank(shipped.recipe().bank)
    return index_bank(jobs, np.zeros((shape_of(jobs, shipped.recipe().bank)[0], 1), np.uint8))


def test_batches_are_mixed_evenly_in_order(shipped: Mixtures) -> None:
    for mixture in shipped.config.mixtures:
        lengths = [length_of_batch(mixture, number) for number in range(1200)]
        for begin in range(0, 1200, 40):
            counts = Counter(lengths[begin : begin + 40])
            total = sum(mixture.shares.values())
            assert all(abs(counts[name] - 40 * share / total) <= 2 for name, share in mixture.shares.items())


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"paper": "none"}, "there is no mixture 'none'"),
        (
            {"mixtures": [{"name": "one", "label": "one", "shares": {"middle": 1}}], "paper": "one"},
            "lengths has no 'middle'",
        ),
        ({"mixtures": [{"name": "one", "label": "one", "shares": {"short": 0}}], "paper": "one"}, "one above 0"),
        ({"mixtures": [{"name": "one", "label": "one", "shares": {}}], "paper": "one"}, "one above 0"),
        ({"held_out_scenery": 24}, "the bank has 24 seeds"),
        ({"lengths": {"short": {"seconds": [300, 60]}, "long": {"seconds": [900, 3600]}}}, "two ascending numbers"),
        ({"recipe": {"studdy": {}}}, "did you mean 'study'"),
        ({"world": 3}, "did you mean 'worlds'"),
    ],
)
def test_a_configuration_that_cannot_be_run_is_refused(keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        read_mixtures(changed(tmp_path, **keys))


def test_a_world_shows_what_its_truth_says(videos: Path, bank: Bank) -> None:
    for video in sorted(videos.glob("*.mp4")):
        script, facts = read_truth(truth_path(video))
        rows = np.load(rows_path(video))
        assert facts is not None
        assert recording_facts(video).seconds == facts.end_s == len(rows)
        shown = {number: next(iter(script.visible_at(float(number))), None) for number in range(len(rows))}
        for number, row in enumerate(rows.tolist()):
            labels = dict(zip(LABELS, bank.labels[row].tolist(), strict=True))
            assert labels["scene"] == CODE["scene"][script.segment_at(float(number)).scene]
            event = shown[number]
            for name in ("kind", "colour", "shape", "size", "text", "place"):
                value = None if event is None else getattr(event, name)
                assert labels[name] == (-1 if value is None else CODE[name][value])


def test_held_out_worlds_show_no_frame_of_the_others(shipped: Mixtures) -> None:
    jobs = plan_bank(shipped.recipe().bank)
    shown = []
    for shelf in shelves(jobs, shipped.config.held_out_scenery):
        clips = {row for found in shelf.clips.values() for _, row in found}
        shown.append(clips | {int(row) for rows in shelf.backgrounds.values() for row in rows})
    assert shown[0]
    assert shown[1]
    assert not shown[0] & shown[1]


def test_a_bank_that_lacks_too_much_is_named(
    shipped: Mixtures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worlds, "_TRIES", 3)
    _, shelf = shelves(plan_bank(shipped.recipe().bank)[:6], 1)  # one seed
    with pytest.raises(TrainingError, match="the bank has too few clips"):
        make_worlds({"long": shipped.config.lengths["long"]}, 1, shelf, tmp_path / "videos", first_seed=1)


def test_worlds_that_were_cut_off_are_made_again_the_same(shipped: Mixtures, videos: Path, tmp_path: Path) -> None:
    shelf, _ = shelves(plan_bank(shipped.recipe().bank), shipped.config.held_out_scenery)
    again = tmp_path / "videos"
    again.mkdir()
    (again / "short-0000.mp4").write_bytes(b"cut")
    make_worlds(shipped.config.lengths, 2, shelf, again, first_seed=11)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in videos.iterdir()
    }


def test_the_pipelines_questions_are_right_and_become_batches_of_one_length(
    told: ToldSet, videos: Path, shipped: Mixtures
) -> None:
    truths = Truths(videos)
    kept = [row for row in DataSet(videos.parent / "set").rows("checks") if isinstance(row, Checked) and row.kept]
    assert all(judge(row, truths.story(row.video)).right for row in kept)
    assert told.questions.total() + told.left_out.total() == len(kept) > 100
    assert len(told.tasks) >= 19
    every = [one for group in told.worlds.values() for world in group for one in world.asked]
    assert {one.form for one in every} == {"open", "choice"}
    assert all(one.truth in "ABCD" for one in every if one.form == "choice")
    config, forgetting = shipped.config.lesson, shipped.recipe().forgetting
    mixed = shipped.config.mixtures[-1]
    for number in range(4):
        batch = lesson(mixed, told.worlds, config, forgetting, seed=1, number=number)
        again = lesson(mixed, told.worlds, config, forgetting, seed=1, number=number)
        assert np.array_equal(batch.rows, again.rows)
        assert np.array_equal(batch.after, again.after)
        low, high = shipped.config.lengths[length_of_batch(mixed, number)].seconds
        assert ((batch.spans >= low) & (batch.spans <= high)).all()
        assert batch.rows.shape == batch.numbers.shape == (config.stories, config.frames)
        assert len(batch.after) == config.stories * config.questions
        assert (np.diff(batch.numbers) > 0).all()
        assert batch.needles.any(1).mean() > 0.6  # what proves an answer is recalled


def test_a_time_is_pointed_at_and_everything_else_is_said(told: ToldSet) -> None:
    words = Words(load_pretrained("tiny", device=torch.device("cpu"), dtype=torch.float32).tokenizer)  # type: ignore[arg-type]
    moment = words.ids(MOMENT)[0]
    every = [one for group in told.worlds.values() for world in group for one in world.asked if one.form == "open"]
    pointed = {one.task for one in every if one.text.answer[0] == moment}
    assert pointed == {"temporal perception", "action localization"}
    assert not [one for one in every if one.task in pointed and one.text.answer[0] != moment]


def test_a_damaged_world_is_named(tmp_path: Path) -> None:
    video = tmp_path / "train" / "videos" / "short-0000.mp4"
    video.parent.mkdir(parents=True)
    for content in (None, b"", b"\x93NUMPY\x01\x00", b"not an array"):
        if content is not None:
            rows_path(video).write_bytes(content)
        with pytest.raises(TrainingError, match=r"is missing or damaged; delete .*train,"):
            load_rows(video)


def finished(shipped: Mixtures, name: str, right: str) -> Run:
    """A mixture whose answers were so: 1 right, 0 wrong."""
    rows = [
        Row(
            f"{n}", {"right": float(one), "recalled": 1.0},
            {"length": length, "form": "open", "cell": f"{length} open", "task": "temporal order", "reach": "long"},
            truth="red" if n % 4 else "blue", details={"options": 4} if n % 2 else {"options": 2},
        )
        for n, one in enumerate(right)
        for length in ["long" if n % 2 else "short"]
    ]  # fmt: skip
    mixture = next(one for one in shipped.config.mixtures if one.name == name)
    return Run(
        mixture, {"weights": "sha256:0", "finished": "2026-01-01", "cpu_s": 1800.0, "steps": 9, **tables(rows)}, rows
    )


def test_the_report_says_whether_the_direction_is_the_papers(shipped: Mixtures) -> None:
    runs = [
        finished(shipped, "short", "01" * 50),
        finished(shipped, "long", "1" * 100),
        finished(shipped, "short-long-1-3", "1" * 80 + "0" * 20),
    ]
    found = {(one.against, one.cell): one.verdict for one in comparisons(shipped.config, runs)}
    assert found["short", "short"] == "same"
    assert found["long", "all"] == "opposite"
    assert found["short", "long"] == "opposite"
    text = markdown(shipped.config, runs, {"steps": 9})
    assert "| short and long, 1:3 | 0.800 (0.670-0.888) |" in text
    assert "| long only | all | -20.0 " in text
    assert "| opposite |" in text
    assert "| commonest answer | 0.500 |" in text
    made = json.loads(json.dumps(document(shipped.config, runs, {"steps": 9}), allow_nan=False))
    assert made["mixtures"][0]["right"]["all"]["n"] == 100
    noted = shipped.config.model_copy(update={"note": "Why it is so."})
    assert "\nWhy it is so.\n" in markdown(noted, runs, {"steps": 9})
    assert guessed(runs[0].rows, "short") == 0.5
    assert guessed(runs[0].rows, "all") == 0.375
    assert "| a guess among the options | - | - |" in text
    assert "No mixture is done yet." in markdown(shipped.config, [], {})
    assert "is not done yet" in markdown(shipped.config, runs[:1], {})


def test_one_process_runs_a_queue(shipped: Mixtures, tmp_path: Path) -> None:
    with file_lock(tmp_path / LOCK), pytest.raises(UsageError, match="another process runs this queue"):
        run_mixtures(shipped, tmp_path, tmp_path / "a.json", command=["test"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--results", "a.txt"], "ends in .json"),
        (["--for", "soon"], "is not a duration"),
        (["--config", "nowhere.yaml"], "cannot be read"),
    ],
)
def test_wrong_use_is_told_and_creates_nothing(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    assert main(["evaluate", "mixtures", "--work", str(work), *arguments]) == ExitStatus.USAGE
    assert message in capsys.readouterr().err
    assert not work.exists()


def miniature(directory: Path) -> Path:
    """Four worlds of each length, steps of two worlds."""
    return changed(
        directory, worlds=4, held_out=2, asked=2,
        recipe={"study": {"trainer": {"steps": 6, "log_every": 1, "save_every": 2}}},
        lengths={
            "short": {"seconds": [180, 200], "world": {"objects": [3, 4]}},
            "long": {"seconds": [400, 500], "world": {"objects": [5, 6]}},
        },
        lesson={"stories": 2, "questions": 3, "frames": 24, "tokens_read": 4, "window": 4},
    )  # fmt: skip


def made_up(work: Path, mixtures: Mixtures) -> None:
    """Features and vectors of frames that nobody rendered."""
    work.mkdir()
    recipe, draw = mixtures.recipe(), torch.Generator().manual_seed(0)
    shipped = load_pretrained("tiny", device=torch.device("cpu"), dtype=torch.float32)
    frames, bank = shape_of(plan_bank(recipe.bank), recipe.bank)[0], recipe.bank.model_dump(mode="json")
    features = values_fingerprint({"bank": bank, "tower": shipped.vision.spec.weights})
    save_file({"features": torch.randn(frames, 64, 128, generator=draw).half()}, work / FEATURES, {"made_of": features})
    index = shipped.encoders.index.spec
    vectors = torch.nn.functional.normalize(torch.randn(frames, index.width, generator=draw), dim=-1).half()
    save_file({values_fingerprint({"bank": bank, "index": index.weights}): vectors}, work / VECTORS)


@pytest.mark.thorough
@pytest.mark.timeout(1200)
def test_the_whole_ends_after_kills_as_without_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = miniature(tmp_path)
    mixtures, whole, killed = read_mixtures(config), tmp_path / "whole", tmp_path / "killed"
    for work in (whole, killed):
        made_up(work, mixtures)
    assert main(["evaluate", "mixtures", "--config", str(config), "--work", str(whole), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["done"], [one["state"] for one in said["mixtures"]]) == (True, ["done"] * 3)
    log = killed / RUNS / "long" / STUDY / LOG
    answers = killed / RUNS / "short" / ANSWERS / "items.jsonl"
    for reached in (killed / "held-out" / "set", log, answers):
        _kill_at(reached, config, killed)
    assert run_mixtures(mixtures, killed, killed / "mixtures.json", command=["test"])
    for mixture in mixtures.config.mixtures:
        one, two = whole / RUNS / mixture.name, killed / RUNS / mixture.name
        assert (one / WEIGHTS).read_bytes() == (two / WEIGHTS).read_bytes()
        found = [[(row.id, row.scores, row.truth) for row in read_rows(place / ANSWERS)] for place in (one, two)]
        assert found[0] == found[1]
        assert 8 < len(found[0]) <= 16
    assert (whole / "train" / "set" / "train.json").read_bytes() == (
        killed / "train" / "set" / "train.json"
    ).read_bytes()
    assert "3 of 3 mixtures are done" in (killed / "mixtures.md").read_text()
    assert main(["evaluate", "mixtures", "--config", str(config), "--work", str(killed), "--list"]) == 0
    assert "done" in capsys.readouterr().out
    values = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**values, "worlds": 3}))
    with pytest.raises(UsageError, match="was begun with"):
        run_mixtures(read_mixtures(config), killed, killed / "mixtures.json", command=["test"])


def _kill_at(reached: Path, config: Path, work: Path) -> None:
    """Run the command in a process of its own, and end it with SIGKILL as soon as something is there."""
    command = [sys.executable, "-m", "afterview", "evaluate", "mixtures", "--config", str(config), "--work", str(work)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=dict(os.environ)
    )
    try:
        end = time.monotonic() + 600
        while not (reached.exists() and (reached.is_dir() or reached.stat().st_size)):
            assert process.poll() is None, f"it ended by itself before {reached.name}"
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
