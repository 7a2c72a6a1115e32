"""StreamingBench: questions at moments of a stream, in four sets: real (real-time understanding), omni, sqa (sequential), proactive.

Format: THUNLP-MT/StreamingBench, src/data/questions_<set>.json: a list (sqa: a list of lists) of {time, video_path, video_categories,
questions: [{task_type, question, time_stamp "HH:MM:SS", answer, options[4], required_ability}]}; options may lack their letters;
proactive: ground_truth_time_stamp, ground_truth_output. Also the CSV files of mjuicem/StreamingBench. Prompts: src/benchmark/
StreamingBench.py, StreamingBenchSQA.py (earlier questions with their answers come first), StreamingBenchProactive.py (polled each second
from one second after it was set until four after the truth; officially any `yes` in the answer counts). Scoring: src/data/count.py.

The polls tell the model the output that is due, and end when it is. As a standing question the same task is told neither: it is checked at
every frame from the moment it is set to a minute after the truth.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from afterview.stream.ask.subtitles import clock_seconds
from afterview.training.evaluation.benchmarks.base import Benchmark, Item, Options, Reading, Standing
from afterview.training.evaluation.benchmarks.files import Data, groups_of
from afterview.training.evaluation.benchmarks.lettering import letter_of, listing
from afterview.training.evaluation.benchmarks.scoring import choice_score, first_character, open_score

SETS: Final = ("real", "omni", "sqa", "proactive")
POLL_S: Final = 1.0
AFTER_TRUTH_S: Final = 4.0
WATCHED_S: Final = 60.0  # that a standing question is watched after the truth: what it says then is a false alarm
MOST_POLLS: Final = 3600  # of one question; the videos last half an hour at most
_ROLE: Final = "You are an advanced {what} question-answering AI assistant. You have been provided with "
_LETTER: Final = (
    "choosing from the four options provided. Respond with only the letter (A, B, C, or D) of the correct option."
)
_PROMPT: Final = (
    _ROLE.format(what="video") + "some frames from the video and a multiple-choice question related to the video. "
    f"Your task is to carefully analyze the video and provide the best answer to question, {_LETTER}\n\n"
    "Question: {question}\n\nOptions:\n{options}\n\nThe best option is:"
)
_SEQUENTIAL: Final = (
    _ROLE.format(what="video") + "a video and a multiple-choice question related to the video. "
    f"Your task is to carefully analyze the video and the provided context to answer the question, {_LETTER}\n\n"
    "{context}\n\nHere is the question. Answer it and don't confuse it with the previous conversation.\n"
    "Question: {question}\n\nOptions:\n{options}\n\nThe best option is:"
)
_PROACTIVE: Final = (
    _ROLE.format(what="image")
    + "images and a question related to the images. Your task is to carefully analyze the images and provide "
    "the answer to the question. You need to carefully confirm whether the images content meet the conditions of the question, and then "
    "output the correct content.\n\nQuestion: {question}\n\nThe answer is:\n"
)
_CHECK: Final = "{question} Is it the right time to output it now? You can only answer yes or no."  # ours: nothing like it is published
_NOW: Final = '{question} Is it the right time to output "{output}"? You can only answer yes or no.'
_CONTEXT: Final = (
    "Here are the contextual information related to the video. "
    "Please answer the questions based on the contextual information: "
)
_EARLIER: Final = (
    "At timestamp {time}, the following question and answer occurred: "
    "Question: {question}; Options: {options}; Answer: {answer}; "
)
_FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "real": ("Real_Time_Visual_Understanding*.csv",),
    "omni": ("Omni_Source_Understanding*.csv", "Contextual_Understanding*.csv"),
    "sqa": ("Sequential_Question_Answering*.csv",),
    "proactive": ("Proactive_Output*.csv",),
}
_choice = choice_score(first_character)


def _read(directory: Path, options: Options) -> Reading:
    data = Data(directory, options)
    for name in [options.split] if options.split else SETS:
        patterns = [
            f"{folder}questions_{name}{end}.json" for end in ("", "_stream") for folder in ("", "src/data/", "data/")
        ]
        rows = data.table(*patterns, *_FILES[name], needed=bool(options.split))
        if not rows:
            data.missing[f"questions_{name}.json"] = None
            data.problems.add("set missing", name)
        contexts: dict[str, str] = {}
        found: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = []
        for number, (_, row) in enumerate(rows):
            questions = row.get("questions")
            for place, own in enumerate(questions if isinstance(questions, list) else [row]):
                if isinstance(own, dict):
                    found.append((f"{name} {number}-{place}", row, own))
                else:
                    data.problems.add("row is no object", f"{name} {number}-{place}")
        if name == "sqa":  # what was asked before comes before, whatever the order of the file
            found.sort(key=lambda one: clock_seconds(one[2].get("time_stamp")) or 0.0)
        for key, video_row, own in found:
            _add(data, name, video_row, own, key, contexts)
    return data.reading()


def _add(
    data: Data, name: str, row: Mapping[str, Any], own: Mapping[str, Any], key: str, contexts: dict[str, str]
) -> None:
    key = data.text(own, "question_id") or key
    at_s, question = clock_seconds(own.get("time_stamp")), data.text(own, "question")
    if at_s is None:
        data.problems.add("time unreadable", f"{key}: {own.get('time_stamp')!r}")
        return
    video = data.video(
        row.get("video_path") or _sample(key), "videos", f"videos/{name}", data.text(own, "task_type"), ".", where=key
    )
    if video is None:
        return
    groups = groups_of(set=name, task=data.text(own, "task_type"), ability=data.text(own, "required_ability"))
    if name == "proactive":
        _add_proactive(data, key, video, question, at_s, own, groups)
        return
    options = data.options_of(own.get("options"), key)
    if not options:
        return
    context = contexts.get(str(video), "")
    form = _SEQUENTIAL if name == "sqa" else _PROMPT
    prompt = form.format(context=context, question=question, options=listing(options))
    truth = letter_of(own.get("answer"), options, "letter")
    kept = data.add(Item(key, video, question, prompt, options, truth, groups, at_s=at_s))
    if name == "sqa" and kept:
        earlier = _EARLIER.format(
            time=own.get("time_stamp"),
            question=question,
            answer=own.get("answer"),
            options=", ".join(listing(options).split("\n")),
        )
        contexts[str(video)] = (context or _CONTEXT) + earlier


def _add_proactive(
    data: Data, key: str, video: Path, question: str, at_s: float, row: Mapping[str, Any], groups: Mapping[str, str]
) -> None:
    truth_s, output = clock_seconds(row.get("ground_truth_time_stamp")), data.text(row, "ground_truth_output")
    if truth_s is None or not output:
        data.problems.add("no answer published", f"{key}: {row.get('ground_truth_time_stamp')!r} {output!r}")
        return
    if truth_s - at_s > MOST_POLLS * POLL_S:
        data.problems.add("truth too long after the question", key)
        return
    if truth_s < at_s:
        data.problems.add("truth before the question", key)
        return
    count = int((truth_s + AFTER_TRUTH_S - at_s) // POLL_S)
    polls = tuple(at_s + POLL_S * (number + 1) for number in range(count))
    now, check = (_PROACTIVE.format(question=form.format(question=question, output=output)) for form in (_NOW, _CHECK))
    prompt, truth = _PROACTIVE.format(question=question), (truth_s, truth_s)
    data.add(
        Item(
            key, video, question, prompt, truth=output, groups=groups, at_s=at_s, polls=polls, poll_prompt=now, truth_s=truth,
            standing=Standing(check, at_s, truth_s + WATCHED_S, (truth,), prompt),
        )
    )  # fmt: skip


def _sample(key: str) -> str:
    """The folder of a row of the CSV files, which name no video: `..._sample_3_2` is the second question about sample_3."""
    found = re.search(r"(?:sample_)?(\d+)_\d+$", key)
    return f"sample_{found[1]}/video" if found else ""


def _score(item: Item, answer: str) -> Mapping[str, float]:
    if item.options:
        return _choice(item, answer)
    return {"strict": open_score(item, answer)["exact"], "official": float(item.truth in answer)}


STREAMING_BENCH: Final = Benchmark(
    name="streamingbench", title="StreamingBench", kind="online",
    needs=("questions_real.json, questions_omni.json, questions_sqa.json, questions_proactive.json", "the videos of their video_path"),
    download="github.com/THUNLP-MT/StreamingBench (src/data); videos: huggingface.co/datasets/mjuicem/StreamingBench",
    source="THUNLP-MT/StreamingBench, src/benchmark/*.py, src/data/count.py",
    read=_read, score=_score, splits=SETS, likelihood=False,
)  # fmt: skip
