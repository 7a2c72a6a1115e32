"""The errors of the service.

StreamError                            (stream.errors)
|- ServiceBusy               usage     another service has this memory, or another program the port
|- TokenRequired             usage     an address that others reach, and no token
|- ModelNotReady                       the model is still loading, or could not be loaded
|- TooManyQuestions                    the queue of questions is full; retry_after_s says when to try again
|- TooManyJobs                         too many jobs are waiting
|- Forbidden                           the user may not do this
|- WrongSignIn                         no user has this name and password
|- TooManySignIns                      too many tries to sign in; retry_after_s says when to try again
|- Stopping                            the service is ending
`- NotFound                  usage     no such job, answer or camera
"""

from afterview.configs import UsageError
from afterview.stream.errors import StreamError


class ServiceBusy(StreamError, UsageError):
    """Another service has this memory, or another program listens on the port."""


class TokenRequired(StreamError, UsageError):
    """The service would be reachable from other machines without a token."""


class ModelNotReady(StreamError):
    """Questions and searches need a model, which is still loading, or could not be loaded."""


class TooManyQuestions(StreamError):
    """The queue of questions is full."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooManyJobs(StreamError):
    """Too many jobs are waiting."""

    retry_after_s = 5


class Forbidden(StreamError):
    """The user may not do this. Cameras that they may not see do not exist for them: that is NotFound."""


class WrongSignIn(StreamError):
    """No user has this name and password. It does not say which of the two is wrong."""


class TooManySignIns(StreamError):
    """Too many tries to sign in, of one address, for one name, or of all together."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Stopping(StreamError):
    """The service is ending."""


class NotFound(StreamError, UsageError):
    """There is no such job or answer, or the service does not record such a camera."""
