"""Answers with frames alone: for a model that has no language model. The index finds the frames of the span that fit the question best.

Every answer of it says that this is no answer, and how to get one. Synchronous, like the Answerer.
"""

import logging
import threading
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from afterview.configs import UsageError
from afterview.memory.base.errors import (
    DamagedFrames,
    NothingRecorded,
    RepositoryError,
    StoreError,
    StoreUnreachable,
    UnreachableFrames,
    UnreachableOnStore,
    Unreadable,
    in_words,
)
from afterview.memory.base.feature_spec import require_same
from afterview.memory.directory import Memory
from afterview.memory.plans.recall import apart
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.model.checkpoint.finding import HOW_TO_GET_ANSWERS, FindingModel
from afterview.model.language.moments import clock
from afterview.stream.ask.answerer import Answerer, OnCameras, checked_question, stored_image, titles, with_others
from afterview.stream.ask.cameras import choose_cameras
from afterview.stream.ask.context import require_wanted
from afterview.stream.ask.covered import coverage_of
from afterview.stream.ask.index_query import index_query, provenance_of
from afterview.stream.ask.merging import OnText, OrderedMerger
from afterview.stream.ask.own_model.verdict import Judged, is_yes_or_no
from afterview.stream.ask.question import Answer, CameraAnswer, Coverage, Evidence, Question, Search
from afterview.stream.ask.span import find_span

if TYPE_CHECKING:  # a model is handed in: importing this module must not load torch
    from afterview.memory.index.frame_index import Hit
    from afterview.model.checkpoint.for_questions import AskedModel

_LOGGER = logging.getLogger(__name__)

RECALL = "index"  # every frame of the span was compared with the question
_NAMED = 3  # frames whose times are in the text
_CANDIDATES = 16  # frames that the index names for each one that is shown: many lie side by side
_MOST_CHANGES = 8  # times that a question starts over because frames were forgotten
_NO_ANSWER = "This model finds frames and does not answer"
_VERDICT = Judged("unverified", "this model finds frames and does not answer")


def answerer_for(
    memory: Memory, model: "AskedModel", *, times_since_start: bool = False
) -> "Answerer | FindingAnswerer":
    """What answers questions to a memory with this model. times_since_start: as in Answerer."""
    kind = FindingAnswerer if isinstance(model, FindingModel) else Answerer
    return kind(memory, model, times_since_start=times_since_start)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Found:
    """The frames of one camera, best first. ids: of the span. stale: why only frames that were indexed before are compared."""

    why: str
    snapshot: MemorySnapshot
    ids: NDArray[np.int64]
    hits: "tuple[Hit, ...]"
    search: Search
    stale: str
    coverage: Coverage


