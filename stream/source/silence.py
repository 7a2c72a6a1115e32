"""When a silent live source counts as lost: after `read_timeout_s` (stream.source.config) without data, or without a picture.

FFmpeg has the same timeout for one read, but it is not enough: it does not see data without pictures, and when a read times out, FFmpeg
first delivers the packet that its parser held back, and reports the failure only after a second timeout.
"""

import math
from collections.abc import Callable, Iterator
from typing import TypeVar

from afterview.stream.source.address import SourceAddress
from afterview.stream.source.failures import no_picture, nothing_came

Packet = TypeVar("Packet")


class SilenceLimit:
    """Of one connection; used in its thread. A recording is never lost by silence."""

    def __init__(self, address: SourceAddress, limit_s: float, monotonic: Callable[[], float]) -> None:
        self._address, self._monotonic = address, monotonic
        self._stated_s, self._limit_s = limit_s, limit_s if address.live else math.inf
        self._picture_at = monotonic()

    def watch(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        """The packets as they come; raises SourceTimeout after a packet that came too late."""
        asked = self._monotonic()
        for packet in packets:
            late = self._monotonic() - asked >= self._limit_s
            yield packet
            if late:
                raise nothing_came(self._address, self._stated_s)
            asked = self._monotonic()

    def picture_came(self) -> None:
        """A frame was decoded."""
        self._picture_at = self._monotonic()

    def require_picture(self) -> None:
        """Raise SourceTimeout if the newest frame is too old."""
        if self._monotonic() - self._picture_at > self._limit_s:
            raise no_picture(self._address, self._stated_s)
