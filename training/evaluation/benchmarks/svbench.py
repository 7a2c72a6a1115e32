"""SVBench: open questions in turns, at the end of each segment of a stream, officially judged by GPT-4. Two sets of its English test
videos: dialogue (the chain of questions about each segment) and streaming (paths that lead from chain to chain).

Format: yzy666/SVBench of Hugging Face, in the data directory or in a folder SVBench of it. Meta/Meta_EN/meta_test.csv: Video_Name,
Sort_of_Set, Source_of_Dataset. Dialogue/Dialogue_EN/<Video_Name>.json: a list of {chain {questions[], answers[]}, qac_timestamps_start,
qac_timestamps_end}, in seconds; a chain that could not be made is {}. Streaming/Streaming_EN/<Video_Name>.json: a list of paths
{questions[], answers[], timestamps[[start, end]]}. Video/<Video_Name>.mp4. Sources: construct_data/*.py and evaluation/*.py of
yzy-bupt/SVBench (chains, answers for the judge); svbench_protocol.py of Zhangkr2003/QueryStreamPlus, eval/scoring (folders, paths; its
gpt_judge.py expects 7,850 questions in 1,822 chains and 23,635 in 1,000 paths, of 200 videos). Con (links of questions) and Path (places
of a path's questions in the chains) are not needed here; Chinese files (*_ZH) are not read.

Not found: the authors' prompts and inference. The first question of a chain or path is asked as published. A later one continues from the
answer before it ("How did he fall?"), so earlier turns stand before it with their published answers; that form is ours. Not found either:
which of the judge's scripts scores paths.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

from afterview.stream.ask.subtitles import clock_seconds
from afterview.training.evaluation.benchmarks.base import Benchmark, Item, Options, Reading
from afterview.training.evaluation.benchmarks.files import Data, groups_of, is_file, read_table
from afterview.training.evaluation.benchmarks.scoring import open_score

FOLDERS: Final = {"dialogue": "Dialogue/Dialogue_EN", "streaming": "Streaming/Streaming_EN"}  # by set
_ROOTS: Final = ("", "SVBench/")
_META: Final = "Meta/Meta_EN/meta_test.csv"
_LONGEST_NAME: Final = 200  # characters of a video's name, which also names a file of answers
_LATER: Final = "Earlier questions about the video, with their answers:\n{earlier}\n\nQuestion: {question}"
_EARLIER: Final = "Question: {question}\nAnswer: {answer}"


class Turn(NamedTuple):
    """One question of a chain or path. at_s: when it is asked, in seconds from the video's beginning."""

    question: str
    answer: str
    at_s: float


def _read(directory: Path, options: Options) -> Reading:
    data = Data(directory, options)
    for number, (_, row) in enumerate(data.table(*(f"{root}{_META}" for root in _ROOTS))):
        name, kind = data.text(row, "Video_Name"), data.text(row, "Sort_of_Set")
        if not _names_a_file(name):
            data.problems.add("no name of a video", f"row {number}: {name!r}")
        elif kind and kind.lower() != "test":
            data.problems.add("not of the test set", f"{name}: {kind}")
        elif (video := data.video(name, "Video", "SVBench/Video", where=name)) is not None:
            for own in [options.split] if options.split else FOLDERS:
                _add_video(data, own, name, video, data.text(row, "Source_of_Dataset"))
    return data.reading()


def _names_a_file(name: str) -> bool:
    """Whether a name is one of a file, not of a folder or of something elsewhere."""
    plain = bool(name) and name == PurePosixPath(name).name and not set(name) & {"\\", "\0"}
    return plain and name != ".." and len(name) <= _LONGEST_NAME


def _add_video(data: Data, kind: str, name: str, video: Path, source: str) -> None:
    relative = f"{FOLDERS[kind]}/{name}.json"
    path = next((found for root in _ROOTS if is_file(found := data.directory / f"{root}{relative}")), None)
    if path is None:
        data.missing[relative] = None
        data.problems.add("file of questions missing", relative)
        return
    data.files.append(path)
    entries = read_table(path)
    if not isinstance(entries, list):
        data.problems.add("no list of chains or paths", relative)
        return
    for number, entry in enumerate(entries):
        unit, earlier = f"{kind} {name} {number}", list[str]()
        for place, turn in enumerate(_turns(data, kind, entry, unit)):
            question = turn.question
            prompt = _LATER.format(earlier="\n".join(earlier), question=question) if earlier else question
            groups = groups_of(set=kind, source=source, turn="later" if earlier else "first")
            data.add(Item(f"{unit} {place}", video, question, prompt, truth=turn.answer, groups=groups, at_s=turn.at_s))
            earlier.append(_EARLIER.format(question=question, answer=turn.answer))