class FindingAnswerer:
    """Shows the frames that fit questions to one memory best."""

    def __init__(self, memory: Memory, model: FindingModel, *, times_since_start: bool = False) -> None:
        """times_since_start: as in Answerer."""
        self.memory, self.model = memory, model
        self._times_since_start = times_since_start
        self._embedded: tuple[str, NDArray[np.float32]] | None = None

    def ask(
        self,
        question: Question,
        *,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
        on_cameras: OnCameras | None = None,
    ) -> Answer:
        """The best frames of the span. Arguments and errors as of Answerer.ask."""
        began, now = time.perf_counter(), time.time()
        text = checked_question(question, self.model.preset.suggestion)
        if question.subtitles:
            raise UsageError("subtitles: this model finds frames and reads no subtitles; name a model that answers")
        asked, skipped = self._choose(question, now, cancel)
        if on_cameras is not None:
            on_cameras(list(asked), skipped)
        names = titles(list(asked))
        merger = OrderedMerger(names, on_text)
        parts = []
        for row, found in enumerate(asked.values()):
            require_wanted(cancel)
            part = self._part(found, question, text, began)
            merger.push(row, part.text)
            merger.end(row)
            parts.append(part)
        total_s = time.perf_counter() - began
        notice = "; ".join(self._notes(asked, question))
        return Answer(
            uuid.uuid4().hex[:12], text, merger.merged(), tuple(parts), notice, skipped, total_s, finds_only=True
        )

    def _choose(
        self, question: Question, now: float, cancel: threading.Event | None
    ) -> tuple[dict[str, _Found], dict[str, str]]:
        """What was found of each camera, and why others were not searched."""
        choice = choose_cameras(self.memory, question, self._embed, self.model.encoders.feature_spec, now)
        skipped, asked = dict(choice.skipped), dict[str, _Found]()
        nothing: RepositoryError | None = None
        for name, camera in choice.asked.items():
            require_wanted(cancel)
            try:
                asked[name] = self._find(camera.why, camera.snapshot, question, now)
            except (RepositoryError, OSError) as error:
                nothing = in_words(error)
                if question.cameras and not isinstance(nothing, NothingRecorded | StoreError):
                    raise nothing from None
                skipped[name] = str(nothing)
        if not asked:
            raise with_others(nothing, choice.skipped) if nothing else UsageError("no camera was named")
        return asked, skipped

    def _find(self, why: str, snapshot: MemorySnapshot, question: Question, now: float) -> _Found:
        """The best frames of a camera: of `snapshot`, unless frames of it were removed meanwhile."""
        reader = self.memory.camera(snapshot.info.id)
        reader.require_own(snapshot)
        for _ in range(_MOST_CHANGES):
            try:
                found = self._find_in(why, snapshot, question, now)
                if not reader.forgot_since(snapshot):
                    return found
                snapshot = reader.snapshot()
            except DamagedFrames as error:  # removed meanwhile, or damaged: left out, and reported
                snapshot = reader.snapshot().without(np.union1d(snapshot.damaged, error.frames))
        raise NothingRecorded(f"camera '{snapshot.info.id}': its frames are being deleted; ask again when that is done")

    def _find_in(self, why: str, snapshot: MemorySnapshot, question: Question, now: float) -> _Found:
        camera, spec = snapshot.info.id, self.model.encoders.feature_spec
        require_same(snapshot.spec, spec, where=f"camera '{camera}'")
        first, end = find_span(snapshot, question, now)
        ids, most = snapshot.ids[first:end], max(_NAMED, question.evidence)
        index, silent = self.memory.index(camera), None
        try:
            index.catch_up(snapshot)
        except UnreachableFrames as error:  # those that are indexed already are compared
            silent = error
        query = self._embed(question.sought.strip())
        wanted = min(_CANDIDATES * most, len(ids))
        found = index.search(query, wanted, snapshot, first=int(ids[0]), end=int(ids[-1]) + 1)
        if not found.hits and silent is not None:
            what = f"camera '{camera}': none of its {len(ids)} frames in that span can be compared:"
            if isinstance(silent, UnreachableOnStore):
                raise StoreUnreachable(f"{what} they lie on {silent}")
            raise Unreadable(f"{what} {silent}", self.memory.camera(camera).directory)
        rows = {int(place): hit for place, hit in zip(_places(ids, found.hits), found.hits, strict=True)}
        best = tuple(rows[row] for row in apart(np.array(list(rows), dtype=np.int64), len(ids), most)[:most].tolist())
        search: Search = "exact" if found.exact else "approximate"
        coverage = coverage_of(
            snapshot, ids, question, now,
            recall=RECALL, search=search, positions="true", recalled=len(ids), visible=len(best[: question.evidence]),
        )  # fmt: skip
        return _Found(why, snapshot, ids, best, search, str(silent or ""), coverage)

    def _embed(self, text: str) -> NDArray[np.float32]:
        known = self._embedded  # the question is the same for every camera
        if known is None or known[0] != text:
            query = index_query(self.model.preset, text).text
            known = self._embedded = (text, self.model.encoders.index.encode_texts([query])[0])
        return known[1]

    def _part(self, found: _Found, question: Question, text: str, began: float) -> CameraAnswer:
        """One camera's frames, as its part of the answer."""
        snapshot = found.snapshot
        evidence = tuple(
            Evidence(
                snapshot.info.id, hit.frame, snapshot.time_of(hit.frame), hit.score,
                stored_image(snapshot, hit.frame), snapshot.picture_damaged(hit.frame),
            )
            for hit in found.hits[: question.evidence]
        )  # fmt: skip
        took = time.perf_counter() - began
        return CameraAnswer(
            self._text(found), found.why, evidence, found.coverage, self._provenance(found, question, text),
            {"recall_s": took, "first_token_s": took, "total_s": took}, evidence_kind="index",
        )  # fmt: skip

    def _text(self, found: _Found) -> str:
        snapshot = found.snapshot
        start = snapshot.time_of(int(found.ids[0]))
        times = [snapshot.time_of(hit.frame) for hit in found.hits[:_NAMED]]
        shown = [clock(one - start) if self._times_since_start else snapshot.info.show(one) for one in times]
        best = f"Best frames: {', '.join(dict.fromkeys(shown))}. " if shown else "No frame could be compared. "
        return f"{best}{_NO_ANSWER}; answers come from --answer-with URL or a bigger model (`afterview models`)."

    def _provenance(self, found: _Found, question: Question, text: str) -> dict[str, object]:
        return {
            "model": self.model.preset.reference,
            "weights": self.model.encoders.index.spec.weights,
            "trained": self.model.trained,
            "camera": found.snapshot.info.id,
            "generation": found.snapshot.generation,
            "first_frame": int(found.ids[0]),
            "last_frame": int(found.ids[-1]),
            "seed": question.seed,
            "decoding": {},
            "random_constant": found.snapshot.info.random_constant,
            "recall": RECALL,
            "search": found.search,
            **provenance_of(self.model.preset, question.sought, searched=True),
            "verdict": _VERDICT.to_dict() if is_yes_or_no(text) else None,
        }

    def _notes(self, asked: dict[str, _Found], question: Question) -> list[str]:
        """What must be said of the answer."""
        notes = [HOW_TO_GET_ANSWERS]
        if self.model.notice:
            notes.append(self.model.notice)
        index = self.model.encoders.index
        if surplus := index.surplus_tokens(index_query(self.model.preset, question.sought.strip()).text):
            notes.append(
                f"the index reads the first {index.longest_text - 1} tokens of the question, not the other {surplus}"
            )
        if unused := [name for name, value in question.generation.items() if value is not None]:
            notes.append(f"{', '.join(unused)} not used: no text is generated")
        notes += [
            f"{name}: only frames that were indexed before are compared: {found.stale}"
            for name, found in asked.items()
            if found.stale
        ]
        return notes


def _places(ids: NDArray[np.int64], hits: "tuple[Hit, ...]") -> NDArray[np.int64]:
    """Span numbers of these frames."""
    return np.searchsorted(ids, np.array([hit.frame for hit in hits], dtype=np.int64))
