"""The root of every package's error tree.

AfterviewError             exit status 1: something failed
|- UsageError               exit status 2: bad usage or input
|  `- ConfigError           a configuration file or value
`- (memory.base.errors, model.base.errors, stream.errors hang their own trees here)
"""


class AfterviewError(Exception):
    """Base of every error that this project raises on purpose. Its text is one line that names the thing and the remedy."""

    exit_status = 1


class UsageError(AfterviewError):
    """The caller asked for something that cannot be: a bad argument, a missing file, a malformed URL."""

    exit_status = 2


class ConfigError(UsageError):
    """A configuration file or value is wrong."""
