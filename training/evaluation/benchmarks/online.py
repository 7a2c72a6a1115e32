"""Runs an online benchmark as its protocol has it, and stops where it would be broken.

One pass: a video is recorded once, one frame a second however short it is, and a frame's features never depend on later ones. A question
at t sees the frames with time <= t and not one more; a harness that cuts clips at whole seconds shows up to a second more. All questions
of a video are asked in order of time, the polls and checks of proactive tasks between them. A question never changes the memory.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from afterview.configs import AfterviewError
from afterview.memory.base.errors import NothingRecorded
from afterview.memory.directory import Memory
from afterview.training.base.errors import BenchmarkError
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.evaluation.benchmarks.asking import Asked, Asker, Reply
from afterview.training.evaluation.benchmarks.base import Item, Problems, Reading
from afterview.training.evaluation.benchmarks.failures import keep_failures
from afterview.training.evaluation.benchmarks.features import CAMERA, START, Unchanged
from afterview.training.evaluation.benchmarks.proactive import percentiles, proactive_summary
from afterview.training.evaluation.benchmarks.running import Work, by_video, described
from afterview.training.evaluation.benchmarks.tasks import Task, moments, tasks_of
from afterview.training.evaluation.results import ResultsWriter, Row

_EXACT: Final = 1e-6  # of times in seconds, which are floats
_TIMED: Final = ("first_token_s", "lag_s")


def run_online(
    work: Work, results: ResultsWriter, reading: Reading, *, progress: ShowProgress = unseen
) -> dict[str, Any]:
    """Ask what was not answered yet, and write the document. Raises BenchmarkError where the protocol is broken."""
    failures = Problems()
    with progress(work.benchmark.name, "items") as report:
        for video, items in by_video(work):
            left = [item for item in items if item.id not in results.done]
            if left:
                for row in _one_pass(work, video, left, failures):
                    results.add(row)
                    report(len(results.done), len(work.items))
            work.discard(video)
    keep_failures(results.directory, work.share.process, failures)  # first: whoever writes the document next names them
    return results.finish(
        [item.id for item in work.items], lambda rows: _described(work, rows, reading, results.directory)
    )


def _described(work: Work, rows: Sequence[Row], reading: Reading, directory: Path) -> dict[str, Any]:
    found = {**described(work, rows, reading, directory), "online": timings(rows)}
    found["problems"] += _of_rows(rows).to_dicts()
    if proactive := proactive_summary(rows):
        found["proactive"] = proactive
    return found


def timings(rows: Sequence[Row]) -> dict[str, Any]:
    """Percentiles of the first token and of the age of the newest frame that was seen, over the answers that are scored; under `polls` and
    `checks` over those, where there are any. most_...: what a memory held at any of these moments."""
    logs = [log for row in rows for log in row.details.get("log", {}).values()]
    steps = [(kind, log) for row in rows for kind, log in row.details.get("steps", {}).items()]
    found: dict[str, Any] = {"answers": len(logs)}
    found |= {name: percentiles([log[name] for log in logs]) for name in _TIMED}
    for kind in sorted({kind for kind, _ in steps}):
        own = [log for name, log in steps if name == kind]
        times = {name: [value for log in own for value in log[name]] for name in _TIMED}
        found[kind] = {"asked": len(times["lag_s"]), **{name: percentiles(values) for name, values in times.items()}}
    held = [*logs, *(log["last"] for _, log in steps)]
    for name in ("memory_frames", "memory_bytes", "missing_frames"):
        found[f"most_{name}"] = max((log[name] for log in held), default=None)
    return found


def _of_rows(rows: Sequence[Row]) -> Problems:
    """What each row says is odd about it: a run that is resumed must not forget it."""
    found = Problems()
    for row in rows:
        for kind, example in row.details.get("problems", {}).items():
            found.add(kind, example)
    return found


def _late(item: Item, ends_s: float) -> dict[str, str]:
    """What lies after the video's end, by kind: no frame shows it, and it counts as wrong or missed."""
    found, truths = {}, [item.truth_s] if item.truth_s is not None else []
    truths += item.standing.truths if item.standing is not None else ()
    if item.at_s is not None and item.at_s > ends_s:
        found["asked after the video's end"] = f"{item.id}: {item.at_s:g} s of {ends_s:g} s"
    if late := [start for start, _ in truths if start > ends_s]:
        found["truth after the video's end"] = f"{item.id}: {late[0]:g} s of {ends_s:g} s"
    return found


