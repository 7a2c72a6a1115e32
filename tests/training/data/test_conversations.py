"""Annotations that would be trained on as text, though a video or a picture was meant."""

import json
from pathlib import Path
from typing import Any

import pytest

from afterview.model.language.tokenizer import byte_tokenizer
from afterview.training.base.errors import DataError
from afterview.training.data.conversations import read_conversation
from tests.support.annotations import read_annotations

TURNS = [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": "a ring"}]
TAGGED = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "a ring"}]


def turns(*texts: str) -> list[dict[str, str]]:
    """Human and gpt in turn."""
    return [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(texts)]


def read(path: Path, **item: Any) -> int:
    path.write_text(json.dumps([{"conversations": TURNS, **item}]))
    return len(read_annotations(path))


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"vidoe": "a.mp4"}, "unknown key 'vidoe'; did you mean 'video'?"),
        ({"images": ["a.png", "b.png"]}, "unknown key 'images'; did you mean 'image'?"),
        ({"Video": "a.mp4"}, "did you mean 'video'?"),
        ({"conversations": TAGGED}, "neither a key 'video' nor a key 'image'"),
        ({"conversations": turns("<video>What?", "a ring")}, "neither a key 'video' nor a key 'image'"),
    ],
)
def test_media_that_would_be_left_out_are_named(item: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.json", **item)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "item",
    [
        {"id": 1, "data_source": "x", "tasks": []},
        {"video": "a.mp4", "images": 3, "conversations": TAGGED},
        {"image": "a.png", "conversations": TAGGED},
    ],
)
def test_other_keys_of_published_files_are_ignored(item: dict[str, Any], tmp_path: Path) -> None:
    assert read(tmp_path / "a.json", **item) == 1


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"video": "a.mp4"}, "hold 0 tags, but it has a video"),
        ({"image": "a.png"}, "hold 0 tags, but it has 1 picture;"),
        ({"video": "a.mp4", "conversations": turns("<image> or <video>?", "x")}, "hold 2 tags, but it has a video"),
        ({"image": ["a.png", "b.png"], "conversations": TAGGED}, "hold 1 tag, but it has 2 pictures"),
        ({"image": "a.png", "conversations": turns("<image><image>", "x")}, "hold 2 tags, but it has 1 picture;"),
        (
            {"image": "a.png", "conversations": turns("<video>\nWhat?", "x")},
            "holds <video>, but the sample has pictures",
        ),
        ({"image": ["a.png"], "conversations": turns("<Image>\nWhat?", "x")}, "'<Image>' is not one"),
    ],
)
def test_tags_unlike_the_media_are_refused_with_item_and_file(item: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"conversations": TURNS}, {"conversations": TURNS, **item}]))
    with pytest.raises(DataError) as caught:
        read_annotations(path)
    assert str(caught.value).startswith(f"{path}: item 1: conversations: ")
    assert said in str(caught.value)


def test_tags_in_answers_are_words(tmp_path: Path) -> None:
    page = turns("Name new elements of HTML.", "<video>, <audio> and ![3](<image>)")
    assert read(tmp_path / "a.json", conversations=page) == 1
    about = turns("<video>\nWrite the page.", "<video src=a></video>")
    assert read(tmp_path / "a.json", video="a.mp4", conversations=about) == 1
    (annotation,) = read_annotations(tmp_path / "a.json")
    assert [turn.pieces for turn in annotation.placed().turns] == [
        ("", "\nWrite the page."),
        ("<video src=a></video>",),
    ]


def test_the_tag_of_a_video_is_its_place(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    prompts = []
    for tag in ("<image>", "<video>"):
        assert read(tmp_path / "a.json", video="a.mp4", conversations=turns(f"{tag}\nWhat?", "x")) == 1
        (annotation,) = read_annotations(tmp_path / "a.json")
        prompts.append(read_conversation(tokenizer, annotation, frames=2, seconds=2.0)[0])
    assert prompts[0].after.tolist() == prompts[1].after.tolist()
    text = tokenizer.decode(prompts[1].after)
    assert text.startswith("\nThe video lasts for 2.00 seconds, and 2 frames")
    assert ".\n\nWhat?<|im_end|>" in text
    silent, _ = read_conversation(tokenizer, annotation, frames=2, seconds=2.0, add_time_instruction=False)
    assert tokenizer.decode(silent.after).startswith("\nWhat?<|im_end|>")


def test_leading_answers_are_dropped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.json"
    greeted = [{"from": "gpt", "value": "Hello"}, *TAGGED]
    items = [
        {"conversations": TURNS},
        {"image": "a.png", "conversations": greeted},
        {"conversations": greeted[:1] + TURNS},
    ]
    path.write_text(json.dumps(items))
    annotations = read_annotations(path)
    assert f"{path}: 2 conversations begin with gpt" in caplog.text
    assert "first: item 1" in caplog.text
    assert [turn.role for turn in annotations[1].placed().turns] == ["user", "assistant"]


def test_turns_of_system_are_kept_but_not_at_the_beginning(tmp_path: Path) -> None:
    system = {"from": "system", "value": "Be brief."}
    assert read(tmp_path / "a.json", conversations=[*TURNS, system, *TURNS]) == 1
    (annotation,) = read_annotations(tmp_path / "a.json")
    assert [turn.role for turn in annotation.placed().turns] == ["user", "assistant", "system", "user", "assistant"]
    for wrong, said in (([system, *TURNS], "a turn of system comes first"), ([*TURNS, *TURNS[1:]], "must take turns")):
        with pytest.raises(DataError, match=said):
            read(tmp_path / "a.json", conversations=wrong)
