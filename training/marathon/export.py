"""What comes out of a run: VideoMarathon's JSON per split, statistics, a sheet of samples, and features if they are wanted.

Written anew each time from the checked questions; it takes seconds. Features that are there are kept.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from afterview.configs import UsageError
from afterview.memory.base.durable import replacing, write_file
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.base.seeds import seeded
from afterview.training.marathon.config import MarathonConfig
from afterview.training.marathon.longvid import LabelQuestion, label_questions
from afterview.training.marathon.rows import Checked, ClipCaption, GlobalCaption, Video, VideoEvent
from afterview.training.marathon.sheet import write_sheet
from afterview.training.marathon.stages.checks import LETTERS
from afterview.training.marathon.stages.files import DataSet
from afterview.training.marathon.statistics import Statistics

SPLITS: Final = ("train", "validation", "test")
STATISTICS: Final = "statistics.json"
SHEET: Final = "sheet.html"
FEATURES: Final = "features"
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """The files. annotations: by split, with the number of samples."""

    annotations: dict[str, Path]
    samples: dict[str, int]
    questions: int
    statistics: Path
    sheet: Path
    longvid: dict[str, int]  # samples of longvid-SPLIT.json
    features: Path | None = None
    features_failed: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "annotations": {split: str(path) for split, path in self.annotations.items()}, "samples": self.samples,
            "questions": self.questions, "statistics": str(self.statistics), "sheet": str(self.sheet), "longvid_samples": self.longvid,
            "features": None if self.features is None else str(self.features), "features_failed": self.features_failed,
        }  # fmt: skip


def export(data: DataSet, config: MarathonConfig, videos: Path, *, progress: ShowProgress = unseen) -> Exported:
    """Write everything from the rows of a complete run. Raises UsageError if the last stage is not done."""
    if not data.done("checks"):
        raise UsageError(f"{data.out}: the checks are not done; run it to its end first")
    annotations, samples = dict[str, Path](), dict[str, int]()
    for split in SPLITS:
        path = data.out / f"{split}.json"
        of_split = (samples_of(rows, config) for video, rows in _by_video(data) if video.split == split)
        samples[split] = _write_list(path, (sample for made in of_split for sample in made))
        if samples[split]:
            annotations[split] = path
        else:
            path.unlink(missing_ok=True)  # `train` refuses an empty list
    longvid = {
        split: _write_list(data.out / f"longvid-{split}.json", _longvid(data, config, split)) for split in SPLITS
    }
    for split, count in longvid.items():
        if not count:
            (data.out / f"longvid-{split}.json").unlink(missing_ok=True)
    statistics = Statistics.of(data)
    write_file(data.out / STATISTICS, json.dumps(statistics.to_dict(), indent=1, ensure_ascii=False).encode())
    with progress("sheet of samples"):
        write_sheet(data, config, videos, data.out / SHEET)
    features, failed = None, dict[str, str]()
    if config.features is not None and samples:
        features = data.out / FEATURES
        failed = _extract(data, config.features, videos, features, progress)
    kept = sum(statistics.kept.values())
    return Exported(annotations, samples, kept, data.out / STATISTICS, data.out / SHEET, longvid, features, failed)


def _by_video(data: DataSet) -> Iterator[tuple[Video, list[Checked]]]:
    """The kept questions of each video. Holds one file."""
    for number in range(data.count()):
        videos = {video.video: video for video in data.videos(number)}
        for name, rows in groupby(data.read("checks", number), key=lambda row: row.video):
            kept = [row for row in rows if isinstance(row, Checked) and row.kept]
            if kept:
                yield videos[name], kept


def samples_of(questions: list[Checked], config: MarathonConfig) -> list[dict[str, Any]]:
    """The questions of a video as samples in VideoMarathon's format, of several turns each, in a seeded order."""
    video = questions[0].video
    mixed = seeded(f"marathon samples 1, {video}, seed {config.seed}").sample(questions, len(questions))
    most = config.questions.samples
    groups = [mixed[at : at + most] for at in range(0, len(mixed), most)]
    return [
        {
            "id": f"{video}-{number}",
            "data_source": config.name,
            "video": video,
            "tasks": [one.task for one in group],
            "conversations": [turn for place, one in enumerate(group) for turn in _turns(one, place == 0)],
        }
        for number, group in enumerate(groups)
    ]


def _turns(one: Checked, first: bool) -> list[dict[str, str]]:
    """A question and its answer. The answer to a multiple choice is its letter."""
    asked = "\n".join([*(["<image>"] if first else []), question_text(one)])
    return [{"from": "human", "value": asked}, {"from": "gpt", "value": one.letter or one.answer}]


def question_text(one: Checked) -> str:
    """A question as a sample asks it: a multiple choice with its lettered options, a line each."""
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, one.options, strict=False)]
    return "\n".join(map(_plain, [one.question, *lines]))


def _longvid(data: DataSet, config: MarathonConfig, split: str) -> Iterator[dict[str, Any]]:
    """Samples of LongVid's five kinds of the videos of a split that have all their captions."""
    for number in range(data.count()):
        videos = [video for video in data.videos(number) if video.split == split]
        whole = {row.video for row in data.read("global-captions", number) if isinstance(row, GlobalCaption)}
        events, clips = data.read("event-captions", number), data.read("clip-captions", number)
        for video in videos:
            if video.video not in whole:
                continue
            rng = seeded(f"marathon longvid 1, {video.video}, seed {config.seed}")
            made = label_questions(
                [row for row in events if isinstance(row, VideoEvent) and row.video == video.video],
                [row for row in clips if isinstance(row, ClipCaption) and row.video == video.video], rng,
            )  # fmt: skip
            yield from _label_samples(video.video, made, config)


def _label_samples(video: str, questions: list[LabelQuestion], config: MarathonConfig) -> Iterator[dict[str, Any]]:
    """Questions from labels as samples, one kind after another."""
    most = config.questions.samples
    for number, at in enumerate(range(0, len(questions), most)):
        group, turns = questions[at : at + most], list[dict[str, str]]()
        for place, one in enumerate(group):
            asked = ("" if place else "<image>\n") + _plain(one.question)
            turns += [{"from": "human", "value": asked}, {"from": "gpt", "value": one.answer}]
        yield {
            "id": f"{video}-longvid-{number}", "data_source": config.name, "video": video,
            "tasks": [one.kind for one in group], "conversations": turns,
        }  # fmt: skip


def _plain(text: str) -> str:
    """Without what a reader would take for the place of a picture."""
    return text.replace("<image>", "(image)").replace("<video>", "(video)")


def _write_list(path: Path, samples: Iterator[dict[str, Any]]) -> int:
    """Write a JSON list, one sample at a time. Returns how many."""
    count = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("[")
        for sample in samples:
            file.write(("," if count else "") + "\n" + json.dumps(sample, ensure_ascii=False))
            count += 1
        file.write("\n]\n")
    return count


def _extract(data: DataSet, model: str, videos: Path, bank: Path, progress: ShowProgress) -> dict[str, str]:
    """Cache the features of the videos that have questions. Returns those that failed, and why."""
    from afterview.training.data.extraction import extract  # late: it loads torch

    sources = [videos / video.video for video, _ in _by_video(data)]
    extracted = extract(sources, model, bank, root=videos, progress=progress)
    return extracted.failed
