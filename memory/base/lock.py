"""Locks on files. The kernel holds them, so a lock ends with the process that took it.

`CameraLock` makes sure that a camera has one writer; the file's text says who it is. It is an open-file-description (OFD) lock, not
flock: other processes can test an OFD lock without taking it. A reader that took it briefly could make a starting writer
fail. `file_lock` is for everything else: short work on files that several processes share.
"""

import fcntl
import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from afterview.memory.base.camera import read_camera
from afterview.memory.base.durable import DISK_FULL
from afterview.memory.base.errors import CameraBusy, RepositoryError

CONTROL = "control"  # the socket of a process that records the camera, in the camera's directory
_TEXT_BYTES = 512  # of the holder's text and blanks: a full disk has no room for a file that grows
_POLL_S = 0.02  # between two tries of a lock with limited patience
_FLOCK = struct.Struct("hhqqi4x")  # struct flock of 64-bit Linux: type, whence, start, length (0: all), pid (0)


class CameraLock:
    """Holds `path` for this process until closed. Raises CameraBusy, naming the holder, if another process holds it.

    last_died: the last holder did not close it: the text that names it was still in the file.
    """

    def __init__(self, path: Path, *, camera: str) -> None:
        path.touch()
        self._file = path.open("r+b", buffering=0)
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        except OSError:
            self._file.close()
            raise _busy(path, camera) from None
        self.last_died = bool(self._file.read().strip())
        identity = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        self._write(json.dumps(identity))

    def _write(self, text: str) -> None:
        try:
            os.pwrite(self._file.fileno(), text.encode().ljust(_TEXT_BYTES), 0)
            os.fsync(self._file.fileno())  # the text must survive a power cut
        except OSError as error:
            if error.errno not in DISK_FULL:  # an empty file of an earlier version: the lock holds without a text, too
                raise

    def close(self) -> None:
        """Release the lock. The file stays: if it were removed, two writers could lock two files of one name."""
        if not self._file.closed:
            self._write("")
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def file_lock(path: Path, *, patience_s: float | None = None) -> Iterator[None]:
    """Hold `path` against every other process and thread; the file is created where it is missing, and stays.

    patience_s: how long to wait for another holder, None for as long as it takes. Raises TimeoutError after that.
    """
    with path.open("a") as file:
        if patience_s is None:
            fcntl.flock(file, fcntl.LOCK_EX)
        else:
            _lock_within(file, patience_s)
        yield


def _lock_within(file: IO[str], patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError from None
            time.sleep(_POLL_S)


def is_held(path: Path) -> bool | None:
    """Whether a process holds the lock, without taking it. None if unknown: no such file, or no support for locks."""
    try:
        with path.open("rb") as file:
            answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except OSError:
        return None
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


@dataclass(frozen=True)
class Writer:
    """The process that holds a camera's lock: since when, Unix seconds; None where it has not said so.

    recording: it records the camera and takes commands (a forget or a repair holds the lock, too).
    """

    pid: int | None
    host: str | None
    since: float | None
    recording: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def may_be_written_here(camera: Path) -> bool:
    """Whether this directory is where the camera is recorded. Elsewhere, as in a replica of a store, nobody ever held its lock."""
    return (camera / "lock").exists()


def writer_of(camera: Path) -> Writer | None:
    """Who writes the camera at `camera`; None if nobody does, or if that is unknown."""
    if not is_held(camera / "lock"):
        return None
    recording = (camera / CONTROL).exists()
    try:
        holder = json.loads((camera / "lock").read_text())
        return Writer(int(holder["pid"]), str(holder["host"]), float(holder["since"]), recording)
    except (OSError, ValueError, KeyError, TypeError):
        return Writer(None, None, None, recording)


def require_no_recorder(camera: Path) -> None:
    """Raise CameraBusy if a process records the camera: early, before a model is loaded. What holds the lock briefly does not count."""
    writer = writer_of(camera)
    if writer is not None and writer.recording:
        raise _busy(camera / "lock", camera.name)


def _busy(lock: Path, camera: str) -> CameraBusy:
    return CameraBusy(
        f"camera '{camera}' is being written by {_describe(lock)}; stop that process or choose another --camera"
    )


def _describe(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        since = read_camera(path.parent).show(holder["since"])
        return f"process {holder['pid']} on {holder['host']} since {since}"
    except (OSError, ValueError, KeyError, RepositoryError):
        return "another process"
