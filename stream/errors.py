"""The errors of stream/.

AfterviewError                         (configs.errors)
`- StreamError                          exit status 1
   |- SourceError                       where video comes from
   |  |- BadUrl                         2: not an address that can be opened at all
   |  |- SourceNotFound                 2: does not exist, or permission denied
   |  |- NotAVideo                      2: something is there, but no picture can be decoded from it
   |  |- AuthenticationFailed           2: the server refused the user name or the password
   |  |- SourceUnreachable              1: the host does not answer, or not in the way it should
   |  |  `- SourceTimeout               1: no data within the open or read timeout
   |  `- SourceLost                     1: the connection was lost or ended while it was read (end-of-file on a live source included)
   |- Cancelled                        1: a question was cancelled
   |- ServerError                       1: the built-in test server cannot run on this machine
   `- WriterError                       1: a video file cannot be written as asked
(stream.service.errors and stream.ask.own_model.errors continue the tree)

The texts are one line, name the source in its redacted form, and say what to do. They are safe to print, log and publish.
"""

from afterview.configs.errors import AfterviewError, UsageError


class StreamError(AfterviewError):
    """Base of everything that goes wrong in `stream`."""


class SourceError(StreamError):
    """A source of video cannot be opened or read."""


class BadUrl(SourceError, UsageError):
    """The source is not an address that can be opened."""


class SourceNotFound(SourceError, UsageError):
    """No such file, device or stream, or no permission to read it."""


class NotAVideo(SourceError, UsageError):
    """It can be read, but no picture can be decoded from it."""


class AuthenticationFailed(SourceError, UsageError):
    """The server refused the user name or the password (401 or 403)."""


class SourceUnreachable(SourceError):
    """The host or the server does not answer as it should."""


class SourceTimeout(SourceUnreachable):
    """No data within the open or the read timeout: a frozen server, a dropped network."""


class SourceLost(SourceError):
    """The connection to a source was lost or ended while it was read."""


class Cancelled(StreamError):
    """A question was cancelled before it was answered."""


class ServerError(StreamError):
    """The built-in server for tests and demonstrations cannot run here."""


class WriterError(StreamError):
    """A video file cannot be written as asked."""
