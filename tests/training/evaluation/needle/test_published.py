"""Items in the published format, as they are and as they should not be."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.needle.plan import NeedleTest
from afterview.training.evaluation.needle.published import published_items
from afterview.training.evaluation.needle.report import summary
from afterview.training.evaluation.results import Row

QUESTION = "Find the frame of a red ball. Where is it?\n(A) left\n(B) right\n(C) top\n(D) below\nOnly give the best option. Best option: ("
CHAIN = "Find the frame of a red ball. Locate the final frame based on the instructions in the image, and "


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = tmp_path / "needles"
    (directory / "images").mkdir(parents=True)
    for number in range(6):
        Image.new("RGB", (40, 20), (40 * number, 10, 10)).save(directory / "images" / f"{number}.jpg")
    (tmp_path / "film").mkdir()
    for number in range(30):
        Image.new("RGB", (32, 18), (0, 0, 8 * number)).save(tmp_path / "film" / f"{number:02d}.png")
    return directory


def write(data: Path, name: str, rows: Any) -> None:
    (data / name).write_text(json.dumps(rows), encoding="utf-8")


def chain(**changes: Any) -> dict[str, Any]:
    row = {
        "images": [f"{number}.jpg" for number in range(5)],
        "question1": CHAIN
        + "choose the captions that best describe the frame:\n(A) a cat\n(B) a dog\n(C) a bus\n(D) a hat",
        "answer1": "(B)",
        "question2": CHAIN
        + "answer the following question based on the final frame: What is it?\nA. red\nB. blue\nC. green\nD. grey",
        "answer2": "C",
    }
    return row | changes


def item(number: int) -> dict[str, Any]:
    return {"question": QUESTION, "answer": "B", "image": f"{number}.jpg"}


def test_both_forms_are_read_with_their_options_letters_and_what_is_recalled_by(data: Path) -> None:
    write(data, "single.json", [{"question": QUESTION, "answer": "B", "image": "1.jpg", "id": 7}])
    write(data, "multi.json", [chain()])
    found = published_items(data, data.parent / "film")
    (single,), (multi,) = found.single, found.multi
    (asked,) = single.asked
    assert (single.id, single.hops, asked.letter) == ("7", 0, "B")
    assert asked.options == {"A": "left", "B": "right", "C": "top", "D": "below"}
    assert asked.text == QUESTION
    assert asked.recall == "Find the frame of a red ball. Where is it?"
    assert multi.hops == 1
    assert [one.letter for one in multi.asked] == ["B", "C"]
    assert multi.asked[1].options["C"] == "green"
    assert {one.recall for one in multi.asked} == {"Find the frame of a red ball."}
    picture = found.pictures[single.pictures[0]]()
    assert picture.shape == (40, 40, 3), "padded to a square"
    assert len(list(found.haystack(12))) == 12
    assert not found.problems


def test_options_within_a_line_and_an_answer_in_words() -> None:
    from afterview.training.evaluation.needle.published import _asked

    options = "Options: (A) light red (B) blue (C) green (D) none."
    text = f"Find the frame of a cup. Which colour? {options} Only give the best option. Best option: ("
    asked = _asked("needle", {"question": text, "answer": "The answer is (B)"}, "")
    assert asked.options == {"A": "light red", "B": "blue", "C": "green", "D": "none."}
    assert asked.letter == "B"
    assert asked.stem == "Find the frame of a cup. Which colour?"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (7, "is no object"),
        ({"question": QUESTION, "answer": "B"}, "names no image"),
        ({"question": QUESTION, "answer": "B", "image": "none.jpg"}, "is missing"),
        ({"question": QUESTION, "answer": "B", "image": "../secret.jpg"}, "outside the directory"),
        ({"question": QUESTION, "answer": "B", "image": "broken.jpg"}, "cannot be read"),
        ({"question": QUESTION, "answer": "H", "image": "1.jpg"}, "none of its options"),
        ({"question": QUESTION, "answer": ["B"], "image": "1.jpg"}, "none of its options"),
        ({"question": "Where is it?", "answer": "B", "image": "1.jpg"}, "no lettered options"),
        ({"question": "", "answer": "B", "image": "1.jpg"}, "has no question"),
        (chain(images=["0.jpg"]), "no list of two or more"),
        (chain(images=["0.jpg"] * 12), "make no chain"),
        (chain(hops=True), "make no chain"),
        (chain(images=["0.jpg", "1.jpg", "2.jpg"], hops=3), "3 images are too few for 3 hops"),
        ({"question": QUESTION, "answer": "B", "image": "half.jpg"}, "cannot be read"),
        ({"question": "Where? (A) left (C) right", "answer": "A", "image": "1.jpg"}, "no lettered options"),
        (
            {
                "question": "Where? " + " ".join(f"({letter}) {letter}x" for letter in "ABCDEFGHI"),
                "answer": "A",
                "image": "1.jpg",
            },
            "at most eight",
        ),
        (chain(answer2=None), "none of its options"),
    ],
)
def test_an_item_that_cannot_be_used_is_named_and_left_out(data: Path, row: Any, problem: str) -> None:
    (data / "images" / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(data / "images" / "half.jpg")
    whole = (data / "images" / "half.jpg").read_bytes()
    (data / "images" / "half.jpg").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (8, 8)).save(data.parent / "secret.jpg")
    write(data, "items.json", [row, {"question": QUESTION, "answer": "A", "image": "1.jpg"}])
    found = published_items(data, data.parent / "film")
    assert len(found.single) == 1
    (said,) = found.problems
    assert said["where"] == "items.json, item 1"
    assert problem in said["problem"]


@pytest.mark.parametrize(
    ("question", "stem", "options"),
    [
        (
            "Find the glass of vitamin A. Tell me. (A) red (B) blue",
            "Find the glass of vitamin A. Tell me.",
            ["red", "blue"],
        ),
        ("Which? (A) grade B. good (B) grade A. fine Best option: (", "Which?", ["grade B. good", "grade A. fine"]),
        ("Which? A. red B. blue", "Which?", ["red", "blue"]),
    ],
)
def test_only_the_marks_of_options_part_them(question: str, stem: str, options: list[str]) -> None:
    from afterview.training.evaluation.needle.published import _asked

    asked = _asked("needle", {"question": question, "answer": "A"}, "")
    assert (asked.stem, list(asked.options.values())) == (stem, options)


def test_chance_is_that_of_the_options_there_are(data: Path) -> None:
    rows = [
        Row("a", {"strict": 1, "official": 1}, groups(question="needle", depth="0"), details={"options": 2}),
        Row("b", {"strict": 1, "official": 1}, groups(question="needle", depth="1"), details={"options": 4}),
    ]
    assert summary(rows, NeedleTest())["chance"] == {"needle": 0.375}


def groups(**more: str) -> dict[str, str]:
    return {"task": "single", "recall": "bounded", "positions": "true", "frames": "100", "kind": "x", **more}


def test_a_mark_at_the_files_beginning_is_no_fault(data: Path) -> None:
    text = json.dumps([{"question": QUESTION, "answer": "A", "image": "1.jpg"}])
    (data / "items.json").write_text(text, encoding="utf-8-sig")
    assert len(published_items(data, data.parent / "film").single) == 1


def test_the_second_item_of_an_id_is_left_out(data: Path) -> None:
    write(data, "items.json", [{"question": QUESTION, "answer": "A", "image": "1.jpg", "id": "x"}] * 2)
    found = published_items(data, data.parent / "film")
    assert len(found.single) == 1
    assert "twice" in found.problems[0]["problem"]


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "3", '"x"'])
def test_a_file_that_is_no_list_is_refused_by_name(data: Path, text: str) -> None:
    (data / "items.json").write_text(text, encoding="utf-8")
    with pytest.raises(BenchmarkError, match=r"items\.json"):
        published_items(data, data.parent / "film")


@pytest.mark.parametrize(
    ("value", "single", "multi"),
    [
        ({"version": 1, "tags": ["a"], "single": [item(1)], "multi": [chain()]}, 1, 1),
        ({"none": [], "first": [item(1)], "second": [item(2)]}, 2, 0),
        (item(1), 1, 0),
        (chain(), 0, 1),  # its list of images is no list of items
    ],
)
def test_a_file_that_is_an_object_is_read_whole(data: Path, value: Any, single: int, multi: int) -> None:
    write(data, "items.json", value)
    found = published_items(data, data.parent / "film")
    assert (len(found.single), len(found.multi), found.problems) == (single, multi, [])


def test_what_is_no_picture_in_the_haystack_is_said(data: Path) -> None:
    film = data.parent / "film"
    Image.new("RGB", (32, 18), (9, 9, 9)).save(film / "30.tiff")
    (film / "readme.txt").touch()
    (film / "d.png").mkdir()
    write(data, "items.json", [item(1)])
    found = published_items(data, film)
    assert found.problems == [{"where": f"--haystack {film}", "problem": "not a picture (2): d.png, readme.txt"}]
    assert len(list(found.haystack(100))) == 31


def test_missing_things_are_named(data: Path) -> None:
    with pytest.raises(BenchmarkError, match="--haystack VIDEO"):
        published_items(data, None)
    with pytest.raises(BenchmarkError, match="no such file"):
        published_items(data, data / "film.mp4")
    with pytest.raises(BenchmarkError, match="holds no picture"):
        published_items(data, data)
    with pytest.raises(BenchmarkError, match="no JSON file"):
        published_items(data, data.parent / "film")
    with pytest.raises(BenchmarkError, match="no such directory"):
        published_items(data / "none", data.parent / "film")


def test_other_files_or_images_give_another_fingerprint(data: Path) -> None:
    write(data, "items.json", [{"question": QUESTION, "answer": "A", "image": "1.jpg"}])
    first = published_items(data, data.parent / "film").fingerprint
    Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(data / "images" / "1.jpg")
    second = published_items(data, data.parent / "film").fingerprint
    assert second != first
    Image.new("RGB", (32, 18), (9, 9, 9)).save(data.parent / "film" / "07.png")  # of the haystack
    assert published_items(data, data.parent / "film").fingerprint not in (first, second)
