"""Questions and searches of clients: from what they ask to values, and what is said about the result.

Belongs to the event loop; what reads the memory runs in the engine's threads.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afterview.configs import AfterviewError, UsageError
from afterview.configs.errors import error_kind
from afterview.memory.base.camera import CameraInfo
from afterview.memory.base.errors import MemoryNotFound
from afterview.memory.base.iso_times import with_iso
from afterview.memory.directory import Memory
from afterview.stream.ask.answer_record import AnswerRecord, Origin, Record, SearchRecord
from afterview.stream.ask.frame_images import frame_images
from afterview.stream.ask.question import Answer, Question
from afterview.stream.ask.saved_answers import Saved, open_saved, save
from afterview.stream.ask.search import TimeRange, search
from afterview.stream.ask.shown_subtitles import with_subtitles
from afterview.stream.ask.subtitles import LONGEST_SENT, parse_subtitles
from afterview.stream.service.answer_with import AnswerWith
from afterview.stream.service.asked import Ask, Given, Piece, span_of, span_seconds
from afterview.stream.service.degraded import notes_on, notes_on_unread
from afterview.stream.service.engine import Engine
from afterview.stream.service.errors import ModelNotReady, NotFound, Stopping
from afterview.stream.service.image_urls import image_url
from afterview.stream.service.measured import Measured
from afterview.stream.service.people.access import Access
from afterview.stream.service.people.audit import Audit
from afterview.stream.service.people.saved import find_visible, is_visible

if TYPE_CHECKING:  # a model is handed in: importing this module must not load torch
    from afterview.model.checkpoint.for_questions import AskedModel

_MOST_IMAGES = {"socket": 100}  # saved per search, by door: a command saves as many as without the service
_MOST_IMAGES_ELSEWHERE = 20

_LOGGER = logging.getLogger(__name__)


class Questions:
    """Asks the engine's model, saves what it answers, and opens it again."""

    def __init__(
        self, engine: Engine, measured: Measured, audit: Audit | None = None, answer_with: AnswerWith | None = None
    ) -> None:
        """answer_with: answers instead of the engine's model, or what that one declines."""
        self._engine, self._measured, self._audit = engine, measured, audit
        self._answer_with = answer_with or AnswerWith(None)

    async def stream(self, asked: Ask, access: Access) -> AsyncIterator[Piece]:
        """The parts of an answer as they come. Closing the iterator cancels the generation.

        Raises what Answerer.ask raises, ModelNotReady, TooManyQuestions, NotFound.
        """
        pieces, outcome, document = self._stream(asked, access), "cancelled", dict[str, Any]()
        try:
            async for piece in pieces:
                if piece.kind == "answer":
                    outcome, document = "answered", piece.data
                yield piece
        except Exception as error:
            outcome = error_kind(error) if isinstance(error, AfterviewError) else "failed"
            raise
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]
            self._note(access, "question", asked.text, outcome, document, asked.cameras)

    async def _stream(self, asked: Ask, access: Access) -> AsyncIterator[Piece]:
        engine, loop = self._engine, asyncio.get_running_loop()
        model, session, came = self._model(access), engine.session, time.time()
        seen, question = await engine.read(lambda: (self._memory(asked, access), self._question(asked, came, access)))
        pieces: asyncio.Queue[Piece | None] = asyncio.Queue()  # as long as an answer, so bounded by max_new_tokens

        def put(piece: Piece | None) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        ask: Callable[..., Coroutine[Any, Any, Answer]] = session.ask
        line, own = engine.line, self._answer_with.current
        if own is not None and await engine.read(lambda: own.answers(asked.text, model, seen)):
            ask, line = own.ask, own.line
        if asked.given is not None:
            ask = partial(ask, times_since_start=True)
        began: list[float] = []

        async def generate() -> Answer:
            # The turn ends with the generation, however slowly the client reads.
            async with line.turn(access.client):
                began.append(loop.time())
                answer = await ask(
                    model, question, lambda text: put(Piece("text", {"text": text})),
                    lambda cameras, skipped: put(Piece("cameras", {"cameras": list(cameras), "skipped": dict(skipped)})),
                    memory=seen,
                )  # fmt: skip
                self._measured.answered(loop.time() - began[0], answer)
                return answer

        task = engine.spawn(generate())
        task.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            if task.cancelled():
                raise Stopping("the service is ending")
            answer = task.result()
        except Exception:
            self._measured.questions["failed"] += bool(began)
            raise
        finally:
            if not task.done():
                self._measured.questions["cancelled"] += bool(began)
            task.cancel()  # a client that left: the generation ends within a token
        if asked.given is not None:
            yield Piece("answer", self._given_document(answer, question, came, asked.given))
            return
        document = await engine.read(lambda: self._document(answer, question, came, access))
        cameras = [part.coverage.camera for part in answer.parts]
        engine.hub.publish("answer", {"id": answer.id, "cameras": cameras, "user": access.user})
        yield Piece("answer", document)

    async def ask(self, asked: Ask, access: Access) -> dict[str, Any]:
        """The whole answer."""
        found: dict[str, Any] = {}
        pieces = self.stream(asked, access)
        try:
            async for piece in pieces:
                found = piece.data
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]
        return found

    def _memory(self, asked: Ask, access: Access) -> Memory:
        """The memory that is asked, as the client may see it. In a thread. Raises MemoryNotFound."""
        return self._engine.view(access) if asked.given is None else asked.given.memory

    def _question(self, asked: Ask, now: float, access: Access) -> Question:
        """In a thread. Raises UsageError, MemoryNotFound, NotFound."""
        memory = self._memory(asked, access)
        before = self.answer(asked.follows, access) if asked.follows else None
        if before is not None and not isinstance(before, AnswerRecord):
            raise UsageError(f"follows: '{asked.follows}' is a search; a question follows an answer")
        if asked.start is not None and asked.last is not None:
            raise UsageError("start and last both say where the span begins; give one of them")
        cameras = asked.cameras or (tuple(before.about.cameras) if before else ())
        readers = [memory.camera(name) for name in cameras] or memory.cameras()
        start, at, last_s = span_seconds(asked, [reader.info.timezone for reader in readers], now)
        if before is not None and (start, at, last_s) == (None, None, None):
            start, at = span_of(before.about)
        question = Question(asked.text, cameras, start=start, at=at, last_s=last_s, **asked.more)
        if asked.subtitles is None:
            return question
        if len(asked.subtitles) > LONGEST_SENT:
            raise UsageError(f"subtitles: have {len(asked.subtitles)} characters; at most {LONGEST_SENT} are taken")
        return with_subtitles(question, parse_subtitles(asked.subtitles, "subtitles"), readers, "cameras")

    def _document(self, answer: Answer, question: Question, asked: float, access: Access) -> dict[str, Any]:
        """Save an answer; its JSON. In a thread."""
        memory = self._engine.view(access)
        infos = {part.coverage.camera: memory.camera(part.coverage.camera).info for part in answer.parts}
        record = AnswerRecord.of(
            answer, question, asked=asked, memory=memory.path, cameras=infos, version=self._engine.version, user=access.saved_as
        )  # fmt: skip
        saved = save(record, memory.held.path)
        document = self.document(record, access)
        return self._told(document, record, saved, access)

    def _told(self, document: dict[str, Any], record: Record, saved: Saved, access: Access) -> dict[str, Any]:
        """The document with what became of saving it; a command of this machine also learns where, to open it there."""
        document["notes"] += saved.notes
        if access.door == "socket":
            place = saved.directory and str(saved.directory)
            document["saved"] = {"directory": place, "in_memory": saved.kept, "notes": list(saved.notes)}
            if saved.directory is None:
                document["documents"] = record.documents()
        return document

    def _given_document(self, answer: Answer, question: Question, asked: float, given: Given) -> dict[str, Any]:
        """The JSON of an answer about what came with the question: it is not saved, and its frames have no addresses."""
        infos = self.infos(given.memory)
        record = AnswerRecord.of(
            answer, question, asked=asked, memory=Path(), cameras=infos, version=self._engine.version
        )
        document = record.to_dict({})
        del document["memory"]
        document |= {"kind": record.kind, "notes": list(given.notes)}
        return dict(with_iso(document, record.about.cameras))

    def document(self, record: Record, access: Access) -> dict[str, Any]:
        """An answer or a search as JSON, with the addresses of its images, and notes on what does not work now."""
        cameras = list(record.about.cameras)
        images = {(camera, frame): image_url(camera, frame) for camera in cameras for frame in record.shown(camera)}
        document = record.to_dict(images)
        del document["memory"]  # a path of this machine
        for key in ("skipped", "stale"):  # of a saved one: what they may see may have changed
            if key in document:
                document[key] = {camera: why for camera, why in document[key].items() if access.sees(camera)}
        parts = record.answer.parts if isinstance(record, AnswerRecord) else ()
        unread = notes_on_unread([part.coverage for part in parts])
        document |= {"kind": record.kind, "notes": [*self.notes(cameras), *unread]}
        return dict(with_iso(document, record.about.cameras))

    def notes(self, cameras: Sequence[str]) -> list[str]:
        """What an answer about these cameras must say of their state now."""
        served = [self._engine.cameras[name] for name in cameras if name in self._engine.cameras]
        return notes_on(camera.to_dict(self._engine.model_state) for camera in served)

    async def search(
        self, text: str, cameras: Sequence[str], start: float | str | None, at: float | str | None,
        last: float | str | None, top: int, access: Access, as_is: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """The frames that are most similar to a text. Raises what stream.ask.search raises, ModelNotReady."""
        encoders, now = self._model(access).encoders, time.time()
        _ = self._engine.session

        def work() -> dict[str, Any]:
            memory = self._engine.view(access)
            readers = [memory.camera(name) for name in cameras] or memory.cameras()
            given = Ask(text, start=start, at=at, last=last)
            spans: dict[str, TimeRange] = {}
            for reader in readers:
                first, end, length = span_seconds(given, [reader.info.timezone], now)
                spans[reader.info.id] = ((now if end is None else end) - length if length is not None else first, end)
            found = search(memory, encoders, text, spans, most=top, skip_others=not cameras, as_is=as_is)
            if not cameras:
                found = replace(found, skipped={**memory.skipped(), **found.skipped})
            most = _MOST_IMAGES.get(access.door, _MOST_IMAGES_ELSEWHERE)
            pictures, problems = frame_images(memory, [(hit.camera, hit.frame) for hit in found.hits[:most]])
            ends = {end for _, end in spans.values()}
            one = ends.pop() if len(ends) == 1 else None
            options = {"camera": list(cameras), "start": start, "last": last, "at": one, "top": top, "as_is": as_is}
            about = Origin(
                uuid.uuid4().hex[:12], now, str(memory.path), self._engine.version, options,
                {reader.info.id: reader.info for reader in readers}, user=access.saved_as,
            )  # fmt: skip
            record = SearchRecord(about, found, pictures)
            document = self.document(record, access)
            document["notes"] += problems
            return self._told(document, record, save(record, memory.held.path), access)

        outcome, document = "failed", dict[str, Any]()
        try:
            document = await self._engine.search(work)
            outcome = "found"
            return document
        except AfterviewError as error:
            outcome = error_kind(error)
            raise
        finally:
            self._note(access, "search", text, outcome, document, cameras)

    def _model(self, access: Access) -> "AskedModel":
        """Raises ModelNotReady; why a model cannot be loaded may name any camera."""
        try:
            return self._engine.model
        except ModelNotReady:
            if access.cameras is None or self._engine.model_state != "failed":
                raise
            raise ModelNotReady("the model could not be loaded; an admin sees why") from None

    def _note(
        self, access: Access, what: str, text: str, outcome: str, document: Mapping[str, Any], named: Sequence[str]
    ) -> None:
        """Tell the audit."""
        if self._audit is None:
            return
        if "hits" in document:
            cameras = sorted({hit["camera"] for hit in document["hits"]})
        else:
            cameras = [part["camera"] for part in document.get("cameras", ())]
        answer = document.get("id")
        self._audit.note(access, what, text=text, outcome=outcome, cameras=cameras or list(named), answer=answer)

    def answer(self, given: str, access: Access) -> Record:
        """A saved answer or search, by its id, if the client may see it. Raises NotFound. In a thread."""
        saved = find_visible(self.place(), given, access)
        try:
            record = None if saved is None else open_saved(saved.path, images=False)[0]
        except MemoryNotFound:
            record = None
        if record is None or not is_visible(access, record.about.user, frozenset(record.about.cameras)):
            raise NotFound(f"no saved answer '{given}'")
        return record

    def place(self) -> Path:
        """The memory's directory."""
        return self._engine.path

    def infos(self, memory: Memory) -> dict[str, CameraInfo]:
        """Of all cameras that can be read, for times in their zones."""
        return {reader.info.id: reader.info for reader in memory.cameras()}
