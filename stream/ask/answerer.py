"""Answers a question, with the evidence for the answer. Synchronous: one thread at a time uses an Answerer.

which cameras -> what the model sees of each (stream.ask.context) -> MemAug -> decoder -> one answer

The model has only ever seen one video at a time, so each camera gets an answer of its own; those of several are generated in one batch.
"""

import logging
import threading
import time
import unicodedata
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from afterview.configs import UsageError
from afterview.memory.base.errors import (
    DamagedFrames,
    NothingRecorded,
    RepositoryError,
    StoreError,
    UnreachableFrames,
    in_words,
)
from afterview.memory.directory import Memory
from afterview.memory.plans.clips import ClipLayout
from afterview.memory.plans.positions import VideoLayout
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.model.base.generation import Generated, GenerationSettings
from afterview.model.language.moments import BETWEEN
from afterview.stream.ask.cameras import choose_cameras
from afterview.stream.ask.context import Context, Planner, require_wanted
from afterview.stream.ask.covered import coverage_of
from afterview.stream.ask.further_looks import FurtherLooks
from afterview.stream.ask.index_query import index_query, provenance_of
from afterview.stream.ask.merging import OnText, OrderedMerger
from afterview.stream.ask.options import options_in, without_options
from afterview.stream.ask.pointing import pointed
from afterview.stream.ask.question import Answer, CameraAnswer, Coverage, Evidence, EvidenceKind, Question, Tokens

if TYPE_CHECKING:  # a model is handed in: importing this module must not load torch
    from afterview.model.checkpoint.models import AfterviewModel
    from afterview.model.video_language import VideoInputs

_LOGGER = logging.getLogger(__name__)

LONGEST_QUESTION = 2000  # characters
FEATURES_HELD = 64e6  # bytes of features that are given to the model together
OnCameras: TypeAlias = Callable[[Sequence[str], Mapping[str, str]], None]
CAMERAS_TOGETHER = 8  # answers generated in one batch; the keys and values of each prompt stay in memory meanwhile


@dataclass(frozen=True)
class _Asked:
    """One camera whose answer is being made."""

    name: str
    why: str
    context: Context
    coverage: Coverage
    seen_s: float  # since the question came


