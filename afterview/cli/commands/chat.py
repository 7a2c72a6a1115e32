"""`afterview chat`: questions one after another, with one model."""

import argparse
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from afterview.cli.arguments import readable_memory, require_count, require_model, require_question, seed
from afterview.cli.asking import ByService, service_for
from afterview.cli.chat_lines import Commands, Lines
from afterview.cli.commands.ask import streamer
from afterview.cli.failures import describe_failure, kind_of, say
from afterview.cli.here import Here
from afterview.cli.models import for_a_question, load_model
from afterview.cli.output.chat import print_in_short, print_line
from afterview.cli.output.documents import dump
from afterview.cli.output.records import document_of
from afterview.cli.own_model import chosen_server, here_with
from afterview.cli.parsers.generation import generation_options
from afterview.cli.progress import announced
from afterview.cli.spans import question_span
from afterview.configs import ExitStatus
from afterview.configs.errors import AfterviewError
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.directory import Memory
from afterview.stream.ask.answer_record import AnswerRecord
from afterview.stream.ask.dialogue import Dialogue
from afterview.stream.ask.question import Question
from afterview.stream.ask.saved_answers import Saved
from afterview.stream.errors import Cancelled


def run(arguments: argparse.Namespace) -> int:
    """Answer questions until the input ends."""
    require_model(arguments.model)
    server = chosen_server(arguments)
    path = readable_memory(arguments.memory)
    memory = Memory(path)
    cameras = list(memory.each(lambda reader: reader, arguments.camera).results.values())
    start, at, last_s = question_span(arguments.start, arguments.at, arguments.last, cameras)
    about = Question(
        "",
        tuple(arguments.camera),
        start=start,
        at=at,
        last_s=last_s,
        seed=seed(arguments.seed),
        evidence=require_count("--evidence", arguments.evidence, 0),
        **generation_options(arguments),
    )
    answerer: Here | ByService
    if server is not None:
        answerer = here_with(server, memory, cameras[0].spec, arguments, for_a_question(as_json=arguments.json))
    else:
        answerer = service_for(arguments, path) or _here(arguments, memory, cameras[0].spec)
    chat = _Chat(answerer, memory, Lines(as_json=arguments.json), arguments, Dialogue(about))
    if answerer.notice and not arguments.json:
        print(f"note: {answerer.notice}", file=sys.stderr, flush=True)
    return chat.run()


def _here(arguments: argparse.Namespace, memory: Memory, spec: FeatureSpec) -> Here:
    announce = for_a_question(as_json=arguments.json)
    return Here.of(
        memory, load_model(arguments.model or spec.model, arguments.index_encoder, recorded=spec, announce=announce)
    )


class _Chat:
    """One conversation. Each line is a question, or a command that begins with `/`."""

    def __init__(
        self,
        answerer: Here | ByService,
        memory: Memory,
        lines: Lines,
        arguments: argparse.Namespace,
        dialogue: Dialogue,
    ) -> None:
        self._answerer, self._memory, self._lines, self._dialogue = answerer, memory, lines, dialogue
        self._json, self._shown_memory = arguments.json, arguments.memory
        self._commands = Commands(memory)
        self._failed = False

    def run(self) -> int:
        """Until the input ends. A person sees the failures; a program learns of them by the exit status."""
        for line in self._lines:
            if line == "/quit":
                break
            try:
                self._one(line)
            except (AfterviewError, OSError, MemoryError) as error:
                self._failed = True
                self._say(error)
        return ExitStatus.FAILURE if self._failed and not self._lines.interactive else ExitStatus.OK

    def _one(self, line: str) -> None:
        if line.startswith("/"):
            changed, said = self._commands.run(line, self._dialogue.about)
            self._dialogue = Dialogue(changed)
            self._lines.say(said)
            return
        require_question("the question", line)
        dialogue, question = self._dialogue.asked(self._memory, line)
        with _stoppable(self._lines) as cancel:
            record, saved, streamed = self._answer(question, cancel)
            self._show(record, saved, streamed=streamed)
        asked = [one.camera for one in record.answer.coverage]
        self._dialogue = dialogue.answered(asked, len(self._memory.camera_ids()))
        if self._dialogue != dialogue:
            names = ", ".join(self._dialogue.about.cameras)
            self._lines.say(f"the next questions stay with {names}; /camera asks all cameras again")

    def _answer(self, question: Question, cancel: threading.Event) -> tuple[AnswerRecord, Saved, bool]:
        streamed = self._lines.interactive and sys.stdout.isatty()
        if self._json:
            return *self._answerer.ask(question, cancel=cancel), False
        with announced("answering") as end:
            record, saved = self._answerer.ask(question, on_text=streamer(end) if streamed else None, cancel=cancel)
        if streamed:
            print()
        return record, saved, streamed

    def _show(self, record: AnswerRecord, saved: Saved, *, streamed: bool) -> None:
        if self._json:
            dump(document_of(record, saved, None), self._shown_memory)
        elif self._lines.interactive:
            print_in_short(record, text=not streamed)
        else:
            print_line(record)
        for note in saved.notes if not self._json else ():
            self._lines.say(f"note: {note}")
        sys.stdout.flush()

    def _say(self, error: Exception) -> None:
        """What went wrong with one line; the chat goes on."""
        if isinstance(error, Cancelled) and not self._json:
            print("\ncancelled; Ctrl-C again ends the chat", file=sys.stderr, flush=True)
            return
        text = describe_failure(error)
        say(text)
        if self._json:
            failure = {
                "kind": kind_of(error),
                "message": text,
                "exit_status": int(getattr(error, "exit_status", ExitStatus.FAILURE)),
            }
            dump({"error": failure})
            sys.stdout.flush()


@contextmanager
def _stoppable(lines: Lines) -> Iterator[threading.Event]:
    """What the first Ctrl-C sets; a second one, or one at the next prompt, raises KeyboardInterrupt."""
    cancel = threading.Event()

    def stop(number: int, frame: object) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()

    if threading.current_thread() is not threading.main_thread():  # only that one may handle signals
        yield cancel
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, before)
        lines.interrupted = cancel.is_set()
