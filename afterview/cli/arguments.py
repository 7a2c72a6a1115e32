"""Checks of command-line values, made before a model is loaded or a file is written. Every error names the option and the remedy."""

import argparse
import logging
import math
import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from afterview.cli.parsers.strict import shorten
from afterview.configs import UsageError
from afterview.memory.base.camera import camera_id
from afterview.memory.base.store_address import is_on_store
from afterview.memory.base.typed_times import parse_duration

if TYPE_CHECKING:
    from afterview.memory.reading.reader import CameraReader

MEMORY_VARIABLE = "AFTERVIEW_MEMORY"
_LOGGER = logging.getLogger(__name__)

SLOWEST = 1 / 86_400  # frames per second; one a day
FASTEST = 1000.0  # frames per second; above the rate of any camera
LONGEST_TIMEOUT = 86_400.0  # seconds
LONGEST_SYNC = 60.0  # seconds; the most that a power cut may cost
LONGEST_NAME = 255  # bytes of a file's or directory's name
LONGEST_QUESTION = 2000  # characters; stream.ask.answerer has the same limit
LONGEST_CAMERA_NAME = 200  # characters
CLOCK_SKEW_S = 60.0  # seconds that another machine's clock may be ahead
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
    other = "--memory DIR names another"
    if MEMORY_VARIABLE not in os.environ:
        other = f"--memory DIR or {MEMORY_VARIABLE} names another"
    arguments.memory_hint = f"; {other}"
    level = logging.WARNING if arguments.memory_deletes else logging.INFO
    _LOGGER.log(level, "note: the memory is %s (%s; %s)", arguments.memory, origin, other)


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
    """Return the directory of a memory, which need not exist yet.

    Raises UsageError for an empty text (an unset shell variable, not "."), an address, a file, a name that no directory can have, and for
    the directory of a single camera.
    """
    if not text.strip():
        raise UsageError("--memory is empty; give a directory, for example --memory ./cameras, or leave it out")
    if is_on_store(text):
        raise UsageError(
            f"{text}: this command needs the directory that records the memory; only ask, chat, search, show, info and export read "
            "a memory from an object store"
        )
    if "://" in text:
        raise UsageError(f"{text}: is an address; a memory is a directory, for example --memory ./cameras")
    require_directory("memory", text)
    path = Path(text)
    if os.path.isfile(path / "camera.json"):
        above = path.resolve()
        raise UsageError(f"{text}: is one camera of a memory; give --memory {above.parent} --camera {above.name}")
    return path


def require_directory(what: str, text: str) -> None:
    """Raise UsageError unless `text` is a directory or could become one: nothing in its path is a file, and no name is too long."""
    path = Path(text)
    if "\0" in text or any(len(os.fsencode(part)) > LONGEST_NAME for part in path.parts):
        raise UsageError(
            f"{what} {shorten(text)}: a name in this path is longer than {LONGEST_NAME} bytes, or not a name"
        )
    for place in (path, *path.parents):
        if os.path.lexists(place) and not os.path.isdir(place):
            which = "" if place == path else f"{place} "
            raise UsageError(f"{what} {text}: {which}is not a directory; give a directory")


def readable_memory(text: str, *, measured: bool = False) -> Path:
    """Return the directory of a memory to read; for s3://bucket/prefix the local replica of what was published there.

    measured: count the bytes on the store; this lists all of its objects.
    """
    if not is_on_store(text):
        return memory_path(text)
    from afterview.memory.sync.replica import replica_of

    return replica_of(text, measured=measured)


def sampling_rate(fps: float) -> float:
    """Check --fps, frames per second."""
    if not SLOWEST <= fps <= FASTEST:
        raise UsageError(f"--fps {fps:g}: must be above 0 (at least one frame a day) and at most {FASTEST:g}")
    return fps


def timeout(option: str, seconds: float) -> float:
    """Check a timeout in seconds."""
    if not 0 < seconds <= LONGEST_TIMEOUT:
        raise UsageError(f"{option} {seconds:g}: must be a positive number of seconds, at most {LONGEST_TIMEOUT:g}")
    return seconds


