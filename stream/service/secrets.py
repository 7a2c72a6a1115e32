"""Secrets of the service: the token of the API, and variables of sources, from the environment or from files.

{AFTERVIEW_DOOR} is the variable AFTERVIEW_DOOR, or the content of the file that AFTERVIEW_DOOR_FILE names (as for secrets of containers).
"""

import hmac
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from afterview.configs import ConfigError
from afterview.configs.system_errors import describe
from afterview.stream.service.errors import TokenRequired
from afterview.stream.source.address.redact import hide_values

TOKEN_VARIABLE = "AFTERVIEW_TOKEN"
SHORTEST_TOKEN = 16  # characters
_LARGEST = 65536  # bytes of a file with a secret


class SecretVariables(Mapping[str, str]):
    """An environment in which NAME is also the content of the file that NAME_FILE names. Raises ConfigError for an unreadable file."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment

    def __getitem__(self, name: str) -> str:
        if name in self._environment or f"{name}_FILE" not in self._environment:
            return self._environment[name]
        return read_secret(Path(self._environment[f"{name}_FILE"]), f"{name}_FILE")

    def __contains__(self, name: object) -> bool:
        return name in self._environment or f"{name}_FILE" in self._environment

    def __iter__(self) -> Iterator[str]:
        return iter(self._environment)

    def __len__(self) -> int:
        return len(self._environment)


class Token:
    """The token of the API. Never shown."""

    def __init__(self, value: str) -> None:
        self._value = value.encode()
        hide_values([value])

    def is_given_by(self, authorization: str) -> bool:
        """Whether an Authorization header has it. Takes as long for a wrong token as for the right one."""
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._value)

    def __repr__(self) -> str:
        return "Token(***)"


def read_token(file: Path | None, environment: Mapping[str, str] = os.environ) -> Token | None:
    """The token that is configured, or None. Raises ConfigError for one that is unreadable, too short, given twice, or readable by others.

    A file that AFTERVIEW_TOKEN_FILE names may be readable by others: systemd and container engines guard the place of such files.
    """
    variables = [name for name in (TOKEN_VARIABLE, f"{TOKEN_VARIABLE}_FILE") if name in environment]
    given = ["http.token_file"] * (file is not None) + variables
    if len(given) > 1:
        raise ConfigError(f"the token is given twice: by {given[0]} and by {given[1]}; leave out one")
    if file is not None:
        value, origin = read_secret(file, "http.token_file", private=True), f"http.token_file: {file}"
    elif variables:
        value, origin = SecretVariables(environment)[TOKEN_VARIABLE].strip(), variables[0]
    else:
        return None
    if len(value) < SHORTEST_TOKEN or not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigError(
            f"{origin}: a token has at least {SHORTEST_TOKEN} printable ASCII characters without blanks; for example: openssl rand -hex 32"
        )
    return Token(value)


def require_token(
    token: Token | None, bind: str, *, loopback: bool, admins: Sequence[str] = (), proxies: Sequence[str] = ()
) -> None:
    """Raise TokenRequired for a service that other machines reach, themselves or by a proxy, without a token or a user who is an admin."""
    if token is None and (proxies or not loopback) and not admins:
        where = f"http.bind {bind}: other machines can reach this address"
        if loopback:
            where = "http.trusted_proxies: other machines can reach the service by a proxy"
        raise TokenRequired(
            f"{where}, so a token or a user is needed: put a token into a file (mode 600) "
            f"that http.token_file names, or into the variable {TOKEN_VARIABLE}; or `afterview user add NAME --role admin`"
        )


def read_secret(path: Path, key: str, *, private: bool = False) -> str:
    """The text of a file. key: what names the file. private: others must not be able to read it. Raises ConfigError."""
    try:
        if private and (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
            raise ConfigError(f"{key}: {path} has mode {mode:o}: other users may read or replace it; chmod 600 {path}")
        with path.open("rb") as file:
            text = file.read(_LARGEST).decode().strip()
    except OSError as error:
        raise ConfigError(f"{key}: {describe(error, path, action='read')}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{key}: {path}: not UTF-8 text") from None
    if not text:
        raise ConfigError(f"{key}: {path} is empty")
    return text
