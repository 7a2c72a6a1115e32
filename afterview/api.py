"""The public functions of `import afterview`. docs/python.md shows how to use them.

They load torch only when a model is needed: wrong arguments and `info` do not wait for it.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afterview.configs import UsageError
from afterview.memory.base.errors import DamagedFrames, UnreachableFrames
from afterview.memory.base.typed_times import Duration, Time, agreed_time, quoted, seconds_of, unix_seconds
from afterview.memory.description import MemoryDescription
from afterview.memory.directory import Memory
from afterview.memory.reading.reader import CameraReader
from afterview.memory.sync.replica import open_memory
from afterview.model.base.generation import GenerationSettings
from afterview.stream.ask.answerer import LONGEST_QUESTION
from afterview.stream.ask.finding import answerer_for
from afterview.stream.ask.question import Answer, Question
from afterview.stream.ask.search import Hit, SearchResult, TimeRange
from afterview.stream.ask.search import search as search_memory
from afterview.stream.ask.span import find_span

if TYPE_CHECKING:
    from afterview.model.checkpoint.for_questions import AskedModel
    from afterview.model.checkpoint.models import AfterviewModel, Encoders
    from afterview.stream.ask.answerer import Answerer
    from afterview.stream.ask.finding import FindingAnswerer
    from afterview.stream.ask.own_model.answerer import OwnModelAnswerer
    from afterview.stream.ask.own_model.server import ModelServer
    from afterview.stream.ask.recording import RecordingAnswer

__all__ = ["ask", "ask_recording", "info", "open", "search"]

_LARGEST_SEED = 2**63 - 1  # the largest seed that the random number generators accept
_MOST = 1_000_000  # frames of evidence or hits


def open(path: str | os.PathLike[str]) -> Memory:
    """Open the memory at `path` for reading, beside its writers.

    path: a directory; or s3://bucket/prefix, the store of a memory that another machine records, as it was published when it is opened.
    A camera that cannot be read does not prevent it: `Memory.skipped` names such cameras. Raises MemoryNotFound, UsageError (no path or
    address), StoreError (the store cannot be used), DamagedMemory, Unreadable (the system refuses to list the directory).
    """
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"path: give a directory or s3://bucket/prefix as a text or a Path, not {_type(path)}")
    place = os.fspath(path)
    if isinstance(place, str) and isinstance(path, os.PathLike) and place.startswith("s3:/"):
        raise UsageError("path: give the address of a store as a text, s3://bucket/prefix; a Path changes it")
    return open_memory(os.fsdecode(place))


def ask(
    memory: Memory | str | os.PathLike[str],
    question: str,
    *,
    camera: str | Sequence[str] | None = None,
    start: Time | None = None,
    at: Time | None = None,
    last: Duration | None = None,
    seed: int = 0,
    temperature: float | None = None,
    top_p: float | None = None,
    top_k: int | None = None,
    repetition_penalty: float | None = None,
    max_tokens: int | None = None,
    stop: str | Sequence[str] | None = None,
    evidence: int = 8,
    model: "AfterviewModel | str | os.PathLike[str] | None" = None,
    answer_with: str | Mapping[str, Any] | None = None,
    on_text: Callable[[str], None] | None = None,
) -> Answer:
    """Ask about anything a memory has seen.

    memory: from `open`, or its path. camera: a name or several; None means all.
    start, at: the span; at is its end, and all later frames are ignored. last: the length of the span, instead of start.
    A time is Unix seconds, a datetime, or a text as on the command line ("yesterday 14:00"); without an offset it is in the camera's zone.
    A duration is seconds, a timedelta, or a text ("2h").
    temperature, top_p, top_k, repetition_penalty, max_tokens, stop (texts that end the answer, and are not part of it): how the answer is
    generated; None as the model's generation_config.json says, without one greedily. seed: from which tokens are drawn.
    evidence: frames named as evidence per camera, at most.
    model: from `load_pretrained`, or its name; default the one that the memory was recorded with. `search` gives frames, no answer.
    answer_with: the address of an OpenAI-compatible server whose model sees pictures, or a mapping with `url` and other keys of a service's
    `answer_with`. It answers instead of `model`, whose encoders find the frames; these leave this machine, and are the evidence.
    on_text receives the text as it is generated. Each part of the answer has its evidence: the frames of highest weight, with images.

    Raises UsageError (what was given is wrong; it names the argument), MemoryNotFound (no such memory or camera), NothingRecorded,
    SpecMismatch (recorded with another model), StoreError, DamagedMemory, ModelServerError, and what load_pretrained raises.
    """
    _require_text("question", question)
    names = _camera_names(camera)
    _require_whole("seed", seed, 0, _LARGEST_SEED)
    _require_whole("evidence", evidence, 0, _MOST)
    generation = _generation(temperature=temperature, top_p=top_p, top_k=top_k, repetition_penalty=repetition_penalty,
                             max_new_tokens=max_tokens, stop=(stop,) if isinstance(stop, str) else stop)  # fmt: skip
    _require_function("on_text", on_text)
    _require_model(model)
    _require_one_start(start, last)
    server = _server(answer_with)
    opened = _opened(memory)
    readers, now = _readers(opened, names), time.time()
    first, end = (_agreed(*one, readers, now) for one in (("start", start), ("at", at)))
    asked = Question(
        question, names, start=first, at=end, last_s=_length(last), seed=seed, evidence=evidence, **generation
    )
    if len(readers) == 1:
        find_span(readers[0].snapshot(), asked, now)  # a span without frames is found before the model is loaded
    return _answerer(opened, model, readers[0], server).ask(asked, on_text=on_text)


def ask_recording(
    path: str | os.PathLike[str],
    question: str,
    *,
    model: "AfterviewModel | str | os.PathLike[str]",
    start: Duration | None = None,
    end: Duration | None = None,
    seed: int = 0,
    max_tokens: int | None = None,
) -> "RecordingAnswer":
    """Ask a VideoChat-Flash about a recording itself, without a memory. It sees the frames that its published chat samples.

    path: a video file. model: from `load_pretrained`, or its name. start, end: a part of the recording, as durations from its beginning.
    seed, max_tokens: as in `ask`. Raises UsageError (also for another model, or a file that is no video), and what load_pretrained does.
    """
    _require_text("question", question)
    _require_whole("seed", seed, 0, _LARGEST_SEED)
    generation = _generation(max_new_tokens=max_tokens, stop=None)
    if model is None or not isinstance(path, str | os.PathLike):
        raise UsageError("path, model: give a video file, and a model or its name")
    _require_model(model)
    low = _named("start", lambda: None if start is None else seconds_of(start))
    high = _named("end", lambda: None if end is None else seconds_of(end))
    from afterview.model.checkpoint.loading import load_pretrained  # late: it loads torch
    from afterview.stream.ask import recording  # late: it loads PyAV

    loaded = load_pretrained(os.fspath(model)) if isinstance(model, str | os.PathLike) else model
    settings = loaded.generation.changed(generation)
    place = Path(os.fsdecode(path))
    return recording.ask_recording(place, question, loaded, start=low, end=high, seed=seed, settings=settings)


def search(
    memory: Memory | str | os.PathLike[str],
    text: str,
    *,
    camera: str | Sequence[str] | None = None,
    start: Time | None = None,
    at: Time | None = None,
    last: Duration | None = None,
    top: int = 10,
    model: "AfterviewModel | str | os.PathLike[str] | None" = None,
    as_is: bool = False,
) -> SearchResult:
    """The `top` frames that are most similar to a text, best first, with their images.

    as_is: ask the index the text itself, also where the model's index wants captions and the text is a question; `asked` of the result
    has what it was asked. The other arguments are those of `ask`. With several cameras a time without an offset is in the zone of each.
    `skipped` of the result names the cameras that were not searched, and why. Raises what `ask` raises, except NothingRecorded: then
    there are no hits.
    """
    _require_text("text", text)
    names = _camera_names(camera)
    _require_whole("top", top, 1, _MOST)
    _require_model(model)
    _require_one_start(start, last)
    opened = _opened(memory)
    readers, now, length = _readers(opened, names), time.time(), _length(last)
    spans = {reader.info.id: _span(reader, start, at, length, now) for reader in readers}
    encoders = _encoders(model, readers[0])
    found = search_memory(opened, encoders, text, spans, most=top, skip_others=not names, as_is=as_is)
    return replace(found, hits=tuple(_with_image(opened, hit) for hit in found.hits))


def info(memory: Memory | str | os.PathLike[str]) -> MemoryDescription:
    """Describe the cameras of a memory as they are now: frames, times, gaps, disk use. Loads no model.

    `skipped` of the result names the cameras that cannot be read, and why. Raises what `open` raises.
    """
    return MemoryDescription.of(_opened(memory))


def _opened(memory: Memory | str | os.PathLike[str]) -> Memory:
    if isinstance(memory, Memory):
        return memory
    if not isinstance(memory, str | os.PathLike):
        raise UsageError(f"memory: give what afterview.open returned, or a path, not {_type(memory)}")
    return open(memory)


def _readers(memory: Memory, names: Sequence[str]) -> list[CameraReader]:
    return [memory.camera(name) for name in names] or memory.cameras()


def _span(reader: CameraReader, start: Time | None, at: Time | None, length: float | None, now: float) -> TimeRange:
    zone = reader.info.timezone
    end = _named("at", lambda: None if at is None else unix_seconds(at, timezone=zone, now=now))
    first = _named("start", lambda: None if start is None else unix_seconds(start, timezone=zone, now=now))
    if length is not None:
        first = (now if end is None else end) - length
    if first is not None and end is not None and first > end:
        raise UsageError(f"the span ends before it begins: from {reader.info.show(first)} to {reader.info.show(end)}")
    return first, end


def _agreed(name: str, value: Time | None, readers: Sequence[CameraReader], now: float) -> float | None:
    """A time that means the same in the zones of all cameras. Raises UsageError, which names the argument."""
    zones = {reader.info.timezone for reader in readers}
    return _named(name, lambda: None if value is None else agreed_time(value, zones, now=now))


def _with_image(memory: Memory, hit: Hit) -> Hit:
    """The hit with its JPEG, or without where that alone cannot be read."""
    try:
        return replace(hit, image=memory.camera(hit.camera).snapshot().image(hit.frame))
    except (DamagedFrames, UnreachableFrames):
        return hit


def _camera_names(camera: str | Sequence[str] | None) -> tuple[str, ...]:
    """The names given; none for all cameras."""
    names = () if camera is None else (camera,) if isinstance(camera, str) else camera
    if isinstance(names, bytes) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"camera: give a name, or a list of names, not {_type(camera)}")
    if camera is not None and not names:
        raise UsageError("camera: the list is empty; leave it out to use all cameras")
    return tuple(names)


def _require_text(name: str, value: str) -> None:
    if not isinstance(value, str):
        raise UsageError(f"{name}: give a text, not {_type(value)}")
    if not value.strip():
        raise UsageError(f'{name}: is empty; give a text, for example "Which scene do you see now?"')
    if len(value) > LONGEST_QUESTION:
        raise UsageError(f"{name}: has {len(value)} characters; at most {LONGEST_QUESTION} are taken")


def _require_function(name: str, value: object) -> None:
    if value is not None and not callable(value):
        raise UsageError(f"{name}: give a function that takes a text, not {_type(value)}")


def _require_whole(name: str, value: int, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"{name}: give a whole number, not {_type(value)}")
    if not least <= value <= most:
        raise UsageError(f"{name}: {value} must be between {least} and {most}")


def _generation(**given: Any) -> dict[str, Any]:
    """How the answer is generated, as fields of a Question. Raises UsageError, which names the argument."""
    if given["stop"] is not None:
        given["stop"] = tuple(given["stop"])
    for name, value in given.items():
        shown = "max_tokens" if name == "max_new_tokens" else name
        if isinstance(value, bool):
            raise UsageError(f"{shown}: give a number, not {_type(value)}")
        try:
            GenerationSettings().changed({name: value})
        except UsageError as error:
            raise UsageError(f"{shown}: {str(error).removeprefix(f'{name}: ')}") from None
    return given


def _require_model(model: object) -> None:
    if model is None or isinstance(model, str | os.PathLike):
        return
    from afterview.model.checkpoint.models import AfterviewModel  # late: it loads torch

    if not isinstance(model, AfterviewModel):
        raise UsageError(
            f"model: give what afterview.load_pretrained returned, or the name of a model, not {_type(model)}"
        )


def _answerer(
    opened: Memory,
    model: "AfterviewModel | str | os.PathLike[str] | None",
    reader: CameraReader,
    server: "ModelServer | None",
) -> "Answerer | FindingAnswerer | OwnModelAnswerer":
    """Who answers: the server, for which the encoders find frames; or the model."""
    if server is None:
        return answerer_for(opened, _loaded(model, reader))
    from afterview.stream.ask.own_model.answerer import OwnModelAnswerer  # late: few give a server

    return OwnModelAnswerer(opened, _encoders(model, reader), server)


def _server(given: str | Mapping[str, Any] | None) -> "ModelServer | None":
    """The server that answers, if one was given. Raises UsageError."""
    if given is None:
        return None
    if not isinstance(given, str | Mapping):
        raise UsageError(f"answer_with: give an address, or a mapping with url, not {_type(given)}")
    from afterview.stream.service.answer_with_config import server_given  # late: few give a server
    from afterview.stream.service.secrets import SecretVariables

    return server_given(given, SecretVariables())


def _loaded(model: "AfterviewModel | str | os.PathLike[str] | None", reader: CameraReader) -> "AskedModel":
    """The model itself, or the one of that name; without one, the model that recorded the camera."""
    if model is not None and not isinstance(model, str | os.PathLike):
        return model
    from afterview.model.checkpoint.for_questions import load_for_questions  # late: it loads torch

    spec = reader.spec
    return load_for_questions(spec.model if model is None else os.fspath(model), recorded_index=spec.index.encoder)


def _encoders(model: "AfterviewModel | str | os.PathLike[str] | None", reader: CameraReader) -> "Encoders":
    if model is not None and not isinstance(model, str | os.PathLike):
        return model.encoders
    from afterview.model.checkpoint.loading import load_encoders  # late: it loads torch

    spec = reader.spec
    return load_encoders(spec.model if model is None else os.fspath(model), recorded_index=spec.index.encoder)


def _require_one_start(start: Time | None, last: Duration | None) -> None:
    if start is not None and last is not None:
        raise UsageError("start and last both say where the span begins; give one of them")


def _length(last: Duration | None) -> float | None:
    seconds = _named("last", lambda: None if last is None else seconds_of(last))
    if seconds is not None and seconds <= 0:
        raise UsageError(f"last: {quoted(str(last))} must be longer than 0 seconds")
    return seconds


def _named(name: str, read: Callable[[], float | None]) -> float | None:
    """What `read` returns; its errors say which argument is wrong."""
    try:
        return read()
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None


def _type(value: object) -> str:
    """A wrong value for its error: `None`, or its type."""
    return "None" if value is None else f"{type(value).__name__} {quoted(repr(value))}"