class Answerer:
    """Answers questions to one memory with one model."""

    def __init__(
        self,
        memory: Memory,
        model: "AfterviewModel",
        *,
        times_since_start: bool = False,
        longest: int = LONGEST_QUESTION,
    ) -> None:
        """times_since_start: times in answers count from the start of the span, as the truth of worlds does; else they are the camera's.
        longest: question that is taken, in characters."""
        self.memory, self.model, self._longest = memory, model, longest
        self._times_since_start = times_since_start
        self._said_surplus = False  # that a question is longer than the index reads; said once
        self._planner = Planner(memory, model, self._embed)

    def ask(
        self,
        question: Question,
        *,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
        on_cameras: OnCameras | None = None,
    ) -> Answer:
        """Answer from everything committed by now.

        on_text receives the text as it is generated: the first camera's at once, then each further one's as soon as those before it are
        complete. All pieces together are the answer's text, except for white space around each camera's.
        cancel: once it is set (from any thread), reading the memory and generating stop within one piece, or one token.
        on_cameras: called before the model runs, with the ids of the cameras that answer and, by id, why others do not.

        A question that the model's preset does not know is declined: the answer says so, and has no parts.

        A camera that fails is left out and named in `skipped`, unless it was named or none can answer. Raises UsageError for an empty
        question, MemoryNotFound for an unknown camera, NothingRecorded when no camera has a frame in the span, StoreError or Unreadable
        when all frames of it are out of reach, SpecMismatch, DamagedMemory, Cancelled.
        """
        began, now = time.perf_counter(), time.time()
        text = checked_question(question, self.model.preset.suggestion, self._longest)
        settings = self.model.generation.changed(question.generation)
        choice = choose_cameras(self.memory, question, self._embed, self.model.encoders.feature_spec, now)
        if (scope := self.model.preset.scope) is not None and scope.declines(
            without_options(text), self.memory.camera_ids()
        ):
            return self._declined(text, scope.text, choice.skipped, began, on_text)
        skipped = dict(choice.skipped)
        asked: list[_Asked] = []
        inputs: list[VideoInputs] = []
        nothing: RepositoryError | None = None
        for name, chosen in choice.asked.items():
            try:
                context = self._planner.plan(chosen.snapshot, question, now, cancel)
                coverage = self._coverage(context, question, now)
            except (RepositoryError, OSError) as error:
                nothing = in_words(error)
                if question.cameras and not isinstance(nothing, NothingRecorded | StoreError):
                    raise nothing from None
                skipped[name] = str(nothing)
                continue
            asked.append(_Asked(name, chosen.why, context, coverage, time.perf_counter() - began))
            if sum(item.context.features.nbytes for item in asked) > FEATURES_HELD:
                inputs += self._take_in(asked, len(inputs))
        if not asked:
            raise with_others(nothing, choice.skipped) if nothing else UsageError("no camera was named")
        if on_cameras is not None:
            on_cameras([item.context.snapshot.info.id for item in asked], skipped)
        inputs += self._take_in(asked, len(inputs))
        texts = OrderedMerger(titles([item.name for item in asked]), on_text)
        options = question.options or options_in(text)
        took = self._generate(text, options, question.seed, settings, asked, inputs, texts, began, now, cancel)
        parts = tuple(
            self._part(*one, question, settings, choice.searched)
            for one in zip(texts.texts, asked, inputs, took, strict=True)
        )
        spent_s = time.perf_counter() - began
        return Answer(uuid.uuid4().hex[:12], text, texts.merged(), parts, self.model.notice, skipped, spent_s)

    def _part(
        self, text: str, asked: _Asked, inputs: "VideoInputs", took: tuple[dict[str, float], Tokens, FurtherLooks], question: Question,
        settings: GenerationSettings, searched: bool,
    ) -> CameraAnswer:  # fmt: skip
        """One camera's answer. searched: as of Choice."""
        context, (timing, tokens, looks) = asked.context, took
        evidence = self._evidence(context, _weights(context, inputs), question.evidence)
        if looks.weights:  # the answer rests on what they found
            snapshot, heaviest = context.snapshot, sorted(looks.weights.items(), key=lambda pair: -pair[1])
            evidence = tuple(shown(snapshot, frame, weight) for frame, weight in heaviest[: question.evidence])
        return CameraAnswer(
            text.strip(), asked.why, evidence, asked.coverage, self._provenance(context, question, settings, searched, looks), timing,
            tokens, _kind(context, inputs),
        )  # fmt: skip

    def plan(self, name: str, question: Question, now: float) -> Context:
        """Plan what the model sees of one camera: the part of an answer that live, replay and training share to the last bit."""
        return self._planner.plan(self.memory.camera(name).snapshot(), question, now)

    def _declined(
        self, question: str, text: str, skipped: dict[str, str], began: float, on_text: OnText | None
    ) -> Answer:
        if on_text is not None:
            on_text(text)
        total_s = time.perf_counter() - began
        return Answer(uuid.uuid4().hex[:12], question, text, (), self.model.notice, skipped, total_s, declined=True)

    def _embed(self, text: str) -> NDArray[np.float32]:
        index = self.model.encoders.index
        text = index_query(self.model.preset, text).text
        if (surplus := index.surplus_tokens(text)) and not self._said_surplus:
            self._said_surplus = True
            _LOGGER.warning(
                "note: frames are recalled by the first %d tokens of the question; the index ignores the other %d",
                index.longest_text - 1, surplus,
            )  # fmt: skip
        return index.encode_texts([text])[0]

    def _take_in(self, asked: list[_Asked], done: int) -> "list[VideoInputs]":
        """What the language model is given for each of asked[done:]; their features are released."""
        made = self.model.video_inputs(
            [(own.features, own.layout, own.prompt) for own in (a.context for a in asked[done:])]
        )
        asked[done:] = [replace(item, context=item.context.without_features()) for item in asked[done:]]
        return made

    def _generate(
        self,
        text: str,
        options: Mapping[str, str],
        seed: int,
        settings: GenerationSettings,
        asked: Sequence[_Asked],
        inputs: "Sequence[VideoInputs]",
        texts: OrderedMerger,
        began: float,
        now: float,
        cancel: threading.Event | None,
    ) -> list[tuple[dict[str, float], Tokens, FurtherLooks]]:
        """Generate the texts; what each one took."""
        timings = [{"recall_s": item.seen_s} for item in asked]
        notes = [Generated() for _ in inputs]
        spoken = [
            pointed(item.context, own.frame_weights, self._times_since_start)
            for item, own in zip(asked, inputs, strict=True)
        ]
        looks = [
            FurtherLooks(self._planner, self.model, item.context, now, seed=seed, between=own[BETWEEN], cancel=cancel)
            for item, own in zip(asked, spoken, strict=True)
        ]
        for first in range(0, len(inputs), CAMERAS_TOGETHER):
            together = inputs[first : first + CAMERAS_TOGETHER]
            pieces = self.model.answer_several(
                together,
                options=[options] * len(together),
                pointed=spoken[first : first + CAMERAS_TOGETHER],
                looks=[one.answer for one in looks[first : first + CAMERAS_TOGETHER]],
                questions=[text] * len(together),
                seed=seed,
                settings=settings,
                notes=notes[first : first + CAMERAS_TOGETHER],
            )
            for row, piece in pieces:
                require_wanted(cancel)
                passed = time.perf_counter() - began
                timings[first + row].setdefault("first_token_s", passed)
                if piece is None:
                    timings[first + row]["total_s"] = passed
                    texts.end(first + row)
                else:
                    texts.push(first + row, piece)
        tokens = []
        for own, note, look in zip(inputs, notes, looks, strict=True):
            look.corrected += note.names_corrected
            look.unmatched += note.names_unmatched
            tokens.append(Tokens(len(own.inputs_embeds), note.tokens, note.cut))
        return list(zip(timings, tokens, looks, strict=True))

    def _evidence(self, context: Context, weights: NDArray[np.float64] | None, most: int) -> tuple[Evidence, ...]:
        if weights is None:
            return ()
        heaviest, own = context.layout.heaviest(weights, most)
        frames = context.ids[context.recall.frames[heaviest]]
        return tuple(
            shown(context.snapshot, int(frame), float(weight)) for weight, frame in zip(own, frames, strict=True)
        )

    def _coverage(self, context: Context, question: Question, now: float) -> Coverage:
        return coverage_of(
            context.snapshot, context.ids, question, now, recall=context.recall.mode, search=context.search,
            positions=self._positions(context), recalled=len(context.recall.frames),
            visible=len(np.unique(context.visible_frames)), left_out=context.left_out,
        )  # fmt: skip

    def _positions(self, context: Context) -> str:
        """The position policy in force. Without MemAug the decoder counts its own tokens."""
        preset = self.model.preset
        beyond = context.span_frames > preset.trained_frames and isinstance(context.layout, VideoLayout)
        return preset.positions if beyond else "true"

    def _provenance(
        self, context: Context, question: Question, settings: GenerationSettings, searched: bool, looks: FurtherLooks
    ) -> dict[str, object]:
        searched = searched or context.search != "none"
        return {
            "model": self.model.preset.reference,
            "weights": self.model.weights_hash,
            "trained": self.model.trained,
            **({"untrained": list(new)} if (new := self.model.preset.new_parts) else {}),
            "camera": context.snapshot.info.id,
            "generation": context.snapshot.generation,
            "first_frame": int(context.ids[0]),
            "last_frame": int(context.ids[-1]),
            "seed": question.seed,
            "decoding": settings.document(),
            "random_constant": context.snapshot.info.random_constant,
            "recall": context.recall.mode,
            "search": context.search,
            **provenance_of(self.model.preset, question.sought, searched=searched),
            **({} if context.subtitles is None else {"subtitles": context.subtitles.to_dict()}),
            **({"looks": made} if (made := looks.to_dicts()) else {}),
            **looks.names_to_dict(),
        }


