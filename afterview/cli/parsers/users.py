"""Arguments of the commands for users, tokens and the audit of a service. Loads only argparse."""

import argparse

from afterview.cli.parsers.common import Commands, add_command, add_json, add_memory, add_verbosity

_USERS = """\
Who may use the service of a memory: names, passwords, and what each may.

An admin may everything. A viewer may look and ask, about all cameras or about those that --camera names; to a viewer
the others do not exist. A running service takes over every change within a second.

The password is typed twice; or it is the content of --password-file, - for standard input. docs/users.md has more.

examples:
  afterview user add ann --role admin --memory ./cameras
  afterview user add ben --role viewer --camera "front door" --memory ./cameras
  afterview user list --memory ./cameras
"""
_TOKENS = """\
Tokens by which programs use the service of a memory, with the rights of a user: Authorization: Bearer TOKEN.

A token is shown once and stored as a hash. Revoking one counts within a second.

examples:
  afterview token add kitchen-tablet --user ben --days 90 --memory ./cameras
  afterview token revoke kitchen-tablet --memory ./cameras
"""


def add_user_commands(commands: Commands) -> None:
    """`user`, `token` and `audit`."""
    _add_user(commands)
    _add_token(commands)
    parser = add_command(
        commands, "audit", "show who signed in, asked, deleted and changed something through the service",
        "Newest first. Questions\nstand there in full.\n\nexamples:\n  afterview audit --memory ./cameras --limit 20",
    )  # fmt: skip
    add_memory(parser)
    parser.add_argument("--limit", type=int, default=50, help="show at most so many lines (default: 50)")
    parser.add_argument("--before", metavar="ID", help="only lines that are older than this one")
    parser.add_argument("--user", metavar="NAME", help="only lines of this user")


def _add_user(commands: Commands) -> None:
    actions = _group(commands, "user", "users of a service: add, change, remove, list", _USERS)
    parser = _action(
        actions,
        "user",
        "add",
        "add a user",
        example='afterview user add ben --role viewer --camera "front door" --memory ./cameras',
    )
    _name(parser, "user")
    parser.add_argument("--role", choices=("admin", "viewer"), required=True, help="what the user may")
    _cameras(parser)
    _password(parser)
    parser = _action(
        actions,
        "user",
        "change",
        "change the role or the cameras of a user",
        example="afterview user change ben --role admin --memory ./cameras",
    )
    _name(parser, "user")
    parser.add_argument("--role", choices=("admin", "viewer"), help="what the user may (default: as before)")
    _cameras(parser)
    parser.add_argument("--all-cameras", action="store_true", help="the viewer sees all cameras")
    _last_admin(parser)
    parser = _action(
        actions,
        "user",
        "passwd",
        "give a user another password",
        "Signs the user out; tokens stay.",
        example="afterview user passwd ben --memory ./cameras",
    )
    _name(parser, "user")
    _password(parser)
    parser = _action(
        actions,
        "user",
        "remove",
        "remove a user, with their tokens",
        example="afterview user remove ben --memory ./cameras",
    )
    _name(parser, "user")
    _last_admin(parser)
    _action(actions, "user", "list", "list all users", example="afterview user list --memory ./cameras")


def _add_token(commands: Commands) -> None:
    actions = _group(commands, "token", "tokens of a service's users: add, revoke, list", _TOKENS)
    parser = _action(
        actions,
        "token",
        "add",
        "make a token, and show it once",
        example="afterview token add kitchen-tablet --user ben --days 90 --memory ./cameras",
    )
    _name(parser, "token")
    parser.add_argument("--user", metavar="NAME", required=True, help="whose rights it has")
    parser.add_argument("--days", type=float, help="how long it counts (default: until it is revoked)")
    parser = _action(
        actions,
        "token",
        "revoke",
        "revoke a token; streams that it opened end",
        example="afterview token revoke kitchen-tablet --memory ./cameras",
    )
    _name(parser, "token")
    _action(
        actions,
        "token",
        "list",
        "list all tokens, without their secrets",
        example="afterview token list --memory ./cameras",
    )


def _group(commands: Commands, name: str, summary: str, text: str) -> Commands:
    parser = commands.add_parser(name, help=summary, description=text)
    parser.set_defaults(module=f"afterview.cli.commands.{name}")
    return parser.add_subparsers(dest="action", metavar="ACTION", required=True)


def _action(
    actions: Commands, command: str, name: str, summary: str, more: str = "", *, example: str
) -> argparse.ArgumentParser:
    parser = add_command(actions, name, summary, f"{more}\n\nexamples:\n  {example}", module=command, json=False)
    add_memory(parser)
    add_json(parser)
    add_verbosity(parser)
    return parser


def _name(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("name", metavar="NAME", help=f"name of the {what}")


def _cameras(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--camera", metavar="NAME", action="append", default=[],
        help="a camera that a viewer sees, by name or id (repeatable; default: all)",
    )  # fmt: skip


def _password(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--password-file", metavar="FILE", help="file with the password, - for standard input (default: ask)"
    )


def _last_admin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--last-admin", action="store_true", help="do it even if no admin is left")
