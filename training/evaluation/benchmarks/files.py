"""The files of a benchmark's data directory: tables in several formats, videos by name, subtitles. Names in them are not trusted.

A table is a JSON list (or a list of lists, or objects by key), JSON Lines, CSV, TSV, or Parquet where pyarrow is installed.
"""

import csv
import importlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, Final

from afterview.configs import why_unreadable
from afterview.configs.system_errors import reason
from afterview.stream.ask.subtitles import clock_seconds
from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.benchmarks.base import Item, Options, Problems, Reading
from afterview.training.evaluation.benchmarks.lettering import as_list, is_nothing, lettered, why_no_options

TABLES: Final = (".json", ".jsonl", ".csv", ".tsv", ".parquet")
_SUFFIXES: Final = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".wmv")
VIDEOS: Final = (*_SUFFIXES, *(suffix.upper() for suffix in _SUFFIXES))
LARGEST_TABLE: Final = 2 << 30  # bytes
MISSING_VIDEO: Final = "video missing"
_LARGEST_FIELD: Final = 1 << 24  # characters of a CSV field


class Data:
    """A data directory while it is read: finds files, notes what is missing, counts what is odd."""

    def __init__(self, directory: Path, options: Options) -> None:
        if not directory.is_dir():
            raise BenchmarkError(f"{directory}: no such directory; give the one with the downloaded files as --data")
        self.directory, self.options, self.problems = directory, options, Problems()
        self.items: list[Item] = []
        self.files: list[Path] = []
        self.missing: dict[str, None] = {}
        self._ids: set[str] = set()
        self._videos: dict[tuple[str, tuple[str, ...]], Path | None] = {}
        self._flat: dict[Path, str] = {}  # files that lie flat, and the path that each was named by

    def table(self, *patterns: str, needed: bool = True) -> list[tuple[str, dict[str, Any]]]:
        """Key and row of the first files that match a pattern (below the directory). Key: of an object by key, else empty.

        Raises BenchmarkError if there are none and they are needed, or if one cannot be read.
        """
        paths = self.find(*patterns)
        if not paths and needed:
            there = ", ".join(sorted(path.name for path in self.directory.iterdir())[:10]) or "nothing"
            raise BenchmarkError(f"{self.directory}: holds no {' or '.join(patterns)}; there is: {there}")
        rows = []
        for path in paths:
            self.files.append(path)
            rows += list(self._rows(read_table(path), path))
        return rows

    def find(self, *patterns: str) -> list[Path]:
        """The files of the first pattern that has any, in order of name."""
        for pattern in patterns:
            if found := sorted(path for path in self.directory.glob(pattern) if path.is_file()):
                return found
        return []

    def _rows(self, value: Any, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        pairs = value.items() if isinstance(value, Mapping) else (("", row) for row in value)
        for number, (key, row) in enumerate(pairs, 1):
            if isinstance(row, list):  # a list of lists: what belongs to one video
                yield from self._rows(row, path)
            elif not isinstance(row, dict):
                self.problems.add("row is no object", f"{path.name}, {number}: {row!r}")
            elif None in row:  # of a table: what stands in the columns is not what their names say
                other = "fewer" if row[None] is None else "more"
                self.problems.add(f"row with {other} fields than the header", f"{path.name}, {number}: {row!r}")
            else:
                yield str(key), row

    def options_of(self, values: Any, where: str) -> dict[str, str]:
        """Lettered options of a field, or of a list of values. None: there are none, which is counted."""
        given = as_list(values)
        if why := why_no_options(given):
            unknown = why == "no options" and not given and not is_nothing(values) and values not in ("", [], {})
            self.problems.add(
                "options of an unknown form" if unknown else why, f"{where}: {values!r}" if unknown else where
            )
        options = lettered(given)
        if len({text.casefold() for text in options.values()}) < len(options):
            self.problems.add("two options are the same (asked)", f"{where}: {options!r}")
        return options

    def subtitles(self, path: Path, unreadable: int) -> None:
        """Note a file of subtitles that was read, and its entries that are no lines with times: once, whatever reads it."""
        if path not in self.files:
            self.files.append(path)
            if unreadable:
                self.problems.add("unreadable entry of subtitles", f"{path.name}: {unreadable}", unreadable)

    def times(self, row: Mapping[str, Any], *names: str, where: str) -> list[float | None] | None:
        """Fields that hold times, in seconds; None for one that is empty. No list: one cannot be read, or they do not ascend, which is
        counted."""
        found: list[float | None] = []
        for name in names:
            value = row.get(name)
            empty = is_nothing(value) or value == ""
            found.append(None if empty else clock_seconds(value))
            if found[-1] is None and not empty:
                self.problems.add("time unreadable", f"{where}: {name} {value!r}")
                return None
        known = [time for time in found if time is not None]
        if any(first >= second for first, second in pairwise(known)):
            self.problems.add("end before its start", f"{where}: {known}")
            return None
        return found

    def video(self, name: object, *folders: str, where: str, exact: bool = False) -> Path | None:
        """The file of a video in one of the folders. None if it is missing, which is counted.

        A name of another suffix, or without one, means what was made of the video; one that lies flat, the path of a folder that is not
        here. exact: neither: the name is the user's own.
        """
        if not isinstance(name, str | int) or isinstance(name, bool) or not str(name).strip():
            self.problems.add("no name of a video", where)
            return None
        plain = PurePosixPath(str(name).strip())
        if plain.is_absolute():  # of the machine where the file was made
            plain = PurePosixPath(plain.name)
        if ".." in plain.parts or "\0" in str(plain):
            self.problems.add("video outside the data directory", f"{where}: {name}")
            return None
        key = (str(plain), folders)
        if key not in self._videos:
            self._videos[key] = self._look(plain, folders, exact=exact)
        if (found := self._videos[key]) is None:
            self.problems.add(MISSING_VIDEO, f"{where}: {plain}")
            stem = plain.with_suffix("") if _is_video(plain) else plain
            self.missing.setdefault(
                str(plain) if exact and _is_video(plain) else f"{folders[0] if folders else '.'}/{stem}.*"
            )
        return found

    def known_video(self, name: object, *folders: str) -> Path | None:
        """The same, but one that is missing is not counted."""
        plain = PurePosixPath(str(name).strip()) if isinstance(name, str | int) and not isinstance(name, bool) else None
        if plain is None or not plain.name or ".." in plain.parts or "\0" in str(plain):
            return None
        return self._look(PurePosixPath(plain.name) if plain.is_absolute() else plain, folders)

    def _look(self, name: PurePosixPath, folders: Sequence[str], *, exact: bool = False) -> Path | None:
        inside = [
            folder
            for folder in folders
            if not (PurePosixPath(folder).is_absolute() or ".." in PurePosixPath(folder).parts)
        ]
        places = [self.directory / folder for folder in (*inside, ".")]
        named = [place / name for place in places] if _is_video(name) else []
        found = next((path for path in named if is_file(path)), None)
        if found is not None or (exact and named):
            return found
        stem = name.with_suffix("") if named else name
        if (found := _of_any_suffix(places, stem)) is not None or exact or stem.parent == PurePosixPath("."):
            return found
        if any((place / stem.parent).is_dir() for place in places):
            return None  # its folder is here, and the video is not in it
        flat = _of_any_suffix(places, PurePosixPath(stem.name))
        if flat is not None and self._flat.setdefault(flat, str(stem)) != str(stem):
            self.problems.add("one file for videos of several folders", f"{flat.name}: {self._flat[flat]} and {stem}")
            return None
        return flat

    def text(self, row: Mapping[str, Any], *names: str) -> str:
        """The first of these fields that is a text or a number, without white space around it. Empty: there is none."""
        for name in names:
            value = row.get(name)
            if isinstance(value, bool) or is_nothing(value):
                continue
            if isinstance(value, str | int | float) and str(value).strip():
                return str(value).strip()
        return ""

    def add(self, item: Item) -> bool:
        """Keep an item; whether it was kept. Of two with one id the first is kept, and the other counted. One without a question, or with a
        truth that is no option, is counted and left out."""
        if not item.id:
            self.problems.add("no id", item.question)
        elif not item.question:
            self.problems.add("no question", item.id)
        elif item.options and item.truth not in item.options:
            self.problems.add(
                "answer is no option" if item.truth else "no answer published", f"{item.id}: {item.truth!r}"
            )
        elif item.id in self._ids:
            self.problems.add("id used twice", item.id)
        else:
            self._ids.add(item.id)
            self.items.append(item)
            return True
        return False

    def reading(self) -> Reading:
        """What was read. Raises BenchmarkError if there are no items at all."""
        return Reading(tuple(self.items), self.problems, tuple(self.files), tuple(self.missing))


def _is_video(name: PurePosixPath) -> bool:
    return name.suffix.lower() in VIDEOS


def _of_any_suffix(places: Sequence[Path], stem: PurePosixPath) -> Path | None:
    """The first file of a video by its name without a suffix."""
    bases = (place / stem for place in places)
    paths = (base.parent / f"{base.name}{suffix}" for base in bases for suffix in VIDEOS)
    return next((path for path in paths if is_file(path)), None)


def is_file(path: Path) -> bool:
    """Whether a file is there. False too for a name that is none (too long, with a NUL byte)."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_table(path: Path) -> Any:
    """The rows of a file: a list, or a mapping. Raises BenchmarkError."""
    try:
        if path.stat().st_size > LARGEST_TABLE:
            raise BenchmarkError(f"{path}: has more than {LARGEST_TABLE >> 30} GB")
        value = _READERS[path.suffix.lower()](path)
    except KeyError:
        raise BenchmarkError(f"{path}: is no table; {', '.join(TABLES)} are read") from None
    except OSError as error:
        raise BenchmarkError(f"{path}: cannot be read: {reason(error)}") from None
    except (ValueError, RecursionError) as error:
        raise BenchmarkError(
            f"{path}: cannot be read ({why_unreadable(error)}); correct it, or download it again"
        ) from None
    if not isinstance(value, list | dict):
        raise BenchmarkError(f"{path}: holds neither a list nor an object")
    return value


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8-sig"))


def _json_lines(path: Path) -> list[Any]:
    rows = []
    # Not splitlines: a text may hold other marks that end lines, such as U+2028.
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise BenchmarkError(
                    f"{path}, line {number}: cannot be read ({why_unreadable(error)}); correct it, or download the file again"
                ) from None
    return rows


def _separated(delimiter: str) -> Callable[[Path], list[Any]]:
    def read(path: Path) -> list[Any]:
        csv.field_size_limit(_LARGEST_FIELD)
        reader = csv.DictReader(
            io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), delimiter=delimiter, strict=True
        )
        try:
            names = reader.fieldnames or ()
            if twice := sorted({name for name in names if name.strip() and names.count(name) > 1}):
                raise BenchmarkError(f"{path}: two columns are called '{twice[0]}'; rename one")
            return [{None: None, **row} if None in row.values() else row for row in reader]
        except csv.Error as error:
            raise BenchmarkError(
                f"{path}, line {reader.line_num + 1}: cannot be read ({error}); correct it, or download the file again"
            ) from None

    return read


def _parquet(path: Path) -> list[Any]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise BenchmarkError(
            f"{path}: needs pyarrow; install it (pip install pyarrow), or convert the file to JSON"
        ) from None
    try:
        rows: list[Any] = parquet.read_table(path).to_pylist()
    except Exception as error:  # pyarrow's own, which are ValueErrors and others
        raise ValueError(str(error)) from None
    return rows


_READERS: Final[Mapping[str, Callable[[Path], Any]]] = {
    ".json": _json, ".jsonl": _json_lines, ".csv": _separated(","), ".tsv": _separated("\t"), ".parquet": _parquet,
}  # fmt: skip


def groups_of(**values: str) -> dict[str, str]:
    """Groups of an item, without those that it lacks."""
    return {name.replace("_", " "): value for name, value in values.items() if value}
