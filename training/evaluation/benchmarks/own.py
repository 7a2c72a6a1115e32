"""Questions of one's own: a JSON, JSON Lines or CSV file in the data directory.

    video      a file below the directory                       question   the text
    options    a list; or option_a, option_b ... as columns     answer     a letter, a 0-based number, or the text
    id, category, duration (optional)                           start, end, subtitles (optional): seconds, a file

A question without options is open: its answer is compared word by word.
"""

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from afterview.configs import UsageError
from afterview.stream.ask.subtitles import Subtitle, clock_seconds, read_subtitles
from afterview.training.evaluation.benchmarks.base import Benchmark, Item, Options, Reading
from afterview.training.evaluation.benchmarks.files import Data, as_list, groups_of, letter_of, lettered, listing
from afterview.training.evaluation.benchmarks.scoring import choice_score, first_capital, open_score

_PROMPT: Final = "{question}\n{options}"
_choice = choice_score(first_capital)


def _read(directory: Path, options: Options) -> Reading:
    data = Data(directory, options)
    for number, (_, row) in enumerate(data.table("questions.json", "*.jsonl", "*.json", "*.csv", "*.tsv")):
        key, question = data.text(row, "id", "question_id") or str(number), data.text(row, "question")
        given = as_list(row.get("options")) or [row[name] for name in _columns(row) if row[name] not in (None, "")]
        own = lettered(given)
        if given and not own:
            data.problems.add("no options", key)
            continue
        video = data.video(row.get("video"), "videos", "video", where=key)
        if video is None:
            continue
        truth = letter_of(row.get("answer"), own) if own else data.text(row, "answer")
        if not truth:
            data.problems.add("no answer published", key)
            continue
        groups = groups_of(category=data.text(row, "category"), duration=data.text(row, "duration"))
        prompt = _PROMPT.format(question=question, options=listing(own)) if own else question
        lines = _subtitles(data, row, key) if options.subtitles else ()
        start, end = (clock_seconds(row.get(name)) for name in ("start", "end"))
        data.add(Item(key, video, question, prompt, own, truth, groups, subtitles=lines, start_s=start, end_s=end))
    return data.reading()


def _columns(row: Mapping[str, Any]) -> list[str]:
    """option_a ... option_h, a ... h, in the form that the row has."""
    for form in ("option_{}", "option {}", "{}"):
        if names := [form.format(letter) for letter in string.ascii_lowercase[:8] if form.format(letter) in row]:
            return names
    return []


def _subtitles(data: Data, row: Mapping[str, Any], key: str) -> tuple[Subtitle, ...]:
    name = data.text(row, "subtitles")
    path = data.directory / name
    if not name or ".." in Path(name).parts or Path(name).is_absolute():
        return ()
    try:
        found = read_subtitles(path)
    except UsageError as error:
        data.problems.add("unreadable subtitles", f"{key}: {error}")
        return ()
    data.files.append(path)
    return found.lines


def _score(item: Item, answer: str) -> Mapping[str, float]:
    return _choice(item, answer) if item.options else open_score(item, answer)


OWN: Final = Benchmark(
    name="own", title="a JSON or CSV file of one's own", kind="offline",
    needs=("questions.json (or .jsonl, .csv): video, question, options, answer", "the videos that it names"),
    download="yours", source="training/evaluation/benchmarks/own.py",
    read=_read, score=_score, subtitles=True,
)  # fmt: skip
