"""The prft boxes of fragmented MP4, which FFmpeg ignores: when the pictures of a fragment were taken.

A prft box precedes a fragment (moof). It gives a clock's NTP time at a media time of one track (ISO/IEC 14496-12, 8.16.5). Boxes are
skipped by their sizes, so that only a few dozen bytes of a fragment are read. Damaged bytes are never a failure: an unreadable prft box
is counted, and nothing is read beyond a box with an impossible size.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, NamedTuple

_HEADER = struct.Struct(">I4s")  # size, kind
_LARGE_SIZE = 8  # bytes of a size beyond 4 GB, after the header
_PRFT = (struct.Struct(">B3sIQI"), struct.Struct(">B3sIQq"))  # version 0 and 1: flags, track, NTP stamp, media time
_SIDX = struct.Struct(">B3xIIQ")  # version, track, units per second, earliest time (of 32 bits in version 0)
_NTP_EPOCH = -2_208_988_800  # 1900 in Unix seconds
_NTP_ERA = 1 << 32  # seconds; the next era begins in February 2036, and no stamp is older than ...
_NTP_FIRST = 1 << 31  # ... January 1968 in this one (RFC 4330, section 3)
_ARBITRARY = 8  # flags: the clock runs evenly, but does not show the time of day
# Fields of trun's flags (8.8.8): what comes before the first sample's offset from its decoding time, and whether that is there.
_BEFORE_OFFSET, _HAS_OFFSET = (0x001, 0x004, 0x100, 0x200, 0x400), 0x800
_PATIENCE = 512  # boxes without a dated fragment, after which the search ends
_PARTS = 64  # boxes inside another box that are read; a track's description has about five


@dataclass(frozen=True)
class Reference:
    """The source's clock, Unix seconds, at `media_time`, in units of the track."""

    media_time: int
    unix_s: float


@dataclass(frozen=True)
class Fragment:
    """A fragment with samples of the track. position: its first byte. first: media time of its first sample, if stated."""

    position: int
    first: int | None
    reference: Reference | None


class FragmentReader:
    """The fragments of a file that have a reference for one track, and the first fragment. damaged: unreadable prft boxes so far.

    index_start_s: where the track begins on its own clock, seconds, by the index of DASH (sidx), once a fragment was read; else 0.
    """

    def __init__(self, file: BinaryIO, track: int) -> None:
        """track: its number in the file (track_ID). The caller opens and closes `file`, which must be seekable."""
        self._file, self._track = file, track
        self.damaged = 0
        self.index_start_s = 0.0

    def __iter__(self) -> Iterator[Fragment]:
        """Reads the file lazily. Raises OSError."""
        reference, is_first, patience = None, True, _PATIENCE
        for box in _boxes(self._file, 0, self._file.seek(0, 2)):
            patience -= 1
            if box.kind == b"prft":
                reference = self._reference(box) or reference
            elif box.kind == b"sidx" and is_first and not self.index_start_s:
                self.index_start_s = self._index_start(box)
            elif box.kind == b"moof" and (reference or is_first) and (track := self._track_in(box)):
                yield Fragment(box.start, _first_sample(self._file, track), reference)
                reference, is_first, patience = None, False, _PATIENCE
            if not patience:
                return

    def _reference(self, box: "_Box") -> Reference | None:
        """The reference in a prft box; None if it is unreadable, about another track, or not about the time of day."""
        data = _content(self._file, box, _PRFT[1].size)
        layout = _PRFT[data[0]] if data and data[0] < len(_PRFT) else None
        if layout is None or len(data) < layout.size:
            self.damaged += 1
            return None
        _, flags, track, stamp, media_time = layout.unpack_from(data)
        if track != self._track or not stamp or flags[2] == _ARBITRARY:
            return None
        return Reference(media_time, unix_of_ntp(stamp))

    def _index_start(self, box: "_Box") -> float:
        """The start time in a sidx box, seconds; 0 if it is unreadable or about another track (8.16.3)."""
        data = _content(self._file, box, _SIDX.size)
        if len(data) < _SIDX.size:
            return 0.0
        version, track, timescale, start = _SIDX.unpack(data)
        return (start if version else start >> 32) / timescale if track == self._track and timescale else 0.0

    def _track_in(self, fragment: "_Box") -> "_Box | None":
        """The part of a fragment that belongs to the track."""
        for part in islice(_boxes(self._file, fragment.body, fragment.end), _PARTS):
            if part.kind == b"traf":
                head = next(_boxes(self._file, part.body, part.end), None)
                if head and int.from_bytes(_content(self._file, head, 8)[4:]) == self._track:
                    return part
        return None


def unix_of_ntp(stamp: int) -> float:
    """Unix seconds of a 64-bit NTP time stamp, from 1968 until 2104."""
    seconds, fraction = divmod(stamp, _NTP_ERA)
    if seconds < _NTP_FIRST:
        seconds += _NTP_ERA
    return seconds + _NTP_EPOCH + fraction / (1 << 32)


def _first_sample(file: BinaryIO, track: "_Box") -> int | None:
    """Media time at which the first sample of a fragment's track is shown: its decoding time (tfdt), and its offset from it (trun)."""
    decoded: int | None = None
    for box in islice(_boxes(file, track.body, track.end), _PARTS):
        if box.kind == b"tfdt":
            data = _content(file, box, 12)
            decoded = int.from_bytes(data[4:8] if data[:1] == b"\0" else data[4:])
        elif box.kind == b"trun":
            data = _content(file, box, 32)
            flags = int.from_bytes(data[1:4])
            at = 8 + 4 * sum(1 for field in _BEFORE_OFFSET if flags & field)
            offset = int.from_bytes(data[at : at + 4], signed=True) if flags & _HAS_OFFSET else 0
            return None if decoded is None else decoded + offset
    return None


class _Box(NamedTuple):
    kind: bytes
    start: int
    body: int
    end: int


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[_Box]:
    """The consecutive boxes between two bytes of a file, up to the first with an impossible size."""
    while start + _HEADER.size <= end:
        header = _read(file, start, _HEADER.size + _LARGE_SIZE)
        if len(header) < _HEADER.size:
            return  # the file has become shorter
        size, kind = _HEADER.unpack_from(header)
        body = start + _HEADER.size
        if size == 1:
            body, size = body + _LARGE_SIZE, int.from_bytes(header[_HEADER.size :])
        stop = start + size if size else end
        if not body <= stop <= end:
            return
        yield _Box(kind, start, body, stop)
        start = stop


def _content(file: BinaryIO, box: _Box, most: int) -> bytes:
    return _read(file, box.body, min(most, box.end - box.body))


def _read(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)
