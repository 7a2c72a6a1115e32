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
from afterview.training.evaluation.benchmarks.features import CAMERA, START, Unchanged
from afterview.training.evaluation.benchmarks.proactive import proactive_summary
from afterview.training.evaluation.benchmarks.running import Work, all_problems, by_video, described
from afterview.training.evaluation.benchmarks.tasks import Task, moments, tasks_of
from afterview.training.evaluation.results import ResultsWriter, Row

_EXACT: Final = 1e-6  # of times in seconds, which are floats
_PERCENTILES: Final = (50, 95, 99)


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
    more = {**described(work, results), "online": timings(results.done.values())}
    if proactive := proactive_summary(results.done.values()):
        more["proactive"] = proactive
    return results.finish(
        [item.id for item in work.items], problems=all_problems(work, results, reading, failures), **more
    )


def timings(rows: Any) -> dict[str, Any]:
    """Percentiles over all answers: first token, age of the newest frame that was seen; and the most that a memory held."""
    logs = [log for row in rows for log in row.details.get("log", {}).values()]
    found: dict[str, Any] = {"answers": len(logs)}
    for name in ("first_token_s", "lag_s"):
        values = [log[name] for log in logs if log.get(name) is not None]
        found[name] = {f"p{p}": round(float(np.percentile(values, p)), 4) for p in _PERCENTILES} if values else None
    for name in ("memory_frames", "memory_bytes", "missing_frames"):
        found[f"most_{name}"] = max((log[name] for log in logs), default=None)
    return found


def _one_pass(work: Work, video: Path, items: Sequence[Item], problems: Problems) -> Iterator[Row]:
    try:
        memory = work.recorded(video)
        asker = Watched(work.asker(memory), memory)
    except (AfterviewError, OSError) as error:
        problems.add("video cannot be read", f"{video.name}: {error}")
        return
    of_item = {item.id: tasks_of(work, item) for item in items}
    for item in items:
        if item.at_s is not None and item.at_s > asker.ends_s:
            problems.add("asked after the video's end", f"{item.id}: {item.at_s:g} s of {asker.ends_s:g} s")
    every = [task for tasks in of_item.values() for task in tasks]
    for time, task in moments(every, asker.times):
        try:
            task.step(asker.ask, time)
        except BenchmarkError:
            raise
        except AfterviewError as error:
            problems.add("item cannot be asked", f"{task.item.id}: {error}")
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
