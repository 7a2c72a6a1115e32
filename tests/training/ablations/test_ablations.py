"""Ablations: rows are data, the report beside the paper's, and a queue that survives a kill."""

import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from afterview.cli.main import main
from afterview.configs import ConfigError, ExitStatus, UsageError
from afterview.memory.base.lock import file_lock
from afterview.training.ablations import queue, start
from afterview.training.ablations.plan import SHIPPED, Ablations, merged, read_ablations
from afterview.training.ablations.queue import ANSWERS, CLAIMS, LOCK, MADE_OF, ROWS, made_of, planned_runs, run_queue
from afterview.training.ablations.records import Run
from afterview.training.ablations.report import comparisons, document, markdown, paper_difference
from afterview.training.ablations.train import WEIGHTS, CpuClock
from afterview.training.base.errors import ResultsError, TrainingError, WorldError
from afterview.training.evaluation.results import DOCUMENT, Row, read_rows
from afterview.training.tiny.bank import plan_bank, shape_of
from afterview.training.tiny.make import TOKENIZER, kept_tokenizer
from tests.support.servers import wait_until


@pytest.fixture(scope="module")
def shipped() -> Ablations:
    return read_ablations(SHIPPED)


def changed(tmp_path: Path, **keys: Any) -> Path:
    """The shipped configuration with other keys."""
    values = {**yaml.safe_load(SHIPPED.read_text()), **keys}
    values["recipe"] = str(SHIPPED.parent / "tiny.yaml")
    path = tmp_path / "ablations.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_every_row_of_the_paper_that_the_issue_names_is_there(shipped: Ablations) -> None:
    recipes = {row.name: (row, shipped.recipe(row)) for row in shipped.config.rows}
    rules = {(row.use_memaug, recipe.forgetting.temporal) for row, recipe in recipes.values()}
    assert rules == {
        (memaug, rule) for memaug in (True, False) for rule in ("uniform", "random", "keyframe", "question-guided")
    }
    assert {recipe.forgetting.repository_scale for _, recipe in recipes.values()} == {1.0, 0.5, 0.25, 0.06}
    assert {recipe.forgetting.spatial_ratio for _, recipe in recipes.values()} == {1, 2, 4, 8, 16}
    assert {recipe.forgetting.spatial for _, recipe in recipes.values()} == {"uniform", "random"}
    assert {recipe.memaug_depth for _, recipe in recipes.values()} == {1, 2, 4, 8}
    assert {row.rotary for row, _ in recipes.values()} == {True, False}
    assert all(recipe.study.trainer.length == shipped.recipe().study.trainer.length for _, recipe in recipes.values())
    assert all(max(recipe.evidence_blocks) < recipe.memaug_depth for _, recipe in recipes.values())


def test_a_row_with_a_wrong_key_is_named(tmp_path: Path) -> None:
    row = {"name": "odd", "label": "odd", "group": "depth", "recipe": {"memaug_deph": 2}}
    with pytest.raises(ConfigError, match="row 'odd': memaug_deph: unknown key; did you mean 'memaug_depth'"):
        read_ablations(changed(tmp_path, rows=[row]))
    twice = [{"name": "one", "label": "one", "group": "depth"}] * 2
    with pytest.raises(ConfigError, match="two rows are called 'one'"):
        read_ablations(changed(tmp_path, rows=twice))
    with pytest.raises(ConfigError, match="which is no row"):
        read_ablations(changed(tmp_path, rows=[{**twice[0], "against": "two"}]))
    with pytest.raises(ConfigError, match="groups has no 'taste'"):
        read_ablations(changed(tmp_path, rows=[{**twice[0], "group": "taste"}]))


