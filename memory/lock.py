"""One writer per camera. The lock is the kernel's (flock), so it dies with its holder; the file's text says who holds it."""

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from memory.errors import CameraBusy


class CameraLock:
    """Holds `path` for this process until closed. Raises CameraBusy, naming the holder, when another process has it."""

    def __init__(self, path: Path, *, camera: str) -> None:
        self._file = path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = _describe(path)
            self._file.close()
            raise CameraBusy(
                f"camera '{camera}' is being written by {holder}; stop that process or choose another --camera"
            ) from None
        identity = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        self._file.truncate(0)
        self._file.write(json.dumps(identity))
        self._file.flush()

    def close(self) -> None:
        """Release. The file stays: removing it would let two writers lock two different files of one name."""
        if not self._file.closed:
            self._file.truncate(0)
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _describe(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder["since"]))
        return f"process {holder['pid']} on {holder['host']} since {since}"
    except (OSError, ValueError, KeyError):
        return "another process"
