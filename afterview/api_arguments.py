"""The checks of what the public functions of afterview.api are given. Each error names the argument, and says what to give.

Loads no torch, except to check a model that was handed in: then it is loaded already.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from afterview.configs import UsageError
from afterview.memory.base.typed_times import Duration, Time, agreed_time, quoted, seconds_of, unix_seconds
from afterview.memory.reading.reader import CameraReader
from afterview.model.base.generation import GenerationSettings
from afterview.stream.ask.answerer import LONGEST_QUESTION
from afterview.stream.ask.search import TimeRange
from afterview.stream.ask.subtitles import SubtitleFile, is_json, parse_subtitles, read_subtitles

LARGEST_SEED = 2**63 - 1  # the largest seed that the random number generators accept
MOST = 1_000_000  # frames of evidence or hits


def require_text(name: str, value: str) -> None:
    """A question, or a text to search for. Raises UsageError."""
    if not isinstance(value, str):
        raise UsageError(f"{name}: give a text, not {type_of(value)}")
    if not value.strip():
        raise UsageError(f'{name}: is empty; give a text, for example "Which scene do you see now?"')
    if len(value) > LONGEST_QUESTION:
        raise UsageError(f"{name}: has {len(value)} characters; at most {LONGEST_QUESTION} are taken")


def require_whole(name: str, value: int, least: int, most: int) -> None:
    """A whole number between two others. Raises UsageError."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"{name}: give a whole number, not {type_of(value)}")
    if not least <= value <= most:
        raise UsageError(f"{name}: {value} must be between {least} and {most}")


def require_question(question: str, seed: int, evidence: int, on_text: object) -> None:
    """A question, and what goes with it. Raises UsageError."""
    require_text("question", question)
    require_whole("seed", seed, 0, LARGEST_SEED)
    require_whole("evidence", evidence, 0, MOST)
    if on_text is not None and not callable(on_text):
        raise UsageError(f"on_text: give a function that takes a text, not {type_of(on_text)}")


def require_model(model: object) -> None:
    """A loaded model, the name of one, or None. Raises UsageError."""
    if model is None or isinstance(model, str | os.PathLike):
        return
    from afterview.model.checkpoint.models import AfterviewModel  # late: it loads torch

    if not isinstance(model, AfterviewModel):
        raise UsageError(
            f"model: give what afterview.load_pretrained returned, or the name of a model, not {type_of(model)}"
        )


def require_one_start(start: Time | None, last: Duration | None) -> None:
    """One beginning of the span, at most. Raises UsageError."""
    if start is not None and last is not None:
        raise UsageError("start and last both say where the span begins; give one of them")


def camera_names(camera: str | Sequence[str] | None) -> tuple[str, ...]:
    """The names given; none for all cameras."""
    names = () if camera is None else (camera,) if isinstance(camera, str) else camera
    if isinstance(names, bytes) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"camera: give a name, or a list of names, not {type_of(camera)}")
    if camera is not None and not names:
        raise UsageError("camera: the list is empty; leave it out to use all cameras")
    return tuple(names)


def generation_fields(**given: Any) -> dict[str, Any]:
    """How the answer is generated, as fields of a Question. Raises UsageError, which names the argument."""
    stop = (given["stop"],) if isinstance(given["stop"], str) else given["stop"]
    if stop is not None:
        if not isinstance(stop, list | tuple) or not all(isinstance(text, str) for text in stop):
            raise UsageError(f"stop: give a text, or a list of texts, not {type_of(stop)}")
        given["stop"] = tuple(stop)
    for name, value in given.items():
        shown = "max_tokens" if name == "max_new_tokens" else name
        if isinstance(value, bool):
            raise UsageError(f"{shown}: give a number, not {type_of(value)}")
        try:
            GenerationSettings().changed({name: value})
        except UsageError as error:
            raise UsageError(f"{shown}: {str(error).removeprefix(f'{name}: ')}") from None
    return given


def duration_s(name: str, value: Duration | None) -> float | None:
    """Seconds, or None."""
    return _named(name, lambda: None if value is None else seconds_of(value))


def length_s(last: Duration | None) -> float | None:
    """The same of `last`, which must be longer than nothing."""
    seconds = duration_s("last", last)
    if seconds is not None and seconds <= 0:
        raise UsageError(f"last: {quoted(str(last))} must be longer than 0 seconds")
    return seconds


def read_given_subtitles(given: str | os.PathLike[str] | None) -> SubtitleFile | None:
    """Of a file, or of a text, which has several lines or is JSON; None for None. Raises UsageError."""
    if given is None:
        return None
    if isinstance(given, os.PathLike):
        return read_subtitles(Path(os.fsdecode(given)))
    if not isinstance(given, str):
        raise UsageError(f"subtitles: give a file, or the text of one, not {type_of(given)}")
    if not given.strip():
        raise UsageError("subtitles: are empty; give a file, or the text of one")
    is_text = "\n" in given or "\r" in given or (is_json(given) and given.rstrip()[-1:] in ("]", "}"))
    return parse_subtitles(given, "subtitles") if is_text else read_subtitles(Path(given))


def agreed(name: str, value: Time | None, readers: Sequence[CameraReader], now: float) -> float | None:
    """A time that means the same in the zones of all cameras. Raises UsageError, which names the argument."""
    zones = {reader.info.timezone for reader in readers}
    return _named(name, lambda: None if value is None else agreed_time(value, zones, now=now))


def time_range(
    reader: CameraReader, start: Time | None, at: Time | None, length: float | None, now: float
) -> TimeRange:
    """The span in the zone of a camera. length: seconds, instead of `start`. Raises UsageError."""
    zone = reader.info.timezone
    end = _named("at", lambda: None if at is None else unix_seconds(at, timezone=zone, now=now))
    first = _named("start", lambda: None if start is None else unix_seconds(start, timezone=zone, now=now))
    if length is not None:
        first = (now if end is None else end) - length
    if first is not None and end is not None and first > end:
        raise UsageError(f"the span ends before it begins: from {reader.info.show(first)} to {reader.info.show(end)}")
    return first, end


def _named(name: str, read: Callable[[], float | None]) -> float | None:
    """What `read` returns; its errors say which argument is wrong."""
    try:
        return read()
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None


def type_of(value: object) -> str:
    """A wrong value for its error: `None`, or its type."""
    return "None" if value is None else f"{type(value).__name__} {quoted(repr(value))}"
