"""VNBench: needles in a video haystack: retrieval, ordering and counting. 1,350 samples of four trials each, in which the options move.

Format: videoniah/VNBench, VNBench-main-4try.json: video, question, options[4], gt, gt_option, length, type, try, needle_time. Prompt:
README of joez17/VideoNIAH. Protocol: evaluation_utils.py there: a sample is right only if all four trials are; its own table is that of
`units`. Official rule: evaluation/eval.py.
"""

from pathlib import Path
from typing import Final

from afterview.training.evaluation.benchmarks.base import Benchmark, Item, Options, Reading
from afterview.training.evaluation.benchmarks.files import Data, groups_of
from afterview.training.evaluation.benchmarks.lettering import letter_of, listing
from afterview.training.evaluation.benchmarks.scoring import any_of_four, choice_score

_PROMPT: Final = "{question}\n{options}\nAnswer with the option's letter from the given choices directly."
_TRIALS: Final = 4
_TASKS: Final = {"ret": "retrieval", "ord": "ordering", "cnt": "counting"}


def _read(directory: Path, options: Options) -> Reading:
    data = Data(directory, options)
    for _, row in data.table("VNBench-main-4try.json", "VNBench*.json", "*.jsonl", "*.csv"):
        question, kind = data.text(row, "question"), data.text(row, "type")
        # Paths of the authors' machine: the name is what counts, as in their own code.
        name = Path(data.text(row, "video")).name
        key = f"{name} try {data.text(row, 'try')}"
        own = data.options_of(row.get("options"), key)
        if not own:
            continue
        video = data.video(name, "VNBench_new", "videos", "video", "VNBench", where=key)
        if video is not None:
            groups = groups_of(type=kind, task=_TASKS.get(kind[:3], ""), length=data.text(row, "length"))
            prompt = _PROMPT.format(question=question, options=listing(own))
            # gt_option: a letter; a number would be one, too, as the authors' code takes either. gt: the option's text.
            lettered = "gt_option" in row
            truth = letter_of(row.get("gt_option" if lettered else "gt"), own, "number" if lettered else "text")
            data.add(Item(key, video, question, prompt, own, truth, groups, unit=name, unit_size=_TRIALS))
    return data.reading()


VN_BENCH: Final = Benchmark(
    name="vnbench", title="VNBench (VideoNIAH)", kind="offline",
    needs=("VNBench-main-4try.json", "VNBench_new/<video>.mp4 (or videos/)"),
    download="huggingface.co/datasets/videoniah/VNBench; videos: the link in the README of github.com/joez17/VideoNIAH",
    source="joez17/VideoNIAH, README.md, evaluation/eval.py, evaluation_utils.py",
    read=_read, score=choice_score(any_of_four),
)  # fmt: skip
