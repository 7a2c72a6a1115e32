"""Results of a benchmark, a needle search or ablations: one format, in one directory.

    run.json       what is run: model, data, settings, command, versions; written before the first answer
    items.jsonl    one JSON object per answered item, on disk before the next is asked (items-1.jsonl ... of further processes)
    results.json   scores with intervals and tables of groups; written at the end, and again whenever a run is resumed

    with ResultsWriter(directory, identity, command=sys.argv) as results:
        for item in items:
            if item.id not in results.done:
                results.add(Row(item.id, {"strict": 1.0}, groups={"duration": "short"}, answer="B", truth="B"))
        results.finish([item.id for item in items])

A run that was killed at any moment resumes: what was answered is not asked again, and half a line at the end is dropped. A run of another
model, other data or other settings is refused, and names what differs.
"""

import json
import logging
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from afterview.memory.base.documents import encode_json
from afterview.memory.base.durable import append, fsync_directory, fsync_file, make_directory, truncate, write_file
from afterview.memory.base.lock import file_lock
from afterview.model.base.machine import installed_version
from afterview.training.base.errors import ResultsError
from afterview.training.evaluation.intervals import mean_of

FORMAT: Final = "afterview results 1"
RUN, ITEMS, DOCUMENT = "run.json", "items", "results.json"
LONGEST_LINE: Final = 4_000_000  # bytes of one item
_PACKAGES: Final = ("afterview", "torch", "transformers", "numpy", "av")

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """One answered item.

    scores: by name, each from 0 to 1; of a name that the item lacks it does not count. groups: what tables are made of, for example
    {"duration": "short", "task": "Action Recognition"}; a list puts the item into several groups of one name. unit: items of one unit
    also count together, right only if all are; unit_size: how many there must be. details: whatever else is worth keeping, JSON-able.
    """

    id: str
    scores: Mapping[str, float]
    groups: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    unit: str = ""
    unit_size: int = 0
    answer: str = ""
    truth: str = ""
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        kept = ("id", "scores")
        return {name: value for name, value in asdict(self).items() if value not in ("", {}, 0) or name in kept}

    @property
    def memberships(self) -> Iterator[tuple[str, str]]:
        """Name and value of each group that it is in."""
        for name, value in self.groups.items():
            for one in [value] if isinstance(value, str) else value:
                yield name, one


@dataclass(frozen=True)
class RunIdentity:
    """What the rows of a run depend on. Only a run with the same identity resumes it.

    kind: `benchmark`, `needle`, `ablation`. task: its name. weights: fingerprint of the model's weights. data: fingerprint of the files
    that were read (evaluation.fingerprint). config: every setting that may change an answer or a score, JSON-able.
    """

    kind: str
    task: str
    model: str
    weights: str
    data: str
    config: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


Describe = Callable[[Sequence[Row]], Mapping[str, Any]]  # rows -> further keys of the document, JSON-able


