"""The public functions of `import afterview`. docs/python.md shows how to use them; what they are given is checked in api_arguments.

They load torch only when a model is needed: wrong arguments and `info` do not wait for it.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afterview.api_arguments import (
    LARGEST_SEED,
    MOST,
    agreed,
    camera_names,
    duration_s,
    generation_fields,
    length_s,
    read_given_subtitles,
    require_model,
    require_one_start,
    require_question,
    require_text,
    require_whole,
    time_range,
    type_of,
)
from afterview.api_models import load_pretrained, say_what_is_missing
from afterview.configs import UsageError
from afterview.memory.base.errors import DamagedFrames, UnreachableFrames
from afterview.memory.base.typed_times import Duration, Time
from afterview.memory.description import MemoryDescription
from afterview.memory.directory import Memory
from afterview.memory.reading.reader import CameraReader
from afterview.memory.sync.replica import open_memory
from afterview.stream.ask.finding import answerer_for
from afterview.stream.ask.question import Answer, Question
from afterview.stream.ask.search import Hit, SearchResult
from afterview.stream.ask.search import search as search_memory
from afterview.stream.ask.shown_subtitles import with_subtitles
from afterview.stream.ask.span import find_span

if TYPE_CHECKING:
    from afterview.model.checkpoint.for_questions import AskedModel
    from afterview.model.checkpoint.models import AfterviewModel, Encoders
    from afterview.stream.ask.answerer import Answerer
    from afterview.stream.ask.finding import FindingAnswerer
    from afterview.stream.ask.own_model.answerer import OwnModelAnswerer
    from afterview.stream.ask.own_model.server import ModelServer
    from afterview.stream.ask.recording import RecordingAnswer

__all__ = ["ask", "ask_recording", "info", "load_pretrained", "open", "search"]


def open(path: str | os.PathLike[str]) -> Memory:
    """Open the memory at `path` for reading, beside its writers.

    path: a directory; or s3://bucket/prefix, the store of a memory that another machine records, as it was published when it is opened.
    A camera that cannot be read does not prevent it: `Memory.skipped` names such cameras. Raises MemoryNotFound, UsageError (no path or
    address), StoreError (the store cannot be used), DamagedMemory, Unreadable (the system refuses to list the directory).
    """
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"path: give a directory or s3://bucket/prefix as a text or a Path, not {type_of(path)}")
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
    subtitles: str | os.PathLike[str] | None = None,
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
    subtitles: of the recording of one camera, whose first frame is their 0:00: a file (.srt, .vtt, or the JSON of LongVideoBench), or the
    text of one. The model reads the lines that had begun by `at`; `provenance["subtitles"]` of each part counts them and the others.
    on_text receives the text as it is generated. Each part of the answer has its evidence: the frames of highest weight, with images.

    Raises UsageError (what was given is wrong; it names the argument), MemoryNotFound (no such memory or camera), NothingRecorded,
    SpecMismatch (recorded with another model), StoreError, DamagedMemory, ModelServerError, and what load_pretrained raises.
    """
    require_question(question, seed, evidence, on_text)
    names = camera_names(camera)
    generation = generation_fields(temperature=temperature, top_p=top_p, top_k=top_k, stop=stop,
                                   repetition_penalty=repetition_penalty, max_new_tokens=max_tokens)  # fmt: skip
    require_model(model)
    require_one_start(start, last)
    server = _server(answer_with)
    found = read_given_subtitles(subtitles)
    opened = _opened(memory)
    readers, now = _readers(opened, names), time.time()
    first, end = (agreed(*one, readers, now) for one in (("start", start), ("at", at)))
    asked = Question(
        question, names, start=first, at=end, last_s=length_s(last), seed=seed, evidence=evidence, **generation
    )
    if found is not None:
        asked = with_subtitles(asked, found, readers, "camera")
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
    require_text("question", question)
    require_whole("seed", seed, 0, LARGEST_SEED)
    generation = generation_fields(max_new_tokens=max_tokens, stop=None)
    if model is None or not isinstance(path, str | os.PathLike):
        raise UsageError("path, model: give a video file, and a model or its name")
    require_model(model)
    low, high = duration_s("start", start), duration_s("end", end)
    loaded = load_pretrained(model) if isinstance(model, str | os.PathLike) else model
    from afterview.stream.ask import recording  # late: it loads PyAV

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
    require_text("text", text)
    names = camera_names(camera)
    require_whole("top", top, 1, MOST)
    require_model(model)
    require_one_start(start, last)
    opened = _opened(memory)
    readers, now, length = _readers(opened, names), time.time(), length_s(last)
    spans = {reader.info.id: time_range(reader, start, at, length, now) for reader in readers}
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
        raise UsageError(f"memory: give what afterview.open returned, or a path, not {type_of(memory)}")
    return open(memory)


def _readers(memory: Memory, names: Sequence[str]) -> list[CameraReader]:
    return [memory.camera(name) for name in names] or memory.cameras()


def _with_image(memory: Memory, hit: Hit) -> Hit:
    """The hit with its JPEG, or without where that alone cannot be read."""
    try:
        return replace(hit, image=memory.camera(hit.camera).snapshot().image(hit.frame))
    except (DamagedFrames, UnreachableFrames):
        return hit


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
        raise UsageError(f"answer_with: give an address, or a mapping with url, not {type_of(given)}")
    from afterview.stream.service.answer_with_config import server_given  # late: few give a server
    from afterview.stream.service.secrets import SecretVariables

    return server_given(given, SecretVariables())


def _loaded(model: "AfterviewModel | str | os.PathLike[str] | None", reader: CameraReader) -> "AskedModel":
    """The model itself, or the one of that name; without one, the model that recorded the camera."""
    if model is not None and not isinstance(model, str | os.PathLike):
        return model
    spec = reader.spec
    name = spec.model if model is None else os.fspath(model)
    say_what_is_missing(name, recorded=spec.index.encoder)
    from afterview.model.checkpoint.for_questions import load_for_questions  # late: it loads torch

    return load_for_questions(name, recorded_index=spec.index.encoder)


def _encoders(model: "AfterviewModel | str | os.PathLike[str] | None", reader: CameraReader) -> "Encoders":
    if model is not None and not isinstance(model, str | os.PathLike):
        return model.encoders
    spec = reader.spec
    name = spec.model if model is None else os.fspath(model)
    say_what_is_missing(name, recorded=spec.index.encoder)
    from afterview.model.checkpoint.loading import load_encoders  # late: it loads torch

    return load_encoders(name, recorded_index=spec.index.encoder)
