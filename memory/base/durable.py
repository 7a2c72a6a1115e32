"""Writes that survive a power cut: temporary file, fsync, rename, fsync of the directory, always in this order.

Every change that a memory makes to the disk goes through this module, one step at a time. So a test can watch the steps (`observed`),
stop at any of them as a crash would, or replay them without what was never fsync'd.
"""

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal

from afterview.memory.base.held_directory import HeldDirectory, place_of

StepKind = Literal[
    "create", "write", "truncate", "overwrite", "fsync", "rename", "unlink", "mkdir", "rmdir", "fsync-directory"
]
Detail = bytes | int | Path | tuple[int, bytes] | None
Observer = Callable[[StepKind, Path, Detail], None]  # called before each step

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)  # of an OSError

PARTIAL = ".partial"  # suffix of files that are being written; a crash may leave them, and no reader opens them

_observer: Observer | None = None


def unfinished_files(directory: Path) -> list[Path]:
    """Files below `directory` that a crash left half written or that a process is writing now."""
    return sorted(
        Path(where, name)
        for where, _, names in os.walk(directory)
        for name in names
        if name.startswith(".") and name.endswith(PARTIAL)
    )


@contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """Report every step of any thread to `observer`. An exception that it raises prevents the step."""
    global _observer
    before, _observer = _observer, observer
    try:
        yield
    finally:
        _observer = before


def _about_to(kind: StepKind, path: Path, detail: Detail = None) -> None:
    if _observer is not None:
        _observer(kind, place_of(path), place_of(detail) if isinstance(detail, Path) else detail)


def fsync_directory(path: Path) -> None:
    """Make renames and new names in `path` durable."""
    _about_to("fsync-directory", path)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Create `path` and its missing parents, each durable in its parent."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        _about_to("mkdir", directory)
        directory.mkdir(exist_ok=True)
        fsync_directory(directory.parent)


@contextmanager
def removed_if_unused(directory: Path) -> Iterator[None]:
    """Work that creates `directory`. If nothing was put into it, it and the parents that were created with it are removed again."""
    created = [place for place in (directory, *directory.absolute().parents) if not os.path.lexists(place)]
    try:
        yield
    finally:
        for place in created:
            try:
                place.rmdir()
            except OSError:
                break  # it is not there, or it holds something


def write_file(path: Path, data: bytes | memoryview) -> None:
    """Replace the file at `path`. A reader, or a crash at any moment, sees the old content or the new, never a mixture."""
    with replacing(path) as temporary, temporary.open("wb", buffering=0) as file:
        append(file, temporary, data)


@contextmanager
def replacing(path: Path, *, suffix: str = "") -> Iterator[Path]:
    """Yield a temporary name to write to, for libraries that need a name. Then it replaces `path` as a whole, durably, or not at all.

    suffix: what the temporary name must end in, for a library that depends on it. (Such a file is not among `unfinished_files`.)
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}{suffix}")
    try:
        _about_to("create", temporary)
        yield temporary
        with temporary.open("rb") as file:
            fsync_file(file, temporary)
        _about_to("rename", temporary, path)
        temporary.replace(path)
    except (
        Exception,
        KeyboardInterrupt,
    ) as error:  # not the end of a process that a test simulates: that would leave the file
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            # Writing itself names none, and the errors of a library may not take a name.
            raise OSError(error.errno, error.strerror, str(path)) from error
        if number := _number_of_system_error(error):  # of a library that has errors of its own
            raise OSError(number, os.strerror(number), str(path)) from error
        raise
    fsync_directory(path.parent)


def _number_of_system_error(error: BaseException) -> int | None:
    """The number of the system's error that libraries in Rust quote, such as safetensors: "... (os error 28)"."""
    match = re.search(r"\(os error (\d+)\)", str(error))
    return None if match is None or isinstance(error, OSError) else int(match[1])


def append(file: IO[bytes], path: Path, data: bytes | memoryview) -> None:
    """Write all of `data` at the end of an unbuffered open file, or raise OSError."""
    if _observer is not None:
        _about_to("write", path, bytes(data))
    view = memoryview(data)
    while view.nbytes:
        view = view[file.write(view) :]


def truncate(file: IO[bytes], path: Path, size: int) -> None:
    """Cut an open file to `size` bytes and continue writing there."""
    _about_to("truncate", path, size)
    file.truncate(size)
    file.seek(size)


def overwrite(path: Path, pieces: Sequence[tuple[int, bytes]]) -> None:
    """Overwrite parts of a file, (offset, content), durably. Needs no room. NOT atomic: a crash leaves some old and some new bytes."""
    with path.open("r+b", buffering=0) as file:
        for offset, data in pieces:
            _about_to("overwrite", path, (offset, data))
            view, place = memoryview(data), offset
            while view.nbytes:
                done = os.pwrite(file.fileno(), view, place)
                view, place = view[done:], place + done
        fsync_file(file, path)


def fsync_file(file: IO[bytes], path: Path) -> None:
    """Make an unbuffered open file durable."""
    _about_to("fsync", path)
    os.fsync(file.fileno())


def unlink(path: Path) -> bool:
    """Remove a file; False if there was none. Durable once its directory is fsync'd."""
    if not path.is_file():
        return False
    _about_to("unlink", path)
    path.unlink(missing_ok=True)
    return True


def remove_tree(path: Path) -> int:
    """Remove a directory and everything in it, durably; returns the number of files."""
    if not path.is_dir():
        return 0
    count = sum(unlink(file) for file in sorted(path.rglob("*")) if not file.is_dir())
    for directory in sorted((entry for entry in path.rglob("*") if entry.is_dir()), reverse=True):
        _about_to("rmdir", directory)
        directory.rmdir()
    _about_to("rmdir", path)
    shutil.rmtree(path)
    fsync_directory(path.parent)
    return count


def remove_held(held: HeldDirectory) -> None:
    """Remove a held directory and everything in it, durably. What lies in its place instead is not touched."""
    for entry in sorted(held.path.iterdir()):
        if entry.is_dir():
            remove_tree(entry)
        elif not unlink(entry):
            entry.unlink(missing_ok=True)  # the control socket
    if held.above is None or not held.in_place:
        return
    _about_to("rmdir", held.path)
    with suppress(OSError):  # only an empty directory can be removed: one that took its place meanwhile stays
        os.rmdir(held.place.name, dir_fd=held.above.descriptor)
        fsync_directory(held.above.path)
