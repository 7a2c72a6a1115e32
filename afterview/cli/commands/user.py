"""`afterview user`: who may use the service of a memory. Loads no model."""

import argparse
import getpass
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from afterview.cli.arguments import memory_path
from afterview.cli.output.documents import columns_of, dump, printable
from afterview.cli.output.users import noted, show_time
from afterview.configs import ConfigError, ExitStatus, UsageError, missing_extra
from afterview.configs.system_errors import describe
from afterview.memory.base.camera import camera_id
from afterview.memory.base.camera_names import find_camera
from afterview.memory.base.errors import MemoryNotFound
from afterview.stream.service.people.users import (
    LONGEST_PASSWORD,
    User,
    Users,
    change_users,
    read_users,
    require_name,
    require_password,
)

_LOGGER = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> int:
    """Add, change, remove or list."""
    memory = memory_path(arguments.memory)
    if arguments.action == "list":
        return _list(memory, arguments)
    act = {"add": _add, "change": _change, "passwd": _passwd, "remove": _remove}[arguments.action]
    act(memory, arguments)
    return ExitStatus.OK


def _add(memory: Path, arguments: argparse.Namespace) -> None:
    require_name(arguments.name, "user")
    if arguments.role == "admin" and arguments.camera:
        raise UsageError("--camera: an admin sees all cameras; leave it out, or give --role viewer")
    read_users(memory).with_user(
        User(arguments.name, "viewer", "", None, 0.0)
    )  # what is wrong is said before a password is asked for
    cameras = tuple(_ids(memory, arguments.camera)) or None
    password = _hashed(_password(arguments))
    if not memory.is_dir():
        _LOGGER.warning(
            "note: there is nothing at %s yet; a service must be started with this memory to know the user", memory
        )
    user = User(arguments.name, arguments.role, password, cameras, time.time())
    change_users(memory, lambda users: users.with_user(user))
    _done(memory, user, "added", arguments)


def _change(memory: Path, arguments: argparse.Namespace) -> None:
    if arguments.camera and arguments.all_cameras:
        raise UsageError("--camera names some cameras, and --all-cameras all of them; give one")
    if not (arguments.role or arguments.camera or arguments.all_cameras):
        raise UsageError("what should change? give --role, --camera or --all-cameras")
    cameras = tuple(_ids(memory, arguments.camera))

    def change(users: Users) -> Users:
        before = users.user(arguments.name)
        role = arguments.role or before.role
        if role == "admin" and cameras:
            raise UsageError("--camera: an admin sees all cameras; give --role viewer, too")
        seen = None if arguments.all_cameras or role == "admin" else cameras or before.cameras
        return _with_admin(users, users.changed(replace(before, role=role, cameras=seen)), arguments)

    _done(memory, change_users(memory, change).user(arguments.name), "changed", arguments)


def _passwd(memory: Path, arguments: argparse.Namespace) -> None:
    read_users(memory).user(arguments.name)
    password = _hashed(_password(arguments))
    changed = change_users(memory, lambda users: users.changed(replace(users.user(arguments.name), password=password)))
    _done(memory, changed.user(arguments.name), "given another password", arguments)


def _remove(memory: Path, arguments: argparse.Namespace) -> None:
    user = read_users(memory).user(arguments.name)
    change_users(memory, lambda users: _with_admin(users, users.without_user(arguments.name), arguments))
    _done(memory, user, "removed", arguments)


def _with_admin(before: Users, after: Users, arguments: argparse.Namespace) -> Users:
    """Raises UsageError if the last admin would be gone without a word."""
    if before.admins and not after.admins and not arguments.last_admin:
        raise UsageError(f"'{arguments.name}' is the last admin; make another one first, or give --last-admin")
    return after


def _done(memory: Path, user: User, how: str, arguments: argparse.Namespace) -> None:
    noted(memory, "user", subject=user.name, outcome=how, role=user.role, cameras=user.cameras)
    if arguments.json:
        dump({"user": user.to_dict(), "outcome": how}, arguments.memory)
    else:
        print(f"user {user.name} ({_rights(user)}): {how}; memory {arguments.memory}")


def _rights(user: User) -> str:
    if user.role == "admin":
        return "admin"
    return f"viewer of {', '.join(user.cameras)}" if user.cameras is not None else "viewer of all cameras"


def _list(memory: Path, arguments: argparse.Namespace) -> int:
    users = read_users(memory)
    tokens = [token.user for token in users.tokens.values()]
    if arguments.json:
        shown = [{**user.to_dict(), "tokens": tokens.count(user.name)} for user in users.users.values()]
        dump({"users": shown}, arguments.memory)
        return ExitStatus.OK
    names = columns_of(users.users)
    for name, user in users.users.items():
        print(
            printable(f"{names[name]}  since {show_time(user.created)}  {tokens.count(name)} tokens  {_rights(user)}")
        )
    if not users.users:
        print(f"no user in {arguments.memory}; `afterview user add NAME --role admin` adds one")
    return ExitStatus.OK


def _ids(memory: Path, names: Sequence[str]) -> list[str]:
    """Ids of cameras, which need not exist yet."""
    found = []
    for name in names:
        try:
            found.append(find_camera(memory, name))
        except MemoryNotFound:
            found.append(camera_id(name))
            _LOGGER.warning(
                "note: there is no camera '%s' yet; it is seen once it is recorded as '%s'", name, found[-1]
            )
    return list(dict.fromkeys(found))


def _password(arguments: argparse.Namespace) -> str:
    """From the file, from standard input, or typed twice. Raises UsageError, ConfigError."""
    if arguments.password_file is not None:
        password = _of_file(arguments.password_file)
    elif not sys.stdin.isatty():
        raise UsageError(
            "there is no terminal to type a password at; give --password-file FILE, or - for standard input"
        )
    else:
        password = getpass.getpass("Password: ")
        require_password(password)
        if getpass.getpass("The same again: ") != password:
            raise UsageError("the two passwords differ; nothing was changed")
    require_password(password)
    return password


def _of_file(name: str) -> str:
    try:
        if name == "-":
            data = sys.stdin.buffer.read(4 * LONGEST_PASSWORD + 3)
        else:
            with open(name, "rb") as file:
                data = file.read(4 * LONGEST_PASSWORD + 3)
        text = data.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ConfigError(f"--password-file: {describe(error, Path(name), action='read')}") from None
    except UnicodeDecodeError:
        raise ConfigError("--password-file: not UTF-8 text") from None
    if "\n" in text:
        raise ConfigError("--password-file: has more than one line; it holds the password alone")
    return text


def _hashed(password: str) -> str:
    try:
        from afterview.stream.service.people.passwords import hash_password  # late: of the extra
    except ModuleNotFoundError as error:
        if error.name != "argon2":
            raise
        raise missing_extra("serve", "users") from None
    return hash_password(password)
