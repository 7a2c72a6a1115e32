"""The data sets of a run on disk: a folder per stage, files of rows (JSON Lines, a fixed number of videos each), and provenance.

    OUT/01-videos/00000.jsonl 00001.jsonl ... provenance.json
    OUT/02-clips/...                                            the same videos in the file of the same number
    OUT/answers.sqlite                                          what models have said

A file is written as a whole, and never changed: one that is there is done. A crash costs the files that were in work, and no answer.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from afterview.configs import UsageError, first_problem, why_unreadable
from afterview.memory.base.durable import make_directory, remove_tree, write_file
from afterview.training.marathon.rows import Checked, Failure, LeftOut, Row, Video
from afterview.training.marathon.stages.stage import BY_NAME, VIDEOS, Inputs, Stage, row_of

PROVENANCE: Final = "provenance.json"
FORMAT: Final = 1
_VIDEOS_FOLDER: Final = f"01-{VIDEOS}"


@dataclass(frozen=True)
class DataSet:
    """The files of a run."""

    out: Path

    def folder(self, stage: str) -> Path:
        """Where a stage lies."""
        return self.out / (_VIDEOS_FOLDER if stage == VIDEOS else BY_NAME[stage].folder)

    def file(self, stage: str, number: int) -> Path:
        """A file of a stage."""
        return self.folder(stage) / f"{number:05d}.jsonl"

    def count(self) -> int:
        """How many files each stage has, once the videos are known."""
        return int((self.provenance(VIDEOS) or {}).get("files", 0))

    def done(self, stage: str) -> bool:
        """Whether a stage is complete."""
        return bool((self.provenance(stage) or {}).get("done"))

    def provenance(self, stage: str) -> dict[str, Any] | None:
        """What is written about a stage; None before it began. Raises UsageError for a damaged file."""
        path = self.folder(stage) / PROVENANCE
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{path}: cannot be read ({why_unreadable(error)}); remove its folder, and run again"
            ) from None
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise UsageError(f"{path}: is of another format than {FORMAT}; give another --out")
        return found

    def write_provenance(self, stage: str, about: dict[str, Any]) -> None:
        """Begin a stage, or note its end."""
        make_directory(self.folder(stage))
        write_file(
            self.folder(stage) / PROVENANCE,
            json.dumps({"format": FORMAT, **about}, indent=1, ensure_ascii=False).encode(),
        )

    def write(self, stage: str, number: int, rows: Sequence[Row]) -> None:
        """Write a file of a stage, durably and as a whole."""
        lines = (json.dumps(row.model_dump(mode="json"), ensure_ascii=False) for row in rows)
        write_file(self.file(stage, number), "".join(f"{line}\n" for line in lines).encode())

    def read(self, stage: str, number: int) -> list[Row]:
        """The rows of a file. Raises UsageError naming the line."""
        path, kind = self.file(stage, number), Video if stage == VIDEOS else BY_NAME[stage].row
        rows = []
        try:
            with path.open(encoding="utf-8", newline="\n") as file:
                for text in file:
                    rows.append(row_of(json.loads(text), kind))
        except (OSError, ValueError) as error:
            why = first_problem(error) if isinstance(error, ValidationError) else why_unreadable(error)
            raise UsageError(
                f"{path}: cannot be read{_in_line(error, rows)} ({why}); make it and what follows anew with `--redo {stage}`"
            ) from None
        return rows

    def rows(self, stage: str) -> Iterator[Row]:
        """All rows of the files that are there, in order. Holds one file."""
        for number in range(self.count()):
            if self.file(stage, number).is_file():
                yield from self.read(stage, number)

    def videos(self, number: int) -> list[Video]:
        """The videos of a file that are taken."""
        return [row for row in self.read(VIDEOS, number) if isinstance(row, Video) and not row.why]

    def inputs(self, stage: Stage, number: int) -> dict[str, Inputs]:
        """What a stage reads, by video."""
        found: dict[str, dict[str, list[Row]]] = {}
        for name in stage.needs:
            for row in self.read(name, number) if name != VIDEOS else ():
                found.setdefault(row.video, {}).setdefault(name, []).append(row)
        return {video: Inputs(rows) for video, rows in found.items()}

    def summary(self, stage: str) -> dict[str, Any]:
        """Counts of a stage's rows, and a hash of them all."""
        counts, reasons, made = Counter[str](), Counter[str](), hashlib.sha256()
        for number in range(self.count()):
            made.update(self.file(stage, number).read_bytes())
            for row in self.read(stage, number):
                counts[_kind(row)] += 1
                reasons.update(_reasons(row))
        return {
            "rows": counts["rows"], "failed": counts["failed"], "left_out": counts["left out"],
            "reasons": dict(sorted(reasons.items())), "content": made.hexdigest(),
        }  # fmt: skip

    def remove(self, stage: str) -> None:
        """Remove a stage, for it to be made anew. Its provenance goes first: without it the rest does not count."""
        (self.folder(stage) / PROVENANCE).unlink(missing_ok=True)
        remove_tree(self.folder(stage))


def _in_line(error: Exception, rows: list[Row]) -> str:
    return "" if isinstance(error, OSError) else f" in line {len(rows) + 1}"


def _kind(row: Row) -> str:
    if isinstance(row, Failure):
        return "failed"
    left_out = isinstance(row, LeftOut) or (isinstance(row, Video) and row.why)
    return "left out" if left_out else "rows"


def _reasons(row: Row) -> list[str]:
    """Why a row is not used further: its kinds without numbers and names."""
    if isinstance(row, Checked):
        return list(row.reasons)
    why = (
        row.failed
        if isinstance(row, Failure)
        else row.left_out
        if isinstance(row, LeftOut)
        else getattr(row, "why", "")
    )
    return [general(why)] if why else []


def general(why: str) -> str:
    """A reason without its numbers and details, so that reasons can be counted."""
    head = re.split("[:;(]", why)[0].strip()[:80]
    return " ".join("N" if any(letter.isdigit() for letter in word) else word for word in head.split())
