"""Files of annotations: JSON, JSON lines, byte order marks and mixtures; one bad item costs itself alone, and is named."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from afterview.training.base.errors import DataError
from afterview.training.data.annotation_files import read_items
from afterview.training.data.media_keys import media_problem
from afterview.training.data.mixtures import Strategy
from afterview.training.data.report import ItemProblem, ItemReport
from afterview.training.data.streams import DataStream, read_streams
from tests.support.annotations import turns, write

TEXT = {"conversations": turns("What is it?", "a ring")}


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"id": number, "conversations": turns(f"Which? {number}", "this")} for number in range(count)]


def numbers(path: Path, **options: Any) -> list[int]:
    return [item.number for item in read_items(path, **options).items]


def test_json_lines_are_read_whatever_the_suffix_and_a_broken_line_costs_itself(tmp_path: Path) -> None:
    lines = [json.dumps({**item, "note": "one\u2028two"}, ensure_ascii=False) for item in numbered(3)]
    for name in ("a.jsonl", "a.json", "a.ndjson"):
        path = tmp_path / name
        path.write_text("\n\n".join([lines[0], '{"conversations": [', *lines[1:]]) + "\n", encoding="utf-8")
        reading = read_items(path)
        assert [item.number for item in reading.items] == [0, 2, 3]
        (broken,) = reading.conversations
        assert (broken.item, broken.happened, broken.file) == (1, "dropped", str(path))
        assert "line 3 is not valid JSON" in broken.why
    (tmp_path / "list.jsonl").write_text(json.dumps(numbered(2)))
    assert numbers(tmp_path / "list.jsonl") == [0, 1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("lines", [True, False])
def test_a_byte_order_mark_is_no_part_of_the_text(encoding: str, lines: bool, tmp_path: Path) -> None:
    items = [{"conversations": turns("Où?", "là")}] * 2
    text = "\r\n".join(json.dumps(item, ensure_ascii=False) for item in items) if lines else json.dumps(items)
    (tmp_path / "a.json").write_bytes(text.encode(encoding))
    reading = read_items(tmp_path / "a.json")
    assert [item.annotation.conversations[0].value for item in reading.items] == ["Où?", "Où?"]


# Expected numbers from the published rule: N, or ceil(float(P) * total / 100), of the file's items as they are.
@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("all", list(range(11))),
        ("first:3", [0, 1, 2]),
        ("first:10%", list(range(math.ceil(10 * 11 / 100)))),
        ("first:0.5%", [0]),
        ("end:2", [9, 10]),
        ("end:20%", list(range(11 - math.ceil(20 * 11 / 100), 11))),
        ("first:50", list(range(11))),
    ],
)
def test_a_strategy_takes_what_the_published_code_takes(strategy: str, expected: list[int], tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", numbered(11))
    assert numbers(path, strategy=Strategy.parse(strategy)) == expected


def test_random_items_are_drawn_from_the_seed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", numbered(100))
    one = numbers(path, strategy=Strategy.parse("random:30%"), seed=1)
    assert len(set(one)) == len(one) == 30
    assert one == numbers(path, strategy=Strategy.parse("random:30"), seed=1)
    assert one != numbers(path, strategy=Strategy.parse("random:30"), seed=2)


@pytest.mark.parametrize(
    "text", ["some", "first", "first:", "first:0", "first:-3", "random:2.5", "end:101%", "first2:4"]
)
def test_a_strategy_that_nobody_knows_is_refused_by_name(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"'{text}' is none of all, first:N"):
        Strategy.parse(text)
    write(tmp_path / "a.json", numbered(2))
    (tmp_path / "m.yaml").write_text(f"datasets:\n  - {{json_path: a.json, sampling_strategy: '{text}'}}\n")
    with pytest.raises(DataError, match=r"m\.yaml: datasets\.0\.sampling_strategy: .*is none of"):
        read_items(tmp_path / "m.yaml")


def test_a_mixture_reads_its_files_in_order_and_names_items_by_their_own_file(tmp_path: Path) -> None:
    write(tmp_path / "a.json", numbered(10))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.jsonl").write_text(
        "".join(json.dumps({"image": f"{n}.png", "conversations": turns("<image>", "x")}) + "\n" for n in range(3))
        + "[]\n"
    )
    (tmp_path / "m.yaml").write_text(
        "datasets:\n  - {json_path: a.json, sampling_strategy: 'end:20%'}\n"
        "  - {json_path: ./sub/b.jsonl, sampling_strategy: all, data_root: pictures/b, media_type: image}\n"
    )
    reading = read_items(tmp_path / "m.yaml")
    assert [(Path(item.file).name, item.number) for item in reading.items] == [
        ("a.json", 8), ("a.json", 9), ("b.jsonl", 0), ("b.jsonl", 1), ("b.jsonl", 2),
    ]  # fmt: skip
    assert reading.items[-1].picture(Path("root"), "2.png") == Path("root/pictures/b/2.png")
    assert [(Path(problem.file).name, problem.item) for problem in reading.conversations] == [("b.jsonl", 3)]
    for text, said in (
        ("datasets: []", "m.yaml: datasets: "),
        (
            "datasets:\n  - {json_path: a.json, samplingstrategy: all}",
            "datasets.0.samplingstrategy: unknown key; did you mean",
        ),
        ("datasets:\n  - {json_path: none.json}", "none.json: cannot be read"),
        ("datasets:\n  - {json_path: sub/b.jsonl, media_type: sound}", "datasets.0.media_type"),
    ):
        (tmp_path / "m.yaml").write_text(text)
        with pytest.raises(DataError, match=said):
            read_items(tmp_path / "m.yaml")
    (tmp_path / "m.yaml").write_text("datasets:\n  - {json_path: sub/b.jsonl, media_type: video}")
    assert [
        "media_type: video, but the item is one of image" in one.why for one in read_items(tmp_path / "m.yaml").media
    ] == [True] * 3
    with pytest.raises(DataError, match="is a mixture; give `sampling_strategy` to its datasets"):
        read_items(tmp_path / "m.yaml", strategy=Strategy.parse("first:1"))


VIDEO = {"video": "a.mp4", "conversations": turns("<image>\nWhat?", "x")}


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({**TEXT, "videos": ["a.mp4"]}, "unknown key 'videos'; did you mean 'video'?"),
        ({**TEXT, "images": ["a.png", "b.png"]}, "unknown key 'images'; did you mean 'image'?"),
        ({**TEXT, "video_path": "a.mp4"}, "unknown key 'video_path'"),
        ({**TEXT, "video_path": "a"}, "unknown key 'video_path'"),
        ({**TEXT, "source_file": {"name": "x/a.webm"}}, "names media ('x/a.webm')"),
        ({**VIDEO, "images": ["a", "b"]}, "unknown key 'images'; did you mean 'image'?"),
        ({**VIDEO, "audio": "a.wav"}, "names media ('a.wav')"),
        ({**TEXT, "video": None}, "video: is null"),
        ({**TEXT, "video": ""}, "video: is empty"),
        ({**TEXT, "image": []}, "image: is empty"),
        ({**TEXT, "image": None}, "image: is null"),
        ({**TEXT, "video": None, "image": None}, "video: is null"),
        ({**VIDEO, "image": []}, "image: is empty"),
        ({**TEXT, "image": [""]}, "image: expected names"),
        ({**TEXT, "video": float("nan")}, "video: expected a name, got a number"),
        ({**VIDEO, "video": ["a.mp4"]}, "a sample is about one video"),
        ({**VIDEO, "image": "a.png"}, "both a video and an image"),
        ({"conversations": VIDEO["conversations"]}, "neither a key 'video' nor a key 'image'"),
        ({"conversations": turns("<video>\nWhat?", "x")}, "a question holds <video>"),
        ({**TEXT, "video": "a.mp4"}, "hold 0 tags"),
        ({**TEXT, "image": "a.png"}, "hold 0 tags"),
        ({"image": ["a.png", "b.png"], "conversations": turns("<image>?", "x")}, "hold 1 tag, but it has 2 pictures"),
        ({**TEXT, "imagePath": "a"}, "unknown key 'imagePath'; did you mean 'video' or 'image'?"),
        ({**TEXT, "depth_map": "a.EXR"}, "It names media ('a.EXR')"),
        ({**VIDEO, "start": 3.0, "end": 9.0}, "unknown key 'start': the whole video would be seen"),
        ({**VIDEO, "end_time": "00:01:00"}, "unknown key 'end_time': the whole video would be seen"),
        ({"conversations": [{**turns("What?")[0], "image": "a.png"}, turns("", "x")[1]]}, "a turn names media under 'image'"),
        (
            {"conversations": [{"from": "human", "value": [{"type": "video", "video": "a"}]}, turns("", "x")[1]]},
            "a turn names media under 'value'",
        ),
        ({"conversations": turns("<Image>\nWhat?", "x")}, "a question holds <Image>, but there is neither"),
        ({"conversations": turns("<|image_pad|>What?", "x")}, "a question holds <|image_pad|>, but there is neither"),
        ({"image": [["a.png", "b.png"]], "conversations": turns("<image><image>", "x")}, "expected a name or a list of names"),
        ({"image": [{"path": "a.png"}], "conversations": turns("<image>", "x")}, "expected a name or a list of names"),
    ],
)  # fmt: skip
def test_media_that_would_be_left_out_are_a_problem_of_media(item: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [TEXT, item])
    reading = read_items(path)
    assert [one.number for one in reading.items] == [0]
    assert not reading.conversations
    (problem,) = reading.media
    assert isinstance(problem, ItemProblem)
    assert (problem.file, problem.item) == (str(path), 1)
    assert said in problem.why


@pytest.mark.parametrize(
    "item",
    [
        {**TEXT, "id": 3, "data_source": "x", "width": 3, "source": "y", "model": "z.v1"},
        {**VIDEO, "video_id": "abc", "images": 3, "frames": 128, "image": None, "clip": [0.0, 3.5]},
        {**TEXT, "image_id": 5, "has_image": True, "images": [], "video_path": None},
        {"conversations": turns("Explain <img src='a.png'> and <video controls>.", "x <Image>")},
        {"conversations": [{**turn, "weight": 1, "loss": True} for turn in turns("What?", "x")]},
    ],
)
def test_details_of_published_files_are_no_media(item: dict[str, Any]) -> None:
    assert media_problem(item) is None


def test_a_key_that_is_not_meant_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [{**VIDEO, "thumbnail": "a.jpg"}])
    assert len(read_items(path).media) == 1
    assert numbers(path, ignored_keys=("thumbnail",)) == [0]


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"conversations": turns("What?")}, "must take turns"),
        ({"conversations": turns("What?", " ")}, "an answer of gpt is empty"),
        ({"conversations": []}, "must take turns"),
        ({"id": 1}, "conversations: "),
        ({"conversations": [{"from": "bot", "value": "x"}]}, "conversations.0.from"),
        ({"conversations": turns("\ud800", "x")}, "a lone surrogate"),
        (["no", "annotation"], "keys with values"),
        (None, ""),
    ],
)
def test_a_conversation_that_cannot_be_learnt_from_is_dropped_and_named(item: Any, said: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [TEXT, item, TEXT])
    reading = read_items(path)
    assert [one.number for one in reading.items] == [0, 2]
    assert not reading.media
    (problem,) = reading.conversations
    assert (problem.item, problem.happened) == (1, "dropped")
    assert said in problem.why


def test_unread_keys_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    read_items(write(tmp_path / "a.json", [{**TEXT, "width": 3}, {**TEXT, "width": 4, "model": "x"}]))
    assert "keys that are not read, and how many items have them: 'width' (2), 'model' (1)" in caplog.text


def test_one_bad_conversation_does_not_refuse_a_large_file(tmp_path: Path) -> None:
    """It is dropped, counted and named; the others are trained on, without `bad_items: drop`."""
    sound = json.dumps({"conversations": turns("What?", "x")})
    bad = {17_000: json.dumps({"conversations": turns("What?")}), 18_000: '{"conversations": [', 19_000: "null"}
    path, report = tmp_path / "large.jsonl", ItemReport()
    path.write_text("\n".join(bad.get(number, sound) for number in range(20_000)))
    (kept,) = read_streams([DataStream(annotations=path)], report=report)
    assert len(kept) == 20_000 - len(bad)
    assert [(problem.item, problem.happened) for problem in report.problems] == [(n, "dropped") for n in bad]
