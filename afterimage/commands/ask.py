"""`afterimage ask`."""

import argparse
import sys
import time
from pathlib import Path

from afterimage.answers import answer_document, print_answer, save_evidence
from afterimage.documents import dump
from afterimage.times import parse_duration, parse_time
from configs import UsageError
from memory.directory import Memory
from stream.answer import Answerer, Question
from stream.span import find_span


def run(arguments: argparse.Namespace) -> int:
    """Answer one question."""
    if not arguments.question.strip():
        raise UsageError(
            'the question is empty; ask, for example: afterimage ask "What colour was the car?" --memory DIR'
        )
    if arguments.start and arguments.last:
        raise UsageError("--from and --last both say where the span begins; give one of them")
    memory = Memory(Path(arguments.memory))
    cameras = [memory.camera(name) for name in arguments.camera] or memory.cameras()
    zone, now = cameras[0].info.timezone, time.time()
    question = Question(
        arguments.question,
        tuple(arguments.camera),
        start=parse_time(arguments.start, timezone=zone, now=now) if arguments.start else None,
        at=parse_time(arguments.at, timezone=zone, now=now) if arguments.at else None,
        last_s=parse_duration(arguments.last) if arguments.last else None,
        seed=arguments.seed,
        evidence=max(0, arguments.evidence),
    )
    if len(cameras) == 1:
        find_span(cameras[0].snapshot(), question, now)

    from model.checkpoint import load_pretrained  # loads torch: not before the question is known to make sense

    model = load_pretrained(arguments.model or cameras[0].spec.model)
    streamed = not arguments.json and len(cameras) == 1 and sys.stdout.isatty()
    answer = Answerer(memory, model).ask(question, on_text=_stream if streamed else None)
    images = save_evidence(answer, memory.path)
    if arguments.json:
        dump(answer_document(answer, images))
        return 0
    if streamed:
        print()
    zones = {reader.info.id: reader.info for reader in cameras}
    print_answer(answer, images, zones, text=not streamed)
    return 0


def _stream(piece: str) -> None:
    print(piece, end="", flush=True)
