"""Reads files of annotations: JSON lists, JSON lines, and mixtures of such files (training.data.mixtures), item by item.

One bad item does not cost its file. What is wrong with items is returned beside those that are sound, in two groups:

    conversations    turns that cannot be learnt from, a line that is not JSON: such an item is dropped and counted, as published
    media            media that would be left out without a word: the training is refused, unless `bad_items: drop`
"""

import codecs
import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from afterview.configs import first_problem, kind_of, why_unreadable
from afterview.training.base.errors import DataError
from afterview.training.data.conversations import Annotation, tag_problem, turn_problem
from afterview.training.data.items import Item
from afterview.training.data.media_keys import media_problem, unread_keys
from afterview.training.data.mixtures import Source, Strategy, sources_of
from afterview.training.data.report import ItemProblem

_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
ALL = Strategy()
_FORMS = "annotations are a JSON list, or JSON lines: one object a line"

_LOGGER = logging.getLogger(__name__)


@dataclass
class Reading:
    """Sound items, and what is wrong with others: conversations, media. shortened: items whose leading turn of gpt is dropped."""

    items: list[Item] = field(default_factory=list)
    conversations: list[ItemProblem] = field(default_factory=list)
    media: list[ItemProblem] = field(default_factory=list)
    shortened: list[ItemProblem] = field(default_factory=list)


class _Broken(str):
    """Why there is no value."""


def read_items(
    annotations: Path, *, strategy: Strategy = ALL, seed: int = 0, ignored_keys: tuple[str, ...] = ()
) -> Reading:
    """All items of a file or a mixture. seed: of random strategies. ignored_keys: that may hold media which are not meant.

    Raises DataError for a file that cannot be read, or that has no item.
    """
    reading, unread = Reading(), Counter[str]()
    for source in sources_of(annotations, strategy):
        values = _values(source.path)
        numbers = source.strategy.chosen(len(values), f"{source.path.name}, seed {seed}")
        for number in numbers:
            _read(source, number, values[number], reading, ignored_keys)
            unread.update(unread_keys(values[number]))
        if len(numbers) < len(values):
            _LOGGER.info("%s: %d of %d items, as its sampling_strategy says", source.path, len(numbers), len(values))
    if unread:
        names = ", ".join(f"'{key}' ({count})" for key, count in unread.most_common())
        _LOGGER.info("%s: keys that are not read, and how many items have them: %s", annotations, names)
    if reading.shortened:
        first = reading.shortened[0]
        _LOGGER.warning(
            "%s: %d conversations begin with gpt; that turn is dropped, and with it the sentence about a video's length (first: item %d)",
            first.file, len(reading.shortened), first.item,
        )  # fmt: skip
    return reading


def _read(source: Source, number: int, value: Any, reading: Reading, ignored_keys: tuple[str, ...]) -> None:
    file = str(source.path)

    def drop(why: str) -> None:
        reading.conversations.append(ItemProblem(file, number, why, "dropped"))

    if isinstance(value, _Broken):
        return drop(str(value))
    if why := media_problem(value, ignored_keys):
        reading.media.append(ItemProblem(file, number, why, "dropped"))
        return None
    try:
        annotation = Annotation.model_validate(value)
    except ValidationError as error:
        return drop(first_problem(error))
    if any(turn.value != turn.value.encode(errors="ignore").decode() for turn in annotation.conversations):
        return drop("conversations: contains a lone surrogate, which is not valid Unicode")
    if why := turn_problem(annotation):
        return drop(why)
    if why := tag_problem(annotation) or _other_type(source, annotation):
        reading.media.append(ItemProblem(file, number, why, "dropped"))
        return None
    if annotation.leading_answer:
        reading.shortened.append(ItemProblem(file, number, "the conversation begins with gpt", "shortened"))
    reading.items.append(Item(annotation, file, number, source.data_root))
    return None


def _other_type(source: Source, annotation: Annotation) -> str | None:
    has = "video" if annotation.video is not None else "image" if annotation.pictures else "text"
    if source.media_type in (None, has):
        return None
    return f"its mixture says media_type: {source.media_type}, but the item is one of {has}"


def _values(path: Path) -> list[Any]:
    """The values of a file, in order; of JSON lines, _Broken for a line that is none. Raises DataError."""
    try:
        data = path.read_bytes()
        encoding = next((name for bom, name in _BOMS if data.startswith(bom)), "utf-8")
        text = data.decode(encoding)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({why_unreadable(error)}); {_FORMS}") from None
    values = list(_lines(text)) if _is_lines(path, text) else _whole(path, text)
    if not values:
        raise DataError(f"{path}: holds no item; {_FORMS}, with at least one item")
    if all(isinstance(value, _Broken) for value in values):
        raise DataError(f"{path}: no line is valid JSON (the first: {values[0]}); {_FORMS}")
    return values


def _is_lines(path: Path, text: str) -> bool:
    """Whether the file holds JSON lines, whatever its suffix. A list, or one object alone, is JSON."""
    begins = text.lstrip()
    if not begins.startswith("{"):
        return path.suffix in (".jsonl", ".ndjson") and not begins.startswith("[")
    if path.suffix in (".jsonl", ".ndjson"):
        return True
    try:
        _, end = json.JSONDecoder().raw_decode(begins)
    except ValueError:
        return "\n{" in begins
    return bool(begins[end:].strip())


def _whole(path: Path, text: str) -> list[Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({_fault(error)}); {_FORMS}") from None
    if not isinstance(values, list):
        raise DataError(
            f"{path}: must hold a list of annotations with at least one item, holds {kind_of(values)}; {_FORMS}"
        )
    return values


def _lines(text: str) -> Iterator[Any]:
    for number, line in enumerate(text.split("\n"), 1):  # other line ends may stand in a text
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            yield _Broken(f"line {number} is not valid JSON ({_fault(error)})")


def _fault(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else why_unreadable(error)
