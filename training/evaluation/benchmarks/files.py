"""The files of a benchmark's data directory: tables in several formats, videos by name, subtitles. Names in them are not trusted.

A table is a JSON list (or a list of lists, or objects by key), JSON Lines, CSV, TSV, or Parquet where pyarrow is installed.
"""

import ast
import csv
import importlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from afterview.configs import why_unreadable
from afterview.configs.system_errors import reason
from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.benchmarks.base import LETTERS, Item, Options, Problems, Reading

TABLES: Final = (".json", ".jsonl", ".csv", ".tsv", ".parquet")
VIDEOS: Final = (".mp4", ".MP4", ".mkv", ".webm", ".avi", ".mov", ".m4v")
LARGEST_TABLE: Final = 2 << 30  # bytes
MISSING_VIDEO: Final = "video missing"
_LARGEST_FIELD: Final = 1 << 24  # characters of a CSV field
_LONGEST_LIST: Final = 20_000  # characters of a list that is written as text
_LETTERED = re.compile(r"^\(?([A-H])(?:[.):]+\s*(.*))?$", re.DOTALL)


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
        for key, row in pairs:
            if isinstance(row, list):  # a list of lists: what belongs to one video
                yield from self._rows(row, path)
            elif isinstance(row, dict):
                yield str(key), row
            else:
                self.problems.add("row is no object", f"{path.name}: {row!r}")

    def video(self, name: object, *folders: str, where: str) -> Path | None:
        """The file of a video, by its name with or without suffix, in one of the folders. None if it is missing, which is counted."""
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
            self._videos[key] = self._look(plain, folders)
        if (found := self._videos[key]) is None:
            self.problems.add(MISSING_VIDEO, f"{where}: {plain}")
            self.missing.setdefault(
                f"{folders[0] if folders else '.'}/{plain.with_suffix('') if plain.suffix in VIDEOS else plain}.*"
            )
        return found

    def known_video(self, name: object, *folders: str) -> Path | None:
        """The same, but one that is missing is not counted."""
        plain = PurePosixPath(str(name).strip()) if isinstance(name, str | int) and not isinstance(name, bool) else None
        if plain is None or not plain.name or ".." in plain.parts or "\0" in str(plain):
            return None
        return self._look(PurePosixPath(plain.name) if plain.is_absolute() else plain, folders)

    def _look(self, name: PurePosixPath, folders: Sequence[str]) -> Path | None:
        stem = name.with_suffix("") if name.suffix in VIDEOS else name
        for folder in (*folders, "."):
            for own in dict.fromkeys((stem, PurePosixPath(stem.name))):
                base = self.directory / folder / own
                for path in (base.parent / f"{base.name}{suffix}" for suffix in VIDEOS):
                    if is_file(path):
                        return path
        return None

    def text(self, row: Mapping[str, Any], *names: str) -> str:
        """The first of these fields that is a text or a number, without white space around it. Empty: there is none."""
        for name in names:
            value = row.get(name)
            if isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
                return str(value).strip()
        return ""

    def add(self, item: Item) -> None:
        """Keep an item. Of two with one id the first is kept, and the other counted. One without a question, or with a truth that is no
        option, is counted and left out."""
        if not item.question:
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

    def reading(self) -> Reading:
        """What was read. Raises BenchmarkError if there are no items at all."""
        return Reading(tuple(self.items), self.problems, tuple(self.files), tuple(self.missing))


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
    except (ValueError, RecursionError, csv.Error) as error:
        raise BenchmarkError(f"{path}: cannot be read ({why_unreadable(error)}); download it again") from None
    if not isinstance(value, list | dict):
        raise BenchmarkError(f"{path}: holds neither a list nor an object")
    return value


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8-sig"))


def _json_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def _separated(delimiter: str) -> Callable[[Path], list[Any]]:
    def read(path: Path) -> list[Any]:
        csv.field_size_limit(_LARGEST_FIELD)
        reader = csv.DictReader(
            io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), delimiter=delimiter, strict=True
        )
        return [{key: value for key, value in row.items() if key is not None and value is not None} for row in reader]

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


def lettered(values: Sequence[Any]) -> dict[str, str]:
    """Options by letter, in order. Letters that the texts have already (`A. red`, `(A) red`) are taken off. Empty: too few or too many."""
    texts = [str(value).strip() for value in values if value is not None]
    if not 2 <= len(texts) <= len(LETTERS):
        return {}
    own = dict(zip(LETTERS, texts, strict=False))
    bare = {letter: _without_letter(letter, text) for letter, text in own.items()}
    if all(text is not None for text in bare.values()):
        return {letter: str(text) for letter, text in bare.items()}
    return own


def _without_letter(letter: str, text: str) -> str | None:
    """`A. red`, `(A) red`, `A) red`, `A: red` -> red; None if the text does not begin so."""
    for opening in (f"{letter}.", f"({letter})", f"{letter})", f"{letter}:"):
        if text.startswith(opening):
            return text[len(opening) :].strip()
    return None


def letter_of(answer: Any, options: Mapping[str, str], *, zero_based: bool = True) -> str:
    """The letter that a published answer means: a letter, a number, or an option's text, with or without its letter. What means none is
    given back as text, which is no letter of the options."""
    if isinstance(answer, bool) or answer is None:
        return ""
    text = str(answer).strip()
    same = [letter for letter, option in options.items() if option == text]
    if len(same) == 1:
        return same[0]
    if text.removesuffix(".0").isdecimal():
        place = int(text.removesuffix(".0")) - (0 if zero_based else 1)
        return list(options)[place] if 0 <= place < len(options) else text
    found = _LETTERED.match(text)
    if found is not None and found[1] in options and (found[2] or "").strip() in ("", options[found[1]]):
        return found[1]
    return text


def as_list(value: Any) -> list[Any]:
    """A list that may have become text in a CSV file: JSON, Python, or one entry a line. Empty: it is none."""
    if isinstance(value, list | tuple):
        return list(value)
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_LIST:
        return []
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(found, list | tuple):
            return list(found)
    return [line for line in value.splitlines() if line.strip()] if "\n" in value else []


def groups_of(**values: str) -> dict[str, str]:
    """Groups of an item, without those that it lacks."""
    return {name.replace("_", " "): value for name, value in values.items() if value}


def listing(options: Mapping[str, str], form: str = "{letter}. {text}") -> str:
    """The options, one a line."""
    return "\n".join(form.format(letter=letter, text=text) for letter, text in options.items())
