"""Worlds with what the pipeline kept about them: questions as token ids, in the words of VideoMarathon's JSON, one turn each.

A time since the start of the video is answered by the MOMENT token, as the small model does (model.language.moments): it does not spell.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from afterview.model.language.moments import MOMENT
from afterview.training.base.errors import TrainingError
from afterview.training.marathon.checks.agreement import is_clock, seconds_in
from afterview.training.marathon.export import question_text
from afterview.training.marathon.rows import Checked
from afterview.training.marathon.stages.files import DataSet
from afterview.training.mixtures.plan import MixturesConfig
from afterview.training.mixtures.worlds import length_name, load_rows
from afterview.training.tiny.texts import Text, Words
from afterview.training.world.truth import read_truth, truth_path

_NEAR_S: Final = 1.0  # of a clock time, which has whole seconds, to the start of what proves it


@dataclass(frozen=True)
class Asked:
    """A question. text: with its options. truth: the answer in words, or its letter. proof: frames that prove the answer, int64."""

    key: str
    question: str  # without options
    task: str
    form: str
    reach: str
    truth: str
    options: int
    text: Text
    proof: NDArray[np.int64]


@dataclass(frozen=True)
class Told:
    """A world. rows int32 [T]: of the bank, one a second. events: the frames of each, in order of time."""

    video: str
    length: str
    rows: NDArray[np.int32]
    events: tuple[NDArray[np.int64], ...]
    asked: tuple[Asked, ...]

    @property
    def span(self) -> int:
        """Its frames."""
        return len(self.rows)


@dataclass
class ToldSet:
    """All worlds of a set, by length. left_out: questions that are too long, by reason."""

    worlds: dict[str, list[Told]]
    left_out: Counter[str] = field(default_factory=Counter)
    questions: Counter[str] = field(default_factory=Counter)  # by length and form: `short open`
    tasks: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """Its worlds."""
        return sum(map(len, self.worlds.values()))


def read_told(videos: Path, out: Path, words: Words, config: MixturesConfig) -> ToldSet:
    """The worlds of `videos` with the questions that the run in `out` kept. Raises TrainingError if a length has none."""
    found = ToldSet({name: [] for name in config.lengths})
    for video, rows in _kept(DataSet(out)):
        told = _told(videos, video, rows, words, config, found)
        if told.asked:
            found.worlds[told.length].append(told)
    for name, worlds in found.worlds.items():
        if not worlds:
            raise TrainingError(f"{out}: the pipeline kept no question about a world of length '{name}'")
    return found


def _kept(data: DataSet) -> Iterator[tuple[str, list[Checked]]]:
    for name, rows in groupby(data.rows("checks"), key=lambda row: str(getattr(row, "video", ""))):
        kept = [row for row in rows if isinstance(row, Checked) and row.kept]
        if kept:
            yield name, kept


def _told(
    videos: Path, video: str, rows: Sequence[Checked], words: Words, config: MixturesConfig, found: ToldSet
) -> Told:
    script, _ = read_truth(truth_path(videos / video))
    frames = load_rows(videos / video)
    asked = []
    for row in rows:
        one = _asked(row, len(frames), words)
        if len(one.text.answer) > config.longest_answer:
            found.left_out["the answer is too long"] += 1
        elif one.text.question[1] - one.text.question[0] > config.longest_question:
            found.left_out["the question is too long"] += 1
        else:
            asked.append(one)
    length = length_name(video)
    found.questions.update(f"{length} {one.form}" for one in asked)
    found.tasks.update(one.task for one in asked)
    events = tuple(np.arange(math.ceil(one.start_s), math.ceil(one.end_s)) for one in script.events)
    return Told(video, length, frames, events, tuple(asked))


def _asked(row: Checked, span: int, words: Words) -> Asked:
    answer = row.letter or (MOMENT if _pointed_at(row) else row.answer)
    text = words.put(question_text(row), answer, span)
    proof = [np.arange(math.ceil(one.start_s), min(span, math.ceil(one.end_s))) for one in row.spans]
    return Asked(
        row.key, row.question, row.task, row.form, row.reach, row.letter or row.answer, len(row.options), text,
        np.concatenate([np.empty(0, np.int64), *proof]),
    )  # fmt: skip


def _pointed_at(row: Checked) -> bool:
    """Whether the answer is the time at which its only proof begins."""
    seconds = seconds_in(row.answer) if is_clock(row.answer) else None
    return seconds is not None and len(row.spans) == 1 and abs(seconds - row.spans[0].start_s) <= _NEAR_S
