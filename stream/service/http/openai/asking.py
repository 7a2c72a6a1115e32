"""Asks for clients of OpenAI: finds what a conversation is about, ingests what came with it, and remembers what was answered."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from afterview.configs import UsageError
from afterview.memory.directory import Memory
from afterview.stream.ask.dialogue import Dialogue
from afterview.stream.errors import SourceError
from afterview.stream.service.asked import Ask, Piece
from afterview.stream.service.conversation import (
    Conversations,
    Planned,
    Source,
    Span,
    Turn,
    conversation_key,
    given_sources,
    plan,
)
from afterview.stream.service.engine import Engine
from afterview.stream.service.fetch import fetch, read_file
from afterview.stream.service.given import MOST_PICTURES, MOST_VIDEOS, GivenMedia, Medium
from afterview.stream.service.http.openai.errors import NoSuchModel
from afterview.stream.service.http.openai.parts import Conversation, canonical, decode_data_url
from afterview.stream.service.http.openai.requests import AfterviewOptions
from afterview.stream.service.people.access import Access
from afterview.stream.service.questions import Questions

ANY_MODEL = "afterview"  # whatever model the service has
_MOST_LOADING = 4  # questions at once whose pictures and videos are decoded or fetched: they are held in memory


@dataclass
class Asked:
    """One question of a client. notes: what of it is not used; more of them may come while it is planned.

    planned: how it was asked, for the question after it; None until then, and for what came with the question. history: what makes up the
    key of the conversation.
    """

    conversation: Conversation
    options: AfterviewOptions | None
    more: dict[str, Any]
    access: Access
    notes: list[str]
    planned: Planned | None = None
    history: list[tuple[str, str]] = field(default_factory=list)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The pictures and videos that it is about."""
        return given_sources(self.turns)

    @property
    def subtitles(self) -> str | None:
        """The text of its subtitles; those of an earlier question do not count."""
        return None if self.options is None else self.options.subtitles

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Of the user, the last one with the cameras and the span that the options name."""
        options, turns = self.options, self.conversation.turns
        if options is None:
            return turns
        span = Span(options.start, options.at, options.last)
        if not options.cameras and span == Span():
            return turns
        if given_sources(turns):
            raise UsageError(
                "afterview: cameras and times are of recorded cameras, and the question is about what came with it"
            )
        last = turns[-1]
        own = replace(last, cameras=tuple(options.cameras) or last.cameras, span=last.span if span == Span() else span)
        return (*turns[:-1], own)


class Asking:
    """Asks for all clients of OpenAI. url: of the service. place: the memory's path. began: Unix seconds. Belongs to the event loop."""

    def __init__(self, engine: Engine, questions: Questions, counted: Counter[str], url: str) -> None:
        """counted: what became of what came with questions."""
        self._engine, self._questions = engine, questions
        self._config = engine.config.openai
        self.given = GivenMedia(engine, counted)
        self._conversations = Conversations()
        self._loading = asyncio.Semaphore(_MOST_LOADING)
        self.url, self.place, self.began = url, str(engine.path), int(engine.began)

    def models(self) -> dict[str, int | None]:
        """Names by which the model may be called, and how many tokens it takes (None: unknown)."""
        names: dict[str, int | None] = {ANY_MODEL: None}
        if self._engine.model_state == "ready":
            model = self._engine.model
            most = model.config.get("tokenizer_model_max_length") or model.config.get("max_position_embeddings")
            length = most if isinstance(most, int) else None
            reference = model.preset.reference
            own = Path(reference).stem if os.path.isabs(reference) else reference  # a path is no business of clients
            names = {ANY_MODEL: length, own: length}
        return names

    def require_model(self, name: str) -> None:
        """Raise ModelNotReady without a model, NoSuchModel for another one."""
        _ = self._engine.model
        if name not in (names := self.models()):
            raise NoSuchModel(
                f"model: there is no model '{name[:100]}'; there are: {', '.join(names)} (each also with :links)"
            )

    async def pieces(self, asked: Asked) -> AsyncIterator[Piece]:
        """The parts of an answer as they come. Closing the iterator cancels the generation."""
        if sources := asked.sources:
            async with self.given.opened(await self._load(sources, asked.access), asked.access) as given:
                names, end = await self._engine.read(lambda: _extent(given.memory))
                text = asked.conversation.turns[-1].text
                ask = Ask(text, names, at=end, given=given, more=asked.more, subtitles=asked.subtitles)
                async with aclosing(self._questions.stream(ask, asked.access)) as pieces:  # type: ignore[type-var]
                    async for piece in pieces:
                        yield piece
            return
        asked.planned = await self._engine.read(lambda: self._plan(asked))
        ask = replace(asked.planned.ask, subtitles=asked.subtitles)
        async with aclosing(self._questions.stream(ask, asked.access)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                yield piece

    def answered(self, asked: Asked, document: Mapping[str, Any], text: str) -> None:
        """Remember what a question was about, for the one that follows this text."""
        if asked.planned is None:
            return
        cameras = [part["camera"] for part in document["cameras"]]
        dialogue = asked.planned.dialogue.answered(cameras, asked.planned.cameras)
        key = conversation_key(asked.access.user, [*asked.history, ("assistant", canonical(text))])
        self._conversations.remember(key, dialogue)

    def _plan(self, asked: Asked) -> Planned:
        """In a thread. Raises UsageError, MemoryNotFound."""
        memory, turns = self._engine.view(asked.access), asked.turns
        history = asked.conversation.history
        last = max((place for place, (_, role, _) in enumerate(history) if role == "assistant"), default=None)
        asked.history = [(role, canonical(content)) for _, role, content in history]
        before: Dialogue | None = None
        if last is not None:
            before = self._conversations.find(conversation_key(asked.access.user, asked.history[: last + 1]))
            if before is not None:
                turns = tuple(turn for turn in turns if turn.number > history[last][0])
            elif any(turn.span is not None for turn in turns[:-1]):
                asked.notes.append("this conversation is not known any more: relative times in it count from now")
        return plan(memory, turns, before, time.time(), asked.more)

    async def _load(self, sources: Sequence[Source], access: Access) -> list[Medium]:
        """What comes with a question. Raises UsageError, with the place in front."""
        left, media = self._config.largest_bytes, list[Medium]()
        if len(sources) > MOST_VIDEOS + MOST_PICTURES:
            raise UsageError(
                f"{sources[-1].place}: at most {MOST_VIDEOS} videos and {MOST_PICTURES} pictures come with one question"
            )
        async with self._loading:
            for source in sources:
                try:
                    medium = await self._one(source, access, left)
                except (UsageError, SourceError) as error:
                    raise UsageError(f"{source.place}: {str(error).removeprefix(f'{source.place}: ')}") from None
                left -= len(medium.content or b"")
                media.append(medium)
        return media

    async def _one(self, source: Source, access: Access, most: int) -> Medium:
        scheme = source.url.partition(":")[0].lower()
        if not source.url and source.uuid is not None:
            return self.given.by_uuid(source.place, source.uuid, access)
        if scheme == "data":
            return await self._engine.read(
                lambda: Medium.of(source.place, decode_data_url(source.url, most), source.uuid)
            )
        if scheme == "file":
            folders = self._config.folders if access.cameras is None else ()
            return await self._engine.read(
                lambda: Medium.of(source.place, read_file(source.url, folders, most), source.uuid)
            )
        if scheme in ("http", "https"):
            content = await fetch(source.url, self._config.allow_urls, most)
            return await self._engine.read(lambda: Medium.of(source.place, content, source.uuid))
        raise UsageError(
            "not an address that is understood; give a data:, file: or http(s): one, or afterview://camera/NAME"
        )


def _extent(memory: Memory) -> tuple[tuple[str, ...], float]:
    """The cameras of what was given, and the time of its last frame."""
    readers = memory.cameras()
    return tuple(reader.info.id for reader in readers), max(float(reader.snapshot().times[-1]) for reader in readers)
