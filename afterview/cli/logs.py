"""What the command line shows of the log: one handler, which writes to standard error."""

import logging
import sys

LEVELS = {-2: logging.ERROR, -1: logging.WARNING, 0: logging.INFO, 1: logging.DEBUG}


class _StatusLines(logging.Handler):
    """Status lines for people: the text alone; with -v each says which module it is from."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line to what is standard error at this moment."""
        where = f"{record.name}: " if record.levelno <= logging.DEBUG else ""
        try:
            print(f"{where}{record.getMessage()}", file=sys.stderr, flush=True)
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
