"""The root of every package's error tree.

AfterviewError             exit status 1: something failed
|- UsageError               exit status 2: bad usage or input
|  `- ConfigError           a configuration file or value
`- (memory.base.errors, model.base.errors, stream.errors and training.base.errors continue the tree)
"""


class AfterviewError(Exception):
    """Base of all errors that this project raises on purpose. The text is one line: what failed, and the remedy."""

    exit_status = 1


class UsageError(AfterviewError):
    """The caller asked for something impossible: a bad argument, a missing file, a malformed URL."""

    exit_status = 2


class ConfigError(UsageError):
    """A configuration file or value is wrong."""
