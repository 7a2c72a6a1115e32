"""OVO-Bench: backward tracing, real-time perception, forward responding, in twelve tasks.

Format: JoeLeelyf/OVO-Bench, ovo_bench_new.json: nine tasks of multiple choice {id, task, video, realtime (int or float), question,
options, gt (0-based)}; forward: CRR {question, answer, ask_time, clue_time, test_info [{realtime, type}]}, SSR {test_info [{realtime, step,
type}]}, REC {activity, test_info [{realtime, count}]}. Videos: src_videos/<video>, or the clips that end at each moment,
chunked_videos/<id>.mp4 and <id>_<i>.mp4. Prompts: utils/OVOBench.py; official rules: utils/OVOBenchScore.py.

The official harness polls a forward task at its published moments. Beside it each is asked as a standing question of the source video:
CRR is set at its ask_time and due at its clue_time; a step of SSR is due between its start and its end; REC whenever a motion is complete.
Those of SSR and REC have no published time of asking: they are watched from a minute before the first moment to a minute after the last.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from afterview.stream.ask.subtitles import clock_seconds
from afterview.training.evaluation.benchmarks.base import Benchmark, Item, Options, Reading, Standing
from afterview.training.evaluation.benchmarks.files import Data
from afterview.training.evaluation.benchmarks.lettering import as_list, letter_of
from afterview.training.evaluation.benchmarks.scoring import (
    choice_score,
    contains,
    joined_digits,
    one_number,
    yes_or_no,
)

Spans = tuple[tuple[float, float], ...]
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
# Ours, in the words of the count: nothing like it is published.
_COMPLETES: Final = (
    "You're watching a video in which people may perform a certain type of action repetively.\n"
    "The person performing this kind of action are referred to as 'they' in the following statement.\n"
    "Your task is to determine if, in the latest frames, they complete this action: {what}\n" + _YES_NO
)
WATCHED_S: Final = 60.0  # that a standing question is watched before and after its moments
_LONGEST_COUNT: Final = 6  # digits
_FOLDERS: Final = ("src_videos", "videos", "data/src_videos")
_choice = choice_score(contains)


def _read(directory: Path, options: Options) -> Reading:
    data = Data(directory, options)
    for number, (_, row) in enumerate(
        data.table("ovo_bench_new.json", "data/ovo_bench_new.json", "ovo_bench*.json", "ov*bench*.json"), 1
    ):
        task, key = data.text(row, "task"), data.text(row, "id")
        mode = next((name for name, tasks in MODES.items() if task in tasks), "")
        if not key:
            data.problems.add("no id", f"row {number}: {task}")
        elif not mode:
            data.problems.add("unknown task", f"{key}: {task}")
        elif options.split in ("", mode):
            if mode == "forward":
                _add_forward(data, row, task, key)
            else:
                _add_choice(data, row, task, key, mode)
    return data.reading()


def _add_choice(data: Data, row: Mapping[str, Any], task: str, key: str, mode: str) -> None:
    time, question = clock_seconds(row.get("realtime")), data.text(row, "question")
    if time is None:
        data.problems.add("time unreadable", f"{key}: {row.get('realtime')!r}")
    elif (options := data.options_of(row.get("options"), key)) and (found := _video(data, row, key)) is not None:
        listed = "; ".join(f"{letter}. {text}" for letter, text in options.items()) + ";"
        right = letter_of(row.get("gt"), options, "number")
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
            what, value = f"How many times did they {data.text(row, 'activity')}?", _whole(data, test, "count")
        else:
            what = data.text(test, "step") if task == "SSR" else data.text(row, "question")
            value = {"0": "No", "1": "Yes"}.get(_whole(data, test, "type"), "")
        if not value:
            given = data.text(test, "count" if task == "REC" else "type")
            data.problems.add("answer unreadable" if given else "no answer published", f"{own}: {given}")
        elif (found := _video(data, row, own)) is not None:
            prompt = _FORWARD[task].format(what=what)
            data.add(Item(own, found, what, prompt, truth=value, groups={"mode": "forward", "task": task}, at_s=time))
    if not isinstance(tests, list) or not tests:
        data.problems.add("no answer published", key)
    _add_standing(data, row, task, key)


def _add_standing(data: Data, row: Mapping[str, Any], task: str, key: str) -> None:
    """The same as standing questions: one of a row, of SSR one of each step."""
    video = data.known_video(row.get("video"), *_FOLDERS)
    if video is None:
        data.problems.add("no source video for a standing question", key)  # a clip ends at the moment of a poll
        return
    for name, what, truths in _due(data, row, task, key):
        if not truths or not what:
            data.problems.add("no time of a standing question", f"{key}: {what or 'nothing to watch for'}"[:100])
            continue
        set_s = clock_seconds(row.get("ask_time")) if task == "CRR" else None
        if set_s is not None and truths[0][1] < set_s:
            data.problems.add("truth before the question", key)
            continue
        standing = Standing(
            (_COMPLETES if task == "REC" else _FORWARD[task]).format(what=what),
            max(0.0, truths[0][0] - WATCHED_S) if set_s is None else set_s, truths[-1][1] + WATCHED_S, truths,
        )  # fmt: skip
        truth, groups = ", ".join(f"{start:g} s" for start, _ in truths), {"mode": "forward", "task": task}
        data.add(
            Item(name, video, what, standing.check, truth=truth, groups=groups, at_s=standing.set_s, standing=standing)
        )


def _due(data: Data, row: Mapping[str, Any], task: str, key: str) -> list[tuple[str, str, Spans]]:
    """Id, subject and moments of each standing question of a row."""
    if task == "CRR":
        clue = clock_seconds(row.get("clue_time"))
        return [(f"{key}_standing", data.text(row, "question"), () if clue is None else ((clue, clue),))]
    if task == "REC":
        ends = sorted(span[1] for span in _spans(row.get("start_times"), row.get("end_times")))
        return [(f"{key}_standing", data.text(row, "activity"), tuple((end, end) for end in ends))]
    spans, steps = _spans(row.get("start_time"), row.get("end_time")), as_list(row.get("all_steps"))
    of_step: dict[str, Spans] = {}
    if len(steps) == len(spans):
        for step, span in zip(steps, spans, strict=True):
            of_step[str(step).strip()] = (*of_step.get(str(step).strip(), ()), span)
    else:  # by the polls that are answered with yes
        for test in as_list(row.get("test_info")):
            time = clock_seconds(test.get("realtime")) if isinstance(test, dict) else None
            if time is not None and _whole(data, test, "type") == "1":
                step = data.text(test, "step")
                own = tuple(span for span in spans if span[0] <= time <= span[1])
                of_step[step] = tuple(sorted({*of_step.get(step, ()), *own}))
    return [(f"{key}_standing_{place}", step, tuple(sorted(own))) for place, (step, own) in enumerate(of_step.items())]


def _whole(data: Data, row: Mapping[str, Any], name: str) -> str:
    """A field's whole number, of which `2.0` is one, too; empty if it holds none."""
    digits = data.text(row, name).removesuffix(".0")
    return str(int(digits)) if digits.isascii() and digits.isdecimal() and len(digits) <= _LONGEST_COUNT else ""


def _spans(starts: object, ends: object) -> list[tuple[float, float]]:
    """Pairs of times; none unless all of them can be read."""
    first, last = ([clock_seconds(time) for time in as_list(values)] for values in (starts, ends))
    pairs = [(a, b) for a, b in zip(first, last, strict=False) if a is not None and b is not None and a <= b]
    return pairs if len(pairs) == len(first) == len(last) else []


def _video(data: Data, row: Mapping[str, Any], key: str) -> Path | None:
    """The source video; else the clip that was cut at this moment, which the memory then holds up to its end."""
    clips = data.find(f"chunked_videos/{key}.mp4") if key.replace("_", "").isalnum() else []
    if clips and data.known_video(row.get("video"), *_FOLDERS) is None:
        return clips[0]
    return data.video(row.get("video"), *_FOLDERS, where=key)


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
