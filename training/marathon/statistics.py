"""Statistics of a data set as the paper's Figure 1 and Table 1 have them, with the paper's numbers beside (arXiv 2506.05332)."""

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from afterview.training.marathon.rows import Checked, Failure, LeftOut, Video
from afterview.training.marathon.stages.files import DataSet, general
from afterview.training.marathon.stages.stage import NAMES, VIDEOS
from afterview.training.marathon.tasks import FORMS, TASKS

PAPER: Final = {
    "hours": 9_700, "videos": 28_000, "questions": 3_300_000, "open": 1_730_000, "choice": 1_570_000, "tasks": 22,
    "shortest_minutes": 3, "longest_minutes": 60,
}  # fmt: skip
LENGTHS_MIN: Final = (3, 10, 20, 30, 45, 60)  # borders of the groups of lengths, minutes


@dataclass
class Statistics:
    """Counts. kept, rejected: questions, by (task, form)."""

    videos: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    shortest_s: float = 0.0
    longest_s: float = 0.0
    lengths: Counter[str] = field(default_factory=Counter)
    kept: Counter[tuple[str, str]] = field(default_factory=Counter)
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    letters: Counter[str] = field(default_factory=Counter)
    reach: Counter[str] = field(default_factory=Counter)
    question_words: int = 0
    answer_words: int = 0
    failed: Counter[str] = field(default_factory=Counter)  # items, by stage

    @classmethod
    def of(cls, data: DataSet) -> "Statistics":
        """Of all rows that are there; holds one file."""
        made = cls()
        for row in data.rows(VIDEOS):
            if isinstance(row, Video):
                made._video(row)
        for row in data.rows("checks"):
            if isinstance(row, Checked):
                made._question(row)
        for name in NAMES[1:]:
            for row in data.rows(name) if data.provenance(name) else ():
                made.failed[name] += isinstance(row, Failure)
                if isinstance(row, LeftOut):
                    made.left_out[general(row.left_out)] += 1
        return made

    def _video(self, row: Video) -> None:
        if row.why:
            self.left_out[general(row.why)] += 1
            return
        self.videos += 1
        self.seconds += row.seconds
        self.shortest_s = min(self.shortest_s or row.seconds, row.seconds)
        self.longest_s = max(self.longest_s, row.seconds)
        self.lengths[_group(row.seconds / 60)] += 1

    def _question(self, row: Checked) -> None:
        place = row.task, row.form
        self.flags.update(row.flags)
        if not row.kept:
            self.rejected[place] += 1
            self.reasons.update(row.reasons)
            return
        self.kept[place] += 1
        self.reach[row.reach] += 1
        self.question_words += len(row.question.split())
        self.answer_words += len(row.answer.split())
        if row.letter:
            self.letters[f"{row.letter} of {len(row.options)}"] += 1

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with the paper's numbers."""
        questions = sum(self.kept.values())
        forms: dict[str, int] = {
            form: sum(count for (_, of), count in self.kept.items() if of == form) for form in FORMS
        }
        by_task = {
            task.name: {
                "topic": task.topic, "reach": task.reach, **{form: self.kept[task.name, form] for form in FORMS},
                "rejected": sum(self.rejected[task.name, form] for form in FORMS),
            }
            for task in TASKS
        }  # fmt: skip
        return {
            "videos": self.videos, "hours": round(self.seconds / 3600, 3), "shortest_minutes": round(self.shortest_s / 60, 2),
            "longest_minutes": round(self.longest_s / 60, 2), "lengths_minutes": dict(self.lengths), "questions": questions, **forms,
            "short": self.reach["short"], "long": self.reach["long"],
            "tasks": sum(1 for one in by_task.values() if any(one[form] for form in FORMS)),
            "questions_per_video": round(questions / self.videos, 2) if self.videos else 0.0,
            "question_words": round(self.question_words / questions, 1) if questions else 0.0,
            "answer_words": round(self.answer_words / questions, 1) if questions else 0.0,
            "letters": dict(sorted(self.letters.items())), "rejected": sum(self.rejected.values()),
            "reasons": dict(self.reasons.most_common()), "flags": dict(self.flags), "by_task": by_task,
            "left_out": dict(self.left_out.most_common()), "failed": {name: count for name, count in self.failed.items() if count},
            "paper": PAPER,
        }  # fmt: skip


def _group(minutes: float) -> str:
    """`10-20`."""
    for low, high in itertools.pairwise(LENGTHS_MIN):
        if minutes <= high:
            return f"{low}-{high}" if minutes >= low else f"under {low}"
    return f"over {LENGTHS_MIN[-1]}"
