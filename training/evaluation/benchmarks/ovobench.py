"""OVO-Bench: backward tracing, real-time perception, forward responding, in twelve tasks.

Format: JoeLeelyf/OVO-Bench, ovo_bench_new.json: nine tasks of multiple choice {id, task, video, realtime (int or float), question,
options, gt (0-based)}; forward: CRR {question, answer, ask_time, clue_time, test_info [{realtime, type}]}, SSR {test_info [{realtime, step,
type}]}, REC {activity, test_info [{realtime, count}]}. Videos: src_videos/<video>, or the clips that end at each moment,
chunked_videos/<id>.mp4 and <id>_<i>.mp4. Prompts: utils/OVOBench.py; official rules: utils/OVOBenchScore.py.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from afterview.stream.ask.subtitles import clock_seconds
from afterview.training.evaluation.benchmarks.base import LETTERS, Benchmark, Item, Options, Reading
from afterview.training.evaluation.benchmarks.files import Data, as_list, is_file, lettered
from afterview.training.evaluation.benchmarks.scoring import (
    choice_score,
    contains,
    joined_digits,
    one_number,
    yes_or_no,
)

MODES: Final[Mapping[str, tuple[str, ...]]] = {
    "backward": ("EPM", "ASI", "HLD"),
    "realtime": ("STU", "OJR", "ATR", "ACR", "OCR", "FPD"),
    "forward": ("REC", "SSR", "CRR"),
}
_CHOICE: Final = (
    "Question: {question}\nOptions:\n{options}\nRespond only with the letter corresponding to your chosen option (e.g., A, B, C).\n"
    "Do not include any additional text or explanation in your response."
)
_YES_NO: Final = "Answer only with \u201cYes\u201d or \u201cNo\u201d.\nDo not include any additional text or explanation in your response."
_FORWARD: Final = {
    "REC": (
        "You're watching a video in which people may perform a certain type of action repetively.\n"
        "The person performing this kind of action are referred to as 'they' in the following statement.\n"
        "You're task is to count how many times have different people in the video perform this kind of action in total.\n"
        "One complete motion counts as one.\nNow, answer the following question: {what}\n"
        "Provide your answer as a single number (e.g., 0, 1, 2, 3\u2026) indicating the total count.\n"
        "Do not include any additional text or explanation in your response."
    ),
    "SSR": (
        "You're watching a tutorial video which contain a sequential of steps.\n"
        "The following is one step from the whole procedures:\n{what}\n"
        "Your task is to determine if the man or woman in the video is currently performing this step.\n" + _YES_NO
    ),
    "CRR": (
        "You're responsible of answering questions based on the video content.\n"
        "The following question are relevant to the latest frames, i.e. the end of the video.\n{what}\n"
        "Decide whether existing visual content, especially latest frames, i.e. frames that near the end of the video, provide enough "
        "information for answering the question.\n" + _YES_NO
    ),
}
_choice = choice_score(contains)


def _read(directory: Path, options: Options) -> Reading:
    data = Data(directory, options)
    for _, row in data.table("ovo_bench_new.json", "data/ovo_bench_new.json", "ovo_bench*.json", "ov*bench*.json"):
        task, key = data.text(row, "task"), data.text(row, "id")
        mode = next((name for name, tasks in MODES.items() if task in tasks), "")
        if not mode:
            data.problems.add("unknown task", f"{key}: {task}")
        elif options.split in ("", mode):
            if mode == "forward":
                _add_forward(data, row, task, key)
            else:
                _add_choice(data, row, task, key, mode)
    return data.reading()


def _add_choice(data: Data, row: Mapping[str, Any], task: str, key: str, mode: str) -> None:
    time, question = clock_seconds(row.get("realtime")), data.text(row, "question")
    options = lettered(as_list(row.get("options")))
    number = row.get("gt")
    if time is None:
        data.problems.add("time unreadable", f"{key}: {row.get('realtime')!r}")
    elif not options:
        data.problems.add("no options", key)
    elif (found := _video(data, row, key)) is not None:
        listed = "; ".join(f"{letter}. {text}" for letter, text in options.items()) + ";"
        right = (
            LETTERS[number]
            if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < len(options)
            else str(number)
        )
        prompt = _CHOICE.format(question=question, options=listed)
        data.add(Item(key, found, question, prompt, options, right, {"mode": mode, "task": task}, at_s=time))


def _add_forward(data: Data, row: Mapping[str, Any], task: str, key: str) -> None:
    tests = row.get("test_info")
    for place, test in enumerate(tests if isinstance(tests, list) else []):
        own = f"{key}_{place}"
        time = clock_seconds(test.get("realtime")) if isinstance(test, dict) else None
        if time is None:
            data.problems.add("time unreadable", own)
            continue
        if task == "REC":
            what, value = f"How many times did they {data.text(row, 'activity')}?", data.text(test, "count")
        else:
            what = data.text(test, "step") if task == "SSR" else data.text(row, "question")
            value = {"0": "No", "1": "Yes"}.get(data.text(test, "type"), "")
        if not value:
            data.problems.add("no answer published", own)
        elif (found := _video(data, row, own)) is not None:
            prompt = _FORWARD[task].format(what=what)
            data.add(Item(own, found, what, prompt, truth=value, groups={"mode": "forward", "task": task}, at_s=time))
    if not isinstance(tests, list) or not tests:
        data.problems.add("no answer published", key)


def _video(data: Data, row: Mapping[str, Any], key: str) -> Path | None:
    """The source video; else the clip that was cut at this moment, which the memory then holds up to its end."""
    clips = data.find(f"chunked_videos/{key}.mp4") if key.replace("_", "").isalnum() else []
    if clips and not any(
        is_file(data.directory / folder / data.text(row, "video")) for folder in ("src_videos", "videos", ".")
    ):
        return clips[0]
    return data.video(row.get("video"), "src_videos", "videos", "data/src_videos", where=key)


def _score(item: Item, answer: str) -> Mapping[str, float]:
    if item.options:
        return _choice(item, answer)
    if item.groups["task"] == "REC":
        return {
            "strict": float(str(one_number(answer)) == item.truth),
            "official": float(joined_digits(answer) == item.truth),
        }
    official = answer == item.truth[0] or item.truth in answer
    return {"strict": float(yes_or_no(answer) == item.truth.lower()), "official": float(official)}


OVO_BENCH: Final = Benchmark(
    name="ovo-bench", title="OVO-Bench", kind="online",
    needs=("ovo_bench_new.json", "src_videos/<video> (or chunked_videos/<id>.mp4)"),
    download="huggingface.co/datasets/JoeLeelyf/OVO-Bench",
    source="JoeLeelyf/OVO-Bench, utils/OVOBench.py, utils/OVOBenchScore.py, inference.py",
    read=_read, score=_score, splits=tuple(MODES), likelihood=False,
)  # fmt: skip