class ResultsWriter:
    """Adds rows to a directory, new or of the same run. `done`: rows by id that were there, and those added since.

    process, of processes: each of several writes a file of its own; `done` holds the rows of all as of the beginning. Raises ResultsError
    for a directory of another run, one that another process writes, one where a start of another number of processes still runs, and
    damaged rows.
    """

    def __init__(
        self, directory: Path, identity: RunIdentity, *, command: Sequence[str], process: int = 0, processes: int = 1
    ) -> None:
        self.directory, self.identity, self._process = directory, identity, process
        self._path = directory / (f"{ITEMS}-{process}.jsonl" if process else f"{ITEMS}.jsonl")
        self._stack = ExitStack()
        make_directory(directory)
        try:
            with file_lock(directory / ".run.lock"):  # one start after another: meanwhile no other takes a lock on rows
                self._claim(processes)
                self.run = _same_run(directory, identity, list(command), processes)
            self._file = self._opened()
            self.done = {row.id: row for row in read_rows(directory)}
        except BaseException:
            self._stack.close()
            raise
        self.resumed = len(self.done)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, row: Row) -> None:
        """Keep a row: it is on disk when this returns. Raises ResultsError for an id that is there already or a score that is none."""
        if not row.id:
            raise ResultsError("an item has no id; the reader of its benchmark must give it one")
        if row.id in self.done:
            raise ResultsError(f"item {row.id!r} was answered already; ids of items must differ")
        data = _encoded(row)
        append(self._file, self._path, data)
        fsync_file(self._file, self._path)
        self.done[row.id] = row

    def finish(self, order: Sequence[str], describe: Describe = lambda rows: {}, **more: Any) -> dict[str, Any]:
        """Write results.json and return it. order: ids of all items that were to be answered. more: further keys of the document,
        JSON-able; `problems`: of the data, as the reader counted them. describe: makes such keys of the rows of all processes, in order;
        whatever else it reads of other processes, it reads under the same lock."""
        with file_lock(self.directory / ".run.lock"):  # of two that end together, the later sees all that both wrote
            rows = {row.id: row for row in read_rows(self.directory)}
            asked = [rows[one] for one in order if one in rows]
            document = {
                **(_read_run(self.directory) or self.run), "finished": _now(), "complete": len(asked) == len(order),
                "items": len(order), "answered": len(asked), "problems": [], **tables(asked), **more, **describe(asked),
            }  # fmt: skip
            write_file(self.directory / DOCUMENT, encode_json(document))
        return document

    def _claim(self, processes: int) -> None:
        """Take the lock on this process's rows. Items are shared out by the number of processes: beside a process of another number, two
        would answer one item."""
        own = self.directory / f".{self._path.stem}.lock"
        try:
            self._stack.enter_context(file_lock(own, patience_s=0.0))
        except TimeoutError:
            raise ResultsError(
                f"{self.directory}: another process writes these results; wait for it, or choose another --out"
            ) from None
        there = _read_run(self.directory)
        before = there["runs"][-1].get("processes") if there and there["runs"] else None
        others = [lock for lock in sorted(self.directory.glob(f".{ITEMS}*.lock")) if lock != own]
        if before != processes and (held := [lock for lock in others if _is_held(lock)]):
            names = ", ".join(f"{lock.stem.removeprefix('.')}.jsonl" for lock in held)
            raise ResultsError(
                f"{self.directory}: a start of {before} processes still writes {names}, and this one has {processes}; "
                f"wait for it, or end it (`fuser {held[0]}` names the process), and start again"
            )

    def _opened(self) -> IO[bytes]:
        new = not self._path.exists()
        file = self._stack.enter_context(self._path.open("r+b" if not new else "x+b", buffering=0))
        data = file.read()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            _LOGGER.warning("%s: its last line was not completely written; that item is asked again", self._path)
            truncate(file, self._path, end)
            fsync_file(file, self._path)
        if new:
            fsync_directory(self.directory)
        return file


def read_rows(directory: Path) -> list[Row]:
    """All rows of a directory; half a line at the end of a file is none. Raises ResultsError for damage, quoting file and line."""
    rows: dict[str, Row] = {}
    for path in sorted(directory.glob(f"{ITEMS}*.jsonl")):
        for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
            row = _decoded(line, f"{path}, line {number}")
            if row.id in rows:
                raise ResultsError(
                    f"{path}, line {number}: item {row.id!r} stands there twice; remove one of the lines"
                )
            rows[row.id] = row
    return list(rows.values())


def read_results(directory: Path) -> tuple[dict[str, Any], list[Row]]:
    """run.json and the rows of a directory of results. Raises ResultsError."""
    run = _read_run(directory)
    if run is None:
        raise ResultsError(
            f"{directory}: holds no results ({RUN} is missing); name a directory that was given as --out"
        )
    return run, read_rows(directory)


def tables(rows: Sequence[Row]) -> dict[str, Any]:
    """scores: all items. groups: by name and value of a group. units: the same of items that count together, where there are such."""
    found: dict[str, Any] = {"scores": scores_of(rows), "groups": _groups(rows)}
    together, left_out = whole_units(rows)
    if together or left_out:
        found["units"] = {"scores": scores_of(together), "groups": _groups(together), "incomplete": left_out}
    return found


def whole_units(rows: Sequence[Row]) -> tuple[list[Row], int]:
    """A row for each unit whose items were all asked, right only where all are, and how many units are incomplete."""
    by_unit: dict[str, list[Row]] = {}
    for row in rows:
        if row.unit:
            by_unit.setdefault(row.unit, []).append(row)
    whole = [members for members in by_unit.values() if len(members) >= members[0].unit_size]
    return [_together(members) for members in whole], len(by_unit) - len(whole)


