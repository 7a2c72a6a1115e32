"""Rows, names and files that are not as they should be: each is counted and named, none is guessed at."""

import json
from pathlib import Path
from typing import Any

import pytest

from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.benchmarks.base import Item, Options, Reading
from afterview.training.evaluation.benchmarks.files import Data
from afterview.training.evaluation.benchmarks.registry import find_benchmark
from tests.support.benchmark_data import MADE


def read(name: str, directory: Path, **options: Any) -> Reading:
    return find_benchmark(name).read(directory, Options(**options))


def own(directory: Path, *rows: dict[str, Any], videos: tuple[str, ...] = ("v.mp4",), **options: Any) -> Reading:
    (directory / "questions.json").write_text(json.dumps(rows))
    return laid(directory, videos=videos, **options)


def laid(directory: Path, *, videos: tuple[str, ...] = ("v.mp4",), **options: Any) -> Reading:
    for video in videos:
        (directory / video).parent.mkdir(parents=True, exist_ok=True)
        (directory / video).touch()
    return read("own", directory, **options)


def row(**changes: Any) -> dict[str, Any]:
    return {"video": "v.mp4", "question": "Which?", "options": ["red", "blue", "green"], "answer": "B", **changes}


def table(directory: Path, text: str) -> Reading:
    (directory / "questions.csv").write_text(text)
    return laid(directory)


def kinds(reading: Reading) -> list[str]:
    return [problem["kind"] for problem in reading.problems.to_dicts()]


def only(reading: Reading) -> Item:
    (item,) = reading.items
    assert not reading.problems, reading.problems.to_dicts()
    return item


@pytest.mark.parametrize("options", [{"A": "red", "B": "blue"}, '["red", "blue"]', "red\nblue"])
def test_options_in_all_forms(tmp_path: Path, options: Any) -> None:
    assert only(own(tmp_path, row(options=options))).options == {"A": "red", "B": "blue"}


@pytest.mark.parametrize("options", ["red|blue|green", "red, blue", {"red": 1}, 7])
def test_options_of_an_unknown_form_do_not_make_the_question_open(tmp_path: Path, options: Any) -> None:
    reading = own(tmp_path, row(options=options))
    assert (reading.items, kinds(reading)) == ((), ["options of an unknown form"])


@pytest.mark.parametrize(
    "header",
    ["option_a,option_b", "Option_A,Option_B", "A,B", "option1,option2", "Option 1,Option 2", "choice_a,choice_b", "option b,option a"]
)  # fmt: skip
def test_options_in_columns(tmp_path: Path, header: str) -> None:
    item = only(table(tmp_path, f"Video,Question,Answer,{header}\nv.mp4,Which?,A,red,blue\n"))
    assert item.options == ({"A": "blue", "B": "red"} if header.startswith("option b") else {"A": "red", "B": "blue"})
    assert item.truth == "A"


def test_a_row_without_options_is_open_beside_others(tmp_path: Path) -> None:
    one, other = table(
        tmp_path, "video,question,answer,option_a,option_b\nv.mp4,Which?,A,red,blue\nv.mp4,Who?,a dog,,\n"
    ).items
    assert (one.truth, other.truth, other.options) == ("A", "a dog", {})


def test_an_empty_option_does_not_move_the_letters_of_the_others(tmp_path: Path) -> None:
    reading = table(tmp_path, "video,question,answer,option_a,option_b,option_c\nv.mp4,Which?,C,red,,green\n")
    assert (reading.items, kinds(reading)) == ((), ["an option is empty"])


def test_an_answer_that_can_mean_two_options_is_not_asked(tmp_path: Path) -> None:
    reading = own(tmp_path, row(options=["1", "2", "3"], answer=2), row(options=["B", "A"], answer="A"), row(answer=1))
    assert kinds(reading) == ["answer can mean two options: write its letter"]
    assert [item.truth for item in reading.items] == ["B"]


def test_numbers_of_columns_that_count_from_one_can_mean_two_options(tmp_path: Path) -> None:
    reading = table(
        tmp_path, "video,question,answer,option1,option2\nv.mp4,Which?,1,red,blue\nv.mp4,Which?,0,red,blue\n"
    )
    assert kinds(reading) == ["answer can mean two options: write its letter"]
    assert [item.truth for item in reading.items] == ["A"]


