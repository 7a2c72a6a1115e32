"""Annotation files for tests."""

import json
from pathlib import Path
from typing import Any

from afterview.training.base.errors import DataError
from afterview.training.data.annotation_files import read_items
from afterview.training.data.conversations import Annotation


def turns(*texts: str) -> list[dict[str, str]]:
    """Human and gpt in turn."""
    return [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(texts)]


def write(path: Path, items: list[Any]) -> Path:
    """A JSON list."""
    path.write_text(json.dumps(items))
    return path


def read_annotations(path: Path) -> list[Annotation]:
    """All annotations of a file. Raises DataError for the first item that has a problem."""
    reading = read_items(path)
    for problem in sorted([*reading.conversations, *reading.media], key=lambda problem: problem.item):
        raise DataError(str(problem))
    return [item.annotation for item in reading.items]
