"""`afterview ask`."""

import argparse
import sys
import time
from collections.abc import Callable

from afterview import __version__
from afterview.cli.arguments import readable_memory, require_count, require_model, require_question, seed
from afterview.cli.commands import ask_recording
from afterview.cli.models import for_a_question, load_model
from afterview.cli.output.documents import printable
from afterview.cli.output.records import show_record
from afterview.cli.output.sheets import picture_path
from afterview.cli.parsers.generation import generation_options
from afterview.cli.progress import announced
from afterview.cli.spans import question_span
from afterview.configs import UsageError
from afterview.memory.directory import Memory
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
    if arguments.recording is not None:
        return ask_recording.run(arguments)
    if arguments.start and arguments.last:
        raise UsageError("--from and --last both say where the span begins; give one of them")
    sheet = picture_path("--sheet", arguments.sheet, force=arguments.force)
    require_question("the question", arguments.question)
    require_model(arguments.model)
    memory = Memory(readable_memory(arguments.memory))
    opened = memory.each(lambda reader: reader, arguments.camera)
    cameras = list(opened.results.values())
    now = time.time()
    start, at, last_s = question_span(arguments.start, arguments.at, arguments.last, cameras, now)
    question = Question(
        arguments.question,
        tuple(arguments.camera),
        start=start,
        at=at,
        last_s=last_s,
        seed=seed(arguments.seed),
        evidence=require_count("--evidence", arguments.evidence, 0),
        **generation_options(arguments),
    )
    if len(cameras) == 1 and not opened.skipped:
        find_span(cameras[0].snapshot(), question, now)
    spec = cameras[0].spec
    model = load_model(
        arguments.model or spec.model,
        arguments.index_encoder,
        recorded=spec,
        announce=for_a_question(as_json=arguments.json),
    )
    streamed = not arguments.json and sys.stdout.isatty()
    with announced("answering") as end:
        answer = Answerer(memory, model).ask(question, on_text=streamer(end) if streamed else None)
    if streamed:
        print()
    zones = {part.coverage.camera: memory.camera(part.coverage.camera).info for part in answer.parts}
    record = AnswerRecord.of(answer, question, asked=now, memory=memory.path, cameras=zones, version=__version__)
    return show_record(record, save(record, memory.held.path), arguments, sheet, text=not streamed)


def streamer(before: Callable[[], None]) -> Callable[[str], None]:
    """Prints an answer in pieces. before: called before each."""

    def stream(piece: str) -> None:
        before()
        print(printable(piece), end="", flush=True)

    return stream
