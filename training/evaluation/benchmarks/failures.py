"""What went wrong while a benchmark ran, kept beside its rows: each of several processes writes a file, and the results name all."""

import json
from pathlib import Path
from typing import Any

from afterview.memory.base.durable import write_file
from afterview.training.base.errors import ResultsError
from afterview.training.evaluation.benchmarks.base import Problems


def keep_failures(directory: Path, process: int, found: Problems) -> None:
    """Write those of this process in place of its earlier ones."""
    write_file(_file(directory, process), json.dumps(found.to_dicts()).encode())


def read_failures(directory: Path, processes: int) -> list[dict[str, Any]]:
    """Those of all processes, as far as each has kept them. Raises ResultsError for a file of another form."""
    together: list[dict[str, Any]] = []
    for number in range(processes):
        path = _file(directory, number)
        if path.is_file():
            try:
                together += [
                    {"kind": one["kind"], "count": one["count"], "examples": one["examples"]}
                    for one in json.loads(path.read_bytes())
                ]
            except (ValueError, TypeError, KeyError):
                raise ResultsError(f"{path}: cannot be read; remove it") from None
    return together


def _file(directory: Path, process: int) -> Path:
    return directory / f"failures-{process}.json"
