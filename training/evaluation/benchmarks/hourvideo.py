"""HourVideo: first-person videos of up to two hours, five options each. Answers of a development set alone are public.

Format: keshik6/HourVideo (hourvideo/hv_utils.py, gemini_qa.py): json/hourvideo_release_v1_0.json: {video: {video_metadata,
benchmark_dataset: [{qid, task, mcq_test, correct_answer_label}]}}; mcq_test is the question with its options. The authors' prompt (a YAML
file) was not found: the instruction is that of LongVideoBench. Official rule: the label alone. Four tasks offer pictures as options, which
a memory cannot show; they are counted and not asked.
"""

from pathlib import Path
from typing import Any, Final

from afterview.training.evaluation.benchmarks.base import Benchmark, Item, Options, Reading
from afterview.training.evaluation.benchmarks.files import Data, groups_of
from afterview.training.evaluation.benchmarks.lettering import letter_of, split_options
from afterview.training.evaluation.benchmarks.scoring import choice_score

_PROMPT: Final = "{test}\nAnswer with the option's letter from the given choices directly."
_WITH_PICTURES: Final = (
    "reasoning/predictive", "navigation/room_to_room_image", "navigation/object_retrieval_image", "reasoning/spatial/layout",
)  # fmt: skip


def _read(directory: Path, options: Options) -> Reading:
    data = Data(directory, options)
    for name, row in data.table("json/hourvideo_release*.json", "hourvideo*.json", "*.json"):
        questions = row.get("benchmark_dataset")
        if not isinstance(questions, list):
            data.problems.add("video without questions", name)
            continue
        for own in questions:
            if isinstance(own, dict):
                _add(data, name, own)
            else:
                data.problems.add("row is no object", f"{name}: {own!r}")
    return data.reading()


def _add(data: Data, name: str, row: dict[str, Any]) -> None:
    task, test = data.text(row, "task"), data.text(row, "mcq_test")
    key = data.text(row, "qid") or f"{name} {test}"
    question, options = split_options(test)
    if task in _WITH_PICTURES:
        data.problems.add("options are pictures", key)
    elif not options:
        data.problems.add("no options", key)
    elif (video := data.video(name, "videos", "video", where=key)) is not None:
        truth = letter_of(row.get("correct_answer_label"), options, "letter")
        groups = groups_of(task=task, part=task.split("/")[0])
        data.add(Item(key, video, question, _PROMPT.format(test=test), options, truth, groups))


def _label(item: Item, answer: str) -> float:
    return float(answer.strip() == item.truth)


HOUR_VIDEO: Final = Benchmark(
    name="hourvideo", title="HourVideo", kind="offline",
    needs=("json/hourvideo_release_v1_0.json", "videos/<video>.mp4"),
    download="the release that github.com/keshik6/HourVideo links to; videos of Ego4D",
    source="keshik6/HourVideo, hourvideo/hv_utils.py, hourvideo/gemini_qa.py",
    read=_read, score=choice_score(_label),
)  # fmt: skip
