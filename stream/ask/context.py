"""What the model sees of one camera for one question: the part of an answer that live, replay and training share to the last bit.

snapshot -> span -> forgetting (what stays visible) -> recall (what MemAug attends to) -> layout
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.counts import counted
from afterview.memory.base.errors import (
    DamagedFrames,
    NothingRecorded,
    SpecMismatch,
    StoreUnreachable,
    UnreachableFrames,
    UnreachableOnStore,
    Unreadable,
)
from afterview.memory.base.feature_spec import require_same
from afterview.memory.directory import Memory
from afterview.memory.plans.clip_marks import Clips, whole_clips
from afterview.memory.plans.clip_sampling import plan_clips
from afterview.memory.plans.clips import ClipLayout
from afterview.memory.plans.positions import VideoLayout, plan_layout
from afterview.memory.plans.recall import RecallPlan, plan_recall
from afterview.memory.plans.visibility import plan_repetition, plan_visible
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.stream.ask.length import span_seconds
from afterview.stream.ask.question import Question, Search
from afterview.stream.ask.shown_subtitles import (
    MOST_CHARACTERS,
    MOST_TOKENS,
    ShownSubtitles,
    before_question,
    shown_subtitles,
)
from afterview.stream.ask.span import find_span
from afterview.stream.ask.subtitle_places import SeenFrames, by_time
from afterview.stream.errors import Cancelled

if TYPE_CHECKING:  # a model is handed in: importing this module must not load torch
    from afterview.model.checkpoint.models import AfterviewModel
    from afterview.model.language.prompt import Prompt

_MOST_DAMAGE = 8  # times that a question starts over because frames could not be read
_READ_AT_ONCE = 1024  # frames read between two looks at whether the question was cancelled


@dataclass(frozen=True)
class Context:
    """Everything that the model is given for one question to one camera, before a single weight is used.

    ids: frame ids of the span; of a model that sees clips, those in whole clips (left_out: how many others there are).
    recall.frames: span numbers [R] of the recalled frames. features: [R, P, Dv].
    """

    snapshot: MemorySnapshot
    ids: NDArray[np.int64]
    recall: RecallPlan
    search: Search
    layout: VideoLayout | ClipLayout
    features: NDArray[np.floating]
    prompt: "Prompt"
    visible_frames: NDArray[np.int64]
    seconds: float
    left_out: int = 0
    subtitles: ShownSubtitles | None = None  # those that the prompt has; None: the question has none

    @property
    def span_frames(self) -> int:
        """Frames in the span."""
        return len(self.ids)

    def without_features(self) -> "Context":
        """The same without its features, for when the model has taken them in: they are most of its size."""
        return replace(self, features=self.features[:0])


class Planner:
    """Plans what one model sees of one memory."""

    def __init__(self, memory: Memory, model: "AfterviewModel", embed: Callable[[str], NDArray[np.float32]]) -> None:
        """embed: a text's unit-norm embedding [De]."""
        self._memory, self._model, self._embed = memory, model, embed

    def plan(
        self, snapshot: MemorySnapshot, question: Question, now: float, cancel: threading.Event | None = None
    ) -> Context:
        """What the model sees of a camera: of `snapshot`, unless frames of it were removed meanwhile.

        Raises NothingRecorded, SpecMismatch, StoreUnreachable, Unreadable, Cancelled.
        """
        reader = self._memory.camera(snapshot.info.id)
        reader.require_own(snapshot)
        silent: UnreachableFrames | None = None
        whole = snapshot
        for _ in range(_MOST_DAMAGE):
            try:
                context = self.plan_snapshot(snapshot, question, now, cancel)
                if not reader.forgot_since(snapshot):
                    return context
                snapshot = whole = reader.snapshot()
            except UnreachableFrames as error:  # left out, and reported
                silent, snapshot = error, snapshot.within_reach(error.frames, str(error))
            except DamagedFrames as error:  # removed meanwhile, or damaged: left out, and reported
                whole = reader.snapshot().without(np.union1d(snapshot.damaged, error.frames))
                snapshot = whole.within_reach(snapshot.unreachable, snapshot.unreachable_why)
            except NothingRecorded:
                if silent is None:
                    raise
                first, end = find_span(whole, question, now)
                frames = np.count_nonzero(np.isin(whole.ids[first:end], snapshot.unreachable))
                what = f"camera '{snapshot.info.id}': all of its {frames} frames in that span"
                if isinstance(silent, UnreachableOnStore):
                    raise StoreUnreachable(f"{what} lie on {silent}") from None
                raise Unreadable(f"{what} are out of reach: {silent}", reader.directory) from None
        return self.plan_snapshot(snapshot, question, now, cancel)

    def plan_snapshot(
        self, snapshot: MemorySnapshot, question: Question, now: float, cancel: threading.Event | None = None
    ) -> Context:
        """The same of a snapshot alone. Raises NothingRecorded, SpecMismatch, DamagedFrames, Cancelled."""
        require_same(snapshot.spec, self._model.encoders.feature_spec, where=f"camera '{snapshot.info.id}'")
        first, end = find_span(snapshot, question, now)
        if self._model.preset.sees_clips:
            return self._plan_clips(snapshot, question, first, end, cancel)
        ids, count = snapshot.ids[first:end], end - first
        preset = self._model.preset
        shown = plan_repetition(count, shortest=preset.forgetting.shortest)
        visible = self._visible(snapshot, question, ids, cancel)
        visible_frames = shown[visible]
        nearest, search = self._nearest(snapshot, question.sought, ids)
        recall = plan_recall(count, visible_frames, nearest, preset.recall)
        layout = plan_layout(
            count, recall.frames, visible, frame_ids=ids, config=preset.forgetting, policy=preset.positions,
            trained_frames=preset.trained_frames, random_constant=snapshot.info.random_constant,
            grid=round(snapshot.spec.tokens.tokens_per_frame**0.5),
        )  # fmt: skip
        seconds = span_seconds(self._memory.camera(snapshot.info.id), snapshot, first, end)
        prompt, shown_lines = self._prompt(snapshot, question, ids, frames=count, seconds=seconds)
        features = _read_tokens(snapshot, ids[recall.frames], cancel)
        return Context(
            snapshot, ids, recall, search, layout, features, prompt, visible_frames, seconds, subtitles=shown_lines
        )  # fmt: skip

    def _plan_clips(
        self, snapshot: MemorySnapshot, question: Question, first: int, end: int, cancel: threading.Event | None
    ) -> Context:
        """The same for a model that sees whole clips. As of a moment, a clip that was not complete then is not seen."""
        preset, spec, every = self._model.preset, snapshot.spec.tokens, snapshot.ids[first:end]
        if not spec.clip_marks:
            raise SpecMismatch(
                f"camera '{snapshot.info.id}': its memory does not say which frames were merged together, as those of earlier versions; "
                "rebuild it with `reembed`"
            )
        found = whole_clips(every, snapshot.clip_marks(every))
        if not len(found):
            raise NothingRecorded(
                f"camera '{snapshot.info.id}': its {counted(end - first, 'frame')} in that span make no whole clip (of "
                f"{spec.frames_per_record} frames, or fewer before a gap); ask about a longer span"
            )
        rows = found.rows()
        ids, clips = every[rows], Clips(np.cumsum(found.sizes) - found.sizes, found.sizes)
        reader = self._memory.camera(snapshot.info.id)
        seconds = span_seconds(reader, snapshot, first + int(rows[0]), first + int(rows[-1]) + 1)
        searched: list[Search] = []

        def nearest() -> NDArray[np.int64]:
            hits, search = self._search(snapshot, question.sought, ids)
            searched.append(search)
            numbers = np.searchsorted(clips.starts, hits, side="right") - 1
            return numbers[np.sort(np.unique(numbers, return_index=True)[1])]

        plan = plan_clips(
            clips, seconds, preset.clip_sampling, preset.recall, nearest, frames_per_clip=spec.frames_per_record
        )
        seen = plan.recall.frames
        sizes = tuple(clips.sizes[plan.clips].tolist())
        frames = (
            SeenFrames(np.array([snapshot.time_of(int(frame)) for frame in ids[seen]]), sizes)
            if question.subtitles_by_time
            else None
        )
        prompt, shown_lines = self._prompt(snapshot, question, ids, frames=len(seen), seconds=seconds, seen=frames)
        layout = ClipLayout(len(seen), spec.tokens_per_frame, sizes, () if shown_lines is None else shown_lines.parts)
        features, search = _read_tokens(snapshot, ids[seen], cancel), searched[0] if searched else "none"
        return Context(
            snapshot, ids, plan.recall, search, layout, features, prompt, seen, seconds, left_out=len(every) - len(ids),
            subtitles=shown_lines,
        )  # fmt: skip

    def _prompt(
        self, snapshot: MemorySnapshot, question: Question, ids: NDArray[np.int64], *, frames: int, seconds: float,
        seen: SeenFrames | None = None,
    ) -> "tuple[Prompt, ShownSubtitles | None]":  # fmt: skip
        """The prompt, with the subtitles up to the moment asked. More of them than MOST_TOKENS are thinned again. seen: of clips."""
        text, most = question.text.strip(), MOST_CHARACTERS
        first, last = (snapshot.time_of(int(ids[place])) for place in (0, -1))
        while True:
            shown = shown_subtitles(question, first, last, most=most)
            if shown is not None and question.subtitles_by_time:
                shown = by_time(shown, first, seen)
            lines, between = ((), ()) if shown is None else (shown.lines, shown.between)
            words = text if between else before_question(lines, text)
            prompt = self._model.prompt(words, frames=frames, seconds=seconds, between=between, asked=question.asked)
            size = len(prompt.after)
            if shown is None or not lines or size <= MOST_TOKENS:
                return prompt, shown
            most = int(0.95 * shown.characters * MOST_TOKENS / size)

    def _visible(
        self, snapshot: MemorySnapshot, question: Question, ids: NDArray[np.int64], cancel: threading.Event | None
    ) -> NDArray[np.int64]:
        config, model = self._model.preset.forgetting, self._model.video_language
        vectors = vector = None
        if config.temporal == "keyframe":
            vectors = snapshot.mean_tokens(ids)
        elif config.temporal == "question-guided":
            pieces = np.split(ids, range(256, len(ids), 256))
            vectors = np.concatenate([model.frame_vectors(_read_tokens(snapshot, part, cancel)) for part in pieces])
            vector = model.question_vector(self._model.prompt(question.sought, frames=len(ids), seconds=0.0))
        return plan_visible(
            len(ids), config, frame_ids=ids, random_constant=snapshot.info.random_constant,
            frame_vectors=vectors, question_vector=vector,
        )  # fmt: skip

    def _nearest(self, snapshot: MemorySnapshot, text: str, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], Search]:
        """Span numbers of the frames whose embeddings lie nearest to the question; none where recall is not bounded."""
        if len(ids) <= self._model.preset.recall.budget:
            return np.empty(0, dtype=np.int64), "none"
        return self._search(snapshot, text, ids)

    def _search(self, snapshot: MemorySnapshot, text: str, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], Search]:
        """Places among `ids` of the frames that the index finds nearest to the question, best first."""
        recall = self._model.preset.recall
        index = self._memory.index(snapshot.info.id)
        index.catch_up(snapshot)
        found = index.search(self._embed(text), recall.nearest, snapshot, first=int(ids[0]), end=int(ids[-1]) + 1)
        frames = np.array([hit.frame for hit in found.hits], dtype=np.int64)
        places = np.searchsorted(ids, frames)
        held = ids[np.minimum(places, len(ids) - 1)] == frames  # others are in no whole clip
        return places[held], "exact" if found.exact else "approximate"


def require_wanted(cancel: threading.Event | None) -> None:
    """Raise Cancelled once `cancel` is set."""
    if cancel is not None and cancel.is_set():
        raise Cancelled("the question was cancelled")


def _read_tokens(
    snapshot: MemorySnapshot, ids: NDArray[np.int64], cancel: threading.Event | None
) -> NDArray[np.floating]:
    """Tokens of these frames, [len(ids), P, Dv]. Raises UnreachableFrames, DamagedFrames (all damage at once), Cancelled."""
    spec = snapshot.spec.tokens
    tokens: NDArray[np.floating] = np.empty((len(ids), spec.tokens_per_frame, spec.width), dtype=spec.dtype)
    damage: list[DamagedFrames] = []
    for first in range(0, len(ids), _READ_AT_ONCE):
        require_wanted(cancel)
        try:
            tokens[first : first + _READ_AT_ONCE] = snapshot.tokens(ids[first : first + _READ_AT_ONCE])
        except DamagedFrames as error:
            damage.append(error)
    if damage:
        raise DamagedFrames(str(damage[0]), np.concatenate([error.frames for error in damage]))
    return tokens
