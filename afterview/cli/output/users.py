"""What the commands for users, tokens and the audit share."""

import logging
import time
from pathlib import Path
from typing import Any

from afterview.configs.system_errors import describe
from afterview.stream.service.people.access import owner
from afterview.stream.service.people.audit import FILE, append_lines, line_of

_LOGGER = logging.getLogger(__name__)


def noted(memory: Path, what: str, **more: Any) -> None:
    """Tell the audit of the memory. That it cannot be written is said; what was done stays done."""
    try:
        append_lines(memory, [line_of(owner(door="cli"), what, **more)])
    except OSError as error:
        _LOGGER.warning("the audit was not written: %s", describe(error, memory / FILE, action="written"))


def show_time(seconds: float) -> str:
    """A time in the zone of this machine."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
