"""Runs an online benchmark as its protocol has it, and stops where it would be broken.

One pass: a video is recorded once, one frame a second however short it is, and a frame's features never depend on later ones. A question
at t sees the frames with time <= t and not one more; a harness that cuts clips at whole seconds shows up to a second more. All questions
of a video are asked in order of time. A question never changes the memory. Each is asked twice: about all that was seen, and about the
last minute.

A proactive task is polled: it is asked every second, until the answer is yes, whether now is the moment.
"""

import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from afterview.training.evaluation.benchmarks.features import CAMERA, START
from afterview.training.evaluation.benchmarks.running import Work, all_problems, by_video, described
from afterview.training.evaluation.benchmarks.scoring import yes_or_no
from afterview.training.evaluation.results import ResultsWriter, Row

LAST_S: Final = 60.0
CONTEXTS: Final[Mapping[str, float]] = {
    "": math.inf,
    " last 60 s": LAST_S,
}  # what stands after a score's name -> seconds that are seen
ON_TIME_S: Final = 2.0  # StreamingBench: an output counts within so many seconds of the truth
_EXACT: Final = 1e-6  # of times in seconds, which are floats
_PERCENTILES: Final = (50, 95, 99)
# Which answer to a poll says that now is the moment: clearly yes; officially any `yes` in it.
_YES: Final[Mapping[str, Callable[[str], bool]]] = {
    "strict": lambda text: yes_or_no(text) == "yes",
    "official": lambda text: "yes" in text.strip().lower(),
}


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


@dataclass(order=True)
class _Moment:
    """When one item is asked, or polled."""

    time: float
    order: int
    run: "ItemRun" = field(compare=False)


