"""A process's hold on a memory without a service: its lock, and a socket that answers as a test says."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from afterview.memory.base.recorder import short_path
from afterview.stream.service.holder import SOCKET
from afterview.stream.service.places import ServiceLock

Answer = Callable[[socket.socket, str], None]  # the connection, and the first line of its request


@contextlib.contextmanager
def fake_service(memory: Path, answer: Answer | None = None) -> Iterator[None]:
    """Hold `memory`, and answer each connection by `answer`, then close it; None: accept connections, and say nothing."""
    ended = threading.Event()

    def serve() -> None:
        held = []
        while not ended.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                if answer is None:
                    held.append(connection)  # open, and silent
                    continue
                with connection:
                    connection.settimeout(5)
                    if data := connection.recv(65536):
                        answer(connection, data.decode().splitlines()[0])
        for connection in held:
            connection.close()

    with ServiceLock(memory) as lock, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        lock.say("http://127.0.0.1:1")
        with short_path(memory, SOCKET) as short:
            listener.bind(short)
        listener.listen()
        listener.settimeout(0.1)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(5)
            (memory / SOCKET).unlink(missing_ok=True)
