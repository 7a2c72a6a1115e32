"""Who did what: one line of JSON for each, in `.audit.jsonl` of the memory, mode 600. Admins read it.

Nothing waits for it: lines go to a thread, which appends and syncs those that came meanwhile together. A full disk stops no answer; the
lines wait, as many as there is room for, and what was lost is counted and written once there is space. At LARGEST bytes the file is renamed
to `.audit.jsonl.1` and so on; the KEPT newest stay.
"""

import json
import logging
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from afterview.configs.system_errors import describe
from afterview.memory.base.durable import append, fsync_directory, fsync_file
from afterview.memory.base.lock import file_lock
from afterview.stream.service.people.access import Access

FILE, _LOCK = ".audit.jsonl", ".audit.lock"
LARGEST, KEPT = 10_000_000, 5  # bytes of one file; renamed files beside it
MOST_WAITING = 10_000
_TRY_AGAIN_S, _LAST_S = 2.0, 5.0
_LONGEST_TEXT = 4000  # characters of one value
_BLOCK = 65_536

_LOGGER = logging.getLogger(__name__)

Line = dict[str, Any]


def line_of(access: Access, what: str, **more: Any) -> Line:
    """One line. what: a word, such as `question`. more: what is None is left out."""
    about: Line = {
        "id": uuid.uuid4().hex[:12], "time": round(time.time(), 3), "user": access.user, "door": access.door, "what": what,
        "address": access.address or None, "token": access.token or None, **more,
    }  # fmt: skip
    return {key: _short(value) for key, value in about.items() if value is not None}


def _short(value: Any) -> Any:
    return value if not isinstance(value, str) or len(value) <= _LONGEST_TEXT else value[:_LONGEST_TEXT] + "..."


class Audit:
    """Takes lines from the event loop, or any thread, and writes them in a thread of its own."""

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._waiting: deque[Line] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self.lost = 0  # lines that nobody will read
        self._untold = 0  # of those, since the file last said so
        self._dropped: set[str] = set()  # of those, since the present write began: it may still write them
        self.problem = ""  # why lines wait now
        self._thread = threading.Thread(target=self._write, name="audit", daemon=True)
        self._thread.start()

    def note(self, access: Access, what: str, **more: Any) -> None:
        """Write a line soon. Never waits, never fails."""
        line = line_of(access, what, **more)
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                self._dropped.add(self._waiting.popleft()["id"])
                self.lost += 1
                self._untold += 1
            self._waiting.append(line)
            self._changed.notify()

    def notes(self) -> list[str]:
        """What admins must know of it."""
        if not self.problem:
            return [f"{self.lost} lines of the audit were lost"] if self.lost else []
        return [f"the audit cannot be written: {self.problem}; {len(self._waiting)} lines wait, {self.lost} were lost"]

    def close(self) -> None:
        """Write what waits, for some seconds at most."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(_LAST_S)
        if self._waiting:
            _LOGGER.error(
                "the audit ends with %d lines that could not be written: %s", len(self._waiting), self.problem
            )

    def _write(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._closing):
                    self._changed.wait()
                if not self._waiting:
                    return
                lines, told = list(self._waiting), self._untold
                self._dropped.clear()
            try:
                extra = [line_of(Access("service", door="service"), "audit_lost", lines=told)] if told else []
                append_lines(self._memory, [*lines, *extra])
            except OSError as error:
                self._failed(describe(error, self._memory / FILE, action="written"))
                with self._changed:
                    if self._closing:
                        return
                    self._changed.wait_for(lambda: self._closing, _TRY_AGAIN_S)
                continue
            self._written(lines, told)

    def _written(self, lines: Sequence[Line], told: int) -> None:
        with self._changed:
            done = {line["id"] for line in lines}
            while self._waiting and self._waiting[0]["id"] in done:
                self._waiting.popleft()
            kept = len(self._dropped & done)  # they were dropped while they were being written
            self.lost -= kept
            self._untold -= told + kept
        if self.problem:
            _LOGGER.info("the audit is written again")
        self.problem = ""

    def _failed(self, why: str) -> None:
        if why != self.problem:
            _LOGGER.error("the audit cannot be written: %s", why)
        self.problem = why


def append_lines(memory: Path, lines: Sequence[Line]) -> None:
    """Append lines, durably: all, or after a failure none. Any process may. Raises OSError."""
    data = b"".join(json.dumps(line, ensure_ascii=False).encode(errors="replace") + b"\n" for line in lines)
    path = memory / FILE
    with file_lock(memory / _LOCK):
        if path.exists() and path.stat().st_size + len(data) > LARGEST:
            _rotate(path)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "rb+", buffering=0) as file:
            size = os.fstat(descriptor).st_size
            torn = size and os.pread(descriptor, 1, size - 1) != b"\n"  # by a crash
            try:
                append(file, path, b"\n" + data if torn else data)
                fsync_file(file, path)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        if not size:
            fsync_directory(memory)


def _rotate(path: Path) -> None:
    for number in range(KEPT - 1, 0, -1):
        older = path.with_name(f"{FILE}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{FILE}.{number + 1}"))
    path.replace(path.with_name(f"{FILE}.1"))


def read_audit(
    memory: Path, most: int, before: str | None = None, wanted: Callable[[Line], bool] | None = None
) -> tuple[list[Line], int]:
    """Lines, newest first, and how many could not be read. before: the id of a line; only older ones. Raises OSError."""
    found: list[Line] = []
    broken, passed = 0, before is None
    for text in _backward(memory):
        if not passed and before is not None and before.encode() not in text:
            continue
        line = _parsed(text)
        if line is None:
            broken += 1
        elif passed:
            if wanted is None or wanted(line):
                found.append(line)
        else:
            passed = line["id"] == before
        if len(found) >= most:
            break
    return found, broken


def _parsed(text: bytes) -> Line | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and isinstance(line.get("id"), str) and "time" in line else None


def _backward(memory: Path) -> Iterator[bytes]:
    """The lines of all files, newest first."""
    names = [FILE, *(f"{FILE}.{number}" for number in range(1, KEPT + 1))]
    files = []
    try:
        with file_lock(memory / _LOCK) if (memory / _LOCK).exists() else nullcontext():
            for name in names:
                try:
                    files.append(os.open(memory / name, os.O_RDONLY | os.O_CLOEXEC))
                except FileNotFoundError:
                    continue
        for descriptor in files:
            yield from _lines_backward(descriptor)
    finally:
        for descriptor in files:
            os.close(descriptor)


def _lines_backward(descriptor: int) -> Iterator[bytes]:
    place, rest = os.fstat(descriptor).st_size, b""
    while place > 0:
        first = max(0, place - _BLOCK)
        parts = (os.pread(descriptor, place - first, first) + rest).split(b"\n")
        place, rest = first, parts[0]
        yield from (part for part in reversed(parts[1:]) if part)
    if rest:
        yield rest
