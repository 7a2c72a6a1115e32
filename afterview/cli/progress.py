"""Progress of long work, in one place: a bar on a terminal, a line every few seconds elsewhere. `-q` silences both."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from afterview.memory.base.typed_times import spell_duration

EVERY_S = 5.0  # between two lines where there is no terminal

_LOGGER = logging.getLogger(__name__)

Report = Callable[[int, int], None]  # done, total


@contextmanager
def progress(name: str, unit: str, *, scale: float = 1.0) -> Iterator[Report]:
    """What to call as work goes on: report(done, total). scale: of what is shown, e.g. 1e-6 for bytes shown as MB."""
    if not _LOGGER.isEnabledFor(logging.INFO):
        yield lambda done, total: None
    elif sys.stderr.isatty():
        from tqdm import tqdm  # late: only where there is something to show

        with tqdm(desc=name, unit=f" {unit}", unit_scale=scale if scale != 1 else False, leave=False) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield show
    else:
        yield _Lines(name, unit, scale)


class _Lines:
    """A line every few seconds, with the time left by the rate so far."""

    def __init__(self, name: str, unit: str, scale: float) -> None:
        self._name, self._unit, self._scale = name, unit, scale
        self._began = self._said = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        self._first = done if self._first is None else self._first
        now = time.monotonic()
        if now - self._said < EVERY_S:
            return
        self._said = now
        rate = (done - self._first) / (now - self._began)
        left = f", {spell_duration((total - done) / rate)} left" if rate > 0 and total >= done else ""
        scaled = (f"{value * self._scale:.0f}" for value in (done, total))
        _LOGGER.info("%s: %s %s%s", self._name, " of ".join(scaled), self._unit, left)
