"""Ranks what MomentSeeker's queries may mean: the clips of March 2025, or stretches of ten seconds of the whole videos since then."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from afterview.configs import AfterviewError
from afterview.memory.directory import Memory
from afterview.memory.index.segments import stored_vectors
from afterview.model.checkpoint.models import Encoders
from afterview.training.base.errors import BenchmarkError
from afterview.training.base.progress import Report
from afterview.training.evaluation.benchmarks.base import Problems
from afterview.training.evaluation.benchmarks.features import CAMERA, START, VideoMemories
from afterview.training.evaluation.results import Row
from afterview.training.evaluation.retrieval.momentseeker import CHUNK_S, TRUE_IOU, MomentSeeker, Query
from afterview.training.evaluation.retrieval.scores import (
    IOUS,
    OFFICIAL_DEPTH,
    Span,
    average_precision,
    best_iou,
    official_average_precision,
    pooled,
    recalls,
)
from afterview.training.evaluation.retrieval.worlds import POOLINGS

_LOGGER = logging.getLogger(__name__)

FRAME_S: Final = 1.0  # that a frame stands for
_EXACT: Final = 1e-6  # of times in seconds, which are floats
_DEPTHS: Final = (1, 3, 5, 10)  # of its evaluation code


@dataclass(frozen=True)
class Candidates:
    """What a query is ranked among, in order of time. frames: their embeddings, [T, D] each.

    true: whether each is. truths: moments of the truth, in seconds. fits: how well each candidate fits a truth of its own video (IoU).
    """

    names: Sequence[str]
    spans: Sequence[Span]
    frames: Sequence[NDArray[np.float32]]
    true: Sequence[bool]
    truths: Sequence[Span]
    fits: Sequence[float]


class _Footage:
    """Embeddings of clips and videos, recorded where they are not yet. Of whole videos only the latest stays in memory.

    One that cannot be read is counted in `problems` and not tried again: BenchmarkError is raised each time.
    """

    def __init__(self, memories: VideoMemories, problems: Problems) -> None:
        self._memories, self._problems = memories, problems
        self._clips: dict[Path, NDArray[np.float32]] = {}
        self._unreadable: set[Path] = set()
        self._latest: tuple[Path, NDArray[np.float64], NDArray[np.float32]] | None = None

    def clip(self, file: Path) -> NDArray[np.float32]:
        """float32 [T, D] of a clip or picture."""
        if file not in self._clips:
            self._clips[file] = self._read(file)[1]
        return self._clips[file]

    def video(self, file: Path) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Times in seconds [T] and embeddings [T, D] of a whole video."""
        if self._latest is None or self._latest[0] != file:
            self._latest = (file, *self._read(file))
        return self._latest[1:]

    def _read(self, file: Path) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        if file not in self._unreadable:
            try:
                snapshot = Memory(self._memories.memory(file)).camera(CAMERA).snapshot()
                times = np.asarray(snapshot.times, np.float64) - START
                return times, stored_vectors(snapshot, int(snapshot.ids[0]), int(snapshot.ids[-1]) + 1)
            except (AfterviewError, OSError) as error:
                _LOGGER.warning("%s: cannot be read: %s", file, error)
                self._problems.add("video cannot be read", f"{file.name}: {error}")
                self._unreadable.add(file)
        raise BenchmarkError(f"{file}: cannot be read")


def rank(
    data: MomentSeeker,
    encoders: Encoders,
    work: Path,
    *,
    done: Mapping[str, object] | None = None,
    report: Report | None = None,
) -> Iterator[Row]:
    """Rows of every query, one for each pooling; those of one whole video follow each other.

    A video, clip or picture that cannot be read is counted once in `data.problems`. The queries that need it have no rows.
    """
    footage = _Footage(VideoMemories(work, encoders, dense=False), data.problems)
    for count, query in enumerate(sorted(data.queries, key=lambda query: str(query.video or "")), 1):
        if not all(f"{query.id}/{pooling}" in (done or {}) for pooling in POOLINGS):
            with suppress(BenchmarkError):  # of a file that cannot be read, which is counted
                yield from _rows(query, *_candidates(data, query, encoders, footage))
        if report:
            report(count, len(data.queries))


def _candidates(
    data: MomentSeeker, query: Query, encoders: Encoders, footage: _Footage
) -> tuple[Candidates, NDArray[np.float32]]:
    """What a query is ranked among, and its embedding."""
    among = _of_clips(data, query, footage) if query.video is None else _of_video(query.video, query, footage)
    return among, _embedded(query, encoders, footage)