def test_options_of_one_text_are_counted(tmp_path: Path) -> None:
    one, other = row(options=["red", "red", "blue"], answer="B"), row(options=["red", "Red", "blue"], answer="red")
    reading = own(tmp_path, one, other)
    assert [item.truth for item in reading.items] == ["B", "A"]
    assert {one["kind"]: one["count"] for one in reading.problems.to_dicts()} == {"two options are the same (asked)": 2}


@pytest.mark.parametrize("name", ["choices", "candidates", "Option"])
def test_lists_of_options_of_other_names(tmp_path: Path, name: str) -> None:
    asked = {"video": "v.mp4", "question": "Which?", "answer": "B", name: ["red", "blue"]}
    assert only(own(tmp_path, asked)).options == {"A": "red", "B": "blue"}


def test_options_in_several_columns_are_counted(tmp_path: Path) -> None:
    reading = own(tmp_path, row(choices=["x", "y"], option_a="z"), row(choices=None))
    assert [item.options["A"] for item in reading.items] == ["red", "red"]
    (problem,) = reading.problems.to_dicts()
    assert (problem["count"], problem["examples"]) == (1, ["0: also choices, option_a"])


def test_columns_that_are_not_read_are_named(tmp_path: Path) -> None:
    asked = {**row(), "possible_answers": ["red"], "note": "x"}
    reading = own(tmp_path, asked, {**asked, "id": "2"})
    assert len(reading.items) == 2
    (problem,) = reading.problems.to_dicts()
    assert (problem["kind"], problem["examples"]) == ("column that is not read", ["possible_answers", "note"])


def test_a_single_column_of_options_does_not_make_the_question_open(tmp_path: Path) -> None:
    reading = table(tmp_path, "video,question,answer,option_a\nv.mp4,Which?,A,red\n")
    assert (reading.items, kinds(reading)) == ((), ["a single option"])


def test_options_of_tempcompass_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    def asked(form: str, text: str, answer: str) -> Reading:
        (tmp_path / "questions").mkdir(exist_ok=True)
        rows = {"v": {"action": [{"question": text, "answer": answer}]}}
        (tmp_path / "questions" / f"{form}.json").write_text(json.dumps(rows))
        (tmp_path / "videos").mkdir(exist_ok=True)
        (tmp_path / "videos" / "v.mp4").touch()
        return read("tempcompass", tmp_path, split=form)

    good = asked(
        "caption_matching", "Which fits?\nOption 1: A man runs\r\nOption 2:A man sits ", "Option 1: A man runs"
    )
    assert only(good).options == {"Option 1": "A man runs", "Option 2": "A man sits"}
    odd = asked("caption_matching", "Which fits?\nOption 1: A man runs\nOption 2 A man sits", "Option 1: A man runs")
    assert (odd.items, kinds(odd)) == ((), ["an option cannot be read"])
    told = "Make a caption\nInformation A: {'action': 'runs'} \r\nInformation B: {'action': 'sits'}"
    assert only(asked("captioning", told, "A")).options == {"Information A": "runs", "Information B": "sits"}
    odd = asked("captioning", told.removesuffix("}"), "A")
    assert (odd.items, kinds(odd)) == ((), ["an option cannot be read"])


def test_an_item_without_an_id_is_counted(tmp_path: Path) -> None:
    """It could be written to the results, and never read back."""
    data = Data(tmp_path, Options())
    assert not data.add(Item("", tmp_path / "v.mp4", "Which?", "Which?"))
    assert [(one["kind"], one["count"]) for one in data.problems.to_dicts()] == [("no id", 1)]


def test_the_training_set_of_charades_is_no_test_set(tmp_path: Path) -> None:
    (tmp_path / "charades_sta_train.txt").write_text("AB1CD 1.0 3.5##a red ring is shown.\n")
    with pytest.raises(BenchmarkError, match="holds no"):
        read("charades-sta", tmp_path)


