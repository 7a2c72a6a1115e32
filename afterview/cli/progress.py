"""Progress of long work, in one place: a bar on a terminal, a line every few seconds elsewhere. `-q` silences both.

A step whose length nobody knows, such as loading a model, is announced once it takes long. Work without an end has live lines instead of a
bar: they stay at the bottom of the terminal, and lines of the log go above them. All of it goes to standard error.
"""

import logging
import os
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from afterview.memory.base.typed_times import spell_duration

BAR_EVERY_S = 1.0  # between two drawings of a bar
FIRST_S = 2.0  # of silence before the first line
EVERY_S = 5.0  # between two lines where there is no terminal, in the first minute of a step
LATER_EVERY_S = 30.0  # and after it

_LOGGER = logging.getLogger(__name__)

Report = Callable[[int, int], None]  # done, total


@contextmanager
def progress(name: str, unit: str = "", *, scale: float = 1.0, bar: bool = True) -> Iterator[Report]:
    """What to call as work goes on: report(done, total). scale: of what is shown, e.g. 1e-6 for bytes shown as MB.

    Without a unit nothing is counted: only the time that has passed is shown. bar: False for work that prints meanwhile, which a bar would
    be mixed with.
    """
    if not _LOGGER.isEnabledFor(logging.INFO):
        yield lambda done, total: None
    elif bar and unit and sys.stderr.isatty():
        from tqdm import tqdm  # late: only where there is something to show

        with tqdm(desc=name, unit=f" {unit}", unit_scale=scale if scale != 1 else False, leave=False) as shown:

            def show(done: int, total: int) -> None:
                shown.total = total
                shown.update(done - shown.n)

            with _repeated(
                shown.refresh, wait_s=lambda passed: BAR_EVERY_S
            ):  # its clock goes on though nothing is reported
                yield show
    else:
        lines = _Lines(name, unit, scale)
        with _repeated(lambda: _LOGGER.info("%s", lines.line())):
            yield lines.report


@contextmanager
def announced(step: str, *, first_s: float | None = None) -> Iterator[Callable[[], None]]:
    """Say what goes on if it takes longer than `first_s` (default: FIRST_S), and then every few seconds for how long it has:
    `loading model tiny ... 7.0 s`.

    Gives a function that ends this before the step ends, for a step that begins to print.
    """
    began = time.monotonic()
    first = FIRST_S if first_s is None else first_s

    def say() -> None:
        _LOGGER.info("%s ... %s", step, spell_duration(time.monotonic() - began))

    with _repeated(say, wait_s=lambda passed: _wait_s(passed, first)) as end:
        yield end


def _wait_s(passed_s: float, first_s: float | None = None) -> float:
    """How long to wait for the next line. first_s: for the first one (default: FIRST_S)."""
    first = FIRST_S if first_s is None else first_s
    return first if passed_s < first else EVERY_S if passed_s < 60 else LATER_EVERY_S


@contextmanager
def _repeated(act: Callable[[], object], *, wait_s: Callable[[float], float] = _wait_s) -> Iterator[Callable[[], None]]:
    """Call `act` again and again, whatever the work does meanwhile. wait_s: after so many seconds. Gives a function that ends this."""
    if not _LOGGER.isEnabledFor(logging.INFO):
        yield lambda: None
        return
    ended, began = threading.Event(), time.monotonic()

    def run() -> None:
        while not ended.wait(wait_s(time.monotonic() - began)):
            act()

    thread = threading.Thread(target=run, name="progress", daemon=True)
    thread.start()
    try:
        yield ended.set
    finally:
        ended.set()
        thread.join()


