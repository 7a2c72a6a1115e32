"""What the system refuses to read of a camera. Nothing is known about it: it is not checked, and never taken for damage."""

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from afterview.configs.system_errors import describe
from afterview.memory.base.errors import FormatMismatch, RepositoryError, Unreadable
from afterview.memory.fsck.findings import Finding


def refused_paths(camera: Path) -> Iterator[Finding]:
    """Every directory that may not be listed or entered, and every file that may not be read."""
    failed: list[OSError] = []
    for where, folders, names in os.walk(camera, onerror=failed.append):
        if not os.access(where, os.X_OK, effective_ids=True):
            folders.clear()
            yield _refused(Path(where), PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
            continue
        for path in (Path(where, name) for name in names):
            if os.access(path, os.R_OK, effective_ids=True) or not path.is_file():
                continue  # sockets are for their owner alone
            try:
                path.open("rb").close()
            except OSError as error:
                yield _refused(path, error)
    yield from (_refused(Path(str(error.filename)), error) for error in failed)


def _refused(path: Path, error: OSError) -> Finding:
    return Finding(path, describe(error, path, action="read").removeprefix(f"{path}: "), severity="unchecked")


def guarded(findings: Iterable[Finding], camera: Path) -> Iterator[Finding]:
    """The findings. Where a check cannot go on because the system refuses, or the format is a newer one, that is the last finding."""
    try:
        yield from findings
    except Unreadable as error:
        yield Finding(error.path, str(error).removeprefix(f"{error.path}: "), severity="unchecked")
    except FormatMismatch as error:
        where, _, what = str(error).partition(": ")
        yield Finding(Path(where) if what else camera, what or where, severity="unchecked")
    except RepositoryError as error:
        yield Finding(camera, str(error).removeprefix(f"{camera}: "))
    except OSError as error:
        yield _refused(Path(str(error.filename or camera)), error)
