"""Live fragmented MP4 over HTTP, with the boxes that FFmpeg reads over: one FFmpeg fetches the bytes, a second one demuxes them, and the
boxes are seen as they pass between.

The first is FFmpeg's demuxer of raw data, which keeps time-outs, redirects, TLS and logins what they are everywhere else. It is one
connection from the beginning, not a second one beside or after a first: some servers serve one client at a time, and some end with it
(`ffmpeg -listen 1`). So the address must say that it may be MP4; whatever else comes is opened anew, the plain way.

Threads: all of it runs in the thread that opened it; FFmpeg calls `read` there, too.
"""

from collections.abc import Callable
from contextlib import ExitStack
from urllib.parse import urlsplit

import av

from afterview.stream.source.address import SourceAddress
from afterview.stream.source.failures import explain_opening
from afterview.stream.source.fragments import PassingFragments
from afterview.stream.source.opening import QUICK_START, SourceConfig, open_container

_SUFFIXES = (".mp4", ".m4v", ".cmfv")


class LiveFile:
    """What a container of raw data brings, as a file that can be read once. fragments: those whose heads have gone by.

    until: on the monotonic clock, when the reader's patience ends. failure: why reading ended, if not because the stream did; FFmpeg
    is told that it did, since it may read on after an exception, which PyAV would then print, address and all.
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        *,
        until: float,
        monotonic: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._packets, self._monotonic, self._clock = container.demux(), monotonic, clock
        self._unread = b""
        self.fragments = PassingFragments()
        self.until = until
        self.failure: Exception | None = None

    def begins_as_mp4(self) -> bool:
        """Whether its first box is that of MP4; reads so far."""
        while len(self._unread) < 8 and (more := self._fetch()):
            self._unread += more
        return self._unread[4:8] == b"ftyp"

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, as soon as there are any; none at the end, and after a failure."""
        data = self._unread or self._fetch()
        self._unread = data[size:]
        return data[:size]

    def _fetch(self) -> bytes:
        if self.failure is not None:
            return b""
        try:
            # Bytes that come, but too few of them for a picture: FFmpeg itself would stop there, too.
            if self._monotonic() > self.until:
                raise av.error.ExitError(0, "too slow")
            packet = next(self._packets, None)
        except Exception as error:
            self.failure = error
            return b""
        data = b"" if packet is None else bytes(packet)
        self.fragments.take(data, self._clock())
        return data


def open_source(
    address: SourceAddress,
    config: SourceConfig,
    opened: ExitStack,
    *,
    monotonic: Callable[[], float],
    clock: Callable[[], float],
) -> tuple[av.container.InputContainer, LiveFile | None]:
    """The container of a source, which `opened` will close, and the file that it is read from where its boxes are seen.

    clock: Unix seconds. Raises SourceError, redacted.
    """
    if address.kind == "http" and urlsplit(address.url).path.lower().endswith(_SUFFIXES):
        with ExitStack() as attempt:
            began = monotonic()
            raw = attempt.enter_context(open_container(address, config, monotonic, raw=True))
            file = LiveFile(raw, until=began + config.open_timeout_s, monotonic=monotonic, clock=clock)
            container = _demuxed(file, attempt) if raw.size <= 0 and file.begins_as_mp4() else None
            if isinstance(file.failure, av.error.ExitError):
                took_s = monotonic() - began
                timeout_s = config.open_timeout_s if took_s >= config.open_timeout_s else config.read_timeout_s
                raise explain_opening(file.failure, address, timeout_s, took_s=took_s)
            if container is not None:
                opened.push(attempt.pop_all())
                return container, file
    return opened.enter_context(open_container(address, config, monotonic)), None


def _demuxed(file: LiveFile, opened: ExitStack) -> av.container.InputContainer | None:
    try:
        return opened.enter_context(av.open(file, "r", options=QUICK_START, metadata_errors="replace"))
    except (av.FFmpegError, OSError, ValueError):
        return None
