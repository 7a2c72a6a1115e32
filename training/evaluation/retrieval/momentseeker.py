"""MomentSeeker (arXiv 2502.12558; github.com/yhy-2000/MomentSeeker): which part of a video shows what a query describes. Both releases:

    whole videos (since July 2025)  t2v.json, ti2v.json, tv2v.json: lists of {"qry_text", "qry_img_path", "qry_video_path",
              "src_video_path": "./videos/NAME.mp4", "task", "answering_time_interval": [[start, end]] in seconds}; videos/, query_images/
              and query_videos/ from the archives beside them. Candidates are stretches of ten seconds; one is true if its IoU with a
              moment of the truth is more than 0.3. Layout as in issue 2 there, and as vlmeval/dataset/momentseeker.py of
              open-compass/VLMEvalKit and src/framesieve/benchmarks/momentseeker.py of AyushExel/framesieve read it
    clips (March 2025)  *.json, one file a task and domain: lists of {"qry_text", "qry_img_path", "qry_video_path",
              "candidate_video_list": [{"output_path": ".../VIDEO/0.00_3.00.mp4", "frame_path": the same as a picture}], "gt_indices":
              [places in the list]}, as its evaluation code reads them. A candidate's name says its interval in seconds; a query is
              ranked among all candidates that its file has of the videos that its true clips are of

A query with a picture or a clip is the mean of both embeddings. R@k counts any true candidate. Its own mAP@5 is odd (see
scores.official_average_precision), so the plain one stands beside it. Two kinds of queries are counted as odd and asked all the same:
those that their file has twice, and those whose moments are so short or so long that no stretch of ten seconds can be true.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path, PurePosixPath
from typing import Any, Final

from afterview.stream.ask.subtitles import clock_seconds
from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.benchmarks.base import Options, Problems
from afterview.training.evaluation.benchmarks.files import Data, is_file
from afterview.training.evaluation.retrieval.scores import Span

CHUNK_S: Final = 10.0  # of a candidate in a whole video, as in the paper
TRUE_IOU: Final = 0.3  # that a true one exceeds, as in the paper
_FOLDERS: Final = ("videos", "clips", "json")
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
    """text, with a picture or a clip that belongs to it. truths: keys of the true clips.

    Of a whole video: video, moments (the truth, in seconds), and what kind of question it is.
    """

    id: str
    task: str
    text: str
    shown: Path | None
    truths: tuple[str, ...] = ()
    video: Path | None = None
    moments: tuple[Span, ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class MomentSeeker:
    """What was read. by_source: keys of the candidates of each task's videos, by task and video, in order of time."""

    queries: Sequence[Query]
    clips: Mapping[str, Clip]
    by_source: Mapping[tuple[str, str], Sequence[str]]
    problems: Problems
    files: Sequence[Path]


def read_momentseeker(directory: Path) -> MomentSeeker:
    """Read the published files. Queries that cannot be asked are counted and named in `problems`. Raises BenchmarkError if none can."""
    data = Data(directory, Options())
    clips: dict[str, Clip | None] = {}
    offered: dict[tuple[str, str], None] = {}  # task and key of each candidate
    queries: list[Query] = []
    seen: set[str] = set()
    for path in data.find("json/*.json", "*.json"):
        for number, (_, row) in enumerate(data.table(escape(str(path.relative_to(directory))))):
            where = f"{path.name}, entry {number}"
            text = json.dumps([path.stem, row], sort_keys=True)
            if text in seen:
                data.problems.add("query stands there twice", where)
            seen.add(text)
            if "src_video_path" in row:
                query = _of_video(data, row, path.stem, where)
            else:
                query = _of_clips(data, row, path.stem, where, clips, offered)
            if query is not None:
                queries.append(query)
    held = {key: clip for key, clip in clips.items() if clip is not None}
    asked = [query for query in queries if all(key in held for key in query.truths)]
    if not asked:
        odd = "; ".join(
            f"{one['count']} x {one['kind']} ({one['examples'][0]})" for one in data.problems.to_dicts()[:3]
        )
        raise BenchmarkError(
            f"{directory}: holds no query that can be asked: {odd or 'its files are empty'}; MomentSeeker's are t2v.json, ti2v.json, "
            "tv2v.json, or json/*.json"
        )
    by_source: dict[tuple[str, str], list[str]] = {}
    usable = [(task, key) for task, key in offered if key in held]
    for task, key in sorted(usable, key=lambda pair: (pair[0], held[pair[1]].source, held[pair[1]].span)):
        by_source.setdefault((task, held[key].source), []).append(key)
    return MomentSeeker(asked, held, by_source, data.problems, data.files)


