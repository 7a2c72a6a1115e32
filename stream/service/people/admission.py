"""Who may come in: from what a client shows to an Access, for as long as it counts. Knows nothing of HTTP.

The users' file is looked at four times a second, so that a change by `afterview user` or `afterview token` counts within a second, in
streams that are open, too. Belongs to the event loop.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from afterview.stream.service.aside import in_one_line
from afterview.stream.service.errors import TooManySignIns, WrongSignIn
from afterview.stream.service.people.access import Access, owner
from afterview.stream.service.people.attempts import Attempts, network_of
from afterview.stream.service.people.passwords import Passwords
from afterview.stream.service.people.sessions import Session, Sessions
from afterview.stream.service.people.users import LONGEST_NAME, Signature, Users, digest_of, read_users, signature
from afterview.stream.service.secrets import Token

LOOK_EVERY_S = 0.25
_TRIES, _PAUSE_S, _MOST_KEYS = 10, 30.0, 4096  # of an address, and of a name: ten at once, then one every half minute
_MOST_KNOWN = 1000  # addresses from which a name has signed in before

_LOGGER = logging.getLogger(__name__)


@dataclass(eq=False)
class Visit:
    """One request, or one client, that came in. renew: what it may now; None once it no longer counts. ended: set then.

    session: of a request with a cookie. digest: by which it is found.
    """

    access: Access
    renew: Callable[[], Access | None]
    session: Session | None = None
    digest: str = ""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def still(self) -> bool:
        """Whether it may still what it might when it came."""
        return self.renew() == self.access


class Admission:
    """Users, tokens, sessions and the visits that are there now."""

    def __init__(
        self, memory: Path, token: Token | None, *, local: bool, session_s: float, now: Callable[[], float] = time.time
    ) -> None:
        """local: only this machine reaches the service; then everybody may come in until there is a token or a user."""
        self._memory, self._token, self._local, self._now = memory, token, local, now
        self.users, self._had_users = Users(), False
        self._signature: Signature = None
        self.problem = ""  # why nobody can be found in the file
        self.sessions = Sessions(session_s, now)
        self._passwords = Passwords()
        self._of_address, self._of_name = (
            Attempts(_TRIES, _PAUSE_S, keys=_MOST_KEYS, now=time.monotonic) for _ in range(2)
        )
        self._known: dict[tuple[str, str], None] = {}
        self._visits: set[Visit] = set()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="users")
        self.read_again()

    @property
    def open(self) -> bool:
        """Whether everybody may everything. Never again, in this process, once there was a user or a file that cannot be read."""
        return self._local and self._token is None and not self._had_users

    # --- what clients show ---

    def without(self) -> Visit | None:
        """Somebody who shows nothing."""
        return Visit(owner(), lambda: owner() if self.open else None) if self.open else None

    def by_token(self, authorization: str) -> Visit | None:
        """Somebody who shows an Authorization header."""
        if self._token is not None and self._token.is_given_by(authorization):
            return Visit(owner(), owner)
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        digest = digest_of(given.strip())
        return self._visit(lambda: self.users.access_by_digest(digest, self._now()))

    def by_session(self, cookie: str) -> Visit | None:
        """Somebody who signed in."""
        digest = digest_of(cookie)
        visit = self._visit(lambda: self._of_session(digest))
        return visit and replace(visit, session=self.sessions.find(digest), digest=digest)

    def _visit(self, renew: Callable[[], Access | None]) -> Visit | None:
        access = renew()
        return None if access is None else Visit(access, renew)

    def _of_session(self, digest: str) -> Access | None:
        session = self.sessions.find(digest)
        user = None if session is None else self.users.users.get(session.user)
        if session is None or user is None or user.password != session.password:
            self.sessions.end(digest)
            return None
        return user.access()

    async def sign_in(self, name: str, password: str, address: str) -> tuple[str, Session]:
        """A session, and its cookie. Raises WrongSignIn, TooManySignIns."""
        network, name = network_of(address), name[: LONGEST_NAME + 1]
        keys = [(self._of_address, network)]
        if (name, network) not in self._known:  # who has been here before is not kept out by others who try their name
            keys.append((self._of_name, name))
        if wait := max(attempts.take(key) for attempts, key in keys):
            raise TooManySignIns(f"too many tries to sign in; try again in {wait} s", wait)
        user = self.users.users.get(name)
        right = await self._passwords.is_right(None if user is None else user.password, password)
        if not right or user is None or self.users.users.get(name) != user:
            raise WrongSignIn("no user has this name and password")
        for attempts, key in keys:
            attempts.forgive(key)
        while len(self._known) >= _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[(name, network)] = None
        return self.sessions.begin(user)

    def is_user(self, name: str) -> bool:
        """Whether there is such a user; other names may be passwords in the wrong field."""
        return name in self.users.users

    # --- how long it counts ---

    @contextmanager
    def staying(self, visit: Visit) -> Iterator[asyncio.Event]:
        """While somebody is here. The event is set when they may no longer what they might when they came."""
        self._visits.add(visit)
        try:
            yield visit.ended
        finally:
            self._visits.discard(visit)

    def read_again(self) -> None:
        """Read the users' file if it changed. In a thread, or before the loop runs. What cannot be read lets nobody in."""
        try:
            found = signature(self._memory)
            if found == self._signature and not self.problem:
                return
            self._take(read_users(self._memory), found, "")
        except Exception as error:  # whatever it is: looking goes on, and until it is mended nobody comes in
            self._take(Users(), None, in_one_line(error))

    def _take(self, users: Users, found: Signature, problem: str) -> None:
        if problem and problem != self.problem:
            _LOGGER.error("no user can come in: %s", problem)
        elif self.problem and not problem:
            _LOGGER.info("users are read again")
        self.users, self._signature, self.problem = users, found, problem
        if (users.users or problem) and not self._had_users:
            self._had_users = True
        elif self._had_users and not users.users and not problem and self._token is None:
            _LOGGER.warning("there is no user any more: nobody can come in until one is added, or until a restart")

    async def watch(self) -> None:
        """Look at the file and at the visits, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await loop.run_in_executor(self._reader, self.read_again)
            self.end_visits()
            await asyncio.sleep(LOOK_EVERY_S)

    def end_visits(self) -> None:
        """End those that no longer count."""
        for visit in list(self._visits):
            if not visit.ended.is_set() and not visit.still():
                visit.ended.set()

    def close(self) -> None:
        """The service is ending."""
        self._passwords.close()
        self._reader.shutdown(wait=False, cancel_futures=True)
