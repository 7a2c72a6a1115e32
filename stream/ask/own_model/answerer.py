"""Answers questions with a model of the user's own: our memory chooses cameras, span and frames, and the server says what they show.

What was not recorded, and what is no longer remembered, is answered before the server is asked: it learns nothing of such a question.
"""

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from afterview.configs import UsageError
from afterview.memory.base.counts import counted
from afterview.memory.base.errors import (
    NothingRecorded,
    RepositoryError,
    StoreError,
    in_words,
)
from afterview.memory.base.feature_spec import require_same
from afterview.memory.directory import Memory
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.stream.ask.answerer import OnCameras, checked_question, titles, with_others
from afterview.stream.ask.cameras import choose_cameras
from afterview.stream.ask.covered import coverage_of
from afterview.stream.ask.index_query import index_query, provenance_of
from afterview.stream.ask.merging import OnText, OrderedMerger
from afterview.stream.ask.own_model.chosen_frames import ChosenFrame, ChosenFrames, choose_frames
from afterview.stream.ask.own_model.exchange import Exchange, Reply
from afterview.stream.ask.own_model.prompt import cited, messages
from afterview.stream.ask.own_model.server import ModelServer
from afterview.stream.ask.own_model.verdict import is_yes_or_no, judge
from afterview.stream.ask.question import Answer, CameraAnswer, Coverage, Evidence, Question, Tokens
from afterview.stream.ask.shown_subtitles import ShownSubtitles, shown_subtitles

if TYPE_CHECKING:  # encoders are handed in: importing this module must not load torch
    from afterview.model.checkpoint.models import Encoders

_EMBEDDING = threading.Lock()  # one text at a time, however many questions are asked at once
_NOT_SENT = ("top_k", "repetition_penalty")  # which OpenAI's protocol does not have
_MOST_SUBTITLES = 20_000  # characters that are sent: many servers have room for some 8,000 tokens
OnSent = Callable[[int, int], None]


@dataclass(frozen=True)
class _Asked:
    """One camera that the server is asked about."""

    why: str
    chosen: ChosenFrames
    coverage: Coverage


