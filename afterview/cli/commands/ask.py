"""`afterview ask`."""

import argparse
import sys
import time
from collections.abc import Sequence

from afterview.cli.arguments import readable_memory, seed
from afterview.cli.output.answers import print_answer
from afterview.cli.output.documents import dump, printable
from afterview.configs import UsageError
from afterview.memory.base.typed_times import parse_duration, parse_time
from afterview.memory.directory import Memory
from afterview.memory.reading.reader import CameraReader
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.evidence_files import save_evidence
from afterview.stream.ask.question import Question
from afterview.stream.ask.span import find_span


def run(arguments: argparse.Namespace) -> int:
    """Answer one question."""
    if not arguments.question.strip():
        raise UsageError(
            'the question is empty; ask, for example: afterview ask "Which scene do you see now?" --memory DIR'
        )
    if arguments.start and arguments.last:
        raise UsageError("--from and --last both say where the span begins; give one of them")
    memory = Memory(readable_memory(arguments.memory))
    cameras = [memory.camera(name) for name in arguments.camera] or memory.cameras()
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
    if len(cameras) == 1:
        find_span(cameras[0].snapshot(), question, now)

    from afterview.model.checkpoint.loading import (
        load_pretrained,  # loads torch: not before the question is known to make sense
    )

    model = load_pretrained(arguments.model or cameras[0].spec.model)
    streamed = not arguments.json and sys.stdout.isatty()
    answer = Answerer(memory, model).ask(question, on_text=_stream if streamed else None)
    images = save_evidence(answer, memory.path)
    if arguments.json:
        dump(answer.to_dict(images), arguments.memory, [reader.info for reader in cameras])
        return 0
    if streamed:
        print()
    zones = {reader.info.id: reader.info for reader in cameras}
    print_answer(answer, images, zones, text=not streamed)
    return 0


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
