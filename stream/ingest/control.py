"""The control socket of a camera that is being written: `DIR/CAMERA/control`. One JSON object in, one out, per connection.

Threads: `control-CAMERA` accepts connections. Each command has a thread of its own, which submits it to the write thread (the owner of the
repository), waits for the result and sends it: a command that takes minutes delays no other. Only this user may connect (mode 0600). The
stale socket of a dead process is replaced, since this process holds the camera's lock.
"""

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from afterview.configs import AfterviewError
from afterview.configs.system_errors import describe
from afterview.memory.base.errors import RequestRefused
from afterview.memory.base.held_directory import holder, shown
from afterview.memory.base.lock import CONTROL

LONGEST = 1 << 20  # bytes of a command
_PATIENCE_S = 600.0  # for a command to be executed: forgetting hours on a slow disk takes minutes
_STATE_PATIENCE_S = 1.0  # for a state, which needs no other thread

Command = dict[str, Any]


class ControlServer:
    """Listens until closed. `handle` is called in a command's own thread and returns the result, or raises AfterviewError."""

    def __init__(self, camera: Path, handle: Callable[[Command], dict[str, Any]]) -> None:
        self._handle, self._held = handle, holder(camera)
        self._path = camera / CONTROL
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._path.unlink(missing_ok=True)
        with _short_path(camera) as short:
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
            connection.settimeout(_PATIENCE_S)
            connection.sendall(self._answer(connection).encode())

    def _answer(self, connection: socket.socket) -> str:
        try:
            return json.dumps({"result": self._handle(_decode(_receive(connection)))})
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


def recorder_state(camera: Path) -> dict[str, Any] | None:
    """What the process that records `camera` says of it (ingest.status.CameraStatus as JSON). None if it does not answer at once."""
    try:
        return ask_writer(camera, {"do": "status"}, patience_s=_STATE_PATIENCE_S)
    except RequestRefused:  # another user's process, or an older version
        return None


def ask_writer(camera: Path, command: Command, *, patience_s: float = _PATIENCE_S) -> dict[str, Any] | None:
    """Let the process that writes `camera` execute a command. None: no process listens. Raises RequestRefused with its reason."""
    data = json.dumps(command).encode()
    if len(data) > LONGEST:
        raise RequestRefused(f"camera '{camera.name}': a command of {len(data)} bytes; at most {LONGEST} are accepted")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience_s)
        try:
            with _short_path(camera) as short:
                connection.connect(short)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:  # above all: another user records the camera
            place = camera / CONTROL
            raise RequestRefused(
                f"camera '{camera.name}': the process that writes it cannot be asked: {describe(error, place)}"
            ) from None
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = json.loads(_receive(connection))
            if not isinstance(answer, dict):
                raise ValueError("no JSON object")
        except (OSError, ValueError):
            raise RequestRefused(
                f"camera '{camera.name}': the process that writes it ended before it answered; run the command again"
            ) from None
    if "error" in answer:
        raise RequestRefused(f"camera '{camera.name}': {answer['error']}")
    result: dict[str, Any] = answer["result"]
    return result


def _decode(data: bytes) -> Command:
    """A command. Raises RequestRefused for anything else: a client may send any bytes."""
    try:
        command = json.loads(data)
    except (ValueError, RecursionError):
        command = None
    if not isinstance(command, dict):
        raise RequestRefused(f"a command is one JSON object of at most {LONGEST} bytes")
    return command


def _receive(connection: socket.socket) -> bytes:
    parts, size = [], 0
    while size <= LONGEST:
        part = connection.recv(65536)
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)


@contextlib.contextmanager
def _short_path(camera: Path) -> Iterator[str]:
    """A path to the socket that fits the kernel's 108 bytes, however deep the memory lies."""
    descriptor = os.open(camera, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{descriptor}/{CONTROL}" if os.path.isdir("/proc/self/fd") else str(camera / CONTROL)
    finally:
        os.close(descriptor)
