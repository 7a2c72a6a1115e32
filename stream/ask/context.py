"""What the model sees of one camera for one question: the part of an answer that live, replay and training share to the last bit.

snapshot -> span -> forgetting (what stays visible) -> recall (what MemAug attends to) -> layout
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.errors import DamagedFrames, NothingRecorded, StoreUnreachable, UnreachableFrames
from afterview.memory.base.spec import require_same
from afterview.memory.directory import Memory
from afterview.memory.plans.positions import VideoLayout, plan_layout
from afterview.memory.plans.recall import RecallPlan, plan_recall
from afterview.memory.plans.visibility import plan_repetition, plan_visible
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.stream.ask.question import Question, Search
from afterview.stream.ask.span import find_span

if TYPE_CHECKING:  # a model is handed in: importing this module must not load torch
    from afterview.model.checkpoint.loaded import AfterviewModel
    from afterview.model.language.prompt import Prompt


_MOST_DAMAGE = 8  # times that a question starts over because frames could not be read


@dataclass(frozen=True)
class Context:
    """Everything that the model is given for one question to one camera, before a single weight is used.

    ids: frame ids of the span. recall.frames: span numbers [R] of the recalled frames. features: [R, P, Dv].
    """

    snapshot: MemorySnapshot
    ids: NDArray[np.int64]
    recall: RecallPlan
    search: Search
    layout: VideoLayout
    features: NDArray[np.floating]
    prompt: "Prompt"
    visible_frames: NDArray[np.int64]
    seconds: float

    @property
    def span_frames(self) -> int:
        """Frames in the span."""
        return len(self.ids)

    def without_features(self) -> "Context":
        """The same once the model has taken the features in: they are most of what it holds."""
        return replace(self, features=self.features[:0])


class Planner:
    """Plans sights of one memory for one model."""

    def __init__(self, memory: Memory, model: "AfterviewModel", embed: Callable[[str], NDArray[np.float32]]) -> None:
        """embed: a text's unit-norm embedding [De]."""
        self._memory, self._model, self._embed = memory, model, embed

    def plan(self, name: str, question: "Question", now: float) -> Context:
        """What the model sees of the camera called `name`. Raises NothingRecorded, SpecMismatch, StoreUnreachable."""
        reader = self._memory.camera(name)
        snapshot = reader.snapshot()
        silent: UnreachableFrames | None = None
        for _ in range(_MOST_DAMAGE):
            try:
                context = self.plan_snapshot(snapshot, question, now)
                if not reader.forgot_since(snapshot):
                    return context
                snapshot = reader.snapshot()
            except UnreachableFrames as error:  # the answer rests on what is here, and says so
                silent, snapshot = error, snapshot.within_reach(error.frames)
            except DamagedFrames as error:  # removed meanwhile, or damaged: the answer rests on the others, and says so
                without = reader.snapshot().without(np.union1d(snapshot.damaged, error.frames))
                snapshot = without.within_reach(snapshot.unreachable)
            except NothingRecorded:
                if silent is None:
                    raise
                frames = len(snapshot.unreachable)
                raise StoreUnreachable(
                    f"camera '{name}': all of its {frames} frames that may matter lie on {silent}"
                ) from None
        return self.plan_snapshot(snapshot, question, now)

    def plan_snapshot(self, snapshot: MemorySnapshot, question: "Question", now: float) -> Context:
        """The same of a snapshot alone. Raises NothingRecorded, SpecMismatch, DamagedFrames."""
        require_same(snapshot.spec, self._model.encoders.feature_spec, where=f"camera '{snapshot.info.id}'")
        first, end = find_span(snapshot, question, now)
        ids, count = snapshot.ids[first:end], end - first
        preset = self._model.preset
        shown = plan_repetition(count, shortest=preset.forgetting.shortest)
        visible = self._visible(snapshot, question.text, ids)
        visible_frames = shown[visible]
        nearest, search = self._nearest(snapshot, question.text, ids)
        recall = plan_recall(count, visible_frames, nearest, preset.recall)
        layout = plan_layout(
            count, recall.frames, visible, frame_ids=ids, config=preset.forgetting, policy=preset.positions,
            trained_frames=preset.trained_frames, random_constant=snapshot.info.random_constant,
            grid=round(snapshot.spec.tokens.tokens_per_frame**0.5),
        )  # fmt: skip
        # The span ends when its last frame's second does, as a recording of it would.
        seconds = round(float(snapshot.times[end - 1] - snapshot.times[first]) + 1 / snapshot.info.fps, 3)
        prompt = self._model.prompt(question.text.strip(), frames=count, seconds=seconds)
        features = snapshot.tokens(ids[recall.frames])
        return Context(snapshot, ids, recall, search, layout, features, prompt, visible_frames, seconds)

    def _visible(self, snapshot: MemorySnapshot, text: str, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        config, model = self._model.preset.forgetting, self._model.video_language
        vectors = question = None
        if config.temporal == "keyframe":
            vectors = snapshot.mean_tokens(ids)
        elif config.temporal == "question-guided":
            pieces = np.split(ids, range(256, len(ids), 256))
            vectors = np.concatenate([model.frame_vectors(snapshot.tokens(part)) for part in pieces])
            question = model.question_vector(self._model.prompt(text, frames=len(ids), seconds=0.0))
        return plan_visible(
            len(ids), config, frame_ids=ids, random_constant=snapshot.info.random_constant,
            frame_vectors=vectors, question_vector=question,
        )  # fmt: skip

    def _nearest(self, snapshot: MemorySnapshot, text: str, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], Search]:
        """Span numbers of the frames whose embeddings lie nearest to the question; only asked for when recall is bounded."""
        recall = self._model.preset.recall
        if len(ids) <= recall.budget:
            return np.empty(0, dtype=np.int64), "none"
        index = self._memory.index(snapshot.info.id)
        index.catch_up(snapshot)
        found = index.search(self._embed(text), recall.nearest, snapshot, first=int(ids[0]), end=int(ids[-1]) + 1)
        frames = np.array([hit.frame for hit in found.hits], dtype=np.int64)
        return np.searchsorted(ids, frames), "exact" if found.exact else "approximate"
