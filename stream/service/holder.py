"""Which service holds a memory: what its lock says, and whether it is held. Loads nothing heavy: commands look before they load."""

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

LOCK = ".service"  # held by the service while it runs; empty once one has ended cleanly
SOCKET = ".service.socket"  # how programs of this user reach it; removed when it ends


@dataclass(frozen=True)
class Holder:
    """The process that serves a memory. pid: None if the lock does not tell. url: where it listens; empty if it does not listen yet."""

    pid: int | None
    url: str = ""

    @classmethod
    def read(cls, text: bytes) -> "Holder":
        """From the content of the lock."""
        try:
            said = json.loads(text)
            return cls(int(said["pid"]), str(said["url"]))
        except (ValueError, KeyError, TypeError):
            return cls(None)

    def __str__(self) -> str:
        if self.pid is None:
            return "another process"
        return f"process {self.pid}" + (f" at {self.url}" if self.url else "")


def last_holder(memory: Path) -> Holder | None:
    """Who holds the memory, or held it and was killed. None: nobody does. Raises PermissionError for another user's lock."""
    try:
        text = (memory / LOCK).read_bytes()
    except PermissionError:
        raise
    except OSError:
        return None
    return Holder.read(text) if text else None


def is_held(memory: Path) -> bool:
    """Whether the lock is held: by a process of this machine, or of another one that shares the file system."""
    try:
        descriptor = os.open(memory / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        return True
    finally:
        os.close(descriptor)
