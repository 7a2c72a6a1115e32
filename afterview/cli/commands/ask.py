"""`afterview ask`."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence

from afterview.cli.arguments import readable_memory, seed
from afterview.cli.models import load_model
from afterview.cli.output.answers import print_answer
from afterview.cli.output.documents import dump, printable
from afterview.cli.progress import announced
from afterview.configs import UsageError
from afterview.memory.base.typed_times import agreed_time, parse_duration
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
    model = load_model(arguments.model or cameras[0].spec.model)
    streamed = not arguments.json and sys.stdout.isatty()
    with announced("answering") as end:
        answer = Answerer(memory, model).ask(question, on_text=_streamer(end) if streamed else None)
    images = save_evidence(answer, memory.path)
    if arguments.json:
        dump(answer.to_dict(images))
        return 0
    if streamed:
        print()
    zones = {reader.info.id: reader.info for reader in cameras}
    print_answer(answer, images, zones, text=not streamed)
    return 0


def _time(text: str, cameras: Sequence[CameraReader], now: float) -> float:
    """A time as its camera's zone understands it. Raises UsageError where the cameras asked do not agree on what it means."""
    return agreed_time(text, (reader.info.timezone for reader in cameras), now=now)


def _streamer(before: Callable[[], None]) -> Callable[[str], None]:
    """Prints an answer in pieces. before: called before each."""

    def stream(piece: str) -> None:
        before()
        print(printable(piece), end="", flush=True)

    return stream
