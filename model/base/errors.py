"""What can go wrong with a model.

AfterviewError (configs.errors)
`- ModelError                      exit 1: base of all below
   |- ModelNotFound        usage    no preset, file, directory or hub id of that name
   |- HubUnreachable                the hub did not answer, or has no such model
   |- CheckpointError      usage    not a checkpoint that this project can run
   |  |- DamagedCheckpoint          a file is missing or truncated
   |  `- TensorMismatch             names or shapes do not fit the configuration
   |- TokenizerMissing     usage    text was given to a model without a tokenizer that can read it
   |- InputMismatch        usage    features, layout and prompt do not fit each other
   `- BackendUnavailable   usage    the device or backend asked for is not there
"""

from afterview.configs.errors import AfterviewError, UsageError


class ModelError(AfterviewError):
    """Base of the errors of a model."""


class ModelNotFound(ModelError, UsageError):
    """There is no preset, file, directory or hub id of that name."""

    exit_status = 2


class HubUnreachable(ModelError):
    """The hub did not answer, or does not have what was asked for."""


class CheckpointError(ModelError, UsageError):
    """The directory is not a checkpoint that this project can run."""

    exit_status = 2


class DamagedCheckpoint(CheckpointError):
    """A file of the checkpoint is missing, truncated, or not what its name says."""


class TensorMismatch(CheckpointError):
    """The checkpoint's tensors do not fit its configuration."""


class TokenizerMissing(ModelError, UsageError):
    """Text was given to a model whose checkpoint has no tokenizer, or one that lacks the prompt's control tokens."""

    exit_status = 2


class InputMismatch(ModelError, UsageError):
    """Features, layout and prompt do not fit each other or the model."""

    exit_status = 2


class BackendUnavailable(ModelError, UsageError):
    """The device or backend asked for is not available here."""

    exit_status = 2
