"""TempCompass: temporal perception in short videos, in four forms: multi-choice, yes_no, caption_matching, captioning.

Format: llyx97/TempCompass, questions/<form>.json: {video: {aspect: [{question, answer}]}}; also lmms-eval's rows (video_id, question,
answer, dim). videos/<video>.mp4. Prompts: run_qwen2_vl.py; official rules: eval_*.py and lmms_eval/tasks/tempcompass/utils.py.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from afterview.training.evaluation.benchmarks.base import Benchmark, Item, Options, Reading
from afterview.training.evaluation.benchmarks.files import Data
from afterview.training.evaluation.benchmarks.lettering import letter_of, split_options
from afterview.training.evaluation.benchmarks.scoring import caption_score, captioning_score, yes_no_score
from afterview.training.evaluation.choices import chosen

FORMS: Final = ("multi-choice", "yes_no", "caption_matching", "captioning")
_INSTRUCTIONS: Final = {
    "multi-choice": "\nPlease directly give the best option:",
    "yes_no": "\nPlease answer yes or no:",
    "caption_matching": "\nPlease directly give the best option:",
    "captioning": "",
}
_NAMED = re.compile(r"^((?:Option|Sentence|Caption) \w+):\s*(\S.*)$")
_INFORMATION = re.compile(r"^(Information [A-H]):\s*(\{.*\})$")
_BEGINS_OPTION = re.compile(r"^(?:Option|Sentence|Caption|Information)\s+(?:\d|[A-H])\b")
_CAPTION_TOKENS: Final = 128  # as published


def _read(directory: Path, options: Options) -> Reading:
    data = Data(directory, options)
    for form in [options.split] if options.split else FORMS:
        patterns = [
            f"{folder}{form}{suffix}" for folder in ("questions/", "", f"{form}/") for suffix in (".json", "/*.parquet")
        ]
        rows = data.table(
            *patterns, f"{form}/*.parquet", needed=bool(options.split) or (form == FORMS[-1] and not data.files)
        )
        if not rows:
            data.missing[f"questions/{form}.json"] = None
            data.problems.add("form missing", form)
        for key, row in rows:
            for video, aspect, own in _questions(key, row, data):
                _add(data, form, video, aspect, own)
    return data.reading()


def _questions(key: str, row: dict[str, Any], data: Data) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    if "question" in row:
        yield data.text(row, "video_id"), data.text(row, "dim"), row
        return
    for aspect, entries in row.items():
        for own in entries if isinstance(entries, list) else [entries]:
            if isinstance(own, Mapping):
                yield key, aspect, own
            else:
                data.problems.add("row is no object", f"{key} {aspect}")


def _add(data: Data, form: str, name: str, aspect: str, row: Mapping[str, Any]) -> None:
    text, answer = data.text(row, "question"), data.text(row, "answer", "mc_answer")
    key = f"{form} {name} {aspect} {text}"
    question, options, truth = _parsed(form, text, answer)
    if text and not options:
        data.problems.add("no options", key)
        return
    begun = sum(_BEGINS_OPTION.match(line.strip()) is not None for line in text.split("\n")[1:])
    if form in ("caption_matching", "captioning") and begun != len(options):
        data.problems.add("an option cannot be read", f"{key}: {begun - len(options)} of {begun}")
        return
    video = data.video(name, "videos", "video", where=key)
    if video is None:
        return
    groups = {"form": form, **({"aspect": aspect} if aspect else {})}
    prompt = text + _INSTRUCTIONS[form]
    most = _CAPTION_TOKENS if form == "captioning" else None
    data.add(Item(key, video, question, prompt, options, truth, groups, max_new_tokens=most))


def _parsed(form: str, text: str, answer: str) -> tuple[str, dict[str, str], str]:
    """Question without options, options, and the right one."""
    if form == "multi-choice":
        question, options = split_options(text)
        return question, options, letter_of(answer, options, "letter")
    if form == "yes_no":
        return text, {"yes": "yes", "no": "no"}, answer.lower().strip(". ")
    head, *lines = text.split("\n")
    pattern = _NAMED if form == "caption_matching" else _INFORMATION
    options = {found[1]: found[2] for line in lines if (found := pattern.match(line.strip())) is not None}
    if form == "caption_matching":
        return head, options, answer.split(":")[0].strip()
    return head, {name: _words(told) for name, told in options.items()}, f"Information {answer[:1]}"


def _words(told: str) -> str:
    """`{'subject': 'man', 'action': 'dunking'}` -> the words of its values but the subject, which is the same in all."""
    try:
        values = ast.literal_eval(told)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return told
    parts = [str(value) for name, value in values.items() if name != "subject"] if isinstance(values, dict) else []
    return " ".join(parts) or told


def _score(item: Item, answer: str) -> Mapping[str, float]:
    form = item.groups["form"]
    if form == "yes_no":
        return yes_no_score(item, answer)
    if form == "caption_matching":
        return caption_score(item, answer)
    if form == "captioning":
        return captioning_score(item, answer)
    right = f"{item.truth}. {item.options[item.truth]}"
    official = answer in (right, item.truth) or answer[:2] in (f"{item.truth}.", f"{item.truth})")
    return {"strict": float(chosen(answer, item.options) == item.truth), "official": float(official)}


TEMP_COMPASS: Final = Benchmark(
    name="tempcompass", title="TempCompass", kind="offline",
    needs=("questions/multi-choice.json, yes_no.json, caption_matching.json, captioning.json", "videos/<video>.mp4"),
    download="github.com/llyx97/TempCompass; videos: huggingface.co/datasets/lmms-lab/TempCompass",
    source="llyx97/TempCompass, questions/*.json, run_qwen2_vl.py, eval_captioning.py; lmms-eval, lmms_eval/tasks/tempcompass/utils.py",
    read=_read, score=_score, splits=FORMS,
    judge="captions, and answers that match no rule, are judged by GPT-3.5: here a caption counts by its words, and no rule is no answer",
)  # fmt: skip
