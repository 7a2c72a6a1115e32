"""Video-MME: 900 videos, 2,700 questions with four options, with and without subtitles.

Format: lmms-lab/Video-MME as lmms-eval reads it (lmms_eval/tasks/videomme/utils.py): videoID, question_id, duration, domain,
sub_category, task_type, question, options[4], answer; data/<videoID>.mp4; subtitle/<videoID>.srt. Prompt and official rule: the same file.
"""

from pathlib import Path
from typing import Final

from afterview.configs import UsageError
from afterview.stream.ask.subtitles import Subtitle, read_subtitles
from afterview.training.evaluation.benchmarks.base import Benchmark, Item, Options, Reading
from afterview.training.evaluation.benchmarks.files import Data, groups_of, is_file
from afterview.training.evaluation.benchmarks.lettering import letter_of, listing
from afterview.training.evaluation.benchmarks.scoring import choice_score, first_capital

_NONE: Final = (
    "This video's subtitles are listed below: \nNo subtitles available\n"  # as published, where a video has none
)
_PROMPT: Final = (
    "Select the best answer to the following multiple-choice question based on {source}. Respond with only the letter (A, B, C, or D) of "
    "the correct option.\n{question}\n{options}\nThe best answer is:"
)


def _read(directory: Path, options: Options) -> Reading:
    data = Data(directory, options)
    source = "the video and the subtitles" if options.subtitles else "the video"
    subtitles: dict[str, tuple[Subtitle, ...]] = {}
    for _, row in data.table("videomme/*.parquet", "*.parquet", "*.jsonl", "*.json", "*.csv", "*.tsv"):
        name, question = data.text(row, "videoID", "video_id"), data.text(row, "question")
        key = data.text(row, "question_id") or f"{name} {question}"
        own = data.options_of(row.get("options"), key)
        if not own:
            continue
        video = data.video(name, "data", "videos", "video", where=key)
        if video is None:
            continue
        if options.subtitles and name not in subtitles:
            subtitles[name] = _subtitles(data, name)
        prompt = _PROMPT.format(source=source, question=question, options=listing(own))
        if options.subtitles and not subtitles[name]:
            prompt = _NONE + prompt
        data.add(
            Item(
                key, video, question, prompt, own,
                letter_of(row.get("answer"), own, "letter"),
                groups_of(
                    duration=data.text(row, "duration"), domain=data.text(row, "domain"),
                    sub_category=data.text(row, "sub_category"), task=data.text(row, "task_type"),
                ),
                subtitles=subtitles.get(name, ()),
            )
        )  # fmt: skip
    return data.reading()


def _subtitles(data: Data, name: str) -> tuple[Subtitle, ...]:
    """Those of a video. Some have none, as published; they are counted."""
    places = [data.directory / folder / f"{Path(name).name}.srt" for folder in ("subtitle", "subtitles")]
    found = next((path for path in places if is_file(path)), None)
    if found is None:
        data.problems.add("no subtitles published", name)
        return ()
    try:
        read = read_subtitles(found)
    except UsageError as error:
        data.files.append(found)
        data.problems.add("unreadable subtitles", str(error))
        return ()
    data.subtitles(found, read.unreadable)
    return read.lines


VIDEO_MME: Final = Benchmark(
    name="video-mme", title="Video-MME", kind="offline",
    needs=("videomme/test-*.parquet (or the same rows as JSON, JSON Lines or CSV)", "data/<videoID>.mp4", "subtitle/<videoID>.srt"),
    download="huggingface.co/datasets/lmms-lab/Video-MME",
    source="lmms-eval, lmms_eval/tasks/videomme/utils.py",
    read=_read, score=choice_score(first_capital), subtitles=True,
)  # fmt: skip
