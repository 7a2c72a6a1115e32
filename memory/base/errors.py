"""The errors of a memory.

AfterviewError (configs.errors)
`- RepositoryError                 exit 1: base of all below
   |- MemoryNotFound      usage    no memory, or no such camera, at that path
   |- NameTaken           usage    the id of a new camera's name belongs to another camera
   |- NotWritable         usage    the directory cannot be written
   |- CameraBusy          usage    another process writes this camera
   |- CameraMoved                  the camera's directory was moved, replaced or deleted while it was open
   |- FormatMismatch      usage    written by another format version
   |- SpecMismatch        usage    features of another model; names `reembed`
   |- Unreadable                   the system refuses to read a file (permission, input/output error): nothing is known about its content
   |- NothingRecorded     usage    the span asked for holds no frame
   |  `- NoLongerRemembered        its frames were evicted, forgotten or lost to damage
   |- RequestRefused      usage    the process that writes the camera cannot execute the command
   |- StoreError                   the object store cannot be used: base of the next two, and of UnreachableOnStore
   |  |- StoreRefused     usage    it answers with a refusal: no such bucket, no access, another memory's objects
   |  `- StoreUnreachable          it does not answer, or answers with a server error; trying again later may help
   |- UnreachableFrames            the frames that it names cannot be read now (the system refuses); they are not damaged
   |  `- UnreachableOnStore        they lie on a store that cannot be used now; also a StoreError
   `- DamagedMemory                a file is missing, truncated or fails its checksum
      `- DamagedFrames             the same, for the frames that it names; the others can be read
"""

from pathlib import Path
from typing import TYPE_CHECKING

from afterview.configs.errors import AfterviewError, UsageError
from afterview.configs.system_errors import describe, is_misplaced
from afterview.memory.base.held_directory import shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class RepositoryError(AfterviewError):
    """Base of the errors of a memory. Its text names paths as people know them, not through descriptors."""

    def __init__(self, *details: object) -> None:
        super().__init__(*(shown(detail) if isinstance(detail, str) else detail for detail in details))


class MemoryNotFound(RepositoryError, UsageError):
    """There is no memory, or no such camera, at this place."""

    exit_status = 2


class NameTaken(RepositoryError, UsageError):
    """A camera cannot have this name: its id belongs to a camera with another name."""

    exit_status = 2


class NotWritable(RepositoryError, UsageError):
    """The memory's directory cannot be created or written."""

    exit_status = 2


class CameraBusy(RepositoryError, UsageError):
    """Another writer holds this camera's lock."""

    exit_status = 2


class CameraMoved(RepositoryError):
    """The camera's directory no longer lies where this process opened it. What was acknowledged is in the directory that was opened."""


class FormatMismatch(RepositoryError, UsageError):
    """The memory was written in a storage format that this version does not read."""

    exit_status = 2


class SpecMismatch(RepositoryError, UsageError):
    """The memory's features were made by another model than the one in use."""

    exit_status = 2


class Unreadable(RepositoryError):
    """The system refuses to read a file or directory of the memory. Nothing is known about its content: this is not damage."""

    @classmethod
    def from_system(cls, error: OSError, path: Path) -> "Unreadable":
        """The error for what the system said about `path`."""
        return cls(describe(error, path, action="read"), path)

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


class NothingRecorded(RepositoryError, UsageError):
    """No frame lies in the span that was asked for."""

    exit_status = 2


class NoLongerRemembered(NothingRecorded):
    """The span was recorded but is no longer remembered."""


class RequestRefused(RepositoryError, UsageError):
    """The process that writes the camera cannot execute the command."""

    exit_status = 2


class StoreError(RepositoryError):
    """The object store that holds sealed frames cannot be used. Its text never holds credentials."""


class StoreRefused(StoreError, UsageError):
    """The store answers, but refuses the request."""

    exit_status = 2


class StoreUnreachable(StoreError):
    """The store does not answer."""


class UnreachableFrames(RepositoryError):
    """These frames cannot be read now, for example because the system refuses. frames: int64, ascending ids.

    Not a kind of DamagedFrames, so that no handler of damage can take them for lost.
    """

    def __init__(self, message: str, frames: "NDArray[np.int64]") -> None:
        super().__init__(message)
        self.frames = frames


class UnreachableOnStore(UnreachableFrames, StoreError):
    """The same, because they lie on a store that cannot be used."""


class DamagedMemory(RepositoryError):
    """Stored data is missing, truncated, or fails its checksum."""


class DamagedFrames(DamagedMemory):
    """These frames cannot be read; the others can. frames: int64, ascending ids."""

    def __init__(self, message: str, frames: "NDArray[np.int64]") -> None:
        super().__init__(message)
        self.frames = frames


def in_words(error: RepositoryError | OSError) -> RepositoryError:
    """The error itself; for one of the system, what it says in words: it is no damage, and nobody's mistake."""
    if isinstance(error, RepositoryError):
        return error
    return Unreadable(describe(error), Path(str(error.filename or "")))


def require_content(error: Exception, path: Path) -> None:
    """Raise Unreadable if an error of reading `path` says nothing about its content; other errors mean that the content is wrong."""
    if isinstance(error, OSError) and not is_misplaced(error):
        raise Unreadable.from_system(error, Path(str(error.filename or path))) from None
