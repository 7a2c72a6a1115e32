"""Doing without root's privileges for a while: root is refused nothing, so a test of permissions must be somebody else."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def unprivileged() -> Iterator[None]:
    """Act as `nobody` if this process is root's. (Modules that are used meanwhile should have been imported before.)"""
    if os.geteuid() != 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


@contextmanager
def public_directory() -> Iterator[Path]:
    """A directory that others may enter: pytest's own are for one user. Removed at the end, whatever its permissions are then."""
    directory = Path(tempfile.mkdtemp(prefix="afterview-public-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        for where, folders, _ in os.walk(directory):
            for folder in folders:
                if not os.path.islink(os.path.join(where, folder)):
                    os.chmod(os.path.join(where, folder), 0o700)
        shutil.rmtree(directory)