def _of_clips(
    data: Data,
    row: Mapping[str, Any],
    task: str,
    where: str,
    clips: dict[str, Clip | None],
    offered: dict[tuple[str, str], None],
) -> Query | None:
    candidates, places, text = row.get("candidate_video_list"), row.get("gt_indices"), data.text(row, "qry_text")
    if not text or not isinstance(candidates, list) or not isinstance(places, list) or not places:
        data.problems.add("query lacks its text, candidates or truth", where)
        return None
    keys = [_clip(data, one, where, clips) for one in candidates]
    offered |= dict.fromkeys((task, key) for key in keys if key is not None)
    if not all(isinstance(place, int) and 0 <= place < len(keys) for place in places):
        data.problems.add("truth is none of the candidates", where)
        return None
    truths = tuple(key for key in (keys[place] for place in places) if key is not None)
    if len(truths) < len(places):
        data.problems.add("a true clip cannot be used", where)
        return None
    found, shown = _belongs(data, row, where)
    return Query(_id(task, where), task, text, shown, truths) if found else None


def _of_video(data: Data, row: Mapping[str, Any], task: str, where: str) -> Query | None:
    text, moments = data.text(row, "qry_text"), _moments(row.get("answering_time_interval"))
    if not text or not moments:
        data.problems.add("query lacks its text or a moment of the truth", where)
        return None
    video = data.video(PurePosixPath(data.text(row, "src_video_path")).name, *_FOLDERS, where=where)
    if video is None:
        return None
    if not any(_can_be_met(*moment) for moment in moments):
        data.problems.add("no stretch of ten seconds can be true", f"{where}: {moments}")  # it counts, as there
    found, shown = _belongs(data, row, where)
    kind = data.text(row, "task")
    return Query(_id(task, where), task, text, shown, (), video, moments, kind) if found else None


def _id(task: str, where: str) -> str:
    return f"{task}/{where.rpartition(' ')[2]}"


def _moments(values: object) -> tuple[Span, ...]:
    """Spans [start, end] in seconds; none unless all can be read."""
    found: list[Span] = []
    for span in values if isinstance(values, list) else []:
        times = [clock_seconds(time) for time in span] if isinstance(span, list) else []
        start, end = times if len(times) == 2 else (None, None)
        if start is None or end is None or not start < end:
            return ()
        found.append((start, end))
    return tuple(found)


def _can_be_met(start: float, end: float) -> bool:
    """Whether a candidate of full length can fit a moment well enough: at best one lies in the other."""
    shorter, longer = sorted((end - start, CHUNK_S))
    return shorter / longer > TRUE_IOU


def _belongs(data: Data, row: Mapping[str, Any], where: str) -> tuple[bool, Path | None]:
    """Whether what belongs to a query is there, and the picture or clip, if it has one."""
    given = data.text(row, "qry_img_path", "qry_video_path")
    shown = _shown(data, given, where) if given else None
    if given and shown is None:
        data.problems.add("the query's picture or clip is missing", f"{where}: {given}")
    return not given or shown is not None, shown


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
        return data.video(str(_owned(plain)[0]) if _owned(plain) else name, *_FOLDERS, where=where)
    places = (data.directory / folder / own for folder in (".", "images", *_FOLDERS) for own in _owned(plain))
    return next((place for place in places if is_file(place)), None)


def _owned(plain: PurePosixPath) -> Sequence[str]:
    """Names below the data directory that a published path may mean, the likeliest first; none that leaves it."""
    whole = [] if plain.is_absolute() else [str(plain)]  # an absolute one is of the machine where the file was made
    names = dict.fromkeys([*whole, f"{plain.parent.name}/{plain.name}", plain.name])
    return [name for name in names if ".." not in PurePosixPath(name).parts and "\0" not in name]
