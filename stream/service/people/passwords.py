"""Passwords: argon2id, in one thread of its own, so that neither questions nor the event loop wait. The line for it is bounded."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from afterview.stream.service.errors import TooManySignIns

_HASHER = PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=1)  # 64 MiB: that much, once at a time
# Of a random password that nobody has: compared for names that do not exist, so that they take as long.
_OF_NOBODY = "$argon2id$v=19$m=65536,t=3,p=1$w7qH03T62nLyBVUls+nfMg$EmK4NjlUHmS3M4PpDAS8h1ATZ0xYWUi0AMaY1RwPvXE"
_MOST_WAITING = 8
_RETRY_AFTER_S = 2


def hash_password(password: str) -> str:
    """What is stored. Takes some 0.1 s and 64 MiB."""
    return _HASHER.hash(password)


def is_right(stored: str | None, password: str) -> bool:
    """Whether a password has this hash. None: that of a user who does not exist; it takes as long, and is never right."""
    try:
        return _HASHER.verify(stored or _OF_NOBODY, password) and stored is not None
    except (Argon2Error, InvalidHashError):
        return False


class Passwords:
    """Compares passwords for requests. Belongs to the event loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="password")
        self._waiting = 0

    async def is_right(self, stored: str | None, password: str) -> bool:
        """As the function. Raises TooManySignIns."""
        if self._waiting >= _MOST_WAITING:
            raise TooManySignIns("many sign in at this moment; try again in a few seconds", _RETRY_AFTER_S)
        self._waiting += 1
        work = asyncio.get_running_loop().run_in_executor(self._pool, is_right, stored, password)
        work.add_done_callback(self._done)  # not when the client leaves: its work still waits for the thread
        return await asyncio.shield(work)

    def _done(self, work: "asyncio.Future[bool]") -> None:
        self._waiting -= 1

    def close(self) -> None:
        """Refuse what waits."""
        self._pool.shutdown(wait=False, cancel_futures=True)