def _turns(data: Data, kind: str, entry: object, where: str) -> list[Turn]:
    """The turns of a chain or path. None if anything in it is odd, which is counted: a later turn continues from the earlier ones."""
    if not isinstance(entry, dict):
        data.problems.add("row is no object", f"{where}: {entry!r}")
        return []
    own = entry.get("chain") if kind == "dialogue" else entry
    if not entry or not isinstance(own, dict) or not own:
        data.problems.add("empty chain or path", where)
        return []
    questions, answers = _texts(own.get("questions")), _texts(own.get("answers"))
    spans: Any = own.get("timestamps")
    if kind == "dialogue":
        spans = [[entry.get("qac_timestamps_start"), entry.get("qac_timestamps_end")]] * len(questions)
    spans = spans if isinstance(spans, list) else []
    if not questions or not all(questions):
        data.problems.add("no question", where)
    elif not answers or not all(answers):
        data.problems.add("no answer published", where)
    elif not len(questions) == len(answers) == len(spans):
        counts = f"{len(questions)} questions, {len(answers)} answers, {len(spans)} times"
        data.problems.add("questions, answers and times do not pair", f"{where}: {counts}")
    else:
        return _timed(data, where, questions, answers, spans)
    return []


def _timed(
    data: Data, where: str, questions: Sequence[str], answers: Sequence[str], spans: Sequence[object]
) -> list[Turn]:
    """Turns at the ends of their segments."""
    turns: list[Turn] = []
    for question, answer, span in zip(questions, answers, spans, strict=True):
        pair = [clock_seconds(time) for time in span] if isinstance(span, list) else []
        start, end = pair if len(pair) == 2 else (None, None)
        if start is None or end is None:
            data.problems.add("time unreadable", f"{where}: {span!r}")
            return []
        if end < start:
            data.problems.add("segment ends before it begins", f"{where}: {span!r}")
            return []
        if turns and end < turns[-1].at_s:  # the answer before it would tell what comes later
            data.problems.add("path goes back in time", f"{where}: {end:g} s after {turns[-1].at_s:g} s")
            return []
        turns.append(Turn(question, answer, end))
    return turns


def _texts(values: object) -> list[str]:
    """A list's texts without white space around them; empty for what is none."""
    return [one.strip() if isinstance(one, str) else "" for one in values] if isinstance(values, list) else []


def _answers(items: Sequence[Item], said: Mapping[str, str]) -> Mapping[str, Any]:
    """A file for each video and set, as the official judge reads it: a list of {questions[], gt_answers[], answers[]}, one a chain or path.

    {} stands for one that could not be read or is not wholly answered; the judge of chains leaves it out. No file if all are.
    """
    by_unit: dict[str, list[Item]] = {}
    for item in items:
        by_unit.setdefault(item.id.rpartition(" ")[0], []).append(item)
    files: dict[str, list[dict[str, list[str]]]] = {}
    for unit, turns in by_unit.items():
        head, _, place = unit.rpartition(" ")
        chains = files.setdefault("/".join(head.split(" ", 1)) + ".json", [])
        chains += [{} for _ in range(int(place) + 1 - len(chains))]
        if all(turn.id in said for turn in turns):
            chains[int(place)] = {
                "questions": [turn.question for turn in turns], "gt_answers": [turn.truth for turn in turns],
                "answers": [said[turn.id] for turn in turns],
            }  # fmt: skip
    return {name: chains for name, chains in files.items() if any(chains)}


SV_BENCH: Final = Benchmark(
    name="svbench", title="SVBench", kind="online",
    needs=(_META, *(f"{folder}/<Video_Name>.json" for folder in FOLDERS.values()), "Video/<Video_Name>.mp4"),
    download="huggingface.co/datasets/yzy666/SVBench",
    source="yzy-bupt/SVBench, construct_data/*.py, evaluation/*.py; Zhangkr2003/QueryStreamPlus, eval/scoring/svbench_protocol.py. "
    "Not found: the authors' prompts; earlier turns stand before a question with their published answers",
    read=_read, score=open_score, splits=tuple(FOLDERS), likelihood=False, answers=_answers,
    judge="answers are judged by GPT-4; here they are compared word by word, and written to OUT/answers as the judge reads them",
)  # fmt: skip
