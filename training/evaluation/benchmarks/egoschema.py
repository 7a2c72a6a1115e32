"""EgoSchema: three-minute first-person videos, five options each. Of 5,031 questions 500 have published answers.

Format: egoschema/EgoSchema: questions.json (q_uid, question, "option 0" ... "option 4") and subset_answers.json ({q_uid: 0-based});
also lmms-eval's rows (video_idx, question, option[5], answer); videos/<q_uid>.mp4. Prompt and official rule: lmms-eval,
lmms_eval/tasks/egoschema/utils.py.
"""

from pathlib import Path
from typing import Any, Final

from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.benchmarks.base import Benchmark, Item, Options, Reading
from afterview.training.evaluation.benchmarks.files import Data, read_table
from afterview.training.evaluation.benchmarks.lettering import letter_of, listing
from afterview.training.evaluation.benchmarks.scoring import choice_score, exact_option

_PROMPT: Final = "{question}\n{options}\nAnswer with the option's letter from the given choices directly."


def _read(directory: Path, options: Options) -> Reading:
    data = Data(directory, options)
    answers: Any = {}
    if found := data.find("subset_answers.json"):
        data.files.append(found[0])
        if not isinstance(answers := read_table(found[0]), dict):
            raise BenchmarkError(f"{found[0]}: is no object of answers by q_uid; download it again")
    for _, row in data.table("questions.json", "Subset/*.parquet", "*.parquet", "*.jsonl", "questions*.json", "*.csv"):
        name, question = data.text(row, "q_uid", "video_idx"), data.text(row, "question")
        choices = data.options_of(row.get("option") or [row.get(f"option {number}") for number in range(5)], name)
        if not choices:
            continue
        answer = answers.get(name, row.get("answer", row.get("truth")))
        if answer in (None, ""):
            data.problems.add("no answer published", name)
            continue
        video = data.video(name, "videos", "video", where=name)
        if video is not None:
            prompt = _PROMPT.format(question=question, options=listing(choices))
            data.add(Item(name, video, question, prompt, choices, letter_of(answer, choices, "number")))
    return data.reading()


EGO_SCHEMA: Final = Benchmark(
    name="egoschema", title="EgoSchema", kind="offline",
    needs=("questions.json and subset_answers.json (or the rows of lmms-lab/egoschema)", "videos/<q_uid>.mp4"),
    download="github.com/egoschema/EgoSchema (download.py)",
    source="egoschema/EgoSchema, questions.json; lmms-eval, lmms_eval/tasks/egoschema/utils.py",
    read=_read, score=choice_score(exact_option),
)  # fmt: skip
