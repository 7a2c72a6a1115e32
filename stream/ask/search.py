"""Searches a memory for the frames that are most similar to a text."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from afterview.configs import UsageError
from afterview.memory.base.errors import RepositoryError, SpecMismatch, UnreachableFrames, in_words
from afterview.stream.ask.caption import Caption
from afterview.stream.ask.index_query import index_query

if (
    TYPE_CHECKING
):  # a model is handed in: importing this module must not load torch; and what was found is printed without NumPy
    from afterview.memory.directory import Memory
    from afterview.memory.reading.snapshot import MemorySnapshot
    from afterview.model.checkpoint.models import Encoders

TimeRange = tuple[float | None, float | None]  # Unix seconds; None leaves a side open


@dataclass(frozen=True)
class Hit:
    """A frame that was found. score: cosine of the angle between its embedding and the text's. time_iso: in the camera's zone.

    image: JPEG, where it was asked for. picture_damaged: parts of it were lost between camera and record.
    """

    camera: str
    frame: int
    time: float
    score: float
    time_iso: str
    image: bytes = field(default=b"", repr=False)
    picture_damaged: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "camera": self.camera,
            "frame": self.frame,
            "time": self.time,
            "time_iso": self.time_iso,
            "score": round(self.score, 6),
            "picture_damaged": self.picture_damaged,
        }


@dataclass(frozen=True)
class SearchResult:
    """Hits of all cameras, best first. exact: every frame was compared. notice: what to know about the model.

    asked: what the index was asked; None: a search that an earlier version saved, which asked the text.
    skipped: cameras that were not searched, and why. stale: cameras of which only frames indexed before were searched, and why.
    """

    text: str
    hits: tuple[Hit, ...]
    exact: bool
    skipped: dict[str, str]
    stale: dict[str, str]
    notice: str | None
    asked: Caption | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "text": self.text,
            "hits": [hit.to_dict() for hit in self.hits],
            "exact": self.exact,
            "skipped": self.skipped,
            "stale": self.stale,
            "notice": self.notice,
            "asked_index": self.asked.text if self.asked else self.text,
            "asked_index_how": self.asked.how if self.asked else "as given",
        }


def search(
    memory: "Memory",
    encoders: "Encoders",
    text: str,
    spans: Mapping[str, TimeRange],
    *,
    most: int,
    skip_others: bool,
    as_is: bool = False,
) -> SearchResult:
    """The `most` frames that are most similar to `text`. spans: which cameras, by id, and which part of each.

    as_is: ask the index the text itself, not the caption that the preset may want (stream.ask.index_query).
    skip_others: leave out cameras that another model recorded or that cannot be read; otherwise they raise the reason. Raises it also if
    every camera was left out because it cannot be read. Raises UsageError for a text that is longer than the index reads.
    """
    from afterview.memory.base.feature_spec import require_same
    from afterview.memory.directory import none_left

    asked = index_query(encoders.preset, text.strip(), as_is=as_is)
    if surplus := encoders.index.surplus_tokens(asked.text):
        raise UsageError(
            f"the text is too long to search for: the index reads {encoders.index.longest_text - 1} tokens, and it has {surplus} more; "
            "shorten it"
        )
    query = encoders.index.encode_texts([asked.text])[0]
    hits: list[Hit] = []
    failures: dict[str, RepositoryError] = {}
    stale: dict[str, str] = {}
    exact = True
    for camera, span in spans.items():
        try:
            snapshot = memory.camera(camera).snapshot()
            require_same(snapshot.spec, encoders.feature_spec, where=f"camera '{camera}'")
            first, end = _frames(snapshot, span)
            index = memory.index(camera)
            try:
                index.catch_up(snapshot)
            except UnreachableFrames as error:
                stale[camera] = str(error)
            found = index.search(query, most, snapshot, first=first, end=end)
        except (RepositoryError, OSError) as error:
            if not skip_others:
                raise
            failures[camera] = in_words(error)
            continue
        exact &= found.exact
        for hit in found.hits:
            when = snapshot.time_of(hit.frame)
            iso, damaged = snapshot.info.iso(when), snapshot.picture_damaged(hit.frame)
            hits.append(Hit(camera, hit.frame, when, hit.score, iso, picture_damaged=damaged))
    if len(failures) == len(spans) and not any(isinstance(error, SpecMismatch) for error in failures.values()):
        raise none_left(memory.path, failures)
    skipped = {camera: str(error) for camera, error in failures.items()}
    best = sorted(hits, key=lambda hit: (-round(hit.score, 6), hit.camera, hit.frame))[:most]
    return SearchResult(text, tuple(best), exact, skipped, stale, encoders.notice, asked)


def _frames(snapshot: "MemorySnapshot", span: TimeRange) -> tuple[int, int]:
    """Frame ids [first, end) of the span."""
    from afterview.memory.reading.reader import frames_between

    first, end = frames_between(snapshot.times, *span)
    return (int(snapshot.ids[first]), int(snapshot.ids[end - 1]) + 1) if end > first else (0, 0)