def _groups(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    by_group: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        for name, value in row.memberships:
            by_group.setdefault(name, {}).setdefault(value, []).append(row)
    return {
        name: {value: scores_of(members[value]) for value in sorted(members, key=_natural)}
        for name, members in by_group.items()
    }


def scores_of(rows: Iterable[Row]) -> dict[str, dict[str, Any]]:
    """Mean, interval and number of each score."""
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, score in row.scores.items():
            values.setdefault(name, []).append(score)
    return {name: mean_of(scores).to_dict() for name, scores in values.items()}


def _together(rows: Sequence[Row]) -> Row:
    """Items that count together, as one: right only where all are."""
    shared = [name for name in rows[0].scores if all(name in row.scores for row in rows)]
    return Row(rows[0].unit, {name: min(row.scores[name] for row in rows) for name in shared}, rows[0].groups)


def _natural(text: str) -> list[tuple[int, float, str]]:
    """Sorts `2` before `10`, and numbers before words."""
    parts = re.findall(r"\d+(?:\.\d+)?|\D+", text)
    return [(0, float(part), "") if part[0].isdecimal() else (1, 0.0, part) for part in parts]


def _is_held(lock: Path) -> bool:
    try:
        with file_lock(lock, patience_s=0.0):
            return False
    except TimeoutError:
        return True


def _encoded(row: Row) -> bytes:
    for name, score in row.scores.items():
        if isinstance(score, str) or not 0 <= score <= 1:  # NaN too
            raise ResultsError(f"item {row.id!r}: its score {name} is {score!r}; a score is a number from 0 to 1")
    value = {**row.to_dict(), "scores": {name: float(score) for name, score in row.scores.items()}}
    try:
        line = json.dumps(value, ensure_ascii=True, allow_nan=False).encode() + b"\n"
    except (ValueError, TypeError) as error:  # NaN of a broken model, for example
        raise ResultsError(f"item {row.id!r}: what is to be kept of it is no JSON ({error})") from None
    if len(line) > LONGEST_LINE:
        raise ResultsError(f"item {row.id!r} takes {len(line)} bytes; at most {LONGEST_LINE} are kept")
    return line


def _decoded(line: bytes, where: str) -> Row:
    try:
        value = json.loads(line)
        row = Row(**value)
        sound = isinstance(row.id, str) and all(0 <= score <= 1 for score in row.scores.values())
        texts = [*(text for pair in row.memberships for text in pair), row.unit, row.answer, row.truth]
        sound = sound and all(isinstance(text, str) for text in texts)
    except (ValueError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise ResultsError(f"{where}: is no row of results; remove the line, and that item is asked again")
    return row


def _read_run(directory: Path) -> dict[str, Any] | None:
    path = directory / RUN
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or value.get("format") != FORMAT or not isinstance(value.get("runs"), list):
        raise ResultsError(f"{path}: is not of the format '{FORMAT}'; choose another directory")
    value.pop("checksum", None)
    return value


def _same_run(directory: Path, identity: RunIdentity, command: list[str], processes: int) -> dict[str, Any]:
    """run.json of this directory, with this start added. Raises ResultsError for another run's."""
    there, own = _read_run(directory), json.loads(json.dumps(identity.to_dict()))
    if there is None and any(directory.glob(f"{ITEMS}*.jsonl")) and read_rows(directory):
        raise ResultsError(f"{directory}: holds rows, but {RUN} is missing; choose another directory")
    if there is not None and (differs := differences(there, own)):
        raise ResultsError(f"{directory}: holds results of another run: {'; '.join(differs)}; choose another --out")
    versions = {name: installed_version(name) for name in _PACKAGES}
    start = {"began": _now(), "command": command, "versions": {"python": platform.python_version(), **versions}}
    runs = [*(there["runs"] if there else []), {**start, "processes": processes}]
    if there is not None and there["runs"] and there["runs"][-1].get("versions") != start["versions"]:
        _LOGGER.warning("%s: other versions of packages answered the first items; %s names them", directory, RUN)
    run = {"format": FORMAT, **own, "runs": runs}
    write_file(directory / RUN, encode_json(run))
    return run


def differences(first: Mapping[str, Any], second: Mapping[str, Any], *, names: bool = False) -> list[str]:
    """What differs between the identities of two runs, in words. names: whether the model's name counts, too."""
    found = []
    for key in ("kind", "task", "weights", "data", *(["model"] if names else [])):
        if first.get(key) != second.get(key):
            found.append(f"{key} is {first.get(key)} there and {second.get(key)} here")
    one, other = (dict(run.get("config") or {}) for run in (first, second))
    for key in sorted({*one, *other}):
        if one.get(key) != other.get(key):
            found.append(f"{key} is {one.get(key)!r} there and {other.get(key)!r} here")
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
