"""`afterview ask`."""

import argparse
import sys
import time
from collections.abc import Sequence

from afterview import __version__
from afterview.cli.arguments import readable_memory, seed
from afterview.cli.output.documents import printable
from afterview.cli.output.records import show_record
from afterview.cli.output.sheets import picture_path
from afterview.configs import UsageError
from afterview.memory.base.typed_times import parse_duration, parse_time
from afterview.memory.directory import Memory
from afterview.memory.reading.reader import CameraReader
from afterview.stream.ask.answer_record import AnswerRecord
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.question import Question
from afterview.stream.ask.saved_answers import save
from afterview.stream.ask.span import find_span


def run(arguments: argparse.Namespace) -> int:
    """Answer one question."""
    if not arguments.question.strip():
        raise UsageError(
            'the question is empty; ask, for example: afterview ask "Which scene do you see now?" --memory DIR'
        )
    if arguments.start and arguments.last:
        raise UsageError("--from and --last both say where the span begins; give one of them")
    sheet = picture_path("--sheet", arguments.sheet, force=arguments.force)
    memory = Memory(readable_memory(arguments.memory))
    opened = memory.each(lambda reader: reader, arguments.camera)
    cameras = list(opened.results.values())
    now = time.time()
    question = Question(
        arguments.question,
        tuple(arguments.camera),
        start=_time(arguments.start, cameras, now) if arguments.start else None,
        at=_time(arguments.at, cameras, now) if arguments.at else None,
        last_s=parse_duration(arguments.last) if arguments.last else None,
        seed=seed(arguments.seed),
        evidence=max(0, arguments.evidence),
    )
    if len(cameras) == 1 and not opened.skipped:
        find_span(cameras[0].snapshot(), question, now)

    from afterview.model.checkpoint.loading import (
        load_pretrained,  # loads torch: not before the question is known to make sense
    )

    model = load_pretrained(arguments.model or cameras[0].spec.model)
    streamed = not arguments.json and sys.stdout.isatty()
    answer = Answerer(memory, model).ask(question, on_text=_stream if streamed else None)
    if streamed:
        print()
    zones = {part.coverage.camera: memory.camera(part.coverage.camera).info for part in answer.parts}
    record = AnswerRecord.of(answer, question, asked=now, memory=memory.path, cameras=zones, version=__version__)
    return show_record(record, save(record, memory.path), arguments, sheet, text=not streamed)


def _time(text: str, cameras: Sequence[CameraReader], now: float) -> float:
    """A time as its camera's zone understands it. Raises UsageError where the cameras asked do not agree on what it means."""
    moments = {zone: parse_time(text, timezone=zone, now=now) for zone in sorted({c.info.timezone for c in cameras})}
    if len(set(moments.values())) > 1:
        zones = ", ".join(moments)
        raise UsageError(
            f"'{text}' means different moments in the cameras' zones ({zones}); add an offset, such as +01:00"
        )
    return next(iter(moments.values()))


def _stream(piece: str) -> None:
    print(printable(piece), end="", flush=True)