@pytest.mark.parametrize(
    ("worlds", "message"),
    [
        ({"seeds": [9, 3]}, "9 comes after 3"),
        ({"seeds": [1, 2], "kinds": ["now"]}, "compared by needles"),
        ({"seeds": [1, 2], "kinds": ["colour", "taste"]}, "no such kind of question as 'taste'"),
        ({"seeds": [1, 2], "frames": 3}, "a world has"),
        ({"seeds": [1, 2], "questions": 0}, "compared by needles"),
        ({"seeds": [2**32, 2**32]}, "training split"),
    ],
)
def test_worlds_that_cannot_be_asked_about_are_refused_at_once(
    worlds: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises((ConfigError, WorldError), match=message):
        read_ablations(changed(tmp_path, worlds=worlds))


def test_unknown_rows_are_named(shipped: Ablations) -> None:
    assert [row.name for row in shipped.rows(["no-memaug", "memaug"])] == ["memaug", "no-memaug"]
    with pytest.raises(UsageError, match="did you mean 'keyframe'"):
        shipped.rows(["keyfram"])


def test_overrides_merge_mappings_and_replace_everything_else() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    assert merged(base, {"a": {"c": [9]}, "e": 4}) == {"a": {"b": 1, "c": [9]}, "d": 3, "e": 4}
    assert base["a"] == {"b": 1, "c": [1, 2]}


def finished(row: str, right: str, seed: int = 1, cpu_s: float = 600.0) -> Run:
    """A run of the shipped configuration whose needles were answered so: 1 right, 0 wrong."""
    rows = [
        Row(f"500/{n}", {"right": float(one), "needles": float(one)}, {"kind": "colour"}, answer="red", truth="red" if n % 3 else "blue")
        for n, one in enumerate(right)
    ]  # fmt: skip
    facts = {"weights": "sha256:0", "finished": "2026-01-01", "cpu_s": cpu_s, "steps": 550}
    ablations = read_ablations(SHIPPED)
    plans = {plan.name: plan for plan in ablations.config.rows}
    return Run.of(row, seed, made_of(ablations, plans[row], seed, START.fingerprint), facts, rows)


START = start.Start(None, None, torch.zeros(0), {}, "sha256:1")  # type: ignore[arg-type]  # only its fingerprint is read
SHARED = {"steps": 550, "start": "sha256:1"}


def test_a_row_is_compared_answer_by_answer_and_with_the_papers_direction(shipped: Ablations) -> None:
    runs = [
        finished("memaug", "1" * 90 + "0" * 10),
        finished("no-memaug", "1" * 30 + "0" * 70),
        finished("no-rotary", "1" * 95 + "0" * 5),
    ]
    found = comparisons(shipped, runs)
    without, straight = found["no-memaug"], found["no-rotary"]
    assert (without.against, without.seeds, without.needles.worse) == ("memaug", (1,), 60)
    assert (without.paper, without.direction, without.verdict) == (pytest.approx(-1.53), "lower", "same")
    assert (straight.paper, straight.direction, straight.verdict) == (-10.7, "lower", "opposite")
    rows = [row.model_copy(update={"note": ""}) if row.name == "no-rotary" else row for row in shipped.config.rows]
    unexplained = replace(shipped, config=shipped.config.model_copy(update={"rows": rows}))
    text = markdown(unexplained, runs, SHARED)
    assert "3 of 26 rows are done with the first\nseed, and 0 of 4 runs with further seeds" in text
    assert "| no MemAug, uniform | 1 | 0.300 (0.22-0.40) | MemAug, uniform | -60.0 " in text
    assert "not run yet" in text
    departures = text.split("## Departures")[1]
    assert departures.index("no rotary positions") < departures.index("no MemAug")  # the opposite direction first
    assert "Not examined yet." in departures
    assert "Not examined yet." not in markdown(shipped, runs, SHARED)  # both departures are explained
    made = document(shipped, runs, SHARED)
    assert json.loads(json.dumps(made))["needles_majority"] == pytest.approx(0.66)
    assert [one["verdict"] for one in made["comparisons"]] == ["same", "opposite"]


def test_the_papers_difference_needs_the_same_benchmarks(shipped: Ablations) -> None:
    by_name = {row.name: row.paper for row in shipped.config.rows}
    assert paper_difference(by_name["keyframe"], by_name["memaug"]) == (pytest.approx(-0.47), "lower")
    assert paper_difference(by_name["spatial-4"], by_name["memaug"]) == (None, None)
    assert paper_difference(by_name["spatial-4-random"], by_name["spatial-4"]) == (pytest.approx(0.43), "higher")
    assert paper_difference(by_name["depth-8"], by_name["memaug"]) == (None, "lower")
    assert paper_difference(None, by_name["memaug"]) == (None, None)


def write_run(directory: Path, run: Run) -> None:
    """As the queue leaves it."""
    place = directory / ROWS / run.name
    (place / ANSWERS).mkdir(parents=True)
    (place / MADE_OF).write_text(json.dumps(run.made_of))
    (place / ANSWERS / "items.jsonl").write_text("".join(json.dumps(row.to_dict()) + "\n" for row in run.rows))
    (place / ANSWERS / DOCUMENT).write_text(json.dumps(run.facts))


def test_rows_within_five_points_get_two_more_seeds_and_what_they_are_compared_with_too(
    shipped: Ablations, tmp_path: Path
) -> None:
    rows = shipped.rows(["memaug", "no-memaug", "random"])
    assert [(run.row.name, run.seed) for run in planned_runs(shipped, tmp_path, tmp_path / "a.json", rows)] == [
        ("memaug", 1), ("no-memaug", 1), ("random", 1)
    ]  # fmt: skip
    for name, right in (("memaug", 90), ("no-memaug", 30), ("random", 86)):
        write_run(tmp_path, finished(name, "1" * right + "0" * (100 - right)))
    planned = planned_runs(shipped, tmp_path, tmp_path / "a.json", rows)
    assert [(run.row.name, run.seed) for run in planned[3:]] == [
        ("memaug", 2),
        ("random", 2),
        ("memaug", 3),
        ("random", 3),
    ]
    assert [run.state for run in planned] == ["done"] * 3 + ["waiting"] * 4


def test_results_are_enough_to_continue_from_in_another_directory(shipped: Ablations, tmp_path: Path) -> None:
    rows, results = shipped.rows(["memaug", "no-memaug", "random"]), tmp_path / "ABLATIONS.json"
    first = [finished("memaug", "1" * 90 + "0" * 10), finished("no-memaug", "1" * 30 + "0" * 70)]
    for run in first:
        write_run(tmp_path / "one", run)
    queue.write_results(shipped, tmp_path / "one", results, START)
    whole, report = results.read_bytes(), results.with_suffix(".md").read_bytes()
    planned = planned_runs(shipped, tmp_path / "two", results, rows)
    assert [(run.name, run.state) for run in planned] == [
        ("memaug-1", "done"), ("no-memaug-1", "done"), ("random-1", "waiting")
    ]  # fmt: skip
    kept = queue.finished_runs(shipped, tmp_path / "two", results)
    assert [[row.scores for row in run.rows] for run in kept] == [[row.scores for row in run.rows] for run in first]
    queue.write_results(shipped, tmp_path / "two", results, START)
    assert (results.read_bytes(), results.with_suffix(".md").read_bytes()) == (whole, report)
    write_run(tmp_path / "two", finished("random", "1" * 86 + "0" * 14))
    queue.write_results(shipped, tmp_path / "two", results, START)
    found = json.loads(results.read_bytes())
    assert [run["row"] for run in found["runs"]] == ["memaug", "no-memaug", "random"]
    assert [one["needles"]["worse"] for one in found["comparisons"]] == [60, 4]


def test_results_that_would_be_lost_are_refused(shipped: Ablations, tmp_path: Path) -> None:
    write_run(tmp_path / "one", finished("memaug", "1100"))
    results = tmp_path / "ABLATIONS.json"
    queue.write_results(shipped, tmp_path / "one", results, START)
    sound = json.loads(results.read_bytes())

    def refused(message: str, start: start.Start = START, **changes: Any) -> None:
        results.write_text(json.dumps({**sound, **changes}))
        with pytest.raises(UsageError, match=message):
            queue.write_results(shipped, tmp_path / "two", results, start)
        assert json.loads(results.read_bytes()) == {**sound, **changes}

    refused("is no file of the format 'afterview ablations 2'; move it away", format="afterview ablations 1")
    refused("were asked about other worlds", worlds={**sound["worlds"], "frames": 900})
    refused("holds memaug-7, which this configuration has not", runs=[{**sound["runs"][0], "seed": 7}])
    refused("holds memaug-1 of another recipe", runs=[{**sound["runs"][0], "made_of": {"recipe": "sha256:9"}}])
    refused("is damaged", runs=[{**sound["runs"][0], "answers": {"right": "11"}}])
    refused("began with other weights", start.Start(None, None, torch.zeros(0), {}, "sha256:2"))  # type: ignore[arg-type]
    for text in ("[]", "{"):
        results.write_text(text)
        with pytest.raises(UsageError, match="is no file of the format"):
            run_queue(shipped, tmp_path / "two", results, shipped.rows(["memaug"]), command=["test"])
    damaged = tmp_path / "one" / ROWS / "memaug-1" / ANSWERS / DOCUMENT
    damaged.write_text("{")
    with pytest.raises(ResultsError, match="is damaged"):
        queue.finished_runs(shipped, tmp_path / "one", tmp_path / "none.json")


def test_processes_that_share_a_queue_make_every_run_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two queues at once, and a run that a third process (here: the test) makes meanwhile."""
    monkeypatch.setattr(queue, "prepare", lambda *_, **__: START)
    monkeypatch.setattr(queue, "_POLL_S", 0.01)
    both, begun = threading.Barrier(2, timeout=60), list[str]()
    names, seeds = ["memaug", "no-memaug", "no-rotary", "depth-1"], (1, 2)
    ablations = read_ablations(changed(tmp_path, seeds=seeds))
    runs = {f"{name}-{seed}": finished(name, "10", seed) for name in names for seed in seeds}

    def make(run: queue.Planned, *_: object) -> bool:
        begun.append(run.name)
        if len(begun) <= 2:
            both.wait()  # passes only if two runs are made at the same time
        write_run(tmp_path, runs[run.name])
        return True

    monkeypatch.setattr(queue, "_make", make)
    results = tmp_path / "a.json"

    def run() -> bool:
        return run_queue(ablations, tmp_path, results, ablations.rows(names), command=["test"])

    (tmp_path / CLAIMS).mkdir()
    caplog.set_level("INFO", logger=queue.__name__)
    with ThreadPoolExecutor(2) as pool:
        with file_lock(tmp_path / CLAIMS / "no-rotary-1"):
            running = [pool.submit(run) for _ in range(2)]
            assert wait_until(lambda: "no-rotary-1: other processes make all that is left" in caplog.text, 60)
            write_run(tmp_path, runs["no-rotary-1"])
        assert [one.result(60) for one in running] == [True, True]
    assert sorted(begun) == sorted(
        set(runs) - {"no-rotary-1"}
    )  # all answers are alike, so all rows get the second seed
    assert {f"{run['row']}-{run['seed']}" for run in json.loads(results.read_bytes())["runs"]} == set(runs)


def test_a_queue_waits_until_another_process_has_made_what_all_share(
    shipped: Ablations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(queue, "prepare", lambda *_, **__: START)
    monkeypatch.setattr(queue, "_POLL_S", 0.01)
    monkeypatch.setattr(queue, "_make", lambda *_: False)
    caplog.set_level("INFO", logger=queue.__name__)
    with ThreadPoolExecutor(1) as pool:
        with file_lock(tmp_path / LOCK):
            running = pool.submit(
                run_queue, shipped, tmp_path, tmp_path / "a.json", shipped.rows(["memaug"]), command=["test"]
            )
            assert wait_until(lambda: "waits until another process has made" in caplog.text, 20)
            assert not (tmp_path / "a.json").exists()
        assert not running.result(20)
    assert (tmp_path / "a.json").exists()


def test_each_background_process_has_a_log_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A process that ended leaves its log to the next one."""
    real, started = subprocess.Popen, list[subprocess.Popen[bytes]]()

    def waits(*_: object, **keys: Any) -> subprocess.Popen[bytes]:
        code = "print('here', flush=True); input()"
        started.append(real([sys.executable, "-c", code], **{**keys, "stdin": subprocess.PIPE}))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", waits)

    def log_of() -> str:
        assert main(["evaluate", "ablations", "--work", str(tmp_path), "--background", "--json"]) == 0
        return Path(json.loads(capsys.readouterr().out)["log"]).name

    try:
        assert [log_of(), log_of()] == ["queue.log", "queue-2.log"]
        started[0].communicate(b"\n", timeout=20)
        assert log_of() == "queue.log"
    finally:
        for one in started:
            one.kill()
            one.wait()
    assert (tmp_path / "queue.log").read_text().count("here") >= 1


def test_a_tokenizer_whose_writing_was_cut_off_is_made_again(tmp_path: Path) -> None:
    class Words:
        @staticmethod
        def save_pretrained(place: Path) -> None:
            place.mkdir()
            (place / "tokenizer_config.json").touch()
            if cut:
                raise KeyboardInterrupt
            (place / "tokenizer.json").touch()

    cut = True
    (tmp_path / TOKENIZER).mkdir()
    (tmp_path / TOKENIZER / "tokenizer_config.json").touch()
    with pytest.raises(KeyboardInterrupt):
        kept_tokenizer(tmp_path, Words)
    cut = False
    assert sorted(path.name for path in kept_tokenizer(tmp_path, Words).iterdir()) == [
        "tokenizer.json", "tokenizer_config.json"
    ]  # fmt: skip
    cut = True
    assert kept_tokenizer(tmp_path, Words) == tmp_path / TOKENIZER  # not made again
    assert [path.name for path in tmp_path.iterdir()] == [TOKENIZER]


def test_time_of_steps_that_were_repeated_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "cpu.json"
    path.write_text(json.dumps({"10": 12.0, "20": 8.0}))
    clock = CpuClock(path)
    for step in (10.0, 20.0, 30.0):  # two lines are read again, one is new
        clock.note({"step": step})
    assert 20.0 <= clock.total_s < 25.0
    assert CpuClock(path).total_s == clock.total_s
    path.write_text("[1]")
    with pytest.raises(TrainingError, match="is damaged; delete"):
        CpuClock(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "tase"], "there is no such row"),
        (["--results", "a.txt"], "ends in .json"),
        (["--for", "soon"], "is not a duration"),
        (["--config", "nowhere.yaml"], "cannot be read"),
    ],
)
def test_wrong_use_is_told_and_creates_nothing(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    assert main(["evaluate", "ablations", "--work", str(work), *arguments]) == ExitStatus.USAGE
    assert message in capsys.readouterr().err
    assert not work.exists()


@pytest.mark.thorough
def test_a_queue_that_was_stopped_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Two rows of two steps on made-up features, each asked a few questions; stopped in the first row, in training and in asking."""

    def features(recipe: Any, *_: object) -> torch.Tensor:
        frames = shape_of(plan_bank(recipe.bank), recipe.bank)[0]
        return torch.randn(frames, 64, 128, generator=torch.Generator().manual_seed(0)).half()

    monkeypatch.setattr(start, "_features", features)
    study = {"trainer": {"steps": 2, "log_every": 1, "save_every": 1}, "lessons": [
        {"name": "one", "kinds": {"colour": 1.0}, "frames": 12, "stories": 1, "questions": 2, "most": 9, "duration_s": [60, 90]}
    ]}  # fmt: skip
    changes = {
        "bank": {"seeds": 24, "workers": 1}, "study": study, "forgetting": {"max_frames": 2},
        "naming": {"steps": 2}, "sentences": {"trainer": {"steps": 1}, "lesson": {"stories": 1, "frames": 12}},
    }  # fmt: skip
    rows = [
        {"name": "one", "label": "one", "group": "depth", "recipe": {"memaug_depth": 1, "evidence_blocks": [0]}},
        {"name": "other", "label": "other", "group": "depth", "use_memaug": False, "recipe": {
            "study": {"trainer": {"learning_rates": {"memaug": 0}}}}},
    ]  # fmt: skip
    worlds = {"seeds": [500, 500], "frames": 70, "questions": 4, "kinds": ["colour", "scene"]}
    config = changed(
        tmp_path, changes=changes, rows=rows, worlds=worlds, seeds=[1], groups={"depth": "Blocks"}, start="none.safetensors"
    )  # fmt: skip
    ablations, whole, parts = read_ablations(config), tmp_path / "whole", tmp_path / "parts"
    assert main(["evaluate", "ablations", "--config", str(config), "--work", str(whole), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["done"], [run["state"] for run in said["runs"]]) == (True, ["done", "done"])
    for part in ("worlds", "sentences", "tokenizer"):
        shutil.copytree(whole / part, parts / part)
    shutil.copy(whole / "start.safetensors", parts)
    assert not run_queue(ablations, parts, parts / "a.json", ablations.rows(), command=["test"], minutes=0)
    (kept,) = (parts / ROWS).iterdir()
    assert [run.state for run in planned_runs(ablations, parts, parts / "a.json", ablations.rows())] == [
        "begun",
        "waiting",
    ]
    assert run_queue(ablations, parts, parts / "a.json", ablations.rows(["one"]), command=["test"])
    answers = kept / ANSWERS
    (answers / DOCUMENT).unlink()
    (parts / "a.json").unlink()  # it would be enough
    kept_camera = parts / "worlds" / "memory" / "world-500-70-seen"
    for part in ("committed", "journal"):  # killed while the world was recorded: a camera that cannot be read
        for path in kept_camera.rglob(part):
            path.unlink() if path.is_file() else shutil.rmtree(path)
    lines = (answers / "items.jsonl").read_text().splitlines(keepends=True)
    (answers / "items.jsonl").write_text("".join(lines[:2]) + lines[2][:9])  # killed within the third answer
    assert run_queue(ablations, parts, parts / "a.json", ablations.rows(), command=["test"])
    for name in ("one-1", "other-1"):
        one, two = whole / ROWS / name, parts / ROWS / name
        assert (one / WEIGHTS).read_bytes() == (two / WEIGHTS).read_bytes()
        said = [[(row.id, row.answer, row.scores) for row in read_rows(place / ANSWERS)] for place in (one, two)]
        assert said[0] == said[1]
        assert len(said[0]) == 4
        assert not (two / "study" / "state").exists()
    assert "2 of 2 rows are done" in (parts / "a.md").read_text()
    elsewhere = yaml.safe_load(config.read_text())
    elsewhere["changes"]["study"]["trainer"]["steps"] = 3
    config.write_text(yaml.safe_dump(elsewhere))
    with pytest.raises(UsageError, match=r"a\.json: holds one-1 of another recipe"):
        run_queue(read_ablations(config), parts, parts / "a.json", ablations.rows(["one"]), command=["test"])
    (parts / ROWS / "one-1" / ANSWERS / DOCUMENT).unlink()
    with pytest.raises(UsageError, match="was begun with another recipe"):
        run_queue(read_ablations(config), parts, parts / "b.json", ablations.rows(["one"]), command=["test"])
