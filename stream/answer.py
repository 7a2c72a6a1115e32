"""A question, and the answer with what proves it. Synchronous: one thread at a time uses an Answerer.

snapshot -> span -> forgetting (what stays visible) -> recall (what MemAug attends to) -> layout -> MemAug -> decoder
"""

import time
import unicodedata
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from configs import UsageError
from memory.directory import Memory
from memory.errors import DamagedFrames, NothingRecorded, StoreError, StoreUnreachable, UnreachableFrames
from memory.forgetting import plan_repetition, plan_visible
from memory.positions import VideoLayout, plan_layout
from memory.recall import RecallPlan, plan_recall
from memory.records import Gap
from memory.removal import Removal, touching
from memory.snapshot import MemorySnapshot
from memory.spec import require_same
from stream.relevance import MOST_CAMERAS, relevant_cameras
from stream.span import find_span, span_gaps, span_start

if TYPE_CHECKING:  # a model is handed in: importing this module must not load torch
    from model.loaded import AfterimageModel
    from model.prompt import Prompt

_MOST_DAMAGE = 8  # times that a question starts over because frames could not be read
LONGEST_QUESTION = 2000  # characters


@dataclass(frozen=True)
class Question:
    """What is asked, of which cameras (none named: all), about which span. Times are Unix seconds; None leaves a side open."""

    text: str
    cameras: tuple[str, ...] = ()
    start: float | None = None
    at: float | None = None
    last_s: float | None = None  # seconds before `at` (or now); instead of start
    seed: int = 0
    evidence: int = 8  # frames named as evidence, at most
    max_new_tokens: int | None = None


@dataclass(frozen=True)
class Evidence:
    """A frame that MemAug rested on. weight: its share of the attention, all frames of its camera summing to 1."""

    camera: str
    frame: int
    time: float
    weight: float
    image: bytes = field(repr=False)  # JPEG


@dataclass(frozen=True)
class Coverage:
    """What the answer could know: the frames of the span, the gaps in it, and how far its newest frame lies behind.

    removed: parts of the span that are no longer remembered. damaged: frames of it that could not be read. unreachable: frames that lie
    on a store that did not answer.
    """

    camera: str
    frames: int
    first_time: float
    last_time: float
    gaps: tuple[Gap, ...]
    removed: tuple[Removal, ...]
    damaged: int
    lag_s: float
    recall: str
    positions: str
    recalled: int
    visible: int
    unreachable: int = 0


@dataclass(frozen=True)
class CameraAnswer:
    """One camera's answer."""

    text: str
    evidence: tuple[Evidence, ...]
    coverage: Coverage
    provenance: dict[str, object]
    timing: dict[str, float]


@dataclass(frozen=True)
class Answer:
    """The answer to a question: one camera's, or several merged. `skipped` says which cameras could not be asked, and why."""

    id: str
    question: str
    text: str
    parts: tuple[CameraAnswer, ...]
    notice: str | None
    skipped: dict[str, str]
    total_s: float

    @property
    def evidence(self) -> list[Evidence]:
        """Evidence of all cameras, heaviest first."""
        return sorted((item for part in self.parts for item in part.evidence), key=lambda item: -item.weight)


@dataclass(frozen=True)
class Sight:
    """Everything that the model is given for one question to one camera, before a single weight is used.

    ids: frame ids of the span. recall.frames: span numbers [R] of the recalled frames. features: [R, P, Dv].
    """

    snapshot: MemorySnapshot
    ids: NDArray[np.int64]
    recall: RecallPlan
    layout: VideoLayout
    features: NDArray[np.floating]
    prompt: "Prompt"
    visible_frames: NDArray[np.int64]
    seconds: float

    @property
    def span_frames(self) -> int:
        """Frames in the span."""
        return len(self.ids)


