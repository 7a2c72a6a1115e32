"""MLVU: nine tasks about videos of 3 minutes to 2 hours. Its seven multiple-choice tasks are scored; the two generation tasks need a judge.

Format: JUNJIE99/MLVU (videochat2/choice_bench.py, evaluation_test): json/1_plotQA.json ... 7_topic_reasoning.json with video, question,
candidates, answer (the text of the option), question_type; video/<task>/<video>. Also lmms-eval's rows (video_name, question with its
options, task_type, answer). Prompt and official rule: videochat2/choice_bench.py; the opening of the answer, "Best option: (", stands at
the end of the prompt, as in lmms-eval.
"""

from pathlib import Path
from typing import Any, Final

from afterview.training.evaluation.benchmarks.base import Benchmark, Item, Options, Reading
from afterview.training.evaluation.benchmarks.files import Data, as_list, groups_of, letter_of, lettered, listing
from afterview.training.evaluation.benchmarks.lvbench import split_options
from afterview.training.evaluation.benchmarks.scoring import before_bracket, choice_score

_PROMPT: Final = (
    "Carefully watch this video and pay attention to every detail. Based on your observations, select the best option that accurately "
    "addresses the question.\nQuestion: {question}\nOptions:\n{options}\nOnly give the best option.\nBest option: ("
)
_GENERATION: Final = ("sub_scene", "subPlot", "summary", "SSC", "VS")
_FOLDERS: Final = (
    "video/1_plotQA", "video/2_needle", "video/3_ego", "video/4_count", "video/5_order", "video/6_anomaly_reco", "video/7_topic_reasoning",
    "video", "videos",
)  # fmt: skip


def _read(directory: Path, options: Options) -> Reading:
    data = Data(directory, options)
    for _, row in data.table("json/*.json", "MLVU/json/*.json", "test_question.json", "*.parquet", "*.jsonl", "*.json"):
        _add(data, row)
    return data.reading()


def _add(data: Data, row: dict[str, Any]) -> None:
    task = data.text(row, "question_type", "task_type")
    question, inside = split_options(data.text(row, "question"))
    name = data.text(row, "video", "video_name")
    key = data.text(row, "question_id") or f"{task} {name} {question}"
    options = lettered(as_list(row.get("candidates"))) or inside
    if task in _GENERATION or "scoring_points" in row:
        data.problems.add("needs a judge: generation task", key)
    elif not options:
        data.problems.add("no options", key)
    elif (video := data.video(name, *_FOLDERS, *(f"MLVU/{folder}" for folder in _FOLDERS), where=key)) is not None:
        prompt = _PROMPT.format(question=question, options=listing(options, "({letter}) {text}"))
        truth = letter_of(row.get("answer"), options)
        data.add(Item(key, video, question, prompt, options, truth, groups_of(task=task)))


MLVU: Final = Benchmark(
    name="mlvu", title="MLVU", kind="offline",
    needs=("json/1_plotQA.json ... json/7_topic_reasoning.json", "video/<task>/"),
    download="huggingface.co/datasets/MLVU/MVLU",
    source="JUNJIE99/MLVU, videochat2/choice_bench.py; VLMEvalKit, vlmeval/dataset (MLVU_MCQ); lmms-eval, lmms_eval/tasks/mlvu/utils.py",
    read=_read, score=choice_score(before_bracket),
    judge="sub-scene captioning and video summary are scored by GPT-4; their questions are counted and not asked",
)  # fmt: skip
