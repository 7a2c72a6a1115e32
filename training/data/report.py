"""What a training could not use as it is, item by item. Reading, checking and training add to the same report, which lies beside the log.

report.json    {"counts": {"dropped": 2, "skipped": 1}, "items": [{"file", "item", "why", "happened"}, ...]}
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from afterview.memory.base.durable import write_file

REPORT: Final = "report.json"

Happened = Literal["refused", "dropped", "skipped", "truncated", "shortened", "damaged"]
"""refused: the training did not start. dropped: left out before the first step. skipped: left out while training. truncated: cut at
max_length. shortened: used without its leading turn of gpt. damaged: used, although the bank says that its video is damaged."""

_LOGGER = logging.getLogger(__name__)
_SHOWN = 20  # items that a message names; the report names all


@dataclass(frozen=True, order=True)
class ItemProblem:
    """One item of an annotation file that was not used, or not whole. item: its number in the file, from 0."""

    file: str
    item: int
    why: str
    happened: Happened

    def __str__(self) -> str:
        return f"{self.file}: item {self.item}: {self.why}"


class ItemReport:
    """Problems, each counted once however often its item comes up again."""

    def __init__(self, problems: Iterable[ItemProblem] = ()) -> None:
        self._found: dict[tuple[str, int, str], ItemProblem] = {}
        self.add(problems)

    def add(self, problems: Iterable[ItemProblem]) -> list[ItemProblem]:
        """Add problems. Returns those that are new."""
        new = []
        for problem in problems:
            key = problem.file, problem.item, problem.happened
            if key not in self._found:
                self._found[key] = problem
                new.append(problem)
        return new

    @property
    def problems(self) -> list[ItemProblem]:
        """All problems, in the order in which they were found."""
        return list(self._found.values())

    @property
    def counts(self) -> dict[str, int]:
        """How many items were dropped, skipped and so on."""
        return dict(Counter(problem.happened for problem in self._found.values()))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"counts": self.counts, "items": [asdict(problem) for problem in self._found.values()]}

    def write(self, directory: Path) -> None:
        """Write the report into a directory."""
        write_file(directory / REPORT, (json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n").encode())


def log_problems(problems: Sequence[ItemProblem]) -> None:
    """A line of the log for each of the first problems, and one for how many there are."""
    for problem in problems[:_SHOWN]:
        _LOGGER.warning("%s (%s)", problem, problem.happened)
    if len(problems) > _SHOWN:
        _LOGGER.warning("... and %d more items; %s names all", len(problems) - _SHOWN, REPORT)


def listing(problems: Sequence[ItemProblem], most: int = 5) -> str:
    """Problems for a message: the first ones, and how many more there are."""
    more = f"; and {len(problems) - most} more" if len(problems) > most else ""
    return "; ".join(map(str, problems[:most])) + more
