"""What only HLS needs to watch for: segments that come again, and an initialization section that changes. Pure.

A packager that stopped leaves its last segments in place. Every new connection to it gets the newest of them again: pictures that were
recorded already, and that the time of their arrival would date wrongly. So packets are compared with those of the connections before.

FFmpeg takes no new initialization section of fragmented MP4 in mid-stream (EXT-X-MAP after EXT-X-DISCONTINUITY), and decodes with the
parameters of the old one. HLS loses nothing on the way, so a row of damaged pictures means that, and a new connection mends it.
"""

import math
import zlib
from collections import deque
from collections.abc import Callable
from typing import Any

from afterview.stream.errors import SourceError, SourceLost
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.failures.failures import codec_changed

_REMEMBERED = 2000  # packets: the newest segments of the connection before ...
_TAIL_S = 40.0  # ... of which a new connection gets the last three: so many seconds at most
_BURST_S = 5.0  # seconds of a new connection in which segments that are there already arrive; later ones are new, a looped clip's too
_OUT_OF_ORDER_S = 1.0  # seconds by which packets are out of order
_DAMAGED_S = 3.0  # seconds from the first to the latest of damaged pictures alone, ...
_DAMAGED = 3  # ... and so many of them, after as many whole ones: the parameters have changed

Due = Callable[[float | None], bool]
_Key = tuple[int | None, int, int]


class SegmentWatch:
    """Of one source, over all its connections; used in its thread. For sources that are not HLS it does nothing."""

    def __init__(self, address: SourceAddress) -> None:
        self._address, self._active = address, address.kind == "hls" and address.live
        self._latest: deque[tuple[float | None, _Key]] = deque(
            maxlen=_REMEMBERED
        )  # with the times of the packets, seconds
        self.connected()

    def connected(self) -> None:
        """A new connection begins."""
        self._before, self._first_at = self._tail(), math.inf
        self._old: set[int | None] = set()  # presentation times of packets that a connection before gave
        self._old_turn = self._shown = False
        self._whole = 0  # pictures
        self._damaged = 0  # pictures in a row
        self._damaged_from = 0.0  # pts_s

    def note(self, packet: Any, now: float) -> None:
        """A packet came (av.Packet). now: seconds of a monotonic clock."""
        if not self._active or not packet.size:
            return
        seconds = None if packet.pts is None else float(packet.pts * packet.time_base)
        key = packet.pts, packet.size, zlib.crc32(packet)
        self._first_at = min(self._first_at, now)
        if key in self._before and now - self._first_at <= _BURST_S:
            self._old.add(packet.pts)
        else:
            self._latest.append((seconds, key))

    def _tail(self) -> frozenset[_Key]:
        """The newest packets, back to where the stream's clock began anew: a packager that restarts a clip begins with the same packets."""
        tail, newest, earliest = list[_Key](), -math.inf, math.inf
        for seconds, key in reversed(self._latest):
            if seconds is not None:
                newest = seconds if math.isinf(newest) else newest
                if seconds > earliest + _OUT_OF_ORDER_S or seconds < newest - _TAIL_S:
                    break
                earliest = min(earliest, seconds)
            tail.append(key)
        return frozenset(tail)

    def is_old(self, pts: int | None) -> bool:
        """Whether the picture whose turn it is was given by a connection before."""
        self._old_turn = pts in self._old
        return self._old_turn

    def asked(self, due: Due | None) -> Due | None:
        """What is asked whether the picture whose turn it is is wanted: none that is old, always the first of the others."""
        if due is None or not self._active:
            return due
        return lambda pts_s: not self._old_turn and (not self._shown or due(pts_s))

    def picture(self, pts_s: float | None, *, damaged: bool) -> None:
        """A picture that is not old was decoded. Raises SourceLost if the stream's parameters have changed."""
        self._shown = True
        if not self._active or pts_s is None:
            return
        if not damaged:
            self._whole, self._damaged = self._whole + 1, 0
            return
        if not self._damaged:
            self._damaged_from = pts_s
        self._damaged += 1
        if self._whole >= _DAMAGED <= self._damaged and pts_s - self._damaged_from > _DAMAGED_S:
            raise codec_changed(self._address)

    def explained(self, error: SourceError) -> SourceError:
        """Why the connection ended: if it gave old pictures alone, that."""
        if not self._old or self._shown:
            return error
        return SourceLost(
            f"{self._address.redacted}: the playlist stands still: its newest segment is recorded already; is the encoder on?"
        )