def _of_clips(data: MomentSeeker, query: Query, footage: _Footage) -> Candidates:
    """The clips that its file has of the videos of its true clips."""
    sources = dict.fromkeys(data.clips[key].source for key in query.truths)
    keys = [key for source in sources for key in data.by_source[query.task, source]]
    return Candidates(
        keys, [data.clips[key].span for key in keys], [footage.clip(data.clips[key].file) for key in keys],
        [key in query.truths for key in keys], [data.clips[key].span for key in query.truths],
        [_fit(data, key, query) for key in keys],
    )  # fmt: skip


def _fit(data: MomentSeeker, key: str, query: Query) -> float:
    """Equal times of another video fit nothing."""
    own = data.clips[key]
    truths = [data.clips[truth].span for truth in query.truths if data.clips[truth].source == own.source]
    return best_iou(own.span, truths)


def _of_video(video: Path, query: Query, footage: _Footage) -> Candidates:
    """Stretches of equal length; the last ends with the video."""
    times, vectors = footage.video(video)
    spans = chunks(float(times[-1]) + FRAME_S)
    bounds = np.searchsorted(times, [*(start - _EXACT for start, _ in spans), np.inf])
    frames = [vectors[first:end] for first, end in pairwise(bounds)]
    fits = [best_iou(span, query.moments) for span in spans]
    true = [fit > TRUE_IOU for fit in fits]
    return Candidates([f"{start:g}-{end:g} s" for start, end in spans], spans, frames, true, query.moments, fits)


def chunks(duration_s: float) -> list[Span]:
    """Stretches of CHUNK_S seconds. Pure."""
    count = max(1, int(np.ceil(duration_s / CHUNK_S)))
    return [(CHUNK_S * number, min(CHUNK_S * (number + 1), duration_s)) for number in range(count)]


def _embedded(query: Query, encoders: Encoders, footage: _Footage) -> NDArray[np.float32]:
    vector: NDArray[np.float32] = encoders.index.encode_texts([query.text])[0]
    if query.shown is None:
        return vector
    both = vector + footage.clip(query.shown).mean(0)
    return both / max(float(np.linalg.norm(both)), 1e-9)


def _rows(query: Query, among: Candidates, vector: NDArray[np.float32]) -> Iterator[Row]:
    ends = np.cumsum([len(one) for one in among.frames])
    clips = [(int(end) - len(one), int(end)) for end, one in zip(ends, among.frames, strict=True)]
    scores = np.concatenate(among.frames) @ vector
    ends_s = among.spans[-1][1]
    late = [start for start, _ in query.moments if start >= ends_s]
    truth = query.truths or [f"{start:g}-{end:g} s" for start, end in query.moments]
    for pooling, top in POOLINGS.items():
        ranked: Sequence[int] = np.argsort(-pooled(scores, clips, top), kind="stable").tolist()
        spans, hits = [among.spans[place] for place in ranked], [among.true[place] for place in ranked]
        fit = among.fits[ranked[0]]
        found = recalls(hits, _DEPTHS) | {f"R@1 IoU {least}": float(fit >= least) for least in IOUS}
        found |= {"mAP": average_precision(hits), "mAP@5": average_precision(hits, OFFICIAL_DEPTH)}
        details: dict[str, Any] = {"official mAP@5": round(official_average_precision(spans, among.truths), 6)}
        if late:
            details["late"] = f"{query.id}: {late[0]:g} s of {ends_s:g} s"
        groups = {"queries": pooling, "task": f"{query.task}, {pooling}"}
        yield Row(
            f"{query.id}/{pooling}", found, groups | ({"kind": f"{query.kind}, {pooling}"} if query.kind else {}),
            answer=among.names[ranked[0]], truth=", ".join(truth), details=details,
        )  # fmt: skip


def late_moments(rows: Iterable[Row]) -> Problems:
    """The queries with a moment after their video's end, of all rows, also of those that were there: no candidate shows it."""
    found = Problems()
    for example in dict.fromkeys(row.details["late"] for row in rows if "late" in row.details):
        found.add("moment after the video's end", example)
    return found


def row_ids(data: MomentSeeker) -> list[str]:
    """Ids of all rows, in order."""
    return [f"{query.id}/{pooling}" for query in data.queries for pooling in POOLINGS]
