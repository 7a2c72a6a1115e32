"""What the operating system refuses, in words: which path, why, and the remedy. Every message about an OSError comes from here."""

import errno
import os
import re
import stat
from pathlib import Path
from typing import Literal

Action = Literal["read", "written", "used"]  # used: it is not known what was tried

_PERMISSION = (errno.EACCES, errno.EPERM)
# Another thing lies where a file or a directory should be. That is wrong content; everything else may pass, and nothing is known then.
_MISPLACED = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)
_WRITING = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # come from writing alone
_REASONS = {
    errno.EROFS: "its file system is read-only; mount it writable, or name another directory",
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space, or raise the quota",
    errno.EIO: "the disk reports an input/output error; check the disk and its connection",
    errno.EISDIR: "is a directory, not a file",
    errno.ENAMETOOLONG: "the name is too long; a file name has at most 255 bytes, a path 4095",
    errno.ELOOP: "its symbolic links lead in a circle; correct them",
    errno.EMFILE: "this process has too many open files; raise the limit (ulimit -n)",
    errno.ENFILE: "this machine has too many open files; raise its limit (fs.file-max)",
    errno.ESTALE: "the network file system has lost it (stale handle); mount it again",
    errno.EEXIST: "exists already; give another name",
    errno.ENOTEMPTY: "the directory is not empty",
    errno.EFBIG: "the file would be larger than the system allows",
    errno.ENOMEM: "this machine has not enough free memory",
}


def is_misplaced(error: OSError) -> bool:
    """Whether the error tells that something else, or nothing, lies at the path; other errors tell nothing about what lies there."""
    return error.errno is None or error.errno in _MISPLACED  # a library's own errors have no number


def describe(error: OSError, path: str | Path | None = None, *, action: Action = "used") -> str:
    """'PATH: cannot be read: REASON; REMEDY'. path: default the one that the error names."""
    if action == "used" and error.errno in _WRITING:
        action = "written"
    place = path if path is not None else error.filename
    place = _by_name(os.fsdecode(place)) if isinstance(place, str | bytes | Path) else place
    if not isinstance(place, str):
        return f"a file cannot be {action}: {reason(error, action=action)}"
    return f"{place}: cannot be {action}: {reason(error, place, action=action)}"


def reason(error: OSError, path: str | Path | None = None, *, action: Action = "used") -> str:
    """The same without the path: 'the disk is full; free some space'."""
    place = None if path is None else Path(path)
    if error.errno in _PERMISSION:
        return _no_permission(place, action)
    if error.errno == errno.ENOENT:
        return _not_there(place)
    if error.errno == errno.ENOTDIR:
        file = _first_file(place)
        return f"{file} is a file, not a directory" if file else "a file lies where a directory is needed"
    text = _REASONS.get(error.errno or 0) or error.strerror or str(error) or type(error).__name__
    return text.splitlines()[0]


def _by_name(path: str) -> str:
    """The path of a file below a directory that is known by its descriptor (/proc/self/fd/7/x), by the directory's name."""
    match = re.fullmatch(r"(/proc/self/fd/\d+)(/.*)?", path, re.DOTALL)
    try:
        return f"{os.readlink(match[1])}{match[2] or ''}" if match else path
    except OSError:
        return path


def user() -> str:
    """The user that this process acts for: 'alice', or 'user 1001' where the system knows no name."""
    import pwd  # late: not every system has it

    try:
        return f"'{pwd.getpwuid(os.geteuid()).pw_name}'"
    except KeyError:
        return str(os.geteuid())


def _no_permission(path: Path | None, action: Action) -> str:
    who = f"user {user()}"
    denied = None if path is None else _denied(path, action)
    if denied is None:
        return f"the system denies it to {who}; check permissions, file attributes (lsattr) and security policies"
    place, what = denied
    here = "it" if place == path else str(place)
    return f"{who} may not {what} {here}{_owner(place)}; give that permission, or use a user who has it"


def _denied(path: Path, action: Action) -> tuple[Path, str] | None:
    """The first directory on the way, or the path itself, to which a permission is missing, and which one; None if it cannot be told."""
    whole = Path(os.path.abspath(path))
    for directory in reversed(whole.parents):
        if not os.access(directory, os.X_OK, effective_ids=True):
            shown = directory if path.is_absolute() else Path(os.path.relpath(directory))
            return (shown, "enter") if os.path.lexists(directory) else None
    exists = os.path.lexists(whole)
    if action != "written" and exists:
        if not os.access(whole, os.R_OK, effective_ids=True):
            return path, "list" if os.path.isdir(whole) else "read"
        if os.path.isdir(whole) and not os.access(whole, os.X_OK, effective_ids=True):
            return path, "enter"
    if action == "read":
        return None
    if exists and not os.access(whole, os.W_OK, effective_ids=True):
        return path, "write in" if os.path.isdir(whole) else "write"
    parent = next(parent for parent in whole.parents if os.path.lexists(parent))
    return None if os.access(parent, os.W_OK, effective_ids=True) else (parent, "write in")


def _owner(path: Path) -> str:
    try:
        about = path.stat()
    except (OSError, ValueError):
        return ""
    import pwd

    try:
        owner = f"'{pwd.getpwuid(about.st_uid).pw_name}'"
    except KeyError:
        owner = str(about.st_uid)
    return f" ({stat.filemode(about.st_mode)}, owner {owner})"


def _not_there(path: Path | None) -> str:
    for place in (path, *path.parents) if path is not None else ():
        if place.is_symlink() and not os.path.exists(place):
            return (
                f"{'it' if place == path else place} is a symbolic link to {os.readlink(place)}, which does not exist"
            )
    return "no such file or directory"


def _first_file(path: Path | None) -> Path | None:
    """The first thing on the way to `path` that is no directory."""
    for place in reversed(path.parents) if path is not None else ():
        if os.path.exists(place) and not os.path.isdir(place):
            return place
    return path if path is not None and os.path.exists(path) and not os.path.isdir(path) else None
