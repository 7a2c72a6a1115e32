"""The wait for the first picture of a connection, which a key frame begins: some cameras send one in half a minute. While data comes, such
a camera is not dead.

FFmpeg analyses a stream when it is opened. For H.264 over RTSP that does not state how far pictures are reordered, and for slow streams in
MPEG-TS, that takes until the first key frame. The open timeout ends it in the middle of a packet, so such an address is opened
again without analysis, as from then on.
"""

from typing import TYPE_CHECKING, Any

from afterview.stream.errors import SourceTimeout
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.events import Waiting

if TYPE_CHECKING:
    import av

WITHOUT_ANALYSIS = {"probesize": "32"}
"""FFmpeg's options: it takes the first packet and looks no further."""

_FIRST_NOTICE_S = 3.0  # after that a person asks what is the matter; most cameras send a key frame in less
_EVERY_S = 1.0

_far: set[str] = set()  # URLs whose analysis the open timeout ended; of the whole process


def key_frames_are_far(url: str) -> bool:
    """Whether this address was once opened in vain because its key frames are far apart."""
    return url in _far


def remember_far(url: str) -> None:
    """From now on, `key_frames_are_far`."""
    _far.add(url)


def forget_far(url: str) -> None:
    """It was something else: nothing came at all."""
    _far.discard(url)


class FirstPicture:
    """Counts what came of one connection's video before its first picture. Used in the connection's thread."""

    def __init__(self, address: SourceAddress, limit_s: float, stream_index: int, now: float) -> None:
        """limit_s: how long data may come without a key frame. now: monotonic seconds."""
        self._address, self._limit_s, self._index = address, limit_s, stream_index
        self._began = self._data_at = now
        self._due = now + _FIRST_NOTICE_S  # the next notice
        self._notable_s = _FIRST_NOTICE_S
        self._packets = self._bytes = self._key_frames = 0
        self._key_at: float | None = None  # when the first key frame came

    def note(self, packet: "av.Packet[Any]", now: float) -> None:
        """A packet came."""
        if packet.stream_index != self._index or not packet.size:
            return
        self._packets += 1
        self._bytes += packet.size
        self._data_at = now
        if packet.is_keyframe:
            self._key_frames += 1
            self._key_at = now if self._key_at is None else self._key_at

    def silent_s(self, now: float) -> float:
        """How long nothing came that explains the wait: since the first key frame, whose picture should follow, or since the last data."""
        return now - (self._data_at if self._key_at is None else self._key_at)

    def require(self, now: float) -> None:
        """Raise SourceTimeout when the wait is over."""
        if now - self._began > self._limit_s:
            raise SourceTimeout(
                f"{self._address.redacted}: no key frame within {self._limit_s:g} s, though data comes ({self.came()}); set a shorter key "
                "frame interval (GOP) in the camera, or wait longer with --first-picture-timeout"
            )

    def came(self) -> str:
        """What came so far, for people."""
        key_frames = f"{self._key_frames or 'no'} key frame{'s' * (self._key_frames != 1)}"
        return f"{self._packets} packet{'s' * (self._packets != 1)}, {self._bytes / 1000:.0f} kB, {key_frames}"

    def notice(self, now: float) -> Waiting | None:
        """What to say now, every second from the third on, if no key frame came yet."""
        if self._key_at is not None or not self._packets or now < self._due:
            return None
        waited_s = now - self._began
        notable = waited_s >= self._notable_s
        if notable:
            self._notable_s = 2 * waited_s
        self._due = now + _EVERY_S
        return Waiting(
            f"{self._address.redacted}: data comes, but no key frame yet: waiting; it has been {waited_s:.0f} s of {self._limit_s:g} s at "
            "most; set a shorter key frame interval (GOP) in the camera",
            notable,
        )
