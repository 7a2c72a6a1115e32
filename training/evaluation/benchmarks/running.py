"""Runs an offline benchmark: each video is recorded once, each item asked once, each answer on disk before the next."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from afterview.configs import AfterviewError
from afterview.training.base.errors import BenchmarkError
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.evaluation.benchmarks.asking import ALL_EVIDENCE, Asked, Asker, Reply
from afterview.training.evaluation.benchmarks.base import Benchmark, Item, Problems, Reading, Scoring
from afterview.training.evaluation.benchmarks.failures import keep_failures, read_failures
from afterview.training.evaluation.benchmarks.features import Recorded, Unchanged
from afterview.training.evaluation.benchmarks.spans import span_in_evidence, span_scores
from afterview.training.evaluation.results import ResultsWriter, Row

_LOGGER = logging.getLogger(__name__)
BEFORE_QUESTION = "before the question"
_QUOTED = 500  # characters of a question that a row repeats
AskerFor = Callable[[Path], Asker]  # a memory -> who asks about it


@dataclass(frozen=True)
class Share:
    """Which of the videos this process asks about, where several share them."""

    process: int = 0
    processes: int = 1

    def own(self, videos: Sequence[Path]) -> list[Path]:
        """Every processes-th of them."""
        return [video for number, video in enumerate(videos) if number % self.processes == self.process]


@dataclass(frozen=True)
class Work:
    """What a run needs. recorded: makes a video's memory. discard: is told a video whose items are answered."""

    benchmark: Benchmark
    items: Sequence[Item]
    recorded: Recorded
    asker: AskerFor
    scoring: Scoring = "letter"
    max_new_tokens: int | None = None
    share: Share = Share()
    discard: Callable[[Path], None] = lambda video: None


def run_offline(
    work: Work, results: ResultsWriter, reading: Reading, *, progress: ShowProgress = unseen
) -> dict[str, Any]:
    """Ask what was not answered yet, and write the document. A video that cannot be read is a problem; its items stay unanswered."""
    failures = Problems()
    with progress(work.benchmark.name, "items") as report:
        for video, items in by_video(work):
            left = [item for item in items if item.id not in results.done]
            if left:
                for row in answered(work, video, left, failures):
                    results.add(row)
                    report(len(results.done), len(work.items))
            work.discard(video)
    keep_failures(results.directory, work.share.process, failures)  # first: whoever writes the document next names them
    return results.finish(
        [item.id for item in work.items], lambda rows: described(work, rows, reading, results.directory)
    )


def by_video(work: Work) -> Iterator[tuple[Path, list[Item]]]:
    """The videos of this process with their items."""
    groups: dict[Path, list[Item]] = {}
    for item in work.items:
        groups.setdefault(item.video, []).append(item)
    for video in work.share.own(list(groups)):
        yield video, groups[video]


def answered(work: Work, video: Path, items: Sequence[Item], problems: Problems) -> Iterator[Row]:
    """Rows of one video's items. Raises BenchmarkError if a question changed the memory."""
    try:
        memory = work.recorded(video)
        unchanged = Unchanged(memory)
        asker = work.asker(memory)
    except (AfterviewError, OSError) as error:
        _LOGGER.warning("%s: cannot be asked about: %s", video, error)
        problems.add("video cannot be read", f"{video.name}: {error}")
        return
    for item in items:
        try:
            row = answer_item(work, item, asker)
            unchanged.require()
            yield row
        except BenchmarkError:
            raise
        except AfterviewError as error:
            _LOGGER.warning("item %s: %s", item.id, error)
            problems.add("item cannot be asked", f"{item.id}: {error}")


