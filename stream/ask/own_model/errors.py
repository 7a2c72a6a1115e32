"""What goes wrong with the model server of a user. Every text is one line that names the server and the remedy."""

from afterview.stream.errors import StreamError


class ModelServerError(StreamError):
    """The server does not answer, or not as it should. No part of its answer counts.

    status: of its HTTP response; None: there was none. what: the fault without a remedy, for callers whose settings have other names.
    silent: it took the question, and its model said nothing.
    """

    status: int | None = None
    what: str = ""
    silent: bool = False


class ModelServerBusy(ModelServerError):
    """The server has no time now (429, 503), and the wait that it asks for is longer than the question may take."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