def _one_pass(work: Work, video: Path, items: Sequence[Item], problems: Problems) -> Iterator[Row]:
    try:
        memory = work.recorded(video)
        asker = Watched(work.asker(memory), memory)
    except (AfterviewError, OSError) as error:
        problems.add("video cannot be read", f"{video.name}: {error}")
        return
    of_item = {item.id: tasks_of(work, item) for item in items}
    failed: set[str] = set()
    every = [task for tasks in of_item.values() for task in tasks]
    for time, task in moments(every, asker.times):
        if task.item.id in failed:  # it has no row, whatever its later moments bring
            continue
        try:
            task.step(asker.ask, time)
        except BenchmarkError:
            raise
        except AfterviewError as error:
            problems.add("item cannot be asked", f"{task.item.id}: {error}")
            failed.add(task.item.id)
            continue
        if all(one.ended for one in of_item[task.item.id]):
            yield _row(task.item, of_item[task.item.id], asker)


def _row(item: Item, tasks: Sequence[Task], asker: "Watched") -> Row:
    scores: dict[str, float] = {}
    details: dict[str, Any] = {"question": item.question[:500], "video": item.video.name}
    replies = {name: said for task in tasks for name, said in task.replies().items()}
    for task in tasks:
        scores |= task.scores()
        details |= task.details()
    by_reply: dict[int, list[str]] = {}
    for name, (_, reply) in replies.items():
        by_reply.setdefault(id(reply), []).append(name)
    replies = {
        ", ".join(names): replies[names[0]] for names in by_reply.values()
    }  # one answer may count by several rules
    details["problems"] = _late(item, asker.ends_s)
    details["steps"] = {kind: asker.log_steps(said) for task in tasks for kind, said in task.steps().items()}
    details["log"] = {name: asker.log(time, reply) for name, (time, reply) in replies.items()}
    details["answers"] = {name: reply.text for name, (_, reply) in replies.items()}
    seconds = round(sum(reply.seconds for _, reply in replies.values()), 3)
    answer = tasks[0].answer
    return Row(item.id, scores, item.groups, item.unit, item.unit_size, answer, item.truth, seconds, details)


class Watched:
    """Asks, and holds the protocol: no frame from after the moment asked, moments in order, the same memory afterwards.

    Raises BenchmarkError where it is broken. Where nothing was recorded yet, the answer is empty.
    """

    def __init__(self, asker: Asker, memory: Path) -> None:
        self._asker = asker
        snapshot = Memory(memory).camera(CAMERA).snapshot()
        self.times: list[float] = (np.asarray(snapshot.times) - START).tolist()  # of all frames, in seconds
        tokens = snapshot.spec.tokens
        self._frame_bytes = tokens.tokens_per_frame * tokens.width * (1 if tokens.storage == "int8" else 2)
        self._unchanged, self._latest = Unchanged(memory), -math.inf

    @property
    def ends_s(self) -> float:
        """Until when the video goes, in seconds."""
        return self.times[-1] + 1.0 if self.times else 0.0

    def _missing(self, held: int) -> int:
        """Whole seconds without a frame before and between the first `held` frames."""
        steps = (after - before for before, after in pairwise([-1.0, *self.times[:held]]))
        return sum(max(0, round(step) - 1) for step in steps)

    def ask(self, asked: Asked) -> Reply:
        """Ask as of `asked.end_s`."""
        time = asked.end_s
        if time is None or time < self._latest:
            raise BenchmarkError(
                f"a question at {time} s came after one at {self._latest} s; questions of a video are asked in order"
            )
        self._latest = time
        try:
            reply = self._asker.ask(asked)
        except NothingRecorded:
            return Reply("", newest_s=-math.inf)
        if reply.newest_s > time + _EXACT:
            raise BenchmarkError(
                f"a question at {time} s saw a frame of {reply.newest_s} s; nothing later than the question may be seen"
            )
        self._unchanged.require()
        return reply

    def log(self, time: float, reply: Reply) -> dict[str, Any]:
        """Newest frame seen, its age, first token, and what the memory held at that time. missing_frames: seconds without a frame, up
        to the newest that the memory held: what comes after the video's end is not missing."""
        held = int(np.searchsorted(self.times, time + _EXACT, side="right"))
        newest = None if math.isinf(reply.newest_s) else round(reply.newest_s, 3)
        first = None if reply.first_token_s is None else round(reply.first_token_s, 4)
        return {
            "at_s": time, "newest_frame_s": newest, "lag_s": None if newest is None else round(time - newest, 3),
            "first_token_s": first, "frames": reply.frames, "memory_frames": held,
            "memory_bytes": held * self._frame_bytes, "missing_frames": self._missing(held),
        }  # fmt: skip

    def log_steps(self, said: Sequence[tuple[float, Reply]]) -> dict[str, Any]:
        """The same of many answers, ascending: of each its times, and of the last all, for the memory holds the most then."""
        return {
            "first_token_s": [None if one.first_token_s is None else round(one.first_token_s, 4) for _, one in said],
            "lag_s": [None if math.isinf(one.newest_s) else round(time - one.newest_s, 3) for time, one in said],
            "last": self.log(*said[-1]),
        }
