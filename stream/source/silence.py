"""When a silent live source counts as lost: after `read_timeout_s` (stream.source.config) without data, or without a picture. The first
picture of a connection may take `first_picture_timeout_s` while data comes (stream.source.opening.first_picture).

FFmpeg has the same timeout for one read, but it is not enough: it does not see data without pictures, and when a read times out, FFmpeg
first delivers the packet that its parser held back, and reports the failure only after a second timeout.
"""

import math
from collections.abc import Callable, Iterator

import av

from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.decoding.held import Packet
from afterview.stream.source.events import Waiting
from afterview.stream.source.failures.failures import no_picture, nothing_came
from afterview.stream.source.opening.first_picture import FirstPicture


class SilenceLimit:
    """Of one connection; used in its thread. A recording is never lost by silence."""

    def __init__(
        self, address: SourceAddress, config: SourceConfig, stream_index: int, monotonic: Callable[[], float]
    ) -> None:
        """stream_index: of the video."""
        self._address, self._monotonic, self._stated_s = address, monotonic, config.read_timeout_s
        self._limit_s = self._stated_s if address.live else math.inf
        longest_s = max(config.first_picture_timeout_s, self._stated_s) if address.live else math.inf
        self._picture_at = self._asked = monotonic()
        self._first: FirstPicture | None = FirstPicture(address, longest_s, stream_index, self._picture_at)

    def watch(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        """The packets as they come; raises SourceTimeout after a packet that came too late."""
        self._asked = asked = self._monotonic()
        for packet in packets:
            late = self._monotonic() - asked >= self._limit_s
            if self._first is not None:
                self._first.note(packet, self._monotonic())
            yield packet
            if late:
                raise nothing_came(self._address, self._stated_s)
            self._asked = asked = self._monotonic()

    def is_left_over(self, error: Exception) -> bool:
        """Whether a read that failed was not waited for: the open timeout ended FFmpeg's analysis, and the first read after that tells."""
        return isinstance(error, av.error.ExitError) and self._monotonic() - self._asked < self._limit_s / 2

    def picture_came(self) -> None:
        """A frame was decoded, or passed over."""
        self._first = None
        self._picture_at = self._monotonic()

    def require_picture(self) -> None:
        """Raise SourceTimeout if the newest frame is too old."""
        now = self._monotonic()
        if self._first is not None:
            if self._first.silent_s(now) > self._limit_s:
                raise no_picture(self._address, self._stated_s, self._first.came())
            self._first.require(now)
        elif now - self._picture_at > self._limit_s:
            raise no_picture(self._address, self._stated_s)

    def notice(self) -> Waiting | None:
        """What to say of the wait for the first picture now, if anything."""
        return None if self._first is None or math.isinf(self._limit_s) else self._first.notice(self._monotonic())
