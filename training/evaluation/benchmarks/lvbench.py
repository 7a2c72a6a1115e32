"""LVBench: 103 videos of up to two hours, 1,549 questions of six abilities.

Format: video_info.meta.jsonl, one video a line: key (of YouTube), type, qa[{uid, question, answer, question_type[], time_reference}]; the
options stand in the question's text, as `(A) ...` lines. THUDM/LVBench, lvbench/metrics/compute_accuracy.py (a question counts in each
of its types) and lvbench/utils/answer_util.py (the official rule). The prompt is lmms-eval's (lmms_eval/tasks/lvbench/utils.py).
"""

from pathlib import Path
from typing import Any, Final

from afterview.training.evaluation.benchmarks.base import Benchmark, Item, Options, Reading
from afterview.training.evaluation.benchmarks.files import Data
from afterview.training.evaluation.benchmarks.lettering import is_nothing, letter_of, listing, split_options
from afterview.training.evaluation.benchmarks.scoring import choice_score, polished

_PROMPT: Final = "{question}\n{options}\nAnswer the question with the option letter."


def _read(directory: Path, options: Options) -> Reading:
    data = Data(directory, options)
    for _, row in data.table(
        "video_info.meta.jsonl", "data/video_info.meta.jsonl", "*.meta.jsonl", "*.parquet", "*.jsonl", "*.json"
    ):
        name = data.text(row, "key", "video_path", "video")
        questions = row.get("qa")
        for own in questions if isinstance(questions, list) else [row]:
            if isinstance(own, dict):
                _add(data, name, own, data.text(row, "type"))
            else:
                data.problems.add("row is no object", f"{name}: {own!r}")
    return data.reading()


def _add(data: Data, name: str, row: dict[str, Any], kind: str) -> None:
    question, given = data.text(row, "question"), row.get("options", row.get("candidates"))
    options: dict[str, str] = {}
    key = data.text(row, "uid") or f"{name} {question}"
    if is_nothing(given):
        question, options = split_options(question)
    if not options and not (options := data.options_of(given, key)):
        return
    video = data.video(name, "all_videos", "videos", "video", "scripts/videos", where=key)
    if video is None:
        return
    types = row.get("question_type")
    prompt = _PROMPT.format(question=question, options=listing(options, "({letter}) {text}"))
    abilities = [str(one) for one in (types if isinstance(types, list) else [types] if types else [])]
    groups = {"ability": abilities, **({"video": kind} if kind else {})}
    data.add(Item(key, video, question, prompt, options, letter_of(row.get("answer"), options, "letter"), groups))


LV_BENCH: Final = Benchmark(
    name="lvbench", title="LVBench", kind="offline",
    needs=("video_info.meta.jsonl", "all_videos/<key>.mp4 (or videos/)"),
    download="huggingface.co/datasets/THUDM/LVBench; the videos from YouTube by scripts/download.sh of THUDM/LVBench",
    source="THUDM/LVBench, lvbench/metrics/compute_accuracy.py, lvbench/utils/answer_util.py; lmms-eval, lmms_eval/tasks/lvbench/utils.py",
    read=_read, score=choice_score(polished),
)  # fmt: skip
