"""The socket by which programs of this user reach the service of a memory, without a token: `.service.socket` in it, mode 600."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from afterview.configs.system_errors import reason
from afterview.memory.base.recorder import short_path
from afterview.stream.service.holder import SOCKET

_BACKLOG = 128

_LOGGER = logging.getLogger(__name__)


@contextlib.contextmanager
def local_socket(memory: Path) -> Iterator[socket.socket | None]:
    """Listen in a memory until the end; the caller holds its lock, so a socket that lies there is that of a service that was killed.

    None, with a warning, where the file system has no sockets: the service does its work without.
    """
    listener, directory = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), -1
    try:
        try:
            directory = os.open(memory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            _bind(listener, memory, directory)
            found: socket.socket | None = listener
        except OSError as error:
            found = None
            _LOGGER.warning("%s: %s; commands on this machine do not use the service", memory / SOCKET, reason(error))
        yield found
    finally:
        listener.close()
        if directory >= 0:
            _remove(directory)
            os.close(directory)


def _bind(listener: socket.socket, memory: Path, directory: int) -> None:
    """Nobody else can connect in between: only a socket that listens accepts connections."""
    _remove(directory)
    with short_path(memory, SOCKET) as short:
        listener.bind(short)
    os.chmod(SOCKET, 0o600, dir_fd=directory)
    listener.listen(_BACKLOG)
    listener.setblocking(False)


def _remove(directory: int) -> None:
    """By the descriptor: the memory may have been moved meanwhile."""
    with contextlib.suppress(OSError):
        os.unlink(SOCKET, dir_fd=directory)
