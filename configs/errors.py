"""The exit statuses of all commands, and the root of every package's error tree.

AfterviewError             exit status 1: something failed
|- UsageError               exit status 2: bad usage or input
|  `- ConfigError           a configuration file or value
`- (memory.base.errors, model.base.errors, stream.errors and training.base.errors continue the tree)
"""

import re
from enum import IntEnum


class ExitStatus(IntEnum):
    """How a command ends. docs/cli.md has the same table for users. (128 + N means that signal N killed the process.)"""

    OK = 0  # everything was done
    FAILURE = 1  # something failed, or was done in part, or damage is left
    USAGE = 2  # wrong usage or input; nothing was done
    INTERRUPTED = 130  # Ctrl-C


class AfterviewError(Exception):
    """Base of all errors that this project raises on purpose. The text is one line: what failed, and the remedy."""

    exit_status: int = ExitStatus.FAILURE


class UsageError(AfterviewError):
    """The caller asked for something impossible: a bad argument, a missing file, a malformed URL."""

    exit_status: int = ExitStatus.USAGE


class ConfigError(UsageError):
    """A configuration file or value is wrong."""


def error_kind(error: AfterviewError | type[AfterviewError]) -> str:
    """The class of an error as a word for programs: `memory_not_found`, `usage`. That of another process keeps its `kind`."""
    if (kind := getattr(error, "kind", None)) is not None:
        return str(kind)
    name = error.__name__ if isinstance(error, type) else type(error).__name__
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().removesuffix("_error")
