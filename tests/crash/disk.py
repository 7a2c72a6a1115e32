"""A model of a disk that forgets: what is left of a recorded run when the power goes between two of its steps.

A file's content is durable after its fsync; a name (created, renamed, removed) is durable after the fsync of its directory. What is
not durable may survive or not, each on its own: POSIX promises nothing.
"""

import errno
import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from afterview.memory.base.durable import Detail, StepKind

_SECTOR = 512  # bytes that a disk writes as a whole
Survival = Literal["nothing", "names", "chance"]
"""Of what was not fsync'd: nothing survives; names survive and data does not; each write and each name by chance."""


@dataclass(frozen=True)
class Step:
    """One step of the recorded run; kinds `ack` and `log` are lines that were promised to somebody."""

    kind: StepKind | Literal["ack", "log"]
    path: Path
    detail: Detail | str = None


def refuse_growth(kind: StepKind, path: Path, detail: Detail) -> None:
    """An observer: no step finds a free byte."""
    if kind in ("create", "write", "mkdir"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


class Recorder:
    """Collects steps from any thread, in order."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._full = False
        self._lock = threading.Lock()

    def __call__(self, kind: StepKind, path: Path, detail: Detail) -> None:
        if self._full:
            refuse_growth(kind, path, detail)
        with self._lock:
            self.steps.append(Step(kind, path, detail))

    @contextmanager
    def full(self, full: bool) -> Iterator[None]:
        """No step finds a free byte meanwhile, if so."""
        self._full = full
        yield
        self._full = False

    def promise(self, kind: Literal["ack", "log"], line: str) -> None:
        """A promise made at this moment."""
        with self._lock:
            self.steps.append(Step(kind, Path(), line))


@dataclass
class _Inode:
    durable: bytes = b""
    pending: list[Step] = field(default_factory=list)  # writes and truncations since the last fsync


class Disk:
    """Replays steps. `names` is what a running system sees, `durable_names` what a power cut leaves for certain."""

    def __init__(self) -> None:
        self.names: dict[Path, _Inode | None] = {}  # None: a directory
        self.durable_names: dict[Path, _Inode | None] = {}
        self.pending_names: list[tuple[Path, Step, _Inode | None]] = []  # (directory, step, the inode it is about)

    def take(self, step: Step) -> None:
        """Take one step of the run."""
        match step.kind:
            case "create" | "mkdir":
                inode = _Inode() if step.kind == "create" else None
                self.names[step.path] = inode
                self.pending_names.append((step.path.parent, step, inode))
            case "write" | "truncate" | "overwrite":
                self._file(step.path).pending.append(step)
            case "fsync":
                inode = self._file(step.path)
                inode.durable, inode.pending = content(inode, inode.pending), []
            case "rename":
                assert isinstance(step.detail, Path)
                inode = self.names.pop(step.path)
                self.names[step.detail] = inode
                self.pending_names.append((step.path.parent, step, inode))
            case "unlink" | "rmdir":
                self.names.pop(step.path, None)
                self.pending_names.append((step.path.parent, step, None))
            case "fsync-directory":
                for entry in [entry for entry in self.pending_names if entry[0] == step.path]:
                    _apply(self.durable_names, entry[1], entry[2])
                    self.pending_names.remove(entry)

    def _file(self, path: Path) -> _Inode:
        inode = self.names[path]
        assert inode is not None, f"{path} is a directory"
        return inode

    def files(self) -> dict[Path, bytes]:
        """Content of every file, as a running system sees it."""
        return {path: content(inode, inode.pending) for path, inode in self.names.items() if inode is not None}

    def after_power_loss(self, survival: Survival, dice: random.Random) -> dict[Path, bytes | None]:
        """Files, and directories (None), that are there when the power is back."""
        names = dict(self.durable_names)
        for _, step, inode in self.pending_names:
            if survival == "names" or (survival == "chance" and dice.random() < 0.5):
                _apply(names, step, inode)
        whole = {path: inode for path, inode in names.items() if all(parent in names for parent in _above(path, names))}
        return {path: None if inode is None else _torn(inode, survival, dice) for path, inode in whole.items()}


def _above(path: Path, names: dict[Path, _Inode | None]) -> list[Path]:
    """Directories of the run above a path."""
    roots = {known for known in names if known.parent not in names}
    return (
        []
        if path in roots
        else [parent for parent in path.parents if any(parent.is_relative_to(root) for root in roots)]
    )


def _apply(names: dict[Path, _Inode | None], step: Step, inode: _Inode | None) -> None:
    match step.kind:
        case "create" | "mkdir":
            names[step.path] = inode
        case "rename":
            assert isinstance(step.detail, Path)
            names.pop(step.path, None)
            names[step.detail] = inode
        case _:
            names.pop(step.path, None)


def content(inode: _Inode, pending: Sequence[Step]) -> bytes:
    """A file's bytes after some of the steps since its last fsync."""
    data = inode.durable
    for step in pending:
        if step.kind == "write":
            assert isinstance(step.detail, bytes)
            data += step.detail
        elif step.kind == "overwrite":
            data = _overwritten(data, step, lambda: True)
        else:
            assert isinstance(step.detail, int)
            data = data[: step.detail]
    return data


def _overwritten(data: bytes, step: Step, survives: Callable[[], bool]) -> bytes:
    """A file after an overwrite, of which each sector survives or not."""
    assert isinstance(step.detail, tuple)
    (offset, new), changed = step.detail, bytearray(data)
    for place in range(offset, offset + len(new)):
        if place == offset or place % _SECTOR == 0:
            taken = survives()
        if taken:
            changed[place] = new[place - offset]
    return bytes(changed)


def _torn(inode: _Inode, survival: Survival, dice: random.Random) -> bytes:
    if survival != "chance":
        return inode.durable
    data = inode.durable
    for step in inode.pending:
        if step.kind == "truncate":
            assert isinstance(step.detail, int)
            data = data[: step.detail]
            continue
        if step.kind == "overwrite":
            data = _overwritten(data, step, lambda: dice.random() < 0.5)
            continue
        assert isinstance(step.detail, bytes)
        fate = dice.random()
        if fate < 0.3:
            data += bytes(len(step.detail))  # the size reached the disk, the data did not
        elif fate < 0.6:
            data += step.detail[: dice.randrange(len(step.detail) + 1)] if step.detail else b""
            break
        else:
            data += step.detail
    return data
