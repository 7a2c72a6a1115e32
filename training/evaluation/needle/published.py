"""Needles from files in the published format: JSON lists of items beside a folder of images, and a long video as the haystack.

    single hop   {"question": "Find the frame of ... (A) ... Best option: (", "answer": "B", "image": "1.jpg", "id": 1}
    chains       {"images": ["3.jpg", ...], "question1": ..., "answer1": "A", "question2": ..., "answer2": "C"}

A file may also be an object: one item, or lists of items by name, all of which are read. Options may stand on lines of their own or in the
text. A chain of h hops has h + 4 images: h with a clue, the needle and three decoys, unless the item says `hops`. Names in the files are
not trusted. What cannot be used is left out, counted and named.
"""

import json
import re
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageOps

from afterview.configs.system_errors import reason
from afterview.stream.ask.options import LETTERS
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.events import Frame
from afterview.stream.source.reader import read_events
from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.choices import chosen
from afterview.training.evaluation.fingerprint import files_fingerprint, values_fingerprint
from afterview.training.evaluation.needle.items import ItemSet, Pixels
from afterview.training.evaluation.needle.plan import HOPS, Asked, NeedleItem

LARGEST: Final = 64 << 20  # bytes of one file of items
_DECOYS: Final = 3
_MARKS: Final = (re.compile(r"\(([A-Z])\)\s*"), re.compile(r"(?<![\w'])([A-Z])[).:]\s"))
_ENDING = re.compile(r"\s*(?:Only give the best option|Best option).*$", re.DOTALL)
_PICTURES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_OWN_FIELDS: Final = {"question", "question1", "image", "images"}  # by which an object is an item
_NAMED: Final = 5  # files that a problem names


def published_items(directory: Path, haystack: Path | None) -> ItemSet:
    """Every item of every JSON file of a directory. haystack: a video file, or a directory of pictures.

    Raises BenchmarkError if there are none, or for a haystack that is not there or holds no picture.
    """
    if not directory.is_dir():
        raise BenchmarkError(f"--data {directory}: no such directory; give the one with the items' JSON files")
    if haystack is None:
        raise BenchmarkError(
            "--data needs --haystack VIDEO: the long video (or folder of pictures) that needles are put into"
        )
    if not haystack.exists():
        raise BenchmarkError(f"--haystack {haystack}: no such file or directory")
    if haystack.is_dir() and not _pictures_in(haystack):
        raise BenchmarkError(f"--haystack {haystack}: holds no picture; those of {', '.join(_PICTURES)} are read")
    found = ItemSet(directory.resolve().name or "needles")
    files = sorted(path for path in directory.glob("*.json") if path.is_file())
    used: set[Path] = set()
    for path in files:
        for number, row in enumerate(_rows(path), 1):
            _add(found, directory, row, f"{path.name}, item {number}", used)
    if not found.single and not found.multi:
        said = "; ".join(f"{one['where']}: {one['problem']}" for one in found.problems[:3]) or "there is no JSON file"
        raise BenchmarkError(f"--data {directory}: holds no needle that can be used ({said})")
    if haystack.is_dir() and (others := sorted({*haystack.iterdir()} - {*_pictures_in(haystack)})):
        names = ", ".join(path.name for path in others[:_NAMED])
        found.problems.append({"where": f"--haystack {haystack}", "problem": f"not a picture ({len(others)}): {names}"})
    found.haystack = lambda count: _frames(haystack, count)
    found.haystack_fingerprint = files_fingerprint(_haystack_files(haystack), haystack.parent)
    found.fingerprint = values_fingerprint([files_fingerprint([*files, *used], directory), found.haystack_fingerprint])
    return found


def _rows(path: Path) -> list[Any]:
    try:
        if path.stat().st_size > LARGEST:
            raise BenchmarkError(f"{path}: has more than {LARGEST >> 20} MB; files of needles are smaller")
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BenchmarkError(f"{path}: cannot be read ({reason(error)})") from None
    except (ValueError, RecursionError):
        raise BenchmarkError(f"{path}: is no JSON; give a list of items") from None
    if isinstance(value, dict):
        lists = [
            inner for inner in value.values() if isinstance(inner, list) and any(isinstance(one, dict) for one in inner)
        ]
        value = [row for inner in lists for row in inner] if lists and not value.keys() & _OWN_FIELDS else [value]
    if not isinstance(value, list):
        raise BenchmarkError(f"{path}: is no list of items")
    return value


def _add(found: ItemSet, directory: Path, row: object, where: str, used: set[Path]) -> None:
    try:
        item = _item(row, where)
        names = _names(row)
        keys = [_picture(found, directory, name, used) for name in names]
    except _Unusable as problem:
        found.problems.append({"where": where, "problem": str(problem)})
        return
    same = found.multi if item.hops else found.single
    if item.id in {one.id for one in same}:
        found.problems.append({"where": where, "problem": f"its id {item.id!r} stands there twice"})
        return
    same.append(NeedleItem(item.id, item.kind, item.hops, tuple(keys), item.asked))


class _Unusable(Exception):
    """Why an item is left out."""


