"""Asks the process that writes a camera, by its control socket `DIR/CAMERA/control`: one JSON object out, one in, per connection.

`stream.ingest.control` is the other side.
"""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from afterview.configs.system_errors import describe
from afterview.memory.base.errors import RequestRefused
from afterview.memory.base.lock import CONTROL

LONGEST = 1 << 20  # bytes of a command
PATIENCE_S = 600.0  # for a command to be executed: forgetting hours on a slow disk takes minutes
_STATE_PATIENCE_S = 1.0  # for a state, which needs no other thread

Command = dict[str, Any]


def recorder_state(camera: Path) -> dict[str, Any] | None:
    """What the process that records `camera` says of it (ingest.status.CameraStatus as JSON). None if none records it.

    If it does not tell (another user's process, an older version, one that hangs), `state` is "unknown", and `detail` says why.
    """
    try:
        return ask_writer(camera, {"do": "status"}, patience_s=_STATE_PATIENCE_S)
    except RequestRefused as error:
        return {"state": "unknown", "detail": str(error)}


def ask_writer(camera: Path, command: Command, *, patience_s: float = PATIENCE_S) -> dict[str, Any] | None:
    """Let the process that writes `camera` execute a command. None: no process listens. Raises RequestRefused with its reason."""
    data = json.dumps(command).encode()
    if len(data) > LONGEST:
        raise RequestRefused(f"camera '{camera.name}': a command of {len(data)} bytes; at most {LONGEST} are accepted")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience_s)
        try:
            with short_path(camera) as short:
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
            answer = json.loads(receive(connection))
            if not isinstance(answer, dict):
                raise ValueError("no JSON object")
        except TimeoutError:
            raise RequestRefused(
                f"camera '{camera.name}': the process that writes it did not answer within {patience_s:g} s"
            ) from None
        except (OSError, ValueError):
            raise RequestRefused(
                f"camera '{camera.name}': the process that writes it ended before it answered; run the command again"
            ) from None
    if "error" in answer:
        raise RequestRefused(f"camera '{camera.name}': {answer['error']}")
    result: dict[str, Any] = answer["result"]
    return result


def receive(connection: socket.socket) -> bytes:
    """All bytes that the other side sends until it shuts its side down, or more than LONGEST."""
    parts, size = [], 0
    while size <= LONGEST:
        part = connection.recv(65536)
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)


@contextlib.contextmanager
def short_path(directory: Path, name: str = CONTROL) -> Iterator[str]:
    """A path to a socket that fits the kernel's 108 bytes, however deep its directory lies. name: of the socket."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}" if os.path.isdir("/proc/self/fd") else str(directory / name)
    finally:
        os.close(descriptor)
