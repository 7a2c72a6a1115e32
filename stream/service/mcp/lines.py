"""Lines of standard input, in a way that Ctrl-C can end: the reader of the SDK waits for a line that may never come."""

import logging
import os
from collections.abc import AsyncIterator

from afterview.stream.service.aside import in_daemon_thread

LONGEST = 1 << 20  # bytes of a message, as over HTTP
_PART = 1 << 16

_LOGGER = logging.getLogger(__name__)


async def lines_of(descriptor: int) -> AsyncIterator[str]:
    """The lines of a file or a pipe until its end. One that is too long is left out, and said."""
    held, too_long = bytearray(), False
    while part := await in_daemon_thread("stdin", lambda: os.read(descriptor, _PART)):
        *whole, rest = part.split(b"\n")
        for line in whole:
            held += line
            if too_long or len(held) > LONGEST:
                _left_out()
            else:
                yield held.decode("utf-8", "replace")
            held, too_long = bytearray(), False
        held += rest
        if len(held) > LONGEST:
            held, too_long = bytearray(), True
    if too_long:
        _left_out()
    elif held:
        yield held.decode("utf-8", "replace")


def _left_out() -> None:
    _LOGGER.warning("a message of more than %d bytes was left out", LONGEST)