def with_others(error: RepositoryError, skipped: dict[str, str]) -> RepositoryError:
    """The error, which also names the cameras that were left out before: what was asked for may lie there."""
    if skipped:
        error.args = (f"{error}; left out: " + "; ".join(f"{name}: {why}" for name, why in skipped.items()),)
    return error


def _weights(context: Context, made: "VideoInputs") -> NDArray[np.float64] | None:
    """Evidence weight of each recalled frame: of MemAug, or without it of the decoder's attention; None without either."""
    if made.attention is None or not isinstance(context.layout, ClipLayout):
        return made.frame_weights
    return made.attention.frame_weights(context.layout)


def _kind(context: Context, made: "VideoInputs") -> EvidenceKind:
    """Where those weights come from."""
    if made.attention is not None and isinstance(context.layout, ClipLayout):
        return "decoder"
    return "none" if made.frame_weights is None else "memaug"


def titles(names: Sequence[str]) -> list[str]:
    """What precedes the text of each camera; nothing where there is one."""
    return [f"{name}: " if len(names) > 1 else "" for name in names]


def shown(snapshot: MemorySnapshot, frame: int, weight: float) -> Evidence:
    """A frame as evidence."""
    camera, image = snapshot.info.id, stored_image(snapshot, frame)
    return Evidence(camera, frame, snapshot.time_of(frame), weight, image, snapshot.picture_damaged(frame))


def stored_image(snapshot: MemorySnapshot, frame: int) -> bytes:
    """A frame's JPEG, or nothing where that alone cannot be read: the answer does not rest on it."""
    try:
        return snapshot.image(frame)
    except (DamagedFrames, UnreachableFrames):
        return b""


def checked_question(question: Question, suggestion: str, longest: int = LONGEST_QUESTION) -> str:
    """The text without white space around it. Raises UsageError for one that cannot be asked, with a suggestion if it is empty."""
    text = question.text.strip()
    if question.evidence < 0:
        raise UsageError(f"evidence is {question.evidence}; give the largest number of evidence frames, 0 or more")
    if not text:
        raise UsageError(f'the question is empty; ask, for example: "{suggestion}"')
    if not text.isprintable() and any(unicodedata.category(letter) == "Cs" for letter in text):
        raise UsageError("the question holds bytes that are not UTF-8 text")
    if len(text) > longest:
        raise UsageError(f"the question has {len(text)} characters; at most {longest} are taken")
    return text
