"""Readers of benchmarks: the published formats, their oddities, what is missing, and hostile files."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from afterview.configs import UsageError
from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.benchmarks.base import Item, Options, Reading
from afterview.training.evaluation.benchmarks.files import read_table
from afterview.training.evaluation.benchmarks.registry import ABSENT, BENCHMARKS, find_benchmark
from tests.support.benchmark_data import MADE, MADE_ONLINE, QUESTION, lay_out

LETTERED = "A. red\nB. blue\nC. green\nD. orange"
BRACKETED = "(A) red\n(B) blue\n(C) green\n(D) orange"


def read(name: str, directory: Path, **options: Any) -> Reading:
    return find_benchmark(name).read(directory, Options(**options))


def made(name: str, tmp_path: Path, **options: Any) -> Reading:
    return read(name, MADE[name](tmp_path), **options)


def first(name: str, tmp_path: Path, **options: Any) -> Item:
    return made(name, tmp_path, **options).items[0]


def test_every_offline_benchmark_has_a_reader_that_finds_its_items(tmp_path: Path) -> None:
    for name, make in MADE.items():
        reading = read(name, make(tmp_path / name))
        assert reading.items, name
        assert reading.files, name
        assert all(item.video.is_file() for item in reading.items), name
        assert all(item.truth in item.options for item in reading.items if item.options), name


def test_video_mme(tmp_path: Path) -> None:
    item = first("video-mme", tmp_path)
    assert item.prompt == (
        "Select the best answer to the following multiple-choice question based on the video. Respond with only the letter (A, B, C, or "
        f"D) of the correct option.\n{QUESTION}\nA. red.\nB. blue.\nC. green.\nD. orange.\nThe best answer is:"
    )
    assert (item.id, item.truth, item.question, item.subtitles) == ("001-1", "A", QUESTION, ())
    assert item.groups == {
        "duration": "short", "domain": "Knowledge", "sub category": "Geography", "task": "Attribute Perception"
    }  # fmt: skip
    with_subtitles = first("video-mme", tmp_path, subtitles=True)
    assert "based on the video and the subtitles" in with_subtitles.prompt
    assert [line.text for line in with_subtitles.subtitles] == ["a red ring"]


def test_longvideobench_in_both_shapes(tmp_path: Path) -> None:
    one, other = made("longvideobench", tmp_path, subtitles=True).items
    assert one.prompt == f"{QUESTION}\n{LETTERED}\nAnswer with the option's letter from the given choices directly."
    assert [(line.start, line.text) for line in one.subtitles] == [
        (1.0, "a red ring")
    ]  # cut to the clip, from its beginning
    assert (list(other.options), other.truth, [line.text for line in other.subtitles]) == (
        ["A", "B", "C"],
        "B",
        ["a blue ring"],
    )
    assert one.groups == {"duration": "15", "category": "T2O"}


def test_longvideobench_odd_rows(tmp_path: Path) -> None:
    directory = MADE["longvideobench"](tmp_path)
    row = json.loads((directory / "lvb_val.json").read_text())[0]
    mixed = [
        {"timestamp": [100, 102], "text": "whole <i>numbers</i>"}, {"timestamp": [103.5, None], "text": "no end"},
        {"start": "00:01:44.000", "end": "00:01:45.500", "line": "the other shape"}, {"timestamp": [105, 104], "text": "back"},
        {"timestamp": ["x", "y"], "text": "no times"}, {"timestamp": [99.0, 100.5], "text": "cut off"}, {"timestamp": [106, 107]},
        {"timestamp": [101, 102], "text": "  "}, {"timestamp": [400.0, 401.0], "text": "after the clip"}, "no object",
    ]  # fmt: skip
    (directory / "subtitles" / "mixed.json").write_text(json.dumps(mixed))
    (directory / "subtitles" / "broken.json").write_text('[{"timestamp": [1')
    (directory / "subtitles" / "empty.json").write_text("[]")
    rows: list[dict[str, Any]] = [
        {**row, "id": "mixed", "subtitle_path": "mixed.json"},
        {**row, "id": "text", "candidates": "['red', 'blue']", "correct_choice": "1", "starting_timestamp_for_subtitles": "100"},
        {**row, "id": "test set", "correct_choice": "@"}, {**row, "id": "broken", "subtitle_path": "broken.json"},
        {**row, "id": "empty", "subtitle_path": "empty.json"}, {**row, "id": "gone", "subtitle_path": "../gone.json"},
        {**row, "id": "none", "subtitle_path": None}, {**row, "id": "one option", "candidates": ["red"]},
        {**row, "id": "no times", "starting_timestamp_for_subtitles": None, "duration": None},
        {**row, "id": "odd start", "starting_timestamp_for_subtitles": "soon"}, {**row, "id": "odd end", "duration": float("nan")},
        {**row, "id": "mixed again", "subtitle_path": "mixed.json"},
    ]  # fmt: skip
    (directory / "lvb_val.json").write_text(json.dumps(rows))
    reading = read("longvideobench", directory, subtitles=True)
    items = {item.id: item for item in reading.items}
    assert [(line.start, line.end, line.text) for line in items["mixed"].subtitles if line.text] == [
        (-1.0, 0.5, "cut off"), (0.0, 2.0, "whole numbers"), (3.5, 12.5, "no end"), (4.0, 5.5, "the other shape"),
    ]  # fmt: skip
    assert (items["text"].truth, [line.start for line in items["text"].subtitles]) == ("B", [1.0])
    assert [line.start for line in items["no times"].subtitles] == [9.0, 101.0]  # of the whole video
    assert [items[name].subtitles for name in ("broken", "empty", "gone", "none", "odd start", "odd end")] == [()] * 6
    assert {problem["kind"]: problem["count"] for problem in reading.problems.to_dicts()} == {
        "subtitles missing": 2, "unreadable subtitles": 2, "a single option": 1, "answer is no option": 1,
        "unreadable entry of subtitles": 4, "no times of the clip: subtitles of the whole video": 1,
        "times of the clip unreadable: asked without subtitles": 2,
    }  # fmt: skip


def test_lvbench_counts_a_question_in_each_of_its_abilities(tmp_path: Path) -> None:
    item = first("lvbench", tmp_path)
    assert item.prompt == f"{QUESTION}\n{BRACKETED}\nAnswer the question with the option letter."
    assert item.groups == {"ability": ["reasoning", "entity recognition"], "video": "cartoon"}
    assert (item.id, item.truth) == ("7", "A")


def test_mlvu_names_what_needs_a_judge(tmp_path: Path) -> None:
    reading = made("mlvu", tmp_path)
    assert len(reading.items) == 1
    assert reading.items[0].prompt.endswith(
        f"Question: {QUESTION}\nOptions:\n{BRACKETED}\nOnly give the best option.\nBest option: ("
    )
    assert reading.problems["needs a judge: generation task"] == 1


def test_tempcompass_in_four_forms(tmp_path: Path) -> None:
    items = {item.groups["form"]: item for item in made("tempcompass", tmp_path).items}
    assert set(items) == {"multi-choice", "yes_no", "caption_matching", "captioning"}
    assert items["multi-choice"].truth == "A"
    assert items["multi-choice"].prompt.endswith("\nC. green\nPlease directly give the best option:")
    assert (items["yes_no"].truth, items["yes_no"].prompt) == ("yes", "Is the ring red?\nPlease answer yes or no:")
    assert items["caption_matching"].options == {"Option 1": "The ring is blue.", "Option 2": "The ring is red."}
    assert items["caption_matching"].truth == "Option 2"
    assert items["captioning"].options == {"Information A": "red", "Information B": "blue", "Information C": "green"}
    assert items["captioning"].prompt.endswith("Generated Caption:")
    assert [item.groups["form"] for item in read("tempcompass", tmp_path, split="yes_no").items] == ["yes_no"]


def test_egoschema_asks_what_has_a_published_answer(tmp_path: Path) -> None:
    reading = made("egoschema", tmp_path)
    assert [(item.id, item.truth, len(item.options)) for item in reading.items] == [("u-1", "A", 5)]
    assert reading.problems["no answer published"] == 1


def test_charades_names_its_span(tmp_path: Path) -> None:
    reading = made("charades-sta", tmp_path)
    (item,) = reading.items
    assert (item.truth_s, item.question) == ((1.0, 3.5), "a red ring is shown")
    assert "textual sentence: a red ring is shown. Please return" in item.prompt
    assert reading.problems["no span of time"] == 1


def test_vnbench_trials_are_one_unit(tmp_path: Path) -> None:
    items = made("vnbench", tmp_path).items
    assert {(item.unit, item.unit_size) for item in items} == {("needle.mp4", 4)}
    assert [item.options[item.truth] for item in items] == ["red"] * 4
    assert items[0].groups == {"type": "ret_edit1", "task": "retrieval", "length": "30"}


def test_mvbench_asks_about_a_part_and_says_which_tasks_are_missing(tmp_path: Path) -> None:
    reading = made("mvbench", tmp_path)
    spans = {item.groups["task"]: (item.start_s, item.end_s) for item in reading.items}
    assert spans == {"state_change": (None, None), "action_sequence": (1.0, 3.5)}
    assert "json/action_count.json" in reading.missing
    rows = [{"video": "a.mp4", "question": "Who?", "candidates": ["x", "y"], "answer": "y", "start": 52.1, "end": 63.0}]
    for folder, span in (("video_fps3_hq", (52.1, 63.0)), ("video_fps3_hq_segment", (None, None))):
        directory = lay_out(tmp_path / folder, {"json/episodic_reasoning.json": rows}, [f"tvqa/{folder}/a.mp4"])
        (cut,) = read("mvbench", directory, split="episodic_reasoning").items
        assert (cut.start_s, cut.end_s) == span
    lay_out(tmp_path, {}, ["star/Charades_segment/v.mp4"])  # the part itself
    assert read("mvbench", tmp_path, split="action_sequence").items[0].start_s is None


def test_hourvideo_leaves_out_options_that_are_pictures(tmp_path: Path) -> None:
    reading = made("hourvideo", tmp_path)
    assert [(item.id, item.truth, item.groups) for item in reading.items] == [
        ("q1", "A", {"task": "perception/visual", "part": "perception"})
    ]
    assert (reading.problems["options are pictures"], reading.problems["no answer published"]) == (1, 1)


def test_own_questions_from_csv(tmp_path: Path) -> None:
    one, other = made("own", tmp_path, subtitles=True).items
    assert (one.prompt, one.truth, one.groups) == ("Which colour?\nA. red\nB. blue", "A", {"category": "colour"})
    assert [line.text for line in one.subtitles] == ["a red ring"]
    assert (other.options, other.truth, other.prompt) == ({}, "a red ring", "What, then?")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"options": ["only one"]}, "a single option"),
        ({"options": 7}, "options of an unknown form"),
        ({"answer": "E"}, "answer is no option"),
        ({"answer": 9}, "answer is no option"),
        ({"answer": None}, "no answer published"),
        ({"question": "   "}, "no question"),
        ({"question_id": "001-1"}, "id used twice"),
        ({"videoID": "gone"}, "video missing"),
        ({"videoID": None}, "no name of a video"),
        ({"videoID": "../../../../etc/passwd"}, "video outside the data directory"),
        ({"videoID": "a\0b"}, "video outside the data directory"),
    ],
)
def test_an_odd_row_is_counted_and_never_asked(tmp_path: Path, row: dict[str, Any], problem: str) -> None:
    directory = MADE["video-mme"](tmp_path)
    rows = [json.loads(line) for line in (directory / "rows.jsonl").read_text().splitlines()]
    rows[1] |= row
    (directory / "videomme" / "test.jsonl").unlink()
    lay_out(directory, {"rows.jsonl": [*rows, "no object"]})
    reading = read("video-mme", directory)
    assert [item.id for item in reading.items] == ["001-1"]
    assert reading.problems[problem] == 1
    assert reading.problems["row is no object"] == 1
    assert len(reading.problems.to_dicts()) == 2


def test_a_missing_video_is_named(tmp_path: Path) -> None:
    directory = MADE["video-mme"](tmp_path)
    (directory / "data" / "v1.mp4").unlink()
    reading = read("video-mme", directory)
    assert (reading.items, reading.missing) == ((), ("data/v1.*",))
    assert reading.problems["video missing"] == 2


def test_tables_in_all_formats(tmp_path: Path) -> None:
    rows = [{"a": "1", "b": "x"}]
    for name, text in (
        ("t.json", json.dumps(rows)),
        ("t.jsonl", json.dumps(rows[0])),
        ("t.csv", "a,b\n1,x\n"),
        ("t.tsv", "a\tb\n1\tx\n"),
    ):
        (tmp_path / name).write_text(text)
        assert read_table(tmp_path / name) == rows
    parquet, table = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    parquet.write_table(table.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet") == rows


@pytest.mark.parametrize(
    ("name", "content"),
    [("t.json", b"{"), ("t.json", b"[" * 100_000), ("t.json", b"7"), ("t.json", b"\xff\xfe"), ("t.csv", b'a\n"open'),
     ("t.parquet", b"PAR1"), ("t.txt", b"x")],
)  # fmt: skip
def test_a_damaged_table_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BenchmarkError, match=name):
        read_table(tmp_path / name)


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(BenchmarkError, match="did you mean 'video-mme'"):
        find_benchmark("video-mm")
    for absent in ABSENT:
        with pytest.raises(BenchmarkError, match="cannot be run"):
            find_benchmark(absent.name)
    with pytest.raises(BenchmarkError, match="no such directory"):
        read("own", Path("/nowhere/at/all"))


def test_an_empty_directory_says_what_is_wanted(tmp_path: Path) -> None:
    for name in MADE:
        if name != "mvbench":  # a task without a file is missing, like a video
            with pytest.raises(BenchmarkError, match="holds no"):
                read(name, tmp_path)
    assert set(MADE) <= set(BENCHMARKS)


WRONG: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, 10**40, "", "\0", "../x", "/etc/passwd", "x" * 5000, [], [[]], {}, ["a"] * 50, "['a'", "(Z) q", "9999:59:59",
)  # fmt: skip


def changed(value: Any, random: Random) -> Any:
    """A copy of a table in which some values are of another type, and some keys are gone."""
    if random.random() < 0.15:
        return random.choice(WRONG)
    if isinstance(value, dict):
        return {key: changed(one, random) for key, one in value.items() if random.random() > 0.05}
    return [changed(one, random) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", [*MADE, *MADE_ONLINE])
def test_hostile_tables_are_read_or_refused(name: str, tmp_path: Path) -> None:
    random, make = Random(name), (MADE | MADE_ONLINE)[name]
    for number in range(25):
        directory = make(tmp_path / str(number))
        for path in [*directory.rglob("*.json"), *directory.rglob("*.jsonl")]:
            lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
            path.write_text("\n".join(json.dumps(changed(json.loads(line), random)) for line in lines))
        try:
            reading = read(name, directory, subtitles=BENCHMARKS[name].subtitles)
        except UsageError:
            continue
        for item in reading.items:
            assert item.video.is_relative_to(directory)
            for answer in ("A", "", "yes", "2", "1 - 3", "A, B, C or D", "1" * 1000):
                assert all(0 <= score <= 1 for score in BENCHMARKS[name].score(item, answer).values())
