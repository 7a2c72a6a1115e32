"""The lines of a chat: where they come from, and the commands among them."""

import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

from afterview.cli.spans import question_span
from afterview.configs import UsageError
from afterview.memory.base.typed_times import spell_duration
from afterview.memory.directory import Memory
from afterview.memory.reading.reader import CameraReader
from afterview.stream.ask.dialogue import named_cameras
from afterview.stream.ask.question import Question

PROMPT = "> "
HELP = """\
Each line is a question. It is asked about the same cameras and the same span as the one before.
  hall, gate: QUESTION   ask these cameras from now on
  /camera NAME           the same, without a question; /camera alone: all cameras
  /at TIME               answer as of this time; /at alone: as of now
  /from TIME             ignore frames before this time; /from alone: from the first
  /last DURATION         ignore frames that are older than this, e.g. 2h; /last alone: no limit
  /quit                  end, as Ctrl-D does
Ctrl-C cancels an answer; a second one ends. `afterview answers ID` shows an answer with all evidence and coverage."""


class Lines:
    """The lines of standard input that are not empty, with a prompt on a terminal.

    interrupted: the last thing that happened was Ctrl-C, so the next one ends.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.interactive = not as_json and sys.stdin is not None and sys.stdin.isatty()
        self.interrupted = False
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")  # bytes that are not UTF-8 cost their line alone

    def __iter__(self) -> Iterator[str]:
        if self.interactive:
            import readline  # late: editing and history of `input`, for a person only

            readline.set_auto_history(True)
        while (line := self._next()) is not None:
            if line := line.strip():
                yield line

    def say(self, text: str) -> None:
        """A line for a person, on standard error; a program that writes the questions gets answers only."""
        if text and self.interactive:
            print(text, file=sys.stderr, flush=True)

    def _next(self) -> str | None:
        """The next line; None at the end. Raises KeyboardInterrupt for the second Ctrl-C in a row."""
        if not self.interactive:
            return (sys.stdin.readline() or None) if sys.stdin is not None else None
        try:
            line = input(PROMPT)
        except EOFError:
            print()
            return None
        except KeyboardInterrupt:
            if self.interrupted:
                raise
            self.interrupted = True
            self.say("\nCtrl-C again, or Ctrl-D, ends the chat")
            return ""
        self.interrupted = False
        return line


class Commands:
    """The commands of a chat, apart from /quit."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._known: dict[str, Callable[[str, Question], Question]] = {
            "/camera": self._camera, "/at": self._at, "/from": self._from, "/last": self._last,
        }  # fmt: skip

    def run(self, line: str, about: Question) -> tuple[Question, str]:
        """What the next questions are about, and what to tell a person. Raises UsageError and what a camera's reader raises."""
        name, _, rest = line.partition(" ")
        if name == "/help":
            return about, HELP
        command = self._known.get(name)
        if command is None:
            raise UsageError(f"{name}: no such command; there are {', '.join(['/help', *self._known, '/quit'])}")
        changed = command(rest.strip(), about)
        return changed, self._described(changed)

    def _camera(self, text: str, about: Question) -> Question:
        if not text:
            return replace(about, cameras=())
        named = named_cameras(self._memory, text)
        if not named:
            for one in text.split(","):
                self._memory.camera(one.strip())  # raises, with the names that there are
        return replace(about, cameras=named)

    def _at(self, text: str, about: Question) -> Question:
        _, at, _ = question_span(None, text or None, None, self._cameras(about))
        if at is not None and about.start is not None and at < about.start:
            raise UsageError(f"/at {text}: lies before the time of /from; /from alone takes that back")
        return replace(about, at=at)

    def _from(self, text: str, about: Question) -> Question:
        start, _, _ = question_span(text or None, None, None, self._cameras(about))
        if start is not None and about.at is not None and about.at < start:
            raise UsageError(f"/from {text}: lies after the time of /at; /at alone takes that back")
        return replace(about, start=start, last_s=None)

    def _last(self, text: str, about: Question) -> Question:
        _, _, last_s = question_span(None, None, text or None, self._cameras(about))
        return replace(about, start=None, last_s=last_s)

    def _cameras(self, about: Question) -> list[CameraReader]:
        return [self._memory.camera(name) for name in about.cameras] or self._memory.cameras()

    def _described(self, about: Question) -> str:
        """The cameras and the span that count from now on, for a person."""
        zone = self._cameras(about)[0].info
        cameras = ", ".join(about.cameras) or "all cameras"
        begins = f" from {zone.show(about.start)}" if about.start is not None else ""
        begins = f", the last {spell_duration(about.last_s)}" if about.last_s is not None else begins
        return f"asking {cameras}{begins}, as of {'now' if about.at is None else zone.show(about.at)}"