class OwnModelAnswerer:
    """Answers questions to one memory with one server."""

    def __init__(
        self,
        memory: Memory,
        encoders: "Encoders",
        server: ModelServer,
        *,
        times_since_start: bool = False,
        on_sent: OnSent = lambda frames, size: None,
    ) -> None:
        """encoders: those that the memory was recorded with; they find frames. times_since_start: as in Answerer.

        on_sent: called with the frames and the bytes of each request that leaves this machine.
        """
        self.memory, self._encoders, self._server = memory, encoders, server
        self._times_since_start, self._on_sent = times_since_start, on_sent

    def ask(
        self,
        question: Question,
        *,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
        on_cameras: OnCameras | None = None,
    ) -> Answer:
        """An answer; one request for each camera, one after another. Arguments and errors as of Answerer.ask; also ModelServerError.

        If the server fails for one camera, there is no answer. What it said until then has been given to on_text.
        """
        began, now = time.perf_counter(), time.time()
        text = checked_question(question, "What do you see?")
        asked, skipped = self._choose(question, now, cancel)
        if on_cameras is not None:
            on_cameras(list(asked), skipped)
        merger = OrderedMerger(titles(list(asked)), on_text)
        parts: list[CameraAnswer] = []
        notes: list[str] = []
        for row, (name, one) in enumerate(asked.items()):
            reader = self.memory.camera(name)
            if reader.forgot_since(one.chosen.snapshot):  # while another camera was answered: such frames are not sent
                one = self._look(one.why, reader.snapshot(), question, now, cancel)
            part, said = self._part(row, one, question, text, merger, began, cancel)
            parts.append(part)
            notes += said
        answer = "\n".join(
            title + part.text for title, part in zip(titles(list(asked)), parts, strict=True)
        )  # not what was streamed: a loop is cut from it
        notice = "; ".join([_sent(parts, self._server), *notes])
        total_s = time.perf_counter() - began
        return Answer(uuid.uuid4().hex[:12], text, answer, tuple(parts), notice, skipped, total_s)

    def _choose(
        self, question: Question, now: float, cancel: threading.Event | None
    ) -> tuple[dict[str, _Asked], dict[str, str]]:
        """The cameras to ask about, and why others are not. Raises NothingRecorded and others before anything is sent."""
        spec = self._encoders.feature_spec
        choice = choose_cameras(self.memory, question, self._embed, spec, now)
        skipped, asked = dict(choice.skipped), dict[str, _Asked]()
        nothing: RepositoryError | None = None
        for name, camera in choice.asked.items():
            try:
                require_same(camera.snapshot.spec, spec, where=f"camera '{name}'")
                asked[name] = self._look(camera.why, camera.snapshot, question, now, cancel)
            except (RepositoryError, OSError) as error:
                nothing = in_words(error)
                if question.cameras and not isinstance(nothing, NothingRecorded | StoreError):
                    raise nothing from None
                skipped[name] = str(nothing)
                continue
        if not asked:
            raise with_others(nothing, choice.skipped) if nothing else UsageError("no camera was named")
        return asked, skipped

    def _look(
        self, why: str, snapshot: MemorySnapshot, question: Question, now: float, cancel: threading.Event | None
    ) -> _Asked:
        """What is sent of one camera. Raises as choose_frames."""
        server = self._server
        chosen = choose_frames(
            self.memory, snapshot, question, now, self._embed,
            most=server.frames, image_size=server.image_size, cancel=cancel,
        )  # fmt: skip
        shown = len(chosen.frames)
        coverage = coverage_of(
            chosen.snapshot, chosen.ids, question, now,
            recall=chosen.mode, search=chosen.search, positions="true", recalled=shown, visible=shown,
        )  # fmt: skip
        return _Asked(why, chosen, coverage)

    def _embed(self, text: str) -> NDArray[np.float32]:
        with _EMBEDDING:
            return self._encoders.index.encode_texts([index_query(self._encoders.preset, text).text])[0]

    def _part(
        self, row: int, one: _Asked, question: Question, text: str, merger: OrderedMerger, began: float,
        cancel: threading.Event | None,
    ) -> tuple[CameraAnswer, list[str]]:  # fmt: skip
        """One camera's answer, and what must be said of it."""
        info, frames, yes_or_no = one.chosen.snapshot.info, one.chosen.frames, is_yes_or_no(text)
        heard = shown_subtitles(question, one.coverage.first_time, one.coverage.last_time, most=_MOST_SUBTITLES)
        chat = messages(
            text, frames, one.coverage, info, yes_or_no=yes_or_no, elapsed=self._times_since_start,
            subtitles=heard.lines if heard else (),
        )  # fmt: skip
        body = {"messages": chat, **self._decoding(question)}
        sent: list[int] = []

        def note(size: int) -> None:
            sent.append(size)
            self._on_sent(len(frames), size)

        chosen_s = time.perf_counter() - began
        reply = Exchange(self._server, on_sent=note, cancel=cancel).ask(body, lambda piece: merger.push(row, piece))
        merger.end(row)
        named, unknown = cited(reply.text, frames, info)
        provenance = {
            **self._provenance(one.chosen, question, reply, sum(sent), heard), "cited": named, "cited_unknown": unknown,
            "verdict": judge(reply.text, cut=reply.cut).to_dict() if yes_or_no else None,
        }  # fmt: skip
        total_s = time.perf_counter() - began
        timing = {"recall_s": chosen_s, "first_token_s": min(total_s, chosen_s + reply.first_s), "total_s": total_s}
        tokens = None if reply.tokens is None else Tokens(*reply.tokens, bool(reply.cut))
        evidence = self._evidence(one.chosen, named, question.evidence)
        part = CameraAnswer(reply.text, one.why, evidence, one.coverage, provenance, timing, tokens, "index")
        return part, _notes(info.id, reply, unknown, one.chosen, self._not_sent(question))

    def _decoding(self, question: Question) -> dict[str, Any]:
        given = {"temperature": question.temperature, "top_p": question.top_p, "seed": question.seed or None}
        stop = list(question.stop) if question.stop else None
        most = question.max_new_tokens or self._server.max_tokens
        return {name: value for name, value in {**given, "stop": stop, "max_tokens": most}.items() if value is not None}

    def _not_sent(self, question: Question) -> list[str]:
        return [name for name in _NOT_SENT if getattr(question, name) is not None]

    def _evidence(self, chosen: ChosenFrames, named: list[int], most: int) -> tuple[Evidence, ...]:
        """The frames that were sent: those that the answer names, which share the weight, then the others in order of time."""
        snapshot, by_number = chosen.snapshot, {one.number: one for one in chosen.frames}
        rest = [number for number in by_number if number not in named]
        counting = named or rest

        def made(one: ChosenFrame) -> Evidence:
            weight = 1 / len(counting) if one.number in counting else 0.0
            return Evidence(snapshot.info.id, one.id, one.time, weight, one.stored, snapshot.picture_damaged(one.id))

        return tuple(made(by_number[number]) for number in [*named, *rest][:most])

    def _provenance(
        self, chosen: ChosenFrames, question: Question, reply: Reply, size: int, heard: ShownSubtitles | None
    ) -> dict[str, object]:
        return {
            "model": reply.model,
            "answered_by": {"host": self._server.host, "model": reply.model, "reported_model": reply.reported},
            "sent": {
                "left_machine": not self._server.is_here,
                "frames": len(chosen.frames),
                "bytes": size,
                "requests": reply.requests,
                "image_size": self._server.image_size,
                "frame_ids": [one.id for one in chosen.frames],
            },
            "found_by": self._encoders.name,
            "camera": chosen.snapshot.info.id,
            "generation": chosen.snapshot.generation,
            "first_frame": int(chosen.ids[0]),
            "last_frame": int(chosen.ids[-1]),
            "seed": question.seed,
            "decoding": self._decoding(question),
            "random_constant": chosen.snapshot.info.random_constant,
            "recall": chosen.mode,
            "search": chosen.search,
            **provenance_of(self._encoders.preset, question.sought, searched=chosen.search != "none"),
            "cut": reply.cut or None,
            **({} if heard is None else {"subtitles": heard.to_dict()}),
        }