@dataclass
class ItemRun:
    """One item while its video passes. said: answers to its polls so far. outputs: by rule, what it said at the first yes, and when."""

    item: Item
    said: list[tuple[float, str]] = field(default_factory=list)
    outputs: dict[str, tuple[float, Reply]] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether nothing is left to poll."""
        return bool(self.item.polls) and (len(self.outputs) == len(_YES) or len(self.said) == len(self.item.polls))


def moments(items: Sequence[Item]) -> Iterator[tuple[float, ItemRun]]:
    """All questions and polls of one video in order of time. An item that has ended is polled no more."""
    heap: list[_Moment] = []
    for order, item in enumerate(items):
        run = ItemRun(item)
        for time in item.polls or (item.at_s or 0.0,):
            heapq.heappush(heap, _Moment(time, order, run))
    while heap:
        moment = heapq.heappop(heap)
        if not moment.run.ended:
            yield moment.time, moment.run


def _one_pass(work: Work, video: Path, items: Sequence[Item], problems: Problems) -> Iterator[Row]:
    try:
        memory = work.recorded(video)
        asker = Watched(work.asker(memory), memory)
    except (AfterviewError, OSError) as error:
        problems.add("video cannot be read", f"{video.name}: {error}")
        return
    for time, run in moments(items):
        try:
            if not run.item.polls:
                yield _asked_once(work, run.item, asker, time)
            else:
                _poll(work, run, asker, time)
                if run.ended:
                    yield _polled(work, run, asker)
        except BenchmarkError:
            raise
        except AfterviewError as error:
            problems.add("item cannot be asked", f"{run.item.id}: {error}")


def _asked_once(work: Work, item: Item, asker: "Watched", time: float) -> Row:
    scores: dict[str, float] = {}
    replies = {}
    for name, seen_s in CONTEXTS.items():
        start = None if math.isinf(seen_s) else max(0.0, time - seen_s)
        most = item.max_new_tokens or work.max_new_tokens
        reply = asker.ask(Asked(item.prompt, item.question, start, time, item.subtitles, max_new_tokens=most))
        scores |= {f"{score}{name}": value for score, value in work.benchmark.score(item, reply.text).items()}
        replies[name.strip() or "all"] = (time, reply)
    return _row(item, replies["all"][1].text, scores, replies, asker)


def _poll(work: Work, run: ItemRun, asker: "Watched", time: float) -> None:
    """Ask whether now is the moment. At the first yes by either rule the output is asked for, at once."""
    item = run.item
    said = asker.ask(Asked(item.poll_prompt, item.question, None, time)).text
    run.said.append((time, said))
    now = [rule for rule, is_yes in _YES.items() if rule not in run.outputs and is_yes(said)]
    if now:
        most = item.max_new_tokens or work.max_new_tokens
        reply = asker.ask(Asked(item.prompt, item.question, None, time, max_new_tokens=most))
        run.outputs |= dict.fromkeys(now, (time, reply))


def _polled(work: Work, run: ItemRun, asker: "Watched") -> Row:
    """Score a proactive item: on time, and the right output."""
    item = run.item
    assert item.truth_s is not None, "the reader gives it to every proactive item"
    scores: dict[str, float] = {}
    for rule in _YES:
        time, reply = run.outputs.get(rule, (math.inf, Reply("")))
        on_time = abs(time - item.truth_s[0]) <= ON_TIME_S
        scores |= {
            f"{rule} time": float(on_time),
            rule: float(on_time and work.benchmark.score(item, reply.text)[rule]),
        }
    answer = run.outputs["strict"][1].text if "strict" in run.outputs else ""
    polls = [[round(time, 3), text[:80]] for time, text in run.said]
    return _row(item, answer, scores, run.outputs, asker, polls=polls)


def _row(
    item: Item,
    answer: str,
    scores: Mapping[str, float],
    replies: Mapping[str, tuple[float, Reply]],
    asker: "Watched",
    **more: Any,
) -> Row:
    log = {name: asker.log(time, reply) for name, (time, reply) in replies.items()}
    details = {"question": item.question[:500], "video": item.video.name, "log": log, **more}
    details["answers"] = {name: reply.text for name, (_, reply) in replies.items()}
    seconds = sum(reply.seconds for _, reply in replies.values())
    return Row(item.id, scores, item.groups, item.unit, item.unit_size, answer, item.truth, round(seconds, 3), details)


class Watched:
    """Asks, and holds the protocol: no frame from after the moment asked, moments in order, the same memory afterwards.

    Raises BenchmarkError where it is broken. Where nothing was recorded yet, the answer is empty.
    """

    def __init__(self, asker: Asker, memory: Path) -> None:
        self._asker, self._memory = asker, memory
        snapshot = Memory(memory).camera(CAMERA).snapshot()
        self._times = np.asarray(snapshot.times) - START
        tokens = snapshot.spec.tokens
        self._frame_bytes = tokens.tokens_per_frame * tokens.width * (1 if tokens.storage == "int8" else 2)
        self._state, self._latest = self._read_state(), -math.inf

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
        if (state := self._read_state()) != self._state:
            changed = sorted({*state.items()} ^ {*self._state.items()})[0][0]
            raise BenchmarkError(f"a question changed the memory ({changed}); a question must leave it as it is")
        return reply

    def log(self, time: float, reply: Reply) -> dict[str, Any]:
        """Newest frame seen, its age, first token, and what the memory held at that time. missing_frames: seconds without a frame."""
        held = int(np.searchsorted(self._times, time + _EXACT, side="right"))
        newest = None if math.isinf(reply.newest_s) else round(reply.newest_s, 3)
        first = None if reply.first_token_s is None else round(reply.first_token_s, 4)
        return {
            "at_s": time, "newest_frame_s": newest, "lag_s": None if newest is None else round(time - newest, 3),
            "first_token_s": first, "frames": reply.frames, "memory_frames": held,
            "memory_bytes": held * self._frame_bytes, "missing_frames": max(0, int(time) + 1 - held),
        }  # fmt: skip

    def _read_state(self) -> dict[str, tuple[int, int]]:
        """Size and time of change of every file but those of the index, which is a cache."""
        found = {}
        for path in sorted(self._memory.rglob("*")):
            name = path.relative_to(self._memory)
            if "index" not in name.parts and path.is_file():
                state = path.stat()
                found[name.as_posix()] = (state.st_size, state.st_mtime_ns)
        return found
