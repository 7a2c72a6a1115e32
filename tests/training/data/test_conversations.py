"""Annotations that would be trained on as text, though a video or a picture was meant."""

import json
from pathlib import Path
from typing import Any

import pytest

from afterview.training.base.errors import DataError
from afterview.training.data.conversations import read_annotations

TURNS = [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": "a ring"}]
TAGGED = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "a ring"}]


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
        {"video": "a.mp4", "images": 3},
        {"image": "a.png", "conversations": TAGGED},
    ],
)
def test_other_keys_of_published_files_are_ignored(item: dict[str, Any], tmp_path: Path) -> None:
    assert read(tmp_path / "a.json", **item) == 1
