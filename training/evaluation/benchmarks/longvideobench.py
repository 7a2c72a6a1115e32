"""LongVideoBench: questions about moments of videos of up to an hour, with subtitles.

Format: longvideobench/LongVideoBench as lmms-eval (lmms_eval/tasks/longvideobench/utils.py) and VLMEvalKit read it: lvb_val.json with id,
video_path, question, candidates (or option0 ... option4, "N/A" for none), correct_choice (0-based), duration, duration_group,
question_category, subtitle_path, starting_timestamp_for_subtitles; videos/, subtitles/*.json.

The published prompt puts each subtitle between the frames around its middle, and leaves out those during which no frame is seen
(longvideobench/longvideobench_dataset.py of the authors). A model whose decoder reads the frames of a video (VideoChat-Flash) gets the
same, clip by clip. Where a memory is read (Hour-LLaVA) a video has one place: the subtitles stand before the question, each with its
time. The results say which. A missing end is the end of the clip, as published; the authors' code takes a whole number for missing, too.
"""

import math
from pathlib import Path
from typing import Any, Final

from afterview.configs import UsageError
from afterview.stream.ask.subtitles import Subtitle, clock_seconds, read_subtitles
from afterview.training.evaluation.benchmarks.base import Benchmark, Item, Options, Reading
from afterview.training.evaluation.benchmarks.files import Data, groups_of, is_file
from afterview.training.evaluation.benchmarks.lettering import as_list, is_nothing, letter_of, listing
from afterview.training.evaluation.benchmarks.scoring import choice_score, first_capital_or_chance

_PROMPT: Final = "{question}\n{options}\nAnswer with the option's letter from the given choices directly."


def _read(directory: Path, options: Options) -> Reading:
    data = Data(directory, options)
    for _, row in data.table("lvb_val.json", "*val*.parquet", "*.parquet", "*.json", "*.jsonl", "*.csv"):
        question, key = data.text(row, "question"), data.text(row, "id", "video_path")
        candidates = as_list(row.get("candidates")) or [row.get(f"option{number}") for number in range(5)]
        own = data.options_of(
            ["" if text == "N/A" else text for text in candidates], key
        )  # so the table marks what it lacks
        if not own:
            continue
        video = data.video(row.get("video_path"), "videos", "video", where=key)
        if video is None:
            continue
        numbered = "correct_choice" in row
        truth = letter_of(row.get("correct_choice" if numbered else "answer"), own, "number" if numbered else "letter")
        data.add(
            Item(
                key, video, question, _PROMPT.format(question=question, options=listing(own)), own,
                truth,
                groups_of(
                    duration=data.text(row, "duration_group"), category=data.text(row, "question_category"),
                    topic=data.text(row, "topic_category"),
                ),
                subtitles=_subtitles(data, row, key) if options.subtitles else (),
            )
        )  # fmt: skip
    return data.reading()


def _subtitles(data: Data, row: dict[str, Any], key: str) -> tuple[Subtitle, ...]:
    """A clip's own: published are those of the whole video that it was cut from."""
    name = data.text(row, "subtitle_path")
    path = data.directory / "subtitles" / Path(name).name
    if not name or not is_file(path):
        data.problems.add("subtitles missing", f"{key}: {name or 'none named'}")
        return ()
    given = {field: row.get(field) for field in ("starting_timestamp_for_subtitles", "duration")}
    begins, lasts = (clock_seconds(value) for value in given.values())
    if all(is_nothing(value) for value in given.values()):
        data.problems.add("no times of the clip: subtitles of the whole video", key)
        begins, lasts = 0.0, math.inf
    elif begins is None or lasts is None:
        data.problems.add("times of the clip unreadable: asked without subtitles", f"{key}: {given}")
        return ()
    try:
        read = read_subtitles(path, begins_s=begins, ends_s=lasts)
    except UsageError as error:
        data.problems.add("unreadable subtitles", str(error))
        return ()
    data.subtitles(path, read.unreadable)
    return tuple(line for line in read.lines if line.start <= lasts)


LONG_VIDEO_BENCH: Final = Benchmark(
    name="longvideobench", title="LongVideoBench", kind="offline",
    needs=("lvb_val.json", "videos/", "subtitles/*.json"),
    download="huggingface.co/datasets/longvideobench/LongVideoBench",
    source="lmms-eval, lmms_eval/tasks/longvideobench/utils.py; VLMEvalKit, vlmeval/dataset/longvideobench.py",
    read=_read, score=choice_score(first_capital_or_chance), subtitles=True, by_time=True,
)  # fmt: skip