def test_a_row_with_more_fields_than_the_header_is_counted(tmp_path: Path) -> None:
    """An unquoted comma moves every field after it."""
    reading = table(tmp_path, "video,answer,question,option_a,option_b\nv.mp4,A,Where is the dog, and why?,red,blue\n")
    assert kinds(reading) == ["row with more fields than the header"]
    assert "Where is the dog" in reading.problems.to_dicts()[0]["examples"][0]


def test_a_row_with_fewer_fields_than_the_header_is_counted(tmp_path: Path) -> None:
    """A row that was cut short has fewer options than its question."""
    reading = table(tmp_path, "video,answer,question,option_a,option_b,option_c\nv.mp4,A,Which colour?,red,blue\n")
    assert (reading.items, kinds(reading)) == ((), ["row with fewer fields than the header"])


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="two columns are called 'option'; rename one"):
        table(tmp_path, "video,question,answer,option,option\nv.mp4,Which colour?,A,red,blue\n")


@pytest.mark.parametrize(
    ("named", "there"),
    [("cam.avi", "cam.mp4"), ("day1/cam.mp4", "cam.mp4"), ("cam", "day1/cam.mp4"), ("videos/cam.mp4", "cam.mp4")],
)
def test_no_other_file_stands_for_the_users_own(tmp_path: Path, named: str, there: str) -> None:
    reading = own(tmp_path, row(video=named), videos=(there,))
    assert (reading.items, kinds(reading)) == ((), ["video missing"])


@pytest.mark.parametrize("named", ["cam.avi", "IMG_1.MOV", "x.MKV", "y.mpg", "day1/cam.mp4", "cam"])
def test_a_name_means_the_file_of_that_name(tmp_path: Path, named: str) -> None:
    file = named if "." in named else f"{named}.webm"
    item = only(own(tmp_path, row(video=named), videos=(file, "other.mp4")))
    assert item.video == tmp_path / file


def test_the_exact_name_comes_before_one_of_another_suffix(tmp_path: Path) -> None:
    assert only(own(tmp_path, row(video="cam.avi"), videos=("cam.mp4", "cam.avi"))).video.name == "cam.avi"


def test_a_task_of_mlvu_has_its_own_folder(tmp_path: Path) -> None:
    directory = MADE["mlvu"](tmp_path)
    for path in directory.rglob("*.mp4"):
        path.unlink()
    for task in ("4_count", "5_order"):
        (directory / "video" / task).mkdir(parents=True, exist_ok=True)
        (directory / "video" / task / "1.mp4").touch()
    for path in directory.rglob("*.json"):
        path.unlink()
    entry = {
        "video": "1.mp4",
        "question": "A: hi\nB: yo",
        "candidates": ["x", "y"],
        "answer": "y",
        "question_type": "order",
    }
    (directory / "json").mkdir(exist_ok=True)
    (directory / "json" / "5_order.json").write_text(json.dumps([entry]))
    item = only(read("mlvu", directory))
    assert (item.video.parent.name, item.truth) == ("5_order", "B")
    assert item.question == "A: hi\nB: yo"  # options come apart, so its lines are not
    (directory / "json" / "5_order.json").write_text(json.dumps([{**entry, "question_type": "ORDER"}]))
    assert only(read("mlvu", directory)).video.parent.name == "5_order"
    (directory / "json" / "5_order.json").write_text(json.dumps([{**entry, "question_type": None}]))
    reading = read("mlvu", directory)
    assert (reading.items, kinds(reading)) == ((), ["videos of several tasks have this name"])
    (directory / "video" / "4_count" / "1.mp4").unlink()
    assert only(read("mlvu", directory)).video.parent.name == "5_order"
    (directory / "video" / "1.mp4").touch()  # another task's, maybe
    (directory / "json" / "5_order.json").write_text(json.dumps([{**entry, "question_type": "count"}]))
    reading = read("mlvu", directory)
    assert (reading.items, kinds(reading)) == ((), ["video missing"])