class _Lines:
    """What was done so far as a line, with the time left by the rate so far."""

    def __init__(self, name: str, unit: str, scale: float) -> None:
        self._name, self._unit, self._scale = name, unit, scale
        self._began = self._first_at = time.monotonic()
        self._first: int | None = None
        self._now = (0, 0)

    def report(self, done: int, total: int) -> None:
        """Take note of the progress."""
        if self._first is None:
            self._first = done
            self._first_at = time.monotonic()
        self._now = (done, total)

    def line(self) -> str:
        """The line as of now."""
        now = time.monotonic()
        if self._first is None:
            return f"{self._name} ... {spell_duration(now - self._began)}"
        done, total = self._now
        rate = (done - self._first) / max(now - self._first_at, 1e-9)
        left = f", {spell_duration((total - done) / rate)} left" if rate > 0 and total > done else ""
        scaled = (f"{value * self._scale:.0f}" for value in (done, total))
        return f"{self._name}: {' of '.join(scaled)} {self._unit}{left}"


# --- live lines ---

Render = Callable[[int], Sequence[str]]  # columns of the terminal -> lines, which may be wider: they are cut

_live: "LiveLines | None" = None  # of this process's terminal


def write_line(text: str) -> None:
    """A line on standard error, above the live lines if there are any. Raises OSError or ValueError where the terminal has gone."""
    if _live is None:
        print(text, file=sys.stderr, flush=True)
    else:
        _live.write_above(text)


@contextmanager
def live_lines() -> Iterator["LiveLines | None"]:
    """Lines that are redrawn in place until the end, when they are erased. None with -q, and where no terminal can do this."""
    global _live
    dumb = (os.environ.get("TERM") or "dumb") == "dumb"
    if dumb or not sys.stderr.isatty() or not _LOGGER.isEnabledFor(logging.INFO):
        yield None
        return
    live = _live = LiveLines()
    try:
        yield live
    finally:
        _live = None
        live.show(lambda columns: ())


class LiveLines:
    """The last lines of the terminal on standard error. From any thread. The cursor waits at the beginning of the line below them.

    Plain text without colours. A line is never wider than the terminal, so that it takes one row; with too few rows the last lines are
    only counted. After the window has changed its size, the next drawing fits it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._drawn = 0  # rows above the cursor

    def show(self, render: Render) -> None:
        """Replace the lines."""
        lines = list(render(_terminal_size()[0]))
        with self._lock:
            self._lines = lines
            try:
                self._draw()
            except (OSError, ValueError):
                pass  # the terminal has gone: the work goes on without it

    def write_above(self, text: str) -> None:
        """Write a text above the lines. Raises OSError or ValueError where the terminal has gone."""
        with self._lock:
            self._draw(text + "\n")

    def start_anew(self) -> None:
        """Others have written to the terminal (the shell, while this process was stopped): leave what stands there."""
        with self._lock:
            self._drawn = 0

    def _draw(self, above: str = "") -> None:
        columns, rows = _terminal_size()
        lines = self._lines
        if len(lines) > rows - 1:
            kept = max(0, rows - 2)
            lines = [*lines[:kept], f"... and {len(lines) - kept} more"]
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        shown = "".join(f"{fit(_encodable(line), columns - 1)}\n" for line in lines)
        self._drawn = len(lines)
        sys.stderr.write(f"\r{up}\x1b[J{above}{shown}")
        sys.stderr.flush()


def _terminal_size() -> tuple[int, int]:
    """Columns and rows; 80 and 24 if the terminal does not know."""
    try:
        columns, rows = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):
        columns = rows = 0
    return columns or 80, rows or 24


def _encodable(text: str) -> str:
    """As standard error writes it: what it lacks becomes a longer escape."""
    encoding = sys.stderr.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def cells(text: str) -> int:
    """Columns that a text takes on a terminal: letters of East Asian scripts and most emoji take two, combining marks none."""
    return sum(_cells(letter) for letter in text)


def _cells(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1


def fit(text: str, width: int) -> str:
    """A text in at most so many cells; "..." stands for what is left out."""
    if cells(text) <= width:
        return text
    dots = "..."[: max(0, width)]
    kept, left = "", width - len(dots)
    for letter in text:
        left -= _cells(letter)
        if left < 0:
            break
        kept += letter
    return kept + dots


def pad(text: str, width: int) -> str:
    """A text in exactly so many cells."""
    return (fitted := fit(text, width)) + " " * (width - cells(fitted))
