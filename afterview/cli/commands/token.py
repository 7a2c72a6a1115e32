"""`afterview token`: tokens of a service's users. Loads no model."""

import argparse
import time
from pathlib import Path

from afterview.cli.arguments import memory_path
from afterview.cli.output.documents import columns_of, dump
from afterview.cli.output.users import noted, show_time
from afterview.configs import ExitStatus, UsageError
from afterview.stream.service.people.users import NamedToken, change_users, new_token, read_users

_MOST_DAYS = 36_500


def run(arguments: argparse.Namespace) -> int:
    """Add, revoke or list."""
    memory = memory_path(arguments.memory)
    {"add": _add, "revoke": _revoke, "list": _list}[arguments.action](memory, arguments)
    return ExitStatus.OK


def _add(memory: Path, arguments: argparse.Namespace) -> None:
    if arguments.days is not None and not 0 < arguments.days <= _MOST_DAYS:
        raise UsageError(f"--days {arguments.days:g}: must be more than 0, and at most {_MOST_DAYS}")
    token, secret = new_token(arguments.name, arguments.user, days=arguments.days)
    change_users(memory, lambda users: users.with_token(token))
    noted(memory, "token", subject=token.name, outcome="added", of=token.user, expires=token.expires)
    if arguments.json:
        dump({"token": token.to_dict(), "secret": secret}, arguments.memory)
        return
    print(secret)
    print(f"token {token.name} of {token.user}, {_expiry(token)}; it is not shown again")


def _revoke(memory: Path, arguments: argparse.Namespace) -> None:
    changed = change_users(memory, lambda users: users.without_token(arguments.name))
    noted(memory, "token", subject=arguments.name, outcome="revoked")
    if arguments.json:
        dump({"token": arguments.name, "outcome": "revoked", "tokens": len(changed.tokens)}, arguments.memory)
    else:
        print(f"token {arguments.name}: revoked")


def _list(memory: Path, arguments: argparse.Namespace) -> None:
    tokens, now = read_users(memory).tokens, time.time()
    if arguments.json:
        shown = [{**token.to_dict(), "expired": _is_over(token, now)} for token in tokens.values()]
        dump({"tokens": shown}, arguments.memory)
        return
    names = columns_of(tokens)
    for name, token in tokens.items():
        over = "  EXPIRED" if _is_over(token, now) else ""
        print(f"{names[name]}  of {token.user}, since {show_time(token.created)}, {_expiry(token)}{over}")
    if not tokens:
        print(f"no token in {arguments.memory}; `afterview token add NAME --user USER` makes one")


def _is_over(token: NamedToken, now: float) -> bool:
    return token.expires is not None and token.expires <= now


def _expiry(token: NamedToken) -> str:
    return "until it is revoked" if token.expires is None else f"until {show_time(token.expires)}"
