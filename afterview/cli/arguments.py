"""Checks of command-line values, made before a model is loaded or a file is written. Every error names the option and the remedy."""

import argparse
import logging
import math
import os
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from afterview.configs import UsageError
from afterview.memory.base.camera import camera_id
from afterview.memory.remote.settings import SCHEME

MEMORY_VARIABLE = "AFTERVIEW_MEMORY"
_HOW_TO_CHOOSE = f"--memory DIR or {MEMORY_VARIABLE} names another"
_LOGGER = logging.getLogger(__name__)

FASTEST = 1000.0  # frames per second; above the rate of any camera
LONGEST_SYNC = 60.0  # seconds; the most that a power cut may cost
_LARGEST_SEED = 2**63 - 1  # the largest seed that the random number generators accept


def resolve_memory(arguments: argparse.Namespace) -> None:
    """Set `arguments.memory` to the memory that a command works on, and say which one it is if nobody named it on the command line.

    The order: --memory or the argument DIR, AFTERVIEW_MEMORY, the user's data directory. `memory_hint` is set to what the error for a
    memory that does not exist must add. Raises UsageError.
    """
    given = _given(arguments.memory, getattr(arguments, "memory_argument", None))
    if given is not None:
        arguments.memory, arguments.memory_hint = given, ""
        return
    if arguments.memory_instead and getattr(arguments, arguments.memory_instead):
        return
    arguments.memory, origin = default_memory(os.environ)
    arguments.memory_hint = f" ({origin}; {_HOW_TO_CHOOSE})"
    level = logging.WARNING if arguments.memory_deletes else logging.INFO
    _LOGGER.log(level, "note: the memory is %s (%s; %s)", arguments.memory, origin, _HOW_TO_CHOOSE)


def _given(option: str | None, argument: str | None) -> str | None:
    if option is None or argument is None:
        return argument if option is None else option
    if os.path.abspath(option) != os.path.abspath(argument):
        raise UsageError(f"two memories are given, {argument} and --memory {option}; give one of them")
    return option


def default_memory(environment: Mapping[str, str]) -> tuple[str, str]:
    """The memory of a command that is given none, and where that comes from, for people. Raises UsageError.

    An empty AFTERVIEW_MEMORY is refused like an empty --memory: in a script it is a mistake (`AFTERVIEW_MEMORY=$UNSET`), and a command that
    deletes would go on with another memory. `~` is expanded: service managers and .env files do not do it.
    """
    text = environment.get(MEMORY_VARIABLE)
    if text is not None:
        if not text.strip():
            raise UsageError(f"{MEMORY_VARIABLE} is empty; set it to a directory, or unset it, or give --memory DIR")
        return os.path.expanduser(text), f"from {MEMORY_VARIABLE}"
    data = environment.get("XDG_DATA_HOME", "")
    if not os.path.isabs(data):  # the XDG specification: empty counts as unset, and relative paths are ignored
        data = os.path.expanduser("~/.local/share")
    if not os.path.isabs(data):
        raise UsageError(f"this user has no home directory for a memory; give --memory DIR, or set {MEMORY_VARIABLE}")
    return os.path.join(data, "afterview", "memory"), "the default"


def memory_path(text: str) -> Path:
    """Return the directory of a memory. Raises UsageError for an empty text (an unset shell variable, not ".") and for s3:// addresses."""
    if not text.strip():
        raise UsageError("--memory is empty; give a directory, for example --memory ./cameras, or leave it out")
    if text.startswith(SCHEME):
        raise UsageError(
            f"{text}: this command needs the directory that records the memory; only ask, search, show, info and export read a memory "
            "from an object store"
        )
    return Path(text)


def readable_memory(text: str, *, measured: bool = False) -> Path:
    """Return the directory of a memory to read; for s3://bucket/prefix the local replica of what was published there.

    measured: count the bytes on the store; this lists all of its objects.
    """
    if not text.startswith(SCHEME):
        return memory_path(text)
    from afterview.memory.sync.replica import replica_of

    return replica_of(text, measured=measured)


def sampling_rate(fps: float) -> float:
    """Check --fps, frames per second."""
    if not 0 < fps <= FASTEST:
        raise UsageError(f"--fps {fps:g}: must be above 0 and at most {FASTEST:g}")
    return fps


def timeout(option: str, seconds: float) -> float:
    """Check a timeout in seconds."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise UsageError(f"{option} {seconds:g}: must be a positive number of seconds")
    return seconds


def sync_interval(seconds: float) -> float:
    """Check --sync-every, seconds."""
    if not 0 <= seconds <= LONGEST_SYNC:
        raise UsageError(f"--sync-every {seconds:g}: must be between 0 and {LONGEST_SYNC:g} seconds")
    return seconds


def seed(number: int) -> int:
    """Check --seed."""
    if not 0 <= number <= _LARGEST_SEED:
        raise UsageError(f"--seed {number}: must be between 0 and {_LARGEST_SEED}")
    return number


def require_new(paths: Iterable[Path], *, force: bool) -> None:
    """Check files that a command will write: raises UsageError for one that exists, unless `force` allows to replace it.

    Directories and devices are never replaced.
    """
    for path in paths:
        if os.path.isdir(path):
            raise UsageError(f"{path}: is a directory; give the name of a file")
        if os.path.exists(path) and not os.path.isfile(path):
            raise UsageError(f"{path}: is not a regular file; give another name")
        if not force and os.path.lexists(path):
            raise UsageError(f"{path}: exists already; give another name, or --force to replace it")


def camera_name(given: str | None, suggested: str) -> str:
    """Return the name to record under: the given one, else the name suggested by the source, else 'camera'.

    Raises UsageError where the given name has control characters or no letter or digit that an id can use.
    """
    if given is None:
        return suggested if _has_id(suggested) else "camera"
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in given):
        raise UsageError(f"--camera {given!r}: remove the control characters")
    camera_id(given)  # raises where nothing is left for an id
    return given


def _has_id(name: str) -> bool:
    try:
        return bool(camera_id(name))
    except UsageError:
        return False
