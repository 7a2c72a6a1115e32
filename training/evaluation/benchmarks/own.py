"""Questions of one's own: a JSON, JSON Lines or CSV file in the data directory.

    video      a file below the directory                       question   the text
    options    a list (also choices, candidates);               answer     a letter, a 0-based number, or the text
               or option_a, option_b ... as columns
    id, category, duration (optional)                           start, end, subtitles (optional): seconds, a file

A question without options is open: its answer is compared word by word. An answer that can mean two of its options, as 2 can of 1, 2 and 3,
or 1 of the columns option1 and option2, is not asked. Columns of other names are not read, and named as such.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from afterview.configs import UsageError
from afterview.stream.ask.options import LETTERS
from afterview.stream.ask.subtitles import Subtitle, read_subtitles
from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.benchmarks.base import Benchmark, Item, Options, Reading
from afterview.training.evaluation.benchmarks.files import TABLES, Data, groups_of
from afterview.training.evaluation.benchmarks.lettering import is_nothing, letters_of, listing
from afterview.training.evaluation.benchmarks.scoring import choice_score, first_capital, open_score

_PROMPT: Final = "{question}\n{options}"
_COLUMN = re.compile(r"(?:option|choice|candidate)[ _-]?([a-h]|\d{1,2})$")
_LISTS: Final = ("options", "choices", "candidates", "option", "choice")
_READ: Final = frozenset((
    "video", "question", "answer", "id", "question_id", "category", "duration", "start", "end", "subtitles", *_LISTS
))  # fmt: skip
_choice = choice_score(first_capital)


def _read(directory: Path, options: Options) -> Reading:
    data = Data(directory, options)
    rows = _rows(data)
    for name in dict.fromkeys(name for row in rows for name in row if name not in {*_READ, *_columns(row)}):
        data.problems.add("column that is not read", name)
    for number, row in enumerate(rows):
        key = data.text(row, "id", "question_id") or str(number)
        choices, truth = _options_and_truth(data, row, key)
        if truth is None:
            continue
        if not truth:
            data.problems.add("no answer published", key)
            continue
        question = data.text(row, "question")
        video, span = (
            data.video(row.get("video"), "videos", "video", where=key, exact=True),
            data.times(row, "start", "end", where=key),
        )
        if video is None or span is None:
            continue
        groups = groups_of(category=data.text(row, "category"), duration=data.text(row, "duration"))
        prompt = _PROMPT.format(question=question, options=listing(choices)) if choices else question
        lines = _subtitles(data, row, key) if options.subtitles else ()
        data.add(
            Item(key, video, question, prompt, choices, truth, groups, subtitles=lines, start_s=span[0], end_s=span[1])
        )
    return data.reading()


def _rows(data: Data) -> list[dict[str, Any]]:
    """Rows of the one table, their names in lower case. Raises BenchmarkError where no row has a video and a question."""
    names = [f"questions{suffix}" for suffix in TABLES]
    if not data.find(*names) and len(several := [path for suffix in TABLES for path in data.find(f"*{suffix}")]) > 1:
        there = ", ".join(path.name for path in several[:5])
        raise BenchmarkError(
            f"{data.directory}: holds several tables ({there}); call the one with the questions questions.json or .csv"
        )
    read = [row for _, row in data.table(*names, *(f"*{suffix}" for suffix in TABLES))]
    rows = [{str(name).strip().lower(): value for name, value in row.items()} for row in read]
    if rows and not any({"video", "question"} <= row.keys() for row in rows):
        there = ", ".join(str(name) for name in read[0])[:200]
        raise BenchmarkError(f"{data.files[-1]}: has no columns `video` and `question`; its columns are: {there}")
    return rows


def _options_and_truth(data: Data, row: Mapping[str, Any], key: str) -> tuple[dict[str, str], str | None]:
    """None as truth: the row cannot be asked, which is counted. No options: the question is open."""
    given = next(
        (row[name] for name in _LISTS if not is_nothing(row.get(name)) and row[name] not in ("", [], {})), None
    )
    columns = _columns(row) if given is None else []
    if given is None:
        given = [row[name] for name in columns]
    elif unread := [name for name in (*_LISTS, *_columns(row)) if row.get(name) not in (None, "", [], {}, given)]:
        data.problems.add("options stand in several columns (the first is read)", f"{key}: also {', '.join(unread)}")
    if not isinstance(given, list) or not all(is_nothing(value) or value == "" for value in given):
        if not (choices := data.options_of(given, key)):
            return {}, None
        meant = letters_of(row.get("answer"), choices, counted_from_one=any(name.endswith("1") for name in columns[:1]))
        if len(meant) > 1:
            data.problems.add("answer can mean two options: write its letter", f"{key}: {row.get('answer')!r}")
            return choices, None
        return choices, meant.pop() if meant else data.text(row, "answer")
    return {}, data.text(row, "answer")


def _columns(row: Mapping[str, Any]) -> list[str]:
    """Columns of options, by their letter or number: option_a, option 1, choice b; or a, b ... alone."""
    marks = {name: found[1] for name in row if (found := _COLUMN.match(name)) is not None}
    alone = {name: name for name in row if name in list(LETTERS.lower())}
    marks = marks or (alone if len(alone) > 1 else {})
    return sorted(marks, key=lambda name: (len(marks[name]), marks[name]))


def _subtitles(data: Data, row: Mapping[str, Any], key: str) -> tuple[Subtitle, ...]:
    name = data.text(row, "subtitles")
    path = data.directory / name
    if not name:
        data.problems.add("no subtitles named", key)
        return ()
    if ".." in Path(name).parts or Path(name).is_absolute():
        data.problems.add("subtitles outside the data directory", f"{key}: {name}")
        return ()
    try:
        found = read_subtitles(path)
    except UsageError as error:
        data.problems.add("unreadable subtitles", f"{key}: {error}")
        return ()
    data.subtitles(path, found.unreadable)
    return found.lines


def _score(item: Item, answer: str) -> Mapping[str, float]:
    return _choice(item, answer) if item.options else open_score(item, answer)


OWN: Final = Benchmark(
    name="own", title="a JSON or CSV file of one's own", kind="offline",
    needs=("questions.json (or .jsonl, .csv): video, question, options, answer", "the videos that it names"),
    download="yours", source="training/evaluation/benchmarks/own.py",
    read=_read, score=_score, subtitles=True,
)  # fmt: skip
