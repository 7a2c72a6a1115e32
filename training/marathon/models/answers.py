"""Answers of models, kept for good: each is asked for once, whatever becomes of the run. Append-only, in one SQLite file.

An answer is durable (synchronous=FULL) before anything is made of it. One process writes, from several threads; under Ray that is an actor.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from afterview.configs import UsageError
from afterview.memory.base.failpoints import reach
from afterview.training.base.errors import MarathonError
from afterview.training.marathon.models.request import Said

ANSWERS = "answers.sqlite"
_TABLE = (
    "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, purpose TEXT NOT NULL, item TEXT NOT NULL, model TEXT NOT NULL, "
    "text TEXT NOT NULL, cut TEXT NOT NULL, prompt_tokens INTEGER, answer_tokens INTEGER) WITHOUT ROWID"
)


class KeptAnswers:
    """The answers in a directory."""

    def __init__(self, directory: Path) -> None:
        """Raises UsageError for a file that is no store of answers."""
        self._path, self._lock = directory / ANSWERS, threading.Lock()
        try:
            self._base = sqlite3.connect(self._path, timeout=60, isolation_level=None, check_same_thread=False)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=FULL")
            self._base.execute(_TABLE)
        except sqlite3.Error as error:
            raise UsageError(
                f"{self._path}: holds no answers that can be read ({error}); move it away, or give another --out"
            ) from None

    def get(self, key: str) -> Said | None:
        """The answer of a key, if there is one."""
        with self._used() as base:
            row = base.execute(
                "SELECT text, cut, prompt_tokens, answer_tokens FROM answers WHERE key = ?", (key,)
            ).fetchone()
        if row is None:
            return None
        text, cut, prompt, answer = row
        return Said(text, None if prompt is None or answer is None else (prompt, answer), cut)

    def put(self, key: str, purpose: str, item: str, model: str, said: Said) -> Said:
        """Keep an answer, and return the one that is kept: the first that came."""
        prompt, answer = said.tokens or (None, None)
        values = (key, purpose, item, model, said.text, said.cut, prompt, answer)
        with self._used() as base:
            base.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        reach("marathon.after-answer")
        return said

    def counts(self) -> dict[str, dict[str, int]]:
        """By purpose: answers, and their tokens as far as they were counted."""
        query = "SELECT purpose, count(*), total(prompt_tokens), total(answer_tokens) FROM answers GROUP BY purpose ORDER BY purpose"
        with self._used() as base:
            rows = base.execute(query).fetchall()
        return {
            purpose: {"answers": count, "prompt_tokens": int(prompt), "answer_tokens": int(answer)}
            for purpose, count, prompt, answer in rows
        }

    def close(self) -> None:
        """End."""
        with self._lock:
            self._base.close()

    @contextmanager
    def _used(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._base
            except sqlite3.Error as error:
                raise MarathonError(
                    f"{self._path}: {error}; nothing is lost: run the same command again when it is mended"
                ) from None
