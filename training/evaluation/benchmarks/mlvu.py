"""MLVU: nine tasks about videos of 3 minutes to 2 hours. Its seven multiple-choice tasks are scored; the two generation tasks need a judge.

Format: JUNJIE99/MLVU (videochat2/choice_bench.py, evaluation_test): json/1_plotQA.json ... 7_topic_reasoning.json with video, question,
candidates, answer (the text of the option), question_type; video/<task>/<video>. Also lmms-eval's rows (video_name, question with its
options, task_type, answer). Prompt and official rule: videochat2/choice_bench.py; the opening of the answer, "Best option: (", stands at
the end of the prompt, as in lmms-eval.
"""

from pathlib import Path
from typing import Any, Final

from afterview.training.evaluation.benchmarks.base import Benchmark, Item, Options, Reading
from afterview.training.evaluation.benchmarks.files import Data, groups_of
from afterview.training.evaluation.benchmarks.lettering import is_nothing, letter_of, listing, split_options
from afterview.training.evaluation.benchmarks.scoring import before_bracket, choice_score

_PROMPT: Final = (
    "Carefully watch this video and pay attention to every detail. Based on your observations, select the best option that accurately "
    "addresses the question.\nQuestion: {question}\nOptions:\n{options}\nOnly give the best option.\nBest option: ("
)
_GENERATION: Final = ("sub_scene", "subPlot", "summary", "SSC", "VS")
# Videos of several tasks have the same names, so a task's videos are those of its folder.
_TASKS: Final = ("plotQA", "needle", "ego", "count", "order", "anomaly_reco", "topic_reasoning")
_ALSO: Final = {"findneedle": "needle"}  # names of tasks in rows, where they are not their folder's


def _read(directory: Path, options: Options) -> Reading:
    data = Data(directory, options)
    for _, row in data.table("json/*.json", "MLVU/json/*.json", "test_question.json", "*.parquet", "*.jsonl", "*.json"):
        _add(data, row)
    return data.reading()


def _add(data: Data, row: dict[str, Any]) -> None:
    task = data.text(row, "question_type", "task_type")
    question, candidates = data.text(row, "question"), row.get("candidates")
    options: dict[str, str] = {}
    name = data.text(row, "video", "video_name")
    key = data.text(row, "question_id") or f"{task} {name} {question}"
    if task in _GENERATION or "scoring_points" in row:
        data.problems.add("needs a judge: generation task", key)
        return
    apart = not is_nothing(candidates)
    if not apart:
        question, options = split_options(question)
    if not options and not (options := data.options_of(candidates, key)):
        return
    if (folders := _folders(data, task, name, key)) and (video := data.video(name, *folders, where=key)) is not None:
        prompt = _PROMPT.format(question=question, options=listing(options, "({letter}) {text}"))
        truth = letter_of(row.get("answer"), options, "text" if apart else "letter")
        data.add(Item(key, video, question, prompt, options, truth, groups_of(task=task)))


def _folders(data: Data, task: str, name: str, key: str) -> list[str]:
    """Where the video lies: in its task's folder if that is here, otherwise flat. Of an unknown task: in the one folder that has it; none
    if several have, which is counted."""
    bare = task.casefold()
    own = [f"{number}_{one}" for number, one in enumerate(_TASKS, 1) if one.casefold() == _ALSO.get(bare, bare)]
    every = [f"{number}_{one}" for number, one in enumerate(_TASKS, 1)]
    here = [f"{root}video/{folder}" for folder in own or every for root in ("", "MLVU/")]
    here = [place for place in here if (data.directory / place).is_dir()]
    if own and here:
        return here
    having = [
        place
        for place in here
        if (video := data.known_video(name, place)) is not None and data.directory / place in video.parents
    ]
    if len(having) > 1:
        data.problems.add("videos of several tasks have this name", f"{key}: task '{task}', {', '.join(having)}")
        return []
    return having or ["video", "videos", "MLVU/video", "MLVU/videos"]


MLVU: Final = Benchmark(
    name="mlvu", title="MLVU", kind="offline",
    needs=("json/1_plotQA.json ... json/7_topic_reasoning.json", "video/<task>/"),
    download="huggingface.co/datasets/MLVU/MVLU",
    source="JUNJIE99/MLVU, videochat2/choice_bench.py; VLMEvalKit, vlmeval/dataset (MLVU_MCQ); lmms-eval, lmms_eval/tasks/mlvu/utils.py",
    read=_read, score=choice_score(before_bracket),
    judge="sub-scene captioning and video summary are scored by GPT-4; their questions are counted and not asked",
)  # fmt: skip
