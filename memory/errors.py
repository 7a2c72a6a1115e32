"""What can go wrong with a memory.

AfterimageError (configs.errors)
`- RepositoryError                 exit 1: base of all below
   |- MemoryNotFound      usage    no memory, or no such camera, at that path
   |- NotWritable         usage    the directory cannot be written
   |- CameraBusy          usage    another process writes this camera
   |- FormatMismatch      usage    written by another format version
   |- SpecMismatch        usage    features of another model; names `reembed`
   |- NothingRecorded     usage    the span asked for holds no frame
   `- DamagedMemory                a file is missing, truncated or fails its checksum
"""

from configs.errors import AfterimageError, UsageError


class RepositoryError(AfterimageError):
    """Base of the errors of a memory."""


class MemoryNotFound(RepositoryError, UsageError):
    """There is no memory, or no such camera, where one was expected."""

    exit_status = 2


class NotWritable(RepositoryError, UsageError):
    """The memory's directory cannot be created or written."""

    exit_status = 2


class CameraBusy(RepositoryError, UsageError):
    """Another writer holds this camera's lock."""

    exit_status = 2


class FormatMismatch(RepositoryError, UsageError):
    """The memory was written in a storage format that this version does not read."""

    exit_status = 2


class SpecMismatch(RepositoryError, UsageError):
    """The memory's features were made by another model than the one at hand."""

    exit_status = 2


class NothingRecorded(RepositoryError, UsageError):
    """No frame lies in the span that was asked for."""

    exit_status = 2


class DamagedMemory(RepositoryError):
    """Stored data is missing, truncated, or fails its checksum."""
