"""What can go wrong while worlds are made, models are trained and measured.

TrainingError(AfterviewError)          exit status 1
WorldError(UsageError)                  exit status 2: a world, or a question about one, that cannot be
`- TruthError                           a truth file that is missing, damaged or of another format
DataError(UsageError)                   exit status 2: annotations or cached features that cannot be trained on
"""

from afterview.configs import AfterviewError, UsageError


class TrainingError(AfterviewError):
    """Training or measuring failed."""


class WorldError(UsageError):
    """A world, or a question about one, that cannot be."""


class TruthError(WorldError):
    """A truth file that is missing, damaged or of another format."""


class DataError(UsageError):
    """Annotations or cached features that cannot be trained on."""
