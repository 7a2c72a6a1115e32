"""`afterview ask`. Loads little until it is known who answers: a service that holds the memory, or a model that is loaded here."""

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from afterview.cli.arguments import readable_memory, require_count, require_model, require_question, seed
from afterview.cli.asking import service_for
from afterview.cli.models import for_a_question, load_model
from afterview.cli.output.documents import printable
from afterview.cli.own_model import chosen_server, here_with
from afterview.cli.parsers.generation import generation_options
from afterview.cli.progress import announced
from afterview.cli.spans import question_span
from afterview.configs.errors import UsageError
from afterview.stream.ask.question import Question

if TYPE_CHECKING:
    from afterview.memory.directory import EachCamera, Memory
    from afterview.memory.reading.reader import CameraReader
    from afterview.stream.ask.answer_record import AnswerRecord
    from afterview.stream.ask.own_model.server import ModelServer
    from afterview.stream.ask.saved_answers import Saved
    from afterview.stream.ask.subtitles import SubtitleFile

_LOGGER = logging.getLogger(__name__)
_LARGEST_SENT = 1_000_000  # bytes of subtitles as JSON: a request to a service has at most 1 MiB


@dataclass(frozen=True)
class _Subtitles:
    """The text of a file of subtitles, and what it holds. can_be_sent: whether a service takes so much in a request."""

    text: str
    found: "SubtitleFile"
    can_be_sent: bool

    @classmethod
    def read(cls, path: Path) -> "_Subtitles":
        """Raises UsageError."""
        from afterview.stream.ask.subtitles import LONGEST_SENT, parse_subtitles, read_text  # late: few have any

        text = read_text(path)
        found = parse_subtitles(text, str(path))
        if found.unreadable:
            _LOGGER.warning("%s: %d entries cannot be read as subtitles; they are left out", path, found.unreadable)
        fits = len(text) <= LONGEST_SENT and len(json.dumps(text)) <= _LARGEST_SENT
        if not fits:
            _LOGGER.warning(
                "note: %s is larger than a request to a service may be: this command loads a model of its own", path
            )
        return cls(text, found, fits)


def run(arguments: argparse.Namespace) -> int:
    """Answer one question."""
    if not arguments.question.strip():
        raise UsageError(
            'the question is empty; ask, for example: afterview ask "Which scene do you see now?" --memory DIR'
        )
    if arguments.recording is not None:
        from afterview.cli.commands import ask_recording  # late: few ask a file

        return ask_recording.run(arguments)
    if arguments.start and arguments.last:
        raise UsageError("--from and --last both say where the span begins; give one of them")
    sheet = None
    if arguments.sheet is not None:
        from afterview.cli.output.sheets import picture_path  # late: few want a picture

        sheet = picture_path("--sheet", arguments.sheet, force=arguments.force)
    require_question("the question", arguments.question)
    require_model(arguments.model)
    server = chosen_server(arguments)
    path, now = readable_memory(arguments.memory), time.time()
    streamed = not arguments.json and sys.stdout.isatty()
    subtitles = None if arguments.subtitles is None else _Subtitles.read(Path(arguments.subtitles))
    service = service_for(arguments, path) if server is None and (subtitles is None or subtitles.can_be_sent) else None
    if service is None:
        record, saved = _ask_here(arguments, path, now, server, subtitles, streamed=streamed)
    else:
        zones = list(_opened(path, arguments)[1].results.values()) if arguments.start or arguments.at else []
        question = _question(arguments, zones, now)
        with announced("answering") as end:
            lines = None if subtitles is None else subtitles.text
            record, saved = service.ask(question, subtitles=lines, on_text=streamer(end) if streamed else None)
    if streamed:
        print()
    from afterview.cli.output.records import show_record  # late: it was imported while the service worked

    return show_record(record, saved, arguments, sheet, text=not streamed)


def _opened(path: Path, arguments: argparse.Namespace) -> "tuple[Memory, EachCamera[CameraReader]]":
    from afterview.memory.directory import Memory  # late: a service needs it here only for times

    memory = Memory(path)
    return memory, memory.each(lambda reader: reader, arguments.camera)


def _question(arguments: argparse.Namespace, cameras: "list[CameraReader]", now: float) -> Question:
    """cameras: those in whose zones the times count. Raises UsageError."""
    start, at, last_s = question_span(arguments.start, arguments.at, arguments.last, cameras, now)
    return Question(
        arguments.question,
        tuple(arguments.camera),
        start=start,
        at=at,
        last_s=last_s,
        seed=seed(arguments.seed),
        evidence=require_count("--evidence", arguments.evidence, 0),
        **generation_options(arguments),
    )


def _ask_here(
    arguments: argparse.Namespace,
    path: Path,
    now: float,
    server: "ModelServer | None",
    subtitles: "_Subtitles | None",
    *,
    streamed: bool,
) -> "tuple[AnswerRecord, Saved]":
    """Load the model, and answer with it, or with the user's server."""
    from afterview.cli.here import Here
    from afterview.stream.ask.span import find_span

    memory, opened = _opened(path, arguments)
    cameras = list(opened.results.values())
    question = _question(arguments, cameras, now)
    if subtitles is not None:
        from afterview.stream.ask.shown_subtitles import with_subtitles

        question = with_subtitles(question, subtitles.found, cameras, "--camera")
    if len(cameras) == 1 and not opened.skipped:
        find_span(cameras[0].snapshot(), question, now)
    spec, announce = cameras[0].spec, for_a_question(as_json=arguments.json)
    if server is not None:
        here = here_with(server, memory, spec, arguments, announce)
    else:
        model = load_model(arguments.model or spec.model, arguments.index_encoder, recorded=spec, announce=announce)
        here = Here.of(memory, model)
    with announced("answering") as end:
        return here.ask(question, asked=now, on_text=streamer(end) if streamed else None)


def streamer(before: Callable[[], None]) -> Callable[[str], None]:
    """Prints an answer in pieces. before: called before each."""

    def stream(piece: str) -> None:
        before()
        print(printable(piece), end="", flush=True)

    return stream
