"""What the questions of a client that sends its whole conversation each time are about, by the rules of `afterview chat`.

A message may name cameras and a span; later ones keep them (stream.ask.dialogue). The service remembers what it answered, so that a
relative time such as "10 minutes ago" means the same moment in the next question, and the cameras that were chosen stay.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from afterview.configs import AfterviewError, UsageError
from afterview.memory.base.errors import RepositoryError
from afterview.memory.directory import Memory
from afterview.stream.ask.dialogue import Dialogue
from afterview.stream.ask.question import Question
from afterview.stream.service.asked import Ask, span_seconds

_MOST_REMEMBERED = 1000  # conversations


@dataclass(frozen=True)
class Span:
    """Times as in Ask."""

    start: float | str | None = None
    at: float | str | None = None
    last: float | str | None = None


@dataclass(frozen=True)
class Source:
    """Where a picture or a video comes from. place: where the request says so. url: empty if only a uuid was given."""

    place: str
    url: str
    uuid: str | None = None


@dataclass(frozen=True)
class Turn:
    """What one message says. place: of the message in the request. cameras: names. span: None: the one before stays."""

    place: str
    text: str = ""
    cameras: tuple[str, ...] = ()
    span: Span | None = None
    sources: tuple[Source, ...] = ()
    number: int = 0


@dataclass(frozen=True)
class Planned:
    """A question as it is asked. dialogue: what counts for the next one. cameras: how many there are."""

    ask: Ask
    dialogue: Dialogue
    cameras: int


class Conversations:
    """What the newest conversations were about, by a key of their messages. Belongs to the event loop."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Dialogue] = OrderedDict()

    def find(self, key: str) -> Dialogue | None:
        """What counts after the messages of this key."""
        return self._known.get(key)

    def remember(self, key: str, dialogue: Dialogue) -> None:
        """Until many others came."""
        self._known[key] = dialogue
        self._known.move_to_end(key)
        while len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)


def conversation_key(user: str, messages: Sequence[tuple[str, str]]) -> str:
    """Of the messages that came so far: role and content of each."""
    found = hashlib.sha256(user.encode(errors="replace"))
    for part in (text for message in messages for text in message):
        data = part.encode(errors="replace")
        found.update(len(data).to_bytes(8, "big") + data)
    return found.hexdigest()


def given_sources(turns: Sequence[Turn]) -> tuple[Source, ...]:
    """The pictures and videos that the last question is about: those of the last message that has any, unless a later one names cameras."""
    for turn in reversed(turns):
        if turn.sources or turn.cameras or turn.span is not None:
            return turn.sources
    return ()


def plan(memory: Memory, turns: Sequence[Turn], before: Dialogue | None, now: float, more: dict[str, Any]) -> Planned:
    """The last turn as a question. before: what counted after the turns that are left out here. In a thread.

    Raises UsageError and MemoryNotFound, with the place of the message in front.
    """
    dialogue, question = before or Dialogue(Question("")), Question("")
    for turn in turns:
        try:
            dialogue = _moved(memory, dialogue, turn, now)
            if turn.text.strip():
                dialogue, question = dialogue.asked(memory, turn.text)
        except (UsageError, RepositoryError) as error:
            raise _at(turn.place, error) from None
    ask = Ask(question.text, question.cameras, question.start, question.at, question.last_s, more=more)
    return Planned(ask, dialogue, len(memory.camera_ids()))


def _moved(memory: Memory, dialogue: Dialogue, turn: Turn, now: float) -> Dialogue:
    """The state after the cameras and the span that a message names."""
    about = dialogue.about
    if turn.cameras:
        about = replace(about, cameras=tuple(dict.fromkeys(memory.camera(name).info.id for name in turn.cameras)))
    if turn.span is not None:
        if turn.span.start is not None and turn.span.last is not None:
            raise UsageError("from and last both say where the span begins; give one of them")
        given = Ask("", start=turn.span.start, at=turn.span.at, last=turn.span.last)
        zones = [memory.camera(name).info.timezone for name in about.cameras] or [
            reader.info.timezone for reader in memory.cameras()
        ]
        start, at, last_s = span_seconds(given, zones, now)
        about = replace(about, start=start, at=at, last_s=last_s)
    return Dialogue(about)


def _at(place: str, error: AfterviewError) -> AfterviewError:
    error.args = (f"{place}: {error}",)
    return error
