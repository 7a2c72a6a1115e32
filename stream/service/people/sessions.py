"""Sessions of people who signed in by name and password: kept in this process alone, so a restart signs everybody out."""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from afterview.stream.service.people.users import User, digest_of

MOST, MOST_OF_ONE = 1000, 20


@dataclass(frozen=True)
class Session:
    """password: the hash that counted when it began: another password ends it. csrf: what requests that change something must show.

    began, expires: Unix seconds.
    """

    user: str
    password: str = field(repr=False)
    csrf: str = field(repr=False)
    began: float
    expires: float

    def is_own(self, csrf: str) -> bool:
        """Whether a request shows the CSRF token. Takes as long for a wrong one."""
        return hmac.compare_digest(csrf.encode(errors="replace"), self.csrf.encode())


class Sessions:
    """All sessions, by a hash of their cookies. Where there are too many, the oldest ends."""

    def __init__(self, life_s: float, now: Callable[[], float]) -> None:
        self.life_s, self._now = life_s, now
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def begin(self, user: User) -> tuple[str, Session]:
        """A session, and the cookie that nobody else knows."""
        self._forget_old()
        own = [digest for digest, session in self._sessions.items() if session.user == user.name]
        for digest in own[: max(0, len(own) - MOST_OF_ONE + 1)]:
            del self._sessions[digest]
        while len(self._sessions) >= MOST:
            self._sessions.popitem(last=False)
        cookie, now = secrets.token_urlsafe(32), self._now()
        session = Session(user.name, user.password, secrets.token_urlsafe(32), now, now + self.life_s)
        self._sessions[digest_of(cookie)] = session
        return cookie, session

    def find(self, digest: str) -> Session | None:
        """The session of a cookie with this digest, unless its time is over."""
        session = self._sessions.get(digest)
        return session if session is not None and session.expires > self._now() else None

    def end(self, digest: str) -> None:
        """Sign out."""
        self._sessions.pop(digest, None)

    def __len__(self) -> int:
        return len(self._sessions)

    def _forget_old(self) -> None:
        now = self._now()
        for digest in [digest for digest, session in self._sessions.items() if session.expires <= now]:
            del self._sessions[digest]
