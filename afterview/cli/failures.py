"""Failures that are nobody's bug, in words; and standard streams that are closed or cannot be written. Loads nothing heavy."""

import errno
import functools
import io
import os
import sys
from collections.abc import Sequence
from typing import Protocol, TextIO

from afterview.configs.errors import AfterviewError, error_kind


class Main(Protocol):
    """A program: takes its arguments (default: those of this process) and returns its exit status."""

    def __call__(self, arguments: Sequence[str] | None = None) -> int: ...


def with_streams(main: Main) -> Main:
    """Run a program so that closed or full standard streams do no harm; returns 1, with a message, if its output was lost."""

    @functools.wraps(main)
    def run(arguments: Sequence[str] | None = None) -> int:
        _open_streams()
        try:
            status = main(arguments)
        except SystemExit as end:  # of argparse: `--help` prints, too
            if (lost := _flush_output()) is not None and not end.code:
                say(lost)
                raise SystemExit(1) from None
            raise
        if (lost := _flush_output()) is not None and status == 0:
            say(lost)
            return 1
        return status

    return run


def words(error: Exception) -> str | None:
    """What failed, in words, if it is no bug: what the system refuses, or a text that is no text. Otherwise None."""
    if isinstance(error, OSError):
        from afterview.configs.system_errors import describe  # late: `--help` does not need it

        return _flush_output() or describe(error)
    if isinstance(error, MemoryError):
        return "this machine has not enough free memory for that"
    if isinstance(error, UnicodeError):
        return "a name or a text holds bytes that are not UTF-8 text; rename it, or correct the text"
    if isinstance(error, ValueError) and "null byte" in str(error):
        return "a path holds a NUL byte; no file can have such a name"
    return None


def describe_failure(error: Exception) -> str:
    """An error in one line; the traceback first, if it is wanted."""
    if os.environ.get("AFTERVIEW_DEBUG"):
        import traceback

        from afterview.stream.source.address.redact import redact  # late: the traceback may quote an address

        print(redact("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    text = str(error).splitlines()[0] if str(error) else ""
    if isinstance(error, AfterviewError):
        return text
    known = words(error)
    if known is not None:
        return known
    return f"{type(error).__name__}: {text} (this is a bug; set AFTERVIEW_DEBUG=1 for the traceback)"


def kind_of(error: Exception) -> str:
    """The class of an error as a word for programs: `memory_not_found`, `usage`; `system` for what the system refuses."""
    if not isinstance(error, AfterviewError):
        return "unexpected" if words(error) is None else "system"
    return error_kind(error)


def say(text: str, *, kind: str = "") -> None:
    """One line on standard error, if anybody can read it. Nothing for an empty text. kind: of the error; an interruption is none."""
    try:
        if text:
            print(f"afterview: {'' if kind == 'interrupted' else 'error: '}{text}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Send what is left of a stream that cannot be written to the null device, or closing it at exit fails again."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):
        pass


def _open_streams() -> None:
    """Give the numbers 0 to 2 to the null device if they are closed: FFmpeg would write its log into a file that got one of them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the smallest free number
    if sys.stdout is None:
        sys.stdout = _Closed()
    elif type(sys.stdout) is io.TextIOWrapper:  # not one that a caller has put there
        old = sys.stdout
        sys.stdout = _Output(
            old.buffer, old.encoding, line_buffering=old.line_buffering, write_through=old.write_through
        )
    if sys.stderr is None:
        sys.stderr = _Closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack a character


def _flush_output() -> str | None:
    """Why the output was lost, or None. Empty where its reader has gone: that is how a pipe to `head` ends."""
    if isinstance(sys.stdout, _Closed):
        return "standard output is closed; what the command printed is lost" if sys.stdout.used else None
    lost = None
    try:
        sys.stdout.flush()
    except OSError as error:
        lost = error
        _discard(sys.stdout)
    except ValueError:  # somebody closed it
        return None
    if isinstance(sys.stdout, _Output):
        lost = sys.stdout.lost or lost
    if lost is None:
        return None
    if lost.errno == errno.EPIPE:
        return ""
    from afterview.configs.system_errors import reason

    return f"standard output cannot be written: {reason(lost)}; what the command printed is lost"


class _Output(io.TextIOWrapper):
    """Standard output that remembers that writing failed: argparse ignores it, and the error alone does not say of which file it is."""

    lost: OSError | None = None

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self.lost = error
            raise

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self.lost = error
            raise


class _Closed(io.TextIOBase):
    """Stands for a stream that was closed before the program began. used: something was written to it."""

    used = False

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        self.used = True
        return len(text)