@pytest.mark.parametrize("times", [{"start": "abc"}, {"end": -5}, {"start": "12s"}, {"end": True}])
def test_a_time_that_cannot_be_read_does_not_open_the_span(tmp_path: Path, times: dict[str, Any]) -> None:
    reading = own(tmp_path, row(**times))
    assert (reading.items, kinds(reading)) == ((), ["time unreadable"])


def test_a_span_that_ends_before_it_starts_is_counted(tmp_path: Path) -> None:
    reading = own(tmp_path, row(start=30, end=10))
    assert (reading.items, kinds(reading)) == ((), ["end before its start"])
    item = only(own(tmp_path, row(start="00:01:00", end="")))
    assert (item.start_s, item.end_s) == (60.0, None)


def test_subtitles_that_are_not_there_are_counted(tmp_path: Path) -> None:
    names = (None, "../x.srt", "/x.srt", "none.srt")
    reading = own(tmp_path, *(row(id=str(number), subtitles=name) for number, name in enumerate(names)), subtitles=True)
    assert len(reading.items) == 4
    assert sorted(kinds(reading)) == [
        "no subtitles named",
        "subtitles outside the data directory",
        "unreadable subtitles",
    ]


def test_an_empty_file_of_subtitles_stops_nothing(tmp_path: Path) -> None:
    directory = MADE["video-mme"](tmp_path)
    for path in directory.rglob("*.srt"):
        path.write_text("")
    reading = read("video-mme", directory, subtitles=True)
    assert reading.items
    assert "unreadable subtitles" in kinds(reading)


def test_json_lines_end_at_line_feeds_alone(tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_text(json.dumps(row(question="Which\u2028one?"), ensure_ascii=False))
    assert only(laid(tmp_path)).question == "Which\u2028one?"
    (tmp_path / "questions.jsonl").write_text(f"{json.dumps(row())}\n\n{{broken\n")
    with pytest.raises(BenchmarkError, match=r"questions\.jsonl, line 3: cannot be read .*correct it"):
        laid(tmp_path)


def test_a_stray_quote_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"questions\.csv, line 3"):
        table(tmp_path, 'video,question,answer\nv.mp4,Who?,me\nv.mp4,"Who"?,me\n')


def test_a_table_of_other_columns_says_which_it_has(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="its columns are: video;question;answer"):
        table(tmp_path, "video;question;answer\nv.mp4;Who?;me\n")


def test_several_tables_are_not_chosen_from(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("video,question,answer\nv.mp4,Who?,me\n")
    assert only(laid(tmp_path)).truth == "me"
    (tmp_path / "talk.json").write_text("[]")
    with pytest.raises(BenchmarkError, match=r"holds several tables \(talk\.json, mine\.csv\); call the one"):
        laid(tmp_path)
    (tmp_path / "mine.csv").rename(tmp_path / "questions.csv")
    assert only(laid(tmp_path)).truth == "me"


def test_nan_is_an_empty_cell(tmp_path: Path) -> None:
    nan = float("nan")
    one, other = own(tmp_path, row(id=nan, category=nan), row(id=nan, options=["red", "blue", nan], start=nan)).items
    assert (one.id, one.groups, other.options) == ("0", {}, {"A": "red", "B": "blue"})


def test_charades_reads_what_an_editor_saved(tmp_path: Path) -> None:
    directory = MADE["charades-sta"](tmp_path)
    (path,) = directory.rglob("charades_sta_test.txt")
    before = read("charades-sta", directory)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    after = read("charades-sta", directory)
    assert [(item.id, item.question) for item in after.items] == [(item.id, item.question) for item in before.items]
    line = path.read_bytes().splitlines()[0].removeprefix(b"\xef\xbb\xbf").partition(b"##")[0]
    path.write_bytes(line + b"##a caf\xe9\n")
    assert kinds(read("charades-sta", directory)) == ["a sentence is not UTF-8"]


def test_a_video_of_hourvideo_without_questions_is_counted(tmp_path: Path) -> None:
    directory = MADE["hourvideo"](tmp_path)
    (path,) = directory.rglob("hourvideo*.json")
    path.write_text(json.dumps({"v": {"video_metadata": {}}, "w": {"benchmark_dataset": {}}}))
    assert read("hourvideo", directory).problems["video without questions"] == 2
