"""Answers as the judge of a benchmark's authors reads them: files below `answers` of a run's directory, beside its results."""

import json
from pathlib import Path
from typing import Final

from afterview.memory.base.durable import make_directory, write_file
from afterview.memory.base.lock import file_lock
from afterview.training.evaluation.benchmarks.base import Benchmark, Reading
from afterview.training.evaluation.results import read_rows

FOLDER: Final = "answers"


def write_answers(benchmark: Benchmark, reading: Reading, directory: Path) -> None:
    """Write the files of all rows that are there, in place of earlier ones. Nothing for a benchmark that has no such files.

    Raises ResultsError for damaged rows, OSError.
    """
    if benchmark.answers is None:
        return
    make_directory(directory / FOLDER)
    with file_lock(directory / ".answers.lock"):  # of two processes that end together, the later sees the rows of both
        said = {row.id: row.answer for row in read_rows(directory)}
        for name, value in benchmark.answers(reading.items, said).items():
            path = directory / FOLDER / name
            make_directory(path.parent)
            write_file(path, json.dumps(value, ensure_ascii=False, indent=1).encode(errors="replace"))
