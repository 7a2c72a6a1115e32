"""What the system refuses to read of a camera. Nothing is known about it: it is not checked, and never taken for damage."""

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from afterview.configs.system_errors import reason
from afterview.memory.base.errors import FormatMismatch, RepositoryError, Unreadable
from afterview.memory.base.held_directory import place_of
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
    return Finding(path, f"cannot be read: {reason(error, path, action='read')}", severity="unchecked")


def _without_path(text: str, path: Path) -> str:
    """An error's text without the path at its beginning, however that is written: through a descriptor, as given, or as it lies now."""
    for name in (path, place_of(path), path.resolve()):
        text = text.removeprefix(f"{name}: ")
    return text


def guarded(findings: Iterable[Finding], camera: Path) -> Iterator[Finding]:
    """The findings. Where a check cannot go on because the system refuses, or the format is a newer one, that is the last finding."""
    try:
        yield from findings
    except Unreadable as error:
        yield Finding(error.path, _without_path(str(error), error.path), severity="unchecked")
    except FormatMismatch as error:
        where, _, what = str(error).partition(": ")
        yield Finding(Path(where) if what else camera, what or where, severity="unchecked")
    except RepositoryError as error:
        yield Finding(camera, _without_path(str(error), camera))
    except OSError as error:
        yield _refused(Path(str(error.filename or camera)), error)