def _item(row: object, where: str) -> NeedleItem:
    """The item without its pictures."""
    if not isinstance(row, Mapping):
        raise _Unusable("is no object")
    if "images" in row:
        images = row["images"]
        if not isinstance(images, list) or len(images) < 2:
            raise _Unusable("its images are no list of two or more")
        hops = row.get("hops", len(images) - 1 - _DECOYS)
        if isinstance(hops, bool) or not isinstance(hops, int) or hops not in HOPS:
            raise _Unusable(
                f"{len(images)} images make no chain of 1 to 3 hops with three decoys; add `hops` to the item"
            )
        if len(images) <= hops:
            raise _Unusable(f"{len(images)} images are too few for {hops} hops; a chain has one more than hops")
        asked = (_asked("caption", row, "1"), _asked("final", row, "2"))
        return NeedleItem(_id(row, where), "chain", hops, (), asked)
    return NeedleItem(_id(row, where), str(row.get("type") or "needle"), 0, (), (_asked("needle", row, ""),))


def _id(row: Mapping[str, Any], where: str) -> str:
    given = row.get("id", row.get("question_id"))
    return str(given) if isinstance(given, str | int) and str(given) else where


def _names(row: object) -> list[object]:
    assert isinstance(row, Mapping), "checked before"
    return list(row["images"]) if "images" in row else [row.get("image")]


def _asked(name: Any, row: Mapping[str, Any], suffix: str) -> Asked:
    text, answer = row.get(f"question{suffix}"), row.get(f"answer{suffix}")
    if not isinstance(text, str) or not text.strip():
        raise _Unusable(f"has no question{suffix}")
    text = text.strip()
    begins, options = _options(text)
    if len(options) < 2:
        raise _Unusable(
            f"question{suffix} has no lettered options such as (A) red, from A without a gap, at most eight"
        )
    letter = chosen(str(answer).strip(), options) if isinstance(answer, str) else None
    if letter not in options:
        raise _Unusable(f"answer{suffix} is {answer!r}, which is none of its options")
    stem = re.sub(r"\s*Options:\s*$", "", text[:begins].strip())
    recall = stem if name == "needle" else re.split(r"(?<=[.?!])\s", stem, maxsplit=1)[0]
    return Asked(name, text, stem, recall, options, letter)


def _options(text: str) -> tuple[int, dict[str, str]]:
    """Where the options begin, and the options, which run to the end: `(A) red (B) blue` before `A. red`, from the last A without a gap."""
    for mark in _MARKS:
        found = list(mark.finditer(text))
        starts = [place for place, one in enumerate(found) if one[1] == "A"]
        own = found[starts[-1] :] if starts else []
        if 2 <= len(own) <= len(LETTERS) and "".join(one[1] for one in own) == LETTERS[: len(own)]:
            ends = [*(one.start() for one in own[1:]), len(text)]
            told = {one[1]: _ENDING.sub("", text[one.end() : end]).strip() for one, end in zip(own, ends, strict=True)}
            return own[0].start(), told if all(told.values()) else {}
    return 0, {}


def _picture(found: ItemSet, directory: Path, name: object, used: set[Path]) -> str:
    """The key of an image, which is read when it is encoded."""
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise _Unusable("names no image")
    given = Path(name.strip())
    if given.is_absolute():  # of the machine where the file was made
        given = Path(given.name)
    if ".." in given.parts:
        raise _Unusable(f"image {name} lies outside the directory")
    for path in (
        directory / given,
        directory / "images" / given,
        directory / "images" / given.name,
        directory / given.name,
    ):
        if path.is_file():
            _check(path)
            used.add(path)
            found.pictures.setdefault(str(path), partial(_read, path))
            return str(path)
    raise _Unusable(f"image {name} is missing")


def _check(path: Path) -> None:
    try:
        with Image.open(path) as picture:
            picture.load()  # `verify` does not decode: an image that was cut off passes it
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _Unusable(f"image {path.name} cannot be read ({error})") from None


def _read(path: Path) -> Pixels:
    """An image, padded to a square as published."""
    try:
        with Image.open(path) as picture:
            turned = ImageOps.exif_transpose(picture).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BenchmarkError(f"{path}: cannot be read ({error}); replace the image, or remove its item") from None
    return _padded(np.asarray(turned))


def _padded(rgb: Pixels) -> Pixels:
    from afterview.model.vision.tiles import pad_to_square  # late: it loads torch

    return pad_to_square(rgb, max(rgb.shape[:2]))


def _haystack_files(haystack: Path) -> list[Path]:
    return _pictures_in(haystack) if haystack.is_dir() else [haystack]


def _pictures_in(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.suffix.lower() in _PICTURES and path.is_file())


def _frames(haystack: Path, count: int) -> Iterator[Pixels]:
    """Up to `count` frames of the haystack, one a second, or its pictures in order of name."""
    if haystack.is_dir():
        for path in _pictures_in(haystack)[:count]:
            yield _read(path)
        return
    given, next_s = 0, 0.0

    def due(pts_s: float | None) -> bool:
        return pts_s is None or pts_s >= next_s

    for event in read_events(parse_source(str(haystack)), SourceConfig(), stop=threading.Event(), due=due):
        if isinstance(event, Frame) and due(event.pts_s):
            next_s = (next_s if event.pts_s is None else max(next_s, float(int(event.pts_s)))) + 1.0
            yield _padded(event.picture.rgb())
            given += 1
            if given == count:
                return