def answer_item(work: Work, item: Item, asker: Asker) -> Row:
    """Ask one item and score the answer."""
    asked = Asked(
        item.prompt, item.question, item.start_s, item.end_s, item.subtitles, work.benchmark.by_time,
        max_new_tokens=item.max_new_tokens or work.max_new_tokens, options=item.options,
    )  # fmt: skip
    weighed = work.scoring == "likelihood" and is_weighable(work.benchmark, item)
    reply = asker.weigh(asked, list(item.options)) if weighed else asker.ask(asked)
    more: dict[str, Any] = {"frames": reply.frames, "recalled": reply.recalled}
    more |= {"cut": True} if reply.cut else {}
    if item.subtitles:
        more |= {"subtitles": len(item.subtitles), "subtitles left out": reply.subtitles_left_out}
        more["subtitles stand"] = reply.subtitles_form or BEFORE_QUESTION
    if weighed:
        return _weighed(item, reply, more)
    scores: Mapping[str, float] = work.benchmark.score(item, reply.text)
    if work.benchmark.span and item.truth_s is not None:
        shown = asker.ask(
            Asked(item.question, item.question, item.start_s, item.end_s, evidence=ALL_EVIDENCE, max_new_tokens=1)
        )
        span = span_in_evidence(shown.weights)
        scores = {**scores, **span_scores("evidence", span, item.truth_s)}
        more |= {"evidence": None if span is None else [round(one, 2) for one in span]}
    return _row(item, reply.text, scores, more, reply.seconds)


def _weighed(item: Item, reply: Reply, more: Mapping[str, Any]) -> Row:
    """The row of a likelihood. Options that tie name none, as `A or B` does: the first of them would be a guess."""
    best = reply.likeliest
    answer, tied = (best[0], {}) if len(best) == 1 else ("no option", {"tied": best})
    values = {name: round(value, 4) for name, value in reply.likelihoods.items()}
    found = {**more, "likelihoods": values, "weighed": reply.weighed, **tied}
    return _row(item, answer, {"likelihood": float(answer == item.truth)}, found)


def is_weighable(benchmark: Benchmark, item: Item) -> bool:
    """Whether an item's options differ in their first token: letters, and yes and no."""
    return (
        benchmark.likelihood
        and bool(item.options)
        and all(len(name) == 1 or name in ("yes", "no") for name in item.options)
    )


def described(work: Work, rows: Sequence[Row], reading: Reading, directory: Path) -> dict[str, Any]:
    """Further keys of the document. rows: of all processes. directory: of the results, where each process keeps its failures."""
    seconds = [row.seconds for row in rows if row.seconds]
    weighed = work.scoring == "likelihood"
    stand = [row.details["subtitles stand"] for row in rows if "subtitles stand" in row.details]
    rest = sum(not is_weighable(work.benchmark, item) for item in work.items) if weighed else 0
    return {
        "problems": reading.problems.to_dicts()
        + read_failures(directory, work.share.processes)
        + _ties(rows).to_dicts(),
        "benchmark": work.benchmark.to_dict(),
        "videos": len({item.video for item in work.items}),
        "seconds_median": round(median(seconds), 3) if seconds else None,
        **({"answered_by_text": rest} if weighed else {}),  # options that cannot be weighed
        **({"subtitles_stand": dict(Counter(stand))} if stand else {}),
    }


def _ties(rows: Sequence[Row]) -> Problems:
    """The items whose likeliest options are equally likely."""
    found = Problems()
    for row in rows:
        if "tied" in row.details:
            found.add("options tie: none is chosen", f"{row.id}: {', '.join(row.details['tied'])}")
    return found


def chosen_items(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Of all items about `limit`, evenly spread. Items that count together stay together."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.unit or f"item {item.id}", []).append(item)
    if limit is None or limit >= len(items):
        return list(items)
    wanted = max(1, round(len(groups) * limit / len(items)))
    names = list(groups)
    return [item for number in range(wanted) for item in groups[names[number * len(names) // wanted]]]


def _row(item: Item, answer: str, scores: Mapping[str, float], more: Mapping[str, Any], seconds: float = 0.0) -> Row:
    details = {"question": item.question[:_QUOTED], "video": item.video.name, **more}
    return Row(item.id, scores, item.groups, item.unit, item.unit_size, answer, item.truth, round(seconds, 3), details)
