"""MomentSeeker (arXiv 2502.12558; github.com/yhy-2000/MomentSeeker, its README and evaluation code): which clip of a video shows what a
query describes. Its published files, as its own evaluation code reads them:

    *.json    a list of {"qry_text", "qry_img_path", "qry_video_path", "candidate_video_list": [{"output_path": ".../VIDEO/0.00_3.00.mp4",
              "frame_path": the same as a picture}], "gt_indices": [places in the list]}; one file a task

A candidate's name says its interval in seconds. As there, a query is ranked among all candidates of the videos that its true clips are
of; a query with a picture or a clip is the mean of both embeddings. R@k counts any true clip. Its own mAP@5 is odd (see
scores.official_average_precision), so the plain one stands beside it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from afterview.memory.directory import Memory
from afterview.memory.index.segments import stored_vectors
from afterview.model.checkpoint.models import Encoders
from afterview.training.base.errors import BenchmarkError
from afterview.training.base.progress import Report
from afterview.training.evaluation.benchmarks.base import Options, Problems
from afterview.training.evaluation.benchmarks.features import CAMERA, VideoMemories
from afterview.training.evaluation.benchmarks.files import Data
from afterview.training.evaluation.results import Row
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

_FOLDERS: Final = ("videos", "clips", "json")
_DEPTHS: Final = (1, 3, 5, 10)  # of its evaluation code
_PICTURES: Final = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Clip:
    """A candidate. source: the video that it is of. span: its seconds there."""

    key: str
    source: str
    span: Span
    file: Path


@dataclass(frozen=True)
class Query:
    """text, with a picture or a clip that belongs to it. truths: keys of the true clips."""

    id: str
    task: str
    text: str
    shown: Path | None
    truths: tuple[str, ...]


@dataclass(frozen=True)
class MomentSeeker:
    """What was read. by_source: keys of the candidates of each video, in order of time."""

    queries: Sequence[Query]
    clips: Mapping[str, Clip]
    by_source: Mapping[str, Sequence[str]]
    problems: Problems
    files: Sequence[Path]


def read_momentseeker(directory: Path) -> MomentSeeker:
    """Read the published files. Queries that cannot be asked are counted and named in `problems`. Raises BenchmarkError if none can."""
    data = Data(directory, Options())
    clips: dict[str, Clip | None] = {}
    queries = []
    for path in data.find("json/*.json", "*.json"):
        for number, (_, row) in enumerate(data.table(str(path.relative_to(directory)))):
            where = f"{path.name}, entry {number}"
            query = _query(data, row, path.stem, where, clips)
            if query is not None:
                queries.append(query)
    held = {key: clip for key, clip in clips.items() if clip is not None}
    asked = [query for query in queries if all(key in held for key in query.truths)]
    if not asked:
        raise BenchmarkError(f"{directory}: holds no query that can be asked; problems: {data.problems.to_dicts()[:3]}")
    by_source: dict[str, list[str]] = {}
    for key in sorted(held, key=lambda key: (held[key].source, held[key].span)):
        by_source.setdefault(held[key].source, []).append(key)
    return MomentSeeker(asked, held, by_source, data.problems, data.files)


def _query(data: Data, row: Mapping[str, Any], task: str, where: str, clips: dict[str, Clip | None]) -> Query | None:
    candidates, places, text = row.get("candidate_video_list"), row.get("gt_indices"), data.text(row, "qry_text")
    if not text or not isinstance(candidates, list) or not isinstance(places, list) or not places:
        data.problems.add("query lacks its text, candidates or truth", where)
        return None
    keys = [_clip(data, one, where, clips) for one in candidates]
    if not all(isinstance(place, int) and 0 <= place < len(keys) for place in places):
        data.problems.add("truth is none of the candidates", where)
        return None
    truths = tuple(key for key in (keys[place] for place in places) if key is not None)
    if len(truths) < len(places):
        data.problems.add("a true clip cannot be used", where)
        return None
    given = data.text(row, "qry_img_path", "qry_video_path")
    shown = _shown(data, given, where) if given else None
    if given and shown is None:
        data.problems.add("the query's picture or clip is missing", f"{where}: {given}")
        return None
    return Query(f"{task}/{where.rpartition(' ')[2]}", task, text, shown, truths)


def _clip(data: Data, candidate: object, where: str, clips: dict[str, Clip | None]) -> str | None:
    """Key of a candidate; None if it cannot be used, which is counted once."""
    name = candidate.get("output_path") if isinstance(candidate, dict) else None
    plain = PurePosixPath(name) if isinstance(name, str) and name else None
    span = None if plain is None else _span(plain.stem)
    if plain is None or span is None:
        data.problems.add("candidate without path or interval", f"{where}: {name!r}"[:200])
        return None
    key = f"{plain.parent.name}/{plain.name}"
    if key not in clips:
        file = data.video(key, *_FOLDERS, where=where)
        clips[key] = None if file is None else Clip(key, plain.parent.name, span, file)
    return key if clips[key] is not None else None


def _span(stem: str) -> Span | None:
    """`0.00_3.00` -> (0, 3)."""
    parts = stem.split("_")
    try:
        start, end = float(parts[0]), float(parts[1])
    except (ValueError, IndexError):
        return None
    return (start, end) if 0 <= start < end < 1e7 else None


def _shown(data: Data, name: str, where: str) -> Path | None:
    plain = PurePosixPath(name)
    if plain.suffix.lower() not in _PICTURES:
        return data.video(f"{plain.parent.name}/{plain.name}", *_FOLDERS, where=where)
    places = (data.directory / folder / own for folder in (".", "images", *_FOLDERS) for own in _owned(plain))
    return next((place for place in places if place.is_file()), None)


def _owned(plain: PurePosixPath) -> Sequence[str]:
    """Names below the data directory that a published path may mean; none that leaves it."""
    return [name for name in (f"{plain.parent.name}/{plain.name}", plain.name) if ".." not in PurePosixPath(name).parts]


def rank(
    data: MomentSeeker,
    encoders: Encoders,
    work: Path,
    *,
    done: Mapping[str, object] | None = None,
    report: Report | None = None,
) -> Iterator[Row]:
    """Rows of every query, one for each pooling."""
    memories, vectors = VideoMemories(work, encoders, dense=False), dict[str, NDArray[np.float32]]()

    def of(clip: Path, key: str) -> NDArray[np.float32]:
        if key not in vectors:
            snapshot = Memory(memories.memory(clip)).camera(CAMERA).snapshot()
            vectors[key] = stored_vectors(snapshot, int(snapshot.ids[0]), int(snapshot.ids[-1]) + 1)
        return vectors[key]

    for count, query in enumerate(data.queries, 1):
        if not all(f"{query.id}/{pooling}" in (done or {}) for pooling in POOLINGS):
            sources = dict.fromkeys(data.clips[key].source for key in query.truths)
            keys = [key for source in sources for key in data.by_source[source]]
            frames = [of(data.clips[key].file, key) for key in keys]
            vector = _embedded(query, encoders, of)
            yield from _rows(query, data, keys, frames, vector)
        if report:
            report(count, len(data.queries))


def _embedded(query: Query, encoders: Encoders, of: Any) -> NDArray[np.float32]:
    vector: NDArray[np.float32] = encoders.index.encode_texts([query.text])[0]
    if query.shown is None:
        return vector
    both = vector + of(query.shown, str(query.shown)).mean(0)
    return both / max(float(np.linalg.norm(both)), 1e-9)


def _rows(
    query: Query,
    data: MomentSeeker,
    keys: Sequence[str],
    frames: Sequence[NDArray[np.float32]],
    vector: NDArray[np.float32],
) -> Iterator[Row]:
    ends = np.cumsum([len(one) for one in frames])
    clips = [(int(end) - len(one), int(end)) for end, one in zip(ends, frames, strict=True)]
    scores = np.concatenate(frames) @ vector
    truths = [data.clips[key].span for key in query.truths]
    for pooling, top in POOLINGS.items():
        ranked = np.argsort(-pooled(scores, clips, top), kind="stable").tolist()
        spans = [data.clips[keys[place]].span for place in ranked]
        hits = [keys[place] in query.truths for place in ranked]
        fit = best_iou(spans[0], truths)
        found = recalls(hits, _DEPTHS) | {f"R@1 IoU {least}": float(fit >= least) for least in IOUS}
        found |= {"mAP": average_precision(hits), "mAP@5": average_precision(hits, OFFICIAL_DEPTH)}
        official = official_average_precision(spans, truths)
        yield Row(
            f"{query.id}/{pooling}", found, {"queries": pooling, "task": f"{query.task}, {pooling}"},
            answer=keys[ranked[0]], truth=", ".join(query.truths), details={"official mAP@5": round(official, 6)},
        )  # fmt: skip


def row_ids(data: MomentSeeker) -> list[str]:
    """Ids of all rows, in order."""
    return [f"{query.id}/{pooling}" for query in data.queries for pooling in POOLINGS]