def sync_interval(seconds: float) -> float:
    """Check --sync-every, seconds."""
    if not 0 <= seconds <= LONGEST_SYNC:
        raise UsageError(f"--sync-every {seconds:g}: must be between 0 and {LONGEST_SYNC:g} seconds")
    return seconds


def positive_duration(option: str, text: str) -> float:
    """Seconds of a duration such as 90s or 2h. Raises UsageError for nothing, too."""
    seconds = parse_duration(text)
    if not seconds > 0:
        raise UsageError(f"{option} {text}: must be longer than 0 s")
    return seconds


def require_past(option: str, text: str, moment: float, now: float, newest: Callable[[], float]) -> None:
    """Raise UsageError for a moment in the future, unless frames lie there. A minute is allowed: clocks of two machines differ.

    newest: gives the time of the newest frame that is asked; called only for a moment in the future.
    """
    if moment > now + CLOCK_SKEW_S and moment > newest() + CLOCK_SKEW_S:
        raise UsageError(
            f"{option} {text}: lies in the future, where nothing was recorded yet; for everything until now leave it out"
        )


def newest_frame(readers: "Iterable[CameraReader]") -> float:
    """Time of the newest frame of these cameras, Unix seconds; -inf if there is none."""
    return max((float(times[-1]) for reader in readers if len(times := reader.snapshot().times)), default=-math.inf)


def require_order(start: float | None, end: float | None, *, said: str) -> None:
    """Raise UsageError for a span that ends before it begins. said: how the span was given, for the message."""
    if start is not None and end is not None and end < start:
        raise UsageError(f"the span ends before it begins: {said}")


def require_question(what: str, text: str) -> None:
    """Check a question or a text to search for, apart from emptiness. Raises UsageError."""
    if any(unicodedata.category(letter) == "Cs" for letter in text):
        raise UsageError(f"{what} holds bytes that are not UTF-8 text")
    if len(text) > LONGEST_QUESTION:
        raise UsageError(f"{what} has {len(text)} characters; at most {LONGEST_QUESTION} are taken")


def require_count(option: str, number: int, least: int) -> int:
    """Check a number of things."""
    if number < least:
        raise UsageError(f"{option} {number}: must be at least {least}")
    return number


def require_model(name: str | None) -> None:
    """Check --model as far as that is possible without loading it. Raises ModelNotFound or ConfigError."""
    if name is not None:
        from afterview.model.checkpoint.preset import find_preset  # late: only commands that use a model need it

        find_preset(name)


def seed(number: int) -> int:
    """Check --seed."""
    if not 0 <= number <= _LARGEST_SEED:
        raise UsageError(f"--seed {number}: must be between 0 and {_LARGEST_SEED}")
    return number


def names_in(option: str, text: str | None) -> tuple[str, ...]:
    """The names of a list such as `colour,shape`; none if the option was not given. Raises UsageError for an empty or a repeated name."""
    names = tuple(name.strip() for name in text.split(",")) if text is not None else ()
    if not all(names) or len(set(names)) < len(names):
        raise UsageError(f"{option} {text}: give different names, separated by commas")
    return names


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
    if len(given) > LONGEST_CAMERA_NAME:
        raise UsageError(
            f"--camera {shorten(given)}: has {len(given)} characters; at most {LONGEST_CAMERA_NAME} are taken"
        )
    camera_id(given)  # raises where nothing is left for an id
    return given


def _has_id(name: str) -> bool:
    try:
        return bool(camera_id(name))
    except UsageError:
        return False


def results_file(given: str | None, work: Path, name: str) -> Path:
    """Where --results go: a .json, by default of this name in the working directory. Raises UsageError."""
    results = Path(given) if given else work / name
    if results.suffix != ".json":
        raise UsageError(f"--results {results}: give a file that ends in .json; the tables go beside it, as .md")
    if results.is_dir() or not (results.parent.is_dir() or results.parent == work):
        raise UsageError(f"--results {results}: its directory does not exist, or it is a directory; give a file")
    return results


def minutes_of(limit: str | None) -> float:
    """Of --for; infinitely many without it. Raises UsageError."""
    return math.inf if limit is None else positive_duration("--for", limit) / 60
