"""The users of a memory's service and their named tokens: `.users.json` beside the cameras, mode 600.

Passwords are there as argon2 hashes, tokens as SHA-256: they have 256 random bits, so a slow hash would add nothing. A running service
reads the file again when it changes.
"""

import hashlib
import logging
import os
import secrets
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from afterview.configs import UsageError
from afterview.configs.suggestions import did_you_mean
from afterview.configs.system_errors import describe
from afterview.memory.base.documents import encode_json, exists, read_json
from afterview.memory.base.durable import append, make_directory, replacing
from afterview.memory.base.errors import DamagedMemory, NotWritable
from afterview.memory.base.lock import file_lock
from afterview.stream.service.people.access import NOBODY, OWNER, Access

FILE, _LOCK = ".users.json", ".users.lock"
LONGEST_NAME, MOST_USERS, MOST_TOKENS = 64, 1000, 5000
LONGEST_PASSWORD, SHORTEST_PASSWORD = 1024, 8  # characters
_RESERVED = (OWNER, NOBODY, "mqtt", "service", "unknown")  # words of the audit
_PREFIX = "avt_"  # of tokens, so that scanners for secrets find them
_Found = TypeVar("_Found")
_REMEDY = "restore it from a copy, or delete it and add the users again"

_LOGGER = logging.getLogger(__name__)

Role = Literal["admin", "viewer"]
Signature = tuple[int, int, int, int] | None


@dataclass(frozen=True)
class User:
    """password: argon2 hash. cameras: ids of those that a viewer may see; None: all, also those that come later."""

    name: str
    role: Role
    password: str = field(repr=False)
    cameras: tuple[str, ...] | None
    created: float

    def access(self, *, token: str = "") -> Access:
        """What they may."""
        admin = self.role == "admin"
        seen = None if admin or self.cameras is None else frozenset(self.cameras)
        return Access(self.name, admin=admin, cameras=seen, client=f"user {self.name}", token=token)

    def to_dict(self) -> dict[str, Any]:
        """For people and programs: without the hash."""
        return {"name": self.name, "role": self.role, "cameras": self.cameras, "created": self.created}


@dataclass(frozen=True)
class NamedToken:
    """A token by which programs of a user come in. digest: SHA-256 of it. expires: Unix seconds, None for never."""

    name: str
    user: str
    digest: str = field(repr=False)
    created: float
    expires: float | None

    def to_dict(self) -> dict[str, Any]:
        """For people and programs: without the digest."""
        return {"name": self.name, "user": self.user, "created": self.created, "expires": self.expires}


@dataclass(frozen=True)
class Users:
    """Users and tokens by name, as the file has them. Changes return another value."""

    users: Mapping[str, User] = field(default_factory=dict)
    tokens: Mapping[str, NamedToken] = field(default_factory=dict)

    @property
    def admins(self) -> list[str]:
        """Names of the users who may everything."""
        return [user.name for user in self.users.values() if user.role == "admin"]

    @cached_property
    def _by_digest(self) -> dict[str, NamedToken]:
        return {token.digest: token for token in self.tokens.values()}

    def access_by_digest(self, digest: str, now: float) -> Access | None:
        """What the holder of a token may; None for one that is unknown or has expired. How long this takes says nothing of other tokens:
        what is looked up is a hash of what was given."""
        token = self._by_digest.get(digest)
        if token is None or (token.expires is not None and token.expires <= now):
            return None
        user = self.users.get(token.user)
        return None if user is None else user.access(token=token.name)

    def user(self, name: str) -> User:
        """Raises UsageError, with the name that was probably meant."""
        if name not in self.users:
            raise UsageError(f"no user '{name}'{did_you_mean(name, list(self.users)) or '; `afterview user list`'}")
        return self.users[name]

    def with_user(self, user: User) -> "Users":
        """One more. Raises UsageError."""
        require_name(user.name, "user")
        if len(self.users) >= MOST_USERS:
            raise UsageError(f"a memory has at most {MOST_USERS} users")
        taken = next((name for name in self.users if name.casefold() == user.name.casefold()), None)
        if taken is not None:
            raise UsageError(f"there is a user '{taken}' already; `afterview user change` and `passwd` change one")
        return self.changed(user)

    def changed(self, user: User) -> "Users":
        """With other values of one user."""
        return replace(self, users={**self.users, user.name: user})

    def without_user(self, name: str) -> "Users":
        """Without a user and their tokens. Raises UsageError."""
        self.user(name)
        users = {known: user for known, user in self.users.items() if known != name}
        return Users(users, {known: token for known, token in self.tokens.items() if token.user != name})

    def with_token(self, token: NamedToken) -> "Users":
        """One more. Raises UsageError."""
        require_name(token.name, "token")
        self.user(token.user)
        if token.name in self.tokens:
            raise UsageError(f"there is a token '{token.name}' already; give another name, or revoke that one first")
        if len(self.tokens) >= MOST_TOKENS:
            raise UsageError(f"a memory has at most {MOST_TOKENS} tokens; revoke some")
        return replace(self, tokens={**self.tokens, token.name: token})

    def without_token(self, name: str) -> "Users":
        """Raises UsageError."""
        if name not in self.tokens:
            raise UsageError(f"no token '{name}'{did_you_mean(name, list(self.tokens)) or '; `afterview token list`'}")
        return replace(self, tokens={known: token for known, token in self.tokens.items() if known != name})


