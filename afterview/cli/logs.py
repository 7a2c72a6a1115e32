"""What the command line shows of the log: one handler, which writes to standard error, above live lines if there are any."""

import logging
import os
import time
import traceback
from collections.abc import Callable

from afterview.cli.output.documents import printable
from afterview.cli.progress import write_line

LEVELS = {-2: logging.ERROR, -1: logging.WARNING, 0: logging.INFO, 1: logging.DEBUG}


class _StatusLines(logging.Handler):
    """Status lines for people: the text alone; with -v each says which module it is from.

    timed: each line begins with the local time. clean: hides what must not be shown.
    """

    timed = False
    clean: Callable[[str], str] = staticmethod(str)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line to what is standard error at this moment."""
        when = time.strftime("%Y-%m-%d %H:%M:%S ", time.localtime(record.created)) if self.timed else ""
        where = f"{record.name}: " if record.levelno <= logging.DEBUG else ""
        trace = ""
        if record.exc_info and os.environ.get("AFTERVIEW_DEBUG"):
            trace = "\n" + "".join(traceback.format_exception(record.exc_info[1])).rstrip()
        try:
            write_line(printable(self.clean(f"{when}{where}{record.getMessage()}{trace}")))
        except (OSError, ValueError):
            pass  # the terminal has gone: a recording goes on without it


def show_logs(verbosity: int) -> None:
    """Show this package's log from a level on. verbosity: 0 status lines, 1 everything, -1 warnings, -2 errors."""
    logger = logging.getLogger("afterview")
    for handler in list(logger.handlers):
        if isinstance(handler, _StatusLines):
            logger.removeHandler(handler)
    logger.addHandler(_StatusLines())
    logger.setLevel(LEVELS[min(max(verbosity, min(LEVELS)), max(LEVELS))])


def show_times(clean: Callable[[str], str]) -> None:
    """From now on each line begins with the local time: for commands that run long. clean: hides secrets in a text."""
    for handler in logging.getLogger("afterview").handlers:
        if isinstance(handler, _StatusLines):
            handler.timed, handler.clean = True, clean
