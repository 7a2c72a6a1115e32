"""Ack files: one line `id time crc` per frame of a camera, written after the frame itself was fsync'd."""

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from afterview.configs import UsageError
from afterview.memory.writing.repository import Acknowledgement

_HEAD = 64  # bytes of an ack file that are checked: at least one line of id, time and CRC
_BYTES = frozenset(b"0123456789abcdef.+- \n\0")  # a power cut can leave zeros


class AckFile:
    """Appends the acknowledgements of one camera to a file. `write` belongs to the camera's write thread."""

    def __init__(self, path: Path) -> None:
        """Checks the file, and writes nothing yet. Raises UsageError for a file of other content, or where none can be.

        Lines that a crash cut off are accepted: the next watch must start.
        """
        self.path = path
        self._file: IO[str] | None = None
        self._created = False
        try:
            if path.is_dir():
                raise UsageError(f"--ack-file {path}: is a directory; give the name of a file")
            if (
                path.is_fifo() or path.is_socket()
            ):  # opening a pipe would wait for a reader, and nothing would be durable
                raise UsageError(f"--ack-file {path}: is a pipe or a socket; give the name of a file")
            if path.is_file():
                with path.open("rb") as file:
                    if set(file.read(_HEAD)) - _BYTES:
                        raise UsageError(f"--ack-file {path}: is not an ack file; give another name")
            elif not path.exists() and not path.parent.is_dir():
                raise UsageError(f"--ack-file {path}: there is no directory {path.parent}; create it first")
            if not os.access(path if path.exists() else path.parent, os.W_OK):
                raise UsageError(f"--ack-file {path}: permission denied; give a file that you may write")
        except (OSError, ValueError) as error:
            raise _refused(path, error) from None

    def write(self, acknowledgements: Sequence[Acknowledgement]) -> None:
        """Append a line per frame, and sync."""
        if self._file and acknowledgements:
            self._file.writelines(f"{ack.frame} {ack.time!r} {ack.crc:08x}\n" for ack in acknowledgements)
            self._file.flush()
            os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        try:
            self._created = not os.path.lexists(self.path)
            self._file = self.path.open("a", encoding="ascii")
        except OSError as error:
            raise _refused(self.path, error) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()
            if self._created and not os.path.getsize(self.path):
                os.unlink(self.path)  # nothing was recorded


def _refused(path: Path, error: Exception) -> UsageError:
    return UsageError(f"--ack-file {path}: {getattr(error, 'strerror', None) or error}")
