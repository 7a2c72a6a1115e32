"""A terminal for tests: a pseudo-terminal, and a screen that understands what the live lines use (no reflow, as xterm)."""

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time
import unicodedata
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

_TOKENS = re.compile(r"\x1b\[(?P<number>\d*)(?P<letter>[A-Za-z])|(?P<text>.)", re.DOTALL)


class Screen:
    """What a terminal shows. scrolled: lines that left it at the top. unknown: sequences that it does not understand."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.lines: list[str] = [""]
        self.scrolled: list[str] = []
        self.unknown: list[str] = []
        self.row = self.column = 0

    def feed(self, text: str) -> None:
        """Take what a program has written."""
        for match in _TOKENS.finditer(text):
            if match["letter"] is None:
                self._put(match["text"])
            elif match["letter"] == "A":
                self.row = max(0, self.row - int(match["number"] or 1))
            elif match["letter"] == "J" and not match["number"]:
                self.lines[self.row :] = [self.lines[self.row][: self.column]]
            else:
                self.unknown.append(match[0])

    def shown(self) -> list[str]:
        """The lines without trailing blanks; a wide letter counts once."""
        return [line.replace("\0", "").rstrip() for line in self.lines]

    def everything(self) -> list[str]:
        """All lines, with those that have left the screen."""
        return [line.replace("\0", "").rstrip() for line in self.scrolled] + self.shown()

    def _put(self, letter: str) -> None:
        if letter == "\r":
            self.column = 0
        elif letter == "\n":
            self._next_row()
        elif unicodedata.category(letter) == "Cc":
            self.unknown.append(letter)
        elif unicodedata.category(letter) not in ("Mn", "Me", "Cf"):
            width = 2 if unicodedata.east_asian_width(letter) in "WF" else 1
            if self.column + width > self.columns:
                self.column = 0
                self._next_row()
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + letter + "\0" * (width - 1) + line[self.column + width :]
            self.column += width

    def _next_row(self) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")
        if self.row >= self.rows:
            self.scrolled.append(self.lines.pop(0))
            self.row -= 1


class TerminalProcess:
    """A Python program whose standard streams, and whose controlling terminal, are a pseudo-terminal."""

    def __init__(
        self, arguments: list[str], environment: Mapping[str, str], *, columns: int = 100, rows: int = 24
    ) -> None:
        self.screen, self.raw = Screen(columns, rows), b""
        self.status: int | None = None
        self._arguments, self._environment = arguments, {**os.environ, "TERM": "xterm-256color", **environment}
        self._size = (columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        """Change the window."""
        self.screen.columns, self.screen.rows = columns, rows
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._fd, keys.encode())

    def read_until(self, condition: Callable[[Screen], object], within_s: float = 30.0) -> None:
        """Read what the program writes until a condition holds. Fails after so long, or if the program ends first."""
        deadline = time.monotonic() + within_s
        while not condition(self.screen):
            assert time.monotonic() < deadline, f"not within {within_s} s: {self.screen.everything()}"
            assert self._read(), f"it ended: {self.screen.everything()}"

    def read_to_end(self, within_s: float = 30.0) -> int:
        """Read until the program ends; its exit status."""
        deadline = time.monotonic() + within_s
        while self._read():
            assert time.monotonic() < deadline, f"not within {within_s} s: {self.screen.everything()}"
        _, status = os.waitpid(self.pid, 0)
        self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def _read(self) -> bool:
        if select.select([self._fd], [], [], 0.2)[0]:
            try:
                data = os.read(self._fd, 65536)
            except OSError:  # the last process has closed it
                return False
            self.raw += data
            self.screen.feed(data.decode(errors="replace"))
            return bool(data)
        return True

    def __enter__(self) -> Self:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            try:
                os.execve(sys.executable, [sys.executable, *self._arguments], self._environment)
            finally:
                os._exit(127)
        self.resize(*self._size)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.status is None:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        os.close(self._fd)
