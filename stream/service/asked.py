"""What clients ask, and how an answer comes to them: values, and the span that a question names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from afterview.configs import UsageError
from afterview.memory.base.typed_times import agreed_time, parse_duration
from afterview.memory.directory import Memory
from afterview.stream.ask.answer_record import Origin


@dataclass(frozen=True)
class Given:
    """A temporary memory of what came with a question; its times count from the beginning. notes: what an answer must say of it."""

    memory: Memory
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ask:
    """A question as a client gives it. Times: Unix seconds, or texts as on the command line. follows: the id of an earlier answer, whose
    cameras and span count where this question names none. given: a memory that is asked instead of the service's. subtitles: the text of
    a file of them, whose times count from the beginning of the only camera."""

    text: str
    cameras: tuple[str, ...] = ()
    start: float | str | None = None
    at: float | str | None = None
    last: float | str | None = None
    follows: str | None = None
    more: Mapping[str, Any] = field(
        default_factory=dict
    )  # seed, evidence and how the answer is generated, as in Question
    given: Given | None = None
    subtitles: str | None = None


@dataclass(frozen=True)
class Piece:
    """A part of an answer as it comes: `cameras`, `text`, then `answer`. data: JSON."""

    kind: Literal["cameras", "text", "answer"]
    data: dict[str, Any]


def span_of(about: Origin) -> tuple[float | None, float | None]:
    """The span of an earlier question, fixed: one that lasted until "now" ends when it was asked. Nothing if it named none. Pure."""
    start, at, last_s = (about.options.get(name) for name in ("start", "at", "last_s"))
    if start is None and last_s is None:
        return None, at
    end = about.asked if at is None else at
    return (start if last_s is None else end - last_s), end


def span_seconds(asked: Ask, zones: Sequence[str], now: float) -> tuple[float | None, float | None, float | None]:
    """start, at, last_s of a question to cameras in these zones. Raises UsageError."""
    start, at = (None if value is None else agreed_time(value, zones, now=now) for value in (asked.start, asked.at))
    if asked.last is None:
        length = None
    else:
        length = parse_duration(asked.last) if isinstance(asked.last, str) else float(asked.last)
        if not length > 0:
            raise UsageError(f"last: {asked.last}: must be longer than 0 s")
    if start is not None and at is not None and start > at:
        raise UsageError("the span ends before it begins")
    return start, at, length