class Answerer:
    """Answers questions to one memory with one model."""

    def __init__(self, memory: Memory, model: "AfterimageModel") -> None:
        self.memory, self.model = memory, model

    def ask(self, question: Question, *, on_text: Callable[[str], None] | None = None) -> Answer:
        """Answer from everything committed by now. on_text receives the text as it is generated (one camera only).

        Raises UsageError for an empty question, NothingRecorded when no camera has a frame in the span, SpecMismatch.
        """
        began = time.perf_counter()
        text = question.text.strip()
        if not text:
            raise UsageError('the question is empty; ask, for example: "What colour was the car?"')
        if not text.isprintable() and any(unicodedata.category(letter) == "Cs" for letter in text):
            raise UsageError("the question holds bytes that are not UTF-8 text")
        if len(text) > LONGEST_QUESTION:
            raise UsageError(f"the question has {len(text)} characters; at most {LONGEST_QUESTION} are taken")
        names, skipped = self._cameras(question)
        parts: list[CameraAnswer] = []
        nothing: NothingRecorded | StoreError | None = None
        for name in names:
            try:
                parts.append(self._ask_camera(name, question, on_text if len(names) == 1 else None))
            except (NothingRecorded, StoreError) as error:
                nothing = error
                skipped[name] = str(error)
        if not parts:
            raise nothing or UsageError("no camera was named")
        merged = (
            parts[0].text if len(names) == 1 else "\n".join(f"{part.coverage.camera}: {part.text}" for part in parts)
        )
        return Answer(
            uuid.uuid4().hex[:12], text, merged, tuple(parts), self.model.notice, skipped, time.perf_counter() - began
        )

    def _cameras(self, question: Question) -> tuple[Sequence[str], dict[str, str]]:
        """Which cameras to ask, and why not the others. Those that are named are all asked; of many that are not, the likeliest."""
        named = tuple(dict.fromkeys(self.memory.camera(name).info.id for name in question.cameras))
        names = named or tuple(self.memory.camera_ids())
        if question.cameras or len(names) <= MOST_CAMERAS:
            return names, {}
        encoders = self.model.encoders
        query = encoders.index.encode_texts([question.text])[0]
        chosen, skipped = relevant_cameras(self.memory, names, question, query, encoders.feature_spec, time.time())
        return chosen or names, skipped if chosen else {}

    def look(self, name: str, question: Question, now: float) -> Sight:
        """Plan what the model sees of one camera: the part of an answer that live, replay and training share to the last bit."""
        reader = self.memory.camera(name)
        snapshot = reader.snapshot()
        silent: UnreachableFrames | None = None
        for _ in range(_MOST_DAMAGE):
            try:
                sight = self._look(snapshot, question, now)
                if not reader.forgot_since(snapshot):
                    return sight
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
        return self._look(snapshot, question, now)

    def _look(self, snapshot: MemorySnapshot, question: Question, now: float) -> Sight:
        require_same(snapshot.spec, self.model.encoders.feature_spec, where=f"camera '{snapshot.info.id}'")
        first, end = find_span(snapshot, question, now)
        ids, count = snapshot.ids[first:end], end - first
        preset = self.model.preset
        shown = plan_repetition(count, shortest=preset.forgetting.shortest)
        visible = self._visible(snapshot, question.text, ids)
        visible_frames = shown[visible]
        recall = plan_recall(count, visible_frames, self._nearest(snapshot, question.text, ids), preset.recall)
        layout = plan_layout(
            count, recall.frames, visible, frame_ids=ids, config=preset.forgetting, policy=preset.positions,
            trained_frames=preset.trained_frames, random_constant=snapshot.info.random_constant,
            grid=round(snapshot.spec.tokens.tokens_per_frame**0.5),
        )  # fmt: skip
        # The span ends when its last frame's second does, as a recording of it would.
        seconds = round(float(snapshot.times[end - 1] - snapshot.times[first]) + 1 / snapshot.info.fps, 3)
        prompt = self.model.prompt(question.text.strip(), frames=count, seconds=seconds)
        features = snapshot.tokens(ids[recall.frames])
        return Sight(snapshot, ids, recall, layout, features, prompt, visible_frames, seconds)

    def _visible(self, snapshot: MemorySnapshot, text: str, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        config, model = self.model.preset.forgetting, self.model.video_language
        vectors = question = None
        if config.temporal == "keyframe":
            vectors = snapshot.mean_tokens(ids)
        elif config.temporal == "question-guided":
            pieces = np.split(ids, range(256, len(ids), 256))
            vectors = np.concatenate([model.frame_vectors(snapshot.tokens(part)) for part in pieces])
            question = model.question_vector(self.model.prompt(text, frames=len(ids), seconds=0.0))
        return plan_visible(
            len(ids), config, frame_ids=ids, random_constant=snapshot.info.random_constant,
            frame_vectors=vectors, question_vector=question,
        )  # fmt: skip

    def _nearest(self, snapshot: MemorySnapshot, text: str, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Span numbers of the frames whose embeddings lie nearest to the question; only asked for when recall is bounded."""
        recall = self.model.preset.recall
        if len(ids) <= recall.budget:
            return np.empty(0, dtype=np.int64)
        index = self.memory.index(snapshot.info.id)
        index.catch_up(snapshot)
        query = self.model.encoders.index.encode_texts([text])[0]
        found = index.search(query, recall.nearest, snapshot, first=int(ids[0]), end=int(ids[-1]) + 1)
        return np.searchsorted(ids, np.array([hit.frame for hit in found.hits], dtype=np.int64))

    def _ask_camera(self, name: str, question: Question, on_text: Callable[[str], None] | None) -> CameraAnswer:
        clock, now = time.perf_counter, time.time()
        began = clock()
        sight = self.look(name, question, now)
        seen = clock()
        inputs = self.model.video_language.inputs_embeds(sight.features, sight.layout, sight.prompt)
        text, first_token = "", None
        for piece in self.model.answer(inputs, seed=question.seed, max_new_tokens=question.max_new_tokens):
            first_token = first_token or clock()
            text += piece
            if on_text:
                on_text(piece)
        done = clock()
        timing = {
            "recall_s": seen - began,
            "first_token_s": (first_token or done) - began,
            "total_s": done - began,
        }
        evidence = self._evidence(sight, inputs.frame_weights, question.evidence)
        return CameraAnswer(
            text.strip(), evidence, self._coverage(sight, question, now), self._provenance(sight, question), timing
        )

    def _evidence(self, sight: Sight, weights: NDArray[np.float64] | None, most: int) -> tuple[Evidence, ...]:
        if weights is None:
            return ()
        heaviest = np.argsort(-weights, kind="stable")[:most]
        frames = sight.ids[sight.recall.frames[heaviest]]
        snapshot = sight.snapshot
        return tuple(
            Evidence(
                snapshot.info.id,
                int(frame),
                snapshot.time_of(int(frame)),
                float(weights[row]),
                _image(snapshot, int(frame)),
            )
            for row, frame in zip(heaviest, frames, strict=True)
        )

    def _coverage(self, sight: Sight, question: Question, now: float) -> Coverage:
        snapshot = sight.snapshot
        first_time, last_time = snapshot.time_of(int(sight.ids[0])), snapshot.time_of(int(sight.ids[-1]))
        moment = now if question.at is None else question.at
        start = (
            first_time
            if question.start is None and question.last_s is None
            else min(first_time, span_start(question, now))
        )
        return Coverage(
            camera=snapshot.info.id,
            frames=sight.span_frames,
            first_time=first_time,
            last_time=last_time,
            gaps=span_gaps(snapshot, start, moment),
            removed=touching(snapshot.removed, start, moment),
            damaged=int(np.count_nonzero((snapshot.damaged >= sight.ids[0]) & (snapshot.damaged <= sight.ids[-1]))),
            unreachable=len(snapshot.unreachable),
            lag_s=max(0.0, moment - last_time),
            recall=sight.recall.mode,
            positions=self.model.preset.positions if sight.span_frames > self.model.preset.trained_frames else "true",
            recalled=len(sight.recall.frames),
            visible=len(np.unique(sight.visible_frames)),
        )

    def _provenance(self, sight: Sight, question: Question) -> dict[str, object]:
        return {
            "model": self.model.preset.reference,
            "weights": self.model.weights_hash,
            "trained": self.model.trained,
            "camera": sight.snapshot.info.id,
            "generation": sight.snapshot.generation,
            "first_frame": int(sight.ids[0]),
            "last_frame": int(sight.ids[-1]),
            "seed": question.seed,
            "random_constant": sight.snapshot.info.random_constant,
            "recall": sight.recall.mode,
        }


def _image(snapshot: MemorySnapshot, frame: int) -> bytes:
    """A frame's JPEG, or nothing where that alone is damaged: the answer does not rest on it."""
    try:
        return snapshot.image(frame)
    except DamagedFrames:
        return b""
