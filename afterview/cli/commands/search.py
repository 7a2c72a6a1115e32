"""`afterview search`: the frames that are most similar to a text."""

import argparse
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace

from afterview import __version__
from afterview.cli.arguments import (
    newest_frame,
    positive_duration,
    readable_memory,
    require_count,
    require_model,
    require_order,
    require_past,
    require_question,
)
from afterview.cli.asking import service_for
from afterview.cli.models import for_a_question, load_model_encoders
from afterview.cli.output.records import show_record
from afterview.cli.output.sheets import picture_path
from afterview.cli.progress import announced
from afterview.configs import UsageError
from afterview.memory.base.errors import NothingRecorded, RepositoryError
from afterview.memory.base.typed_times import parse_time
from afterview.memory.directory import EachCamera, Memory
from afterview.memory.reading.reader import CameraReader
from afterview.stream.ask.answer_record import Origin, SearchRecord
from afterview.stream.ask.cameras import nothing_recorded
from afterview.stream.ask.frame_images import frame_images
from afterview.stream.ask.question import Question
from afterview.stream.ask.saved_answers import Saved, save
from afterview.stream.ask.search import TimeRange, search
from afterview.stream.ask.span import find_span

_MOST_IMAGES = 100  # saved per search

_LOGGER = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> int:
    """Search one camera, or all."""
    if not arguments.text.strip():
        raise UsageError('the text is empty; write, for example: afterview search "a red ring" --memory DIR')
    require_question("the text", arguments.text)
    require_count("--top", arguments.top, 1)
    require_model(arguments.model)
    if arguments.start and arguments.last:
        raise UsageError("--from and --last both say where the span begins; give one of them")
    sheet = picture_path("--sheet", arguments.sheet, force=arguments.force)
    path = readable_memory(arguments.memory)
    memory = Memory(path)
    opened = memory.each(lambda reader: reader, arguments.camera)
    readers = list(opened.results.values())
    spans = {reader.info.id: _span(arguments, reader.info.timezone, readers) for reader in readers}
    _require_frames(readers, spans, opened.skipped)
    service = service_for(arguments, path)
    if service is None:
        record, saved = _search_here(arguments, memory, opened, spans)
    else:
        times = (arguments.start, arguments.at, arguments.last)
        with announced("searching, and indexing what is new"):
            record, saved = service.search(arguments.text, arguments.camera, *times, arguments.top, arguments.as_is)
        _note_stale(record)
    if len(record.result.hits) > _MOST_IMAGES:
        _LOGGER.warning("note: only the images of the best %d frames are saved", _MOST_IMAGES)
    return show_record(record, saved, arguments, sheet)


def _search_here(
    arguments: argparse.Namespace, memory: Memory, opened: EachCamera[CameraReader], spans: Mapping[str, TimeRange]
) -> tuple[SearchRecord, Saved]:
    """Load the model's encoders, and search with them."""
    readers = list(opened.results.values())
    spec = readers[0].spec
    encoders = load_model_encoders(
        arguments.model or spec.model,
        arguments.index_encoder,
        recorded=spec,
        announce=for_a_question(as_json=arguments.json),
    )
    asked = time.time()
    with announced("searching, and indexing what is new"):
        found = search(
            memory, encoders, arguments.text, spans,
            most=arguments.top, skip_others=not arguments.camera, as_is=arguments.as_is,
        )  # fmt: skip
    found = replace(found, skipped={**opened.skipped, **found.skipped})
    pictures, problems = frame_images(memory, [(hit.camera, hit.frame) for hit in found.hits[:_MOST_IMAGES]])
    for problem in problems:
        _LOGGER.warning("note: %s", problem)
    options = {key: getattr(arguments, key) for key in ("camera", "start", "last", "at", "top", "as_is")}
    ends = {end for _, end in spans.values()}
    options["at"] = ends.pop() if len(ends) == 1 else None
    about = Origin(uuid.uuid4().hex[:12], asked, str(memory.path), __version__, options, {
        reader.info.id: reader.info for reader in readers
    })  # fmt: skip
    record = SearchRecord(about, found, pictures)
    _note_stale(record)
    return record, save(record, memory.held.path)


def _note_stale(record: SearchRecord) -> None:
    for why in record.result.stale.values():
        _LOGGER.warning("note: only frames that were indexed before are searched: %s", why)


def _require_frames(
    readers: Sequence[CameraReader], spans: Mapping[str, TimeRange], skipped: Mapping[str, str]
) -> None:
    """Raise NothingRecorded, as `ask` does, if no camera holds a frame in its span: before the model is loaded."""
    reasons = []
    for reader in readers:
        start, end = spans[reader.info.id]
        try:
            find_span(reader.snapshot(), Question("", start=start, at=end), time.time())
        except NothingRecorded as error:
            reasons.append(error)
        except RepositoryError:
            return  # the search says what is wrong with this one
        else:
            return
    raise nothing_recorded(reasons, skipped)


def _span(arguments: argparse.Namespace, zone: str, readers: Sequence[CameraReader]) -> TimeRange:
    now = time.time()
    given = (("--from", arguments.start), ("--at", arguments.at))
    start, at = (parse_time(text, timezone=zone, now=now) if text else None for _, text in given)
    for (option, text), moment in zip(given, (start, at), strict=True):
        if moment is not None:
            require_past(option, text, moment, now, lambda: newest_frame(readers))
    require_order(start, at, said=f"--from {arguments.start} --at {arguments.at}")
    if arguments.last:
        return (now if at is None else at) - positive_duration("--last", arguments.last), at
    return start, at