def new_token(name: str, user: str, *, days: float | None, now: float | None = None) -> tuple[NamedToken, str]:
    """A token, and its text, which nobody can find again."""
    moment, text = time.time() if now is None else now, _PREFIX + secrets.token_urlsafe(32)
    return NamedToken(name, user, digest_of(text), moment, None if days is None else moment + days * 86_400), text


def digest_of(secret: str) -> str:
    """By which a token or a session is looked up."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def require_name(name: str, what: str) -> None:
    """Raise UsageError for a name that no user or token can have."""
    fine = name.isprintable() and all(letter.isalnum() or letter in "._@-" for letter in name)
    if not name or len(name) > LONGEST_NAME or not fine or name.startswith("-"):
        raise UsageError(f"a {what}'s name has at most {LONGEST_NAME} letters, digits and any of . _ @ -")
    if what == "user" and name.casefold() in _RESERVED:
        raise UsageError(f"no user can be called '{name}': the audit uses this word; give another name")


def require_password(password: str) -> None:
    """Raise UsageError for one that is too short or too long. The text never holds it."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise UsageError(
            f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters; this one has {len(password)}"
        )


def signature(memory: Path) -> Signature:
    """Changes when the file does; None without one. Raises OSError."""
    try:
        status = os.stat(memory / FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size, stat.S_IMODE(status.st_mode)


def read_users(memory: Path) -> Users:
    """All users and tokens; none without a file. Raises DamagedMemory, also for a file that others may write; Unreadable."""
    path = memory / FILE
    if not exists(path):
        return Users()
    _require_own(path)
    values = read_json(path, missing=str(path), remedy=_REMEDY)
    try:
        users = [_user(value) for value in values["users"]]
        tokens = [_token(value) for value in values["tokens"]]
    except (KeyError, TypeError, ValueError):
        raise DamagedMemory(f"{path}: does not describe users; {_REMEDY}") from None
    return Users({user.name: user for user in users}, {token.name: token for token in tokens})


def _require_own(path: Path) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return  # reading it says so
    if mode & 0o022:
        raise DamagedMemory(
            f"{path}: has mode {mode:o}: other users of this machine may have added themselves; see `afterview user list` "
            f"and `afterview token list` after: chmod 600 {path}"
        )
    if mode & 0o044:
        _LOGGER.warning(
            "%s: has mode %o: other users of this machine can read the hashes in it; chmod 600 it", path, mode
        )


def _user(value: Mapping[str, Any]) -> User:
    cameras = value["cameras"]
    user = User(**{**value, "cameras": None if cameras is None else tuple(cameras)})
    texts = (user.name, user.password, *(user.cameras or ()))
    if user.role not in get_args(Role) or not isinstance(cameras, list | None):
        raise ValueError(user.role)
    return _typed(user, texts, (user.created,))


def _token(value: Mapping[str, Any]) -> NamedToken:
    token = NamedToken(**value)
    moments = (token.created,) if token.expires is None else (token.created, token.expires)
    return _typed(token, (token.name, token.user, token.digest), moments)


def _typed(found: _Found, texts: Sequence[object], moments: Sequence[object]) -> _Found:
    """Raises TypeError: a value of another type would fail later, when somebody comes in."""
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in moments)
    if not numbers or not all(isinstance(one, str) for one in texts):
        raise TypeError
    return found


def change_users(memory: Path, change: Callable[[Users], Users]) -> Users:
    """Read, change and write the file, against every other process that does the same. Raises NotWritable, DamagedMemory, and what
    `change` raises."""
    try:
        make_directory(memory)
        with file_lock(memory / _LOCK):
            changed = change(read_users(memory))
            values = {
                "users": [asdict(user) for user in changed.users.values()],
                "tokens": [asdict(token) for token in changed.tokens.values()],
            }
            with replacing(memory / FILE) as temporary:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                with os.fdopen(descriptor, "wb", buffering=0) as file:
                    append(file, temporary, encode_json(values))
    except OSError as error:
        raise NotWritable(describe(error, memory / FILE, action="written")) from None
    return changed