def _sent(parts: list[CameraAnswer], server: ModelServer) -> str:
    """Who answered, and what left the machine for it, in a sentence."""
    sent: list[Any] = [part.provenance["sent"] for part in parts]
    frames, size = sum(one["frames"] for one in sent), sum(one["bytes"] for one in sent)
    models = ", ".join(dict.fromkeys(str(part.provenance["model"]) for part in parts))
    given = f"{counted(frames, 'frame')} ({_size(size)})"
    if server.is_here:
        return f"answered by {models} at {server.host}, an address of this machine, which was sent {given}"
    return f"answered by {models} at {server.host}, to which {given} left this machine"


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _notes(camera: str, reply: Reply, unknown: list[int], chosen: ChosenFrames, not_sent: list[str]) -> list[str]:
    found = []
    if reply.cut:
        found.append(f"{camera}: the answer was cut: {reply.cut}")
    if unknown:
        numbers = ", ".join(map(str, unknown[:8]))
        found.append(f"{camera}: the answer names frames that it was not shown: {numbers}")
    if chosen.left_out:
        found.append(f"{camera}: {counted(chosen.left_out, 'chosen frame')} could not be read and left out")
    if not_sent:
        found.append(f"{' and '.join(not_sent)} not sent: the protocol does not have them")
    return found
