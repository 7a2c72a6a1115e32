"""Errors of making worlds, training and evaluation.

TrainingError(AfterviewError)          exit status 1
`- MarathonError                        making a data set from recordings failed
   `- EndpointError                     a model's endpoint does not answer, or refuses; status says how
WorldError(UsageError)                  exit status 2: an impossible world, or an impossible question about one
`- TruthError                           a truth file is missing, damaged or of another format
DataError(UsageError)                   exit status 2: annotations or cached features that cannot be trained on
ResultsError(UsageError)                exit status 2: results of another run, or damaged ones
BenchmarkError(UsageError)              exit status 2: a benchmark's files are missing or of another format
"""

from afterview.configs import AfterviewError, UsageError


class TrainingError(AfterviewError):
    """Training or evaluation failed."""


class MarathonError(TrainingError):
    """Making a data set from recordings failed. What was done is kept: run the same command again."""


class EndpointError(MarathonError):
    """A model's endpoint does not answer, or not as it should."""


class WorldError(UsageError):
    """An impossible world, or an impossible question about one."""


class TruthError(WorldError):
    """A truth file is missing, damaged or of another format."""


class DataError(UsageError):
    """Annotations or cached features that cannot be trained on."""


class ResultsError(UsageError):
    """Results of another run, or damaged ones."""


class BenchmarkError(UsageError):
    """A benchmark's files are missing or of another format."""
