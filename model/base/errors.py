"""Errors of models.

AfterviewError (configs.errors)
`- ModelError                      exit 1: base of all below
   |- ModelNotFound        usage    no preset, file, directory or hub id of that name
   |- HubUnreachable                the hub does not answer, or has no such model
   |- NotPulled                     the files of a model are not on this machine; `afterview models pull` fetches them
   |- PullFailed                    files of a model could not be fetched whole
   |- CheckpointError      usage    not a checkpoint that this project can run
   |  |- DamagedCheckpoint          a file is missing or truncated
   |  `- TensorMismatch             names or shapes do not fit the configuration
   |- NotSaved                      a checkpoint cannot be written
   |- NoLanguageModel      usage    the model finds frames and does not answer, and what was asked needs one that answers
   |- TokenizerMissing     usage    text was given to a model that has no suitable tokenizer
   |- InputMismatch        usage    features, layout and prompt do not fit each other
   `- BackendUnavailable   usage    the requested device or backend is not available
"""

from collections.abc import Iterator
from contextlib import contextmanager

from afterview.configs.errors import AfterviewError, UsageError


class ModelError(AfterviewError):
    """Base of the errors of models."""


class ModelNotFound(ModelError, UsageError):
    """No preset, file, directory or hub id has this name."""

    exit_status = 2


class HubUnreachable(ModelError):
    """The hub does not answer, or does not have the requested model or file."""


class NotPulled(ModelError):
    """Files of the model are not on this machine. The text names the command that fetches them."""


class PullFailed(ModelError):
    """Files of a model could not be fetched whole. What came is kept, and the next pull goes on with it."""


class CheckpointError(ModelError, UsageError):
    """The directory is not a checkpoint that this project can run."""

    exit_status = 2


class DamagedCheckpoint(CheckpointError):
    """A file of the checkpoint is missing, truncated, or of another type than its name says."""


class TensorMismatch(CheckpointError):
    """The checkpoint's tensors do not fit its configuration."""


class NotSaved(ModelError):
    """A checkpoint cannot be written: the disk is full, or the system refuses it."""


class NoLanguageModel(ModelError, UsageError):
    """The model finds frames and does not answer, and what was asked needs one that answers."""

    exit_status = 2


class TokenizerMissing(ModelError, UsageError):
    """Text was given to a model whose checkpoint has no tokenizer, or one without the prompt's control tokens."""

    exit_status = 2


class InputMismatch(ModelError, UsageError):
    """Features, layout and prompt do not fit each other or the model."""

    exit_status = 2


class BackendUnavailable(ModelError, UsageError):
    """The requested device or backend is not available on this machine."""

    exit_status = 2


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Build modules from a checkpoint's configuration. Raises CheckpointError, naming `where`, for values that no such module has.

    The libraries raise many types of errors for them, in their own words.
    """
    try:
        yield
    except AfterviewError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{where}: its config.json holds values of a wrong kind, or values that do not fit each other; copy the checkpoint again"
        ) from error
