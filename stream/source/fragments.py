"""The boxes of fragmented MP4 that FFmpeg reads over: what time it was when a fragment's pictures were taken (prft).

A prft box stands before a fragment (moof) and says what a clock showed, as NTP writes it, at a media time of one track (ISO/IEC
14496-12, 8.16.5). Boxes are gone through by their sizes, so that a few dozen bytes of a fragment are read. Damaged bytes are never a
failure: a prft box that cannot be read is counted, and nothing is read beyond a box whose size cannot be right. Of a live stream, which
goes by once, what comes before each fragment's samples is kept (`PassingFragments`) and read as a small file of its own.
"""

import io
import math
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
_PATIENCE = 512  # boxes without a dated fragment among them after which a file is taken to have no more
_PARTS = 64  # boxes inside another that are looked at; a track's description has five or so
_LONGEST = 1 << 18  # bytes of a box that is kept; a moof says 16 or fewer of each of its samples
_STAMPS, _HEADS = 8, 64  # prft boxes before a fragment, and fragments whose packets have not come yet, that are kept


@dataclass(frozen=True)
class Reference:
    """What the source's clock showed, Unix seconds, at `media_time`, in units of the track."""

    media_time: int
    unix_s: float


@dataclass(frozen=True)
class Fragment:
    """A fragment with samples of the track. position: the byte at which it begins. first: media time of its first sample, where it says."""

    position: int
    first: int | None
    reference: Reference | None


class FragmentReader:
    """The fragments of a file that have a reference for one track, and the very first one. damaged: prft boxes so far that say nothing.

    index_start_s: where the track begins on its own clock, seconds, by the index of DASH (sidx), once a fragment was read; else 0.
    """

    def __init__(self, file: BinaryIO, track: int) -> None:
        """track: its number in the file (track_ID). Whoever opened `file`, which must be seekable, closes it."""
        self._file, self._track = file, track
        self.damaged = 0
        self.index_start_s = 0.0

    def __iter__(self) -> Iterator[Fragment]:
        """Reads on as it is asked. Raises OSError."""
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
        """What a prft box says of the track; None of one that says nothing, is about another track, or not about the time of day."""
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
        """What a sidx box says of the track; 0 of one that says nothing, or is about another track (8.16.3)."""
        data = _content(self._file, box, _SIDX.size)
        if len(data) < _SIDX.size:
            return 0.0
        version, track, timescale, start = _SIDX.unpack(data)
        return (start if version else start >> 32) / timescale if track == self._track and timescale else 0.0

    def _track_in(self, fragment: "_Box") -> "_Box | None":
        """The part of a fragment that is about the track."""
        for part in islice(_boxes(self._file, fragment.body, fragment.end), _PARTS):
            if part.kind == b"traf":
                head = next(_boxes(self._file, part.body, part.end), None)
                if head and int.from_bytes(_content(self._file, head, 8)[4:]) == self._track:
                    return part
        return None


@dataclass(frozen=True)
class FragmentHead:
    """What comes before the samples of a fragment, as bytes. position: its first byte in the stream. arrived: Unix seconds."""

    position: int
    arrived: float
    data: bytes

    def fragment(self, track: int) -> Fragment | None:
        """The fragment; None when it has no samples of the track."""
        found = next(iter(FragmentReader(io.BytesIO(self.data), track)), None)
        return None if found is None else replace(found, position=self.position)


class PassingFragments:
    """The fragments of a stream whose bytes go by once. heads: the newest ones, in order; whoever reads them takes them away.

    announced: the stream said at its beginning that fragments follow (mvex), though that may describe the first pictures itself.
    """

    def __init__(self) -> None:
        self.announced = False
        self.heads: deque[FragmentHead] = deque(maxlen=_HEADS)
        self._stamps: deque[bytes] = deque(maxlen=_STAMPS)  # the prft boxes since the latest fragment
        self._kept = bytearray()  # of the box that is going by
        self._taken = 0  # bytes so far
        self._skip = (
            0.0  # further bytes of no use: the rest of a box, or (infinite) all after one whose size cannot be right
        )

    def take(self, data: bytes, now: float) -> None:
        """The stream's next bytes, which came at `now` (Unix seconds)."""
        at = 0
        while at < len(data):
            skipped = int(min(self._skip, len(data) - at))
            more = data[at + skipped : at + skipped + self._wanted() - len(self._kept)]
            self._kept += more
            self._skip -= skipped
            self._taken += skipped + len(more)
            at += skipped + len(more)
            if len(self._kept) == self._wanted():
                self._box(bytes(self._kept), now)
                self._kept.clear()

    def _wanted(self) -> int:
        """How many bytes of the box that is going by are kept, as far as those that are say it."""
        header = _header(self._kept)
        if header is None:
            return _HEADER.size + (_LARGE_SIZE if len(self._kept) >= _HEADER.size else 0)
        whole = header.kind in (b"prft", b"moof", b"moov") and header.length <= header.size <= _LONGEST
        return header.size if whole else header.length

    def _box(self, data: bytes, now: float) -> None:
        header = _header(data)
        assert header is not None, "so much of it was wanted at least"
        whole = len(data) == header.size
        if header.kind == b"prft" and whole:
            self._stamps.append(data)
        elif header.kind == b"moov" and whole:
            parts = islice(_boxes(io.BytesIO(data), header.length, header.size), _PARTS)
            self.announced = any(part.kind == b"mvex" for part in parts)
        elif header.kind == b"moof":
            if whole:
                self.heads.append(FragmentHead(self._taken - len(data), now, b"".join((*self._stamps, data))))
            self._stamps.clear()
        self._skip = header.size - len(data) if header.size >= header.length else math.inf


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


class _Header(NamedTuple):
    kind: bytes
    size: int  # bytes of the box, header included; 0: up to the end of the file
    length: int  # bytes of the header


def _header(data: bytes | bytearray) -> _Header | None:
    """The header at the beginning of `data`; None while it is not complete."""
    if len(data) < _HEADER.size:
        return None
    size, kind = _HEADER.unpack_from(data)
    if size != 1:
        return _Header(kind, size, _HEADER.size)
    length = _HEADER.size + _LARGE_SIZE
    return None if len(data) < length else _Header(kind, int.from_bytes(data[_HEADER.size : length]), length)


class _Box(NamedTuple):
    kind: bytes
    start: int
    body: int
    end: int


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[_Box]:
    """The boxes that lie one after another between two bytes of a file, up to the first whose size cannot be right."""
    while start + _HEADER.size <= end:
        header = _header(_read(file, start, _HEADER.size + _LARGE_SIZE))
        if header is None:
            return  # the file has become shorter
        body, stop = start + header.length, start + header.size if header.size else end
        if not body <= stop <= end:
            return
        yield _Box(header.kind, start, body, stop)
        start = stop


def _content(file: BinaryIO, box: _Box, most: int) -> bytes:
    return _read(file, box.body, min(most, box.end - box.body))


def _read(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)
