"""The control socket of a camera that is being written: `DIR/CAMERA/control`. One JSON object in, one out, per connection.

Threads: `control-CAMERA` accepts connections. Each command has a thread of its own, which submits it to the write thread (the owner of the
repository), waits for the result and sends it: a command that takes minutes delays no other. Only this user may connect (mode 0600). The
stale socket of a dead process is replaced, since this process holds the camera's lock.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from afterview.configs import AfterviewError
from afterview.configs.system_errors import describe
from afterview.memory.base.errors import RequestRefused
from afterview.memory.base.held_directory import holder, shown
from afterview.memory.base.lock import CONTROL
from afterview.memory.base.recorder import LONGEST, PATIENCE_S, Command, receive, short_path


class ControlServer:
    """Listens until closed. `handle` is called in a command's own thread and returns the result, or raises AfterviewError."""

    def __init__(self, camera: Path, handle: Callable[[Command], dict[str, Any]]) -> None:
        self._handle, self._held = handle, holder(camera)
        self._path = camera / CONTROL
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._path.unlink(missing_ok=True)
        with short_path(camera) as short:
            self._socket.bind(short)
        self._path.chmod(0o600)
        self._socket.listen(4)
        threading.Thread(target=self._serve, name=f"control-{camera.name}", daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return  # closed
            name = f"command-{self._path.parent.name}"
            threading.Thread(target=self._serve_client, args=(connection,), name=name, daemon=True).start()

    def _serve_client(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(PATIENCE_S)
            connection.sendall(self._answer(connection).encode())

    def _answer(self, connection: socket.socket) -> str:
        try:
            return json.dumps({"result": self._handle(_decode(receive(connection)))})
        except AfterviewError as error:
            return json.dumps({"error": str(error)})
        except OSError as error:
            return json.dumps({"error": describe(error)})
        except Exception as error:  # the sender gets the reason; the recording continues
            return json.dumps({"error": shown(f"{type(error).__name__}: {error}")})

    def close(self) -> None:
        """Stop listening and remove the socket."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()


def _decode(data: bytes) -> Command:
    """A command. Raises RequestRefused for anything else: a client may send any bytes."""
    try:
        command = json.loads(data)
    except (ValueError, RecursionError):
        command = None
    if not isinstance(command, dict):
        raise RequestRefused(f"a command is one JSON object of at most {LONGEST} bytes")
    return command
