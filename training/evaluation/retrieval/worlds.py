"""Retrieval over synthetic worlds: every question that a single moment answers is a query, its events are the moments to find.

Frames are ranked by the cosine of their stored embeddings with the query, all of them (the index itself is approximate in long
memories, and is timed beside). Clips are stretches of equal length, as MomentSeeker's candidates are; their score is the highest frame
score (`max`) or the mean of the four highest (`top-4`). The moment of R@1 at IoU is the run of similar frames around the best frame of
the best clip.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.feature_spec import require_same
from afterview.memory.directory import Memory
from afterview.memory.index.segments import stored_vectors
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.model.checkpoint.models import Encoders
from afterview.training.base.progress import Report
from afterview.training.evaluation.judge import NEEDLES
from afterview.training.evaluation.plan import Footage, WorldTest, questions_for
from afterview.training.evaluation.results import Row
from afterview.training.evaluation.retrieval.queries import QUERIES, AsQuery
from afterview.training.evaluation.retrieval.scores import (
    IOUS,
    POOLED,
    average_precision,
    best_iou,
    moment_around,
    pooled,
    recalls,
)
from afterview.training.world import WorldQuestion

POOLINGS: Final[dict[str, int]] = {"max": 1, "top-4": POOLED}
FRAMES_DEPTHS: Final = (1, 5, 16, 64)  # of recall among frames
_SEARCHES: Final = 56  # frames that the timed search of the index gives: as many as the tiny preset recalls


def timing(rows: Iterable[Row]) -> dict[str, float | None]:
    """Median milliseconds of a query, as the rows say them: the embedding of its text, and the search of the index. JSON-able."""
    took = {name: list[float]() for name in ("embed_ms", "search_ms")}
    for row in rows:
        for name, values in took.items():
            values += [row.details[name]] if name in row.details else []
    return {name: round(median(values), 2) if values else None for name, values in took.items()}


@dataclass(frozen=True)
class WorldQuery:
    """One question of one world."""

    seed: int
    number: int
    question: WorldQuestion

    @property
    def id(self) -> str:
        """Of its rows, before the names of query and pooling."""
        return f"{self.seed}/{self.number}"


def queries_of(test: WorldTest) -> list[WorldQuery]:
    """Questions that a single moment answers, about things that were seen."""
    return [
        WorldQuery(seed, number, question)
        for seed in test.seeds
        for number, question in enumerate(questions_for(test.footage(seed), test))
        if question.kind in NEEDLES and question.seen and question.spans and question.events
    ]


def retrieve(
    test: WorldTest,
    encoders: Encoders,
    directory: Path,
    *,
    clip_s: int,
    queries: Mapping[str, AsQuery] = QUERIES,
    done: Mapping[str, object] | None = None,
    report: Report | None = None,
) -> Iterator[Row]:
    """Rows of every query of the worlds that `ingest_worlds` put into `directory`. done: ids that are not asked again.

    Raises SpecMismatch for a memory that other encoders made.
    """
    asked, last = queries_of(test), -1
    for count, query in enumerate(asked, 1):
        names = [
            name for name in queries if not all(f"{query.id}/{name}/{pooling}" in (done or {}) for pooling in POOLINGS)
        ]
        if names and query.seed != last:
            footage, last = test.footage(query.seed), query.seed
            memory = Memory(directory / footage.memory)
            snapshot, vectors_TD = _stored(memory, footage, encoders)
        for name in names:
            script = next(iter(footage.scripts.values()))
            began = time.perf_counter()
            vector_D = encoders.index.encode_texts([queries[name](script, query.question)])[0]
            embed_ms = 1000 * (time.perf_counter() - began)
            took = {"embed_ms": embed_ms, "search_ms": _searched(memory, snapshot, vector_D)}
            yield from _rows(query, name, vectors_TD @ vector_D, clip_s, took)
        if report:
            report(count, len(asked))


def _stored(memory: Memory, footage: Footage, encoders: Encoders) -> tuple[MemorySnapshot, NDArray[np.float32]]:
    snapshot = memory.camera(next(iter(footage.scripts))).snapshot()
    require_same(snapshot.spec, encoders.feature_spec, where=str(memory.path))
    return snapshot, stored_vectors(snapshot, int(snapshot.ids[0]), int(snapshot.ids[-1]) + 1)


def _searched(memory: Memory, snapshot: MemorySnapshot, vector_D: NDArray[np.float32]) -> float:
    """Milliseconds of one search of the index, once it is up to date."""
    index = memory.index(snapshot.info.id)
    index.catch_up(snapshot)
    began = time.perf_counter()
    index.search(vector_D, _SEARCHES, snapshot)
    return 1000 * (time.perf_counter() - began)


def _rows(
    query: WorldQuery, name: str, scores_T: NDArray[np.float32], clip_s: int, took: Mapping[str, float]
) -> Iterator[Row]:
    """One row for each pooling. A frame a second: frame numbers are seconds. took: milliseconds of each step, which the rows keep."""
    question, frames = query.question, min(len(scores_T), int(query.question.at_s) + 1)
    scores_T = scores_T[:frames]
    inside = np.zeros(frames, bool)
    for start, end in question.spans:
        inside[int(np.ceil(start)) : max(int(np.ceil(end)), int(np.ceil(start)) + 1)] = True
    order = np.argsort(-scores_T, kind="stable")
    of_frames = {f"frame {key}": value for key, value in recalls(inside[order].tolist(), FRAMES_DEPTHS).items()}
    clips = [(first, min(first + clip_s, frames)) for first in range(0, frames, clip_s)]
    relevant = np.array([inside[first:end].any() for first, end in clips])
    for pooling, top in POOLINGS.items():
        ranked = np.argsort(-pooled(scores_T, clips, top), kind="stable")
        hits = relevant[ranked].tolist()
        first, end = clips[int(ranked[0])]
        moment = moment_around(scores_T, first + int(scores_T[first:end].argmax()))
        fit = best_iou((float(moment[0]), float(moment[1])), question.spans)
        found = {f"clip {key}": value for key, value in recalls(hits).items()} | {"mAP": average_precision(hits)}
        found |= {f"R@1 IoU {least}": float(fit >= least) for least in IOUS} | {"mIoU": fit}
        yield Row(
            f"{query.id}/{name}/{pooling}", {**of_frames, **found},
            {"queries": f"{name}, {pooling}", f"{name}, {pooling}": question.kind},
            answer=f"{moment[0]}-{moment[1]} s", truth=", ".join(f"{start:g}-{end:g} s" for start, end in question.spans),
            details={step: round(ms, 3) for step, ms in took.items()},
        )  # fmt: skip


def row_ids(test: WorldTest, queries: Sequence[str]) -> list[str]:
    """Ids of all rows, in order."""
    return [f"{query.id}/{name}/{pooling}" for query in queries_of(test) for name in queries for pooling in POOLINGS]
