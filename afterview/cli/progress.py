"""Progress of long work, in one place: a bar on a terminal, a line every few seconds elsewhere. `-q` silences both.

A step whose length nobody knows, such as loading a model, is announced once it takes long. All of it goes to standard error.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
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
def announced(step: str) -> Iterator[Callable[[], None]]:
    """Say what goes on if it takes longer than FIRST_S, and then every few seconds for how long it has: `loading model tiny ... 7.0 s`.

    Gives a function that ends this before the step ends, for a step that begins to print.
    """
    began = time.monotonic()
    with _repeated(lambda: _LOGGER.info("%s ... %s", step, spell_duration(time.monotonic() - began))) as end:
        yield end


def _wait_s(passed_s: float) -> float:
    """How long to wait for the next line."""
    return FIRST_S if passed_s < FIRST_S else EVERY_S if passed_s < 60 else LATER_EVERY_S


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
