"""A source that sends single pictures over HTTP: motion JPEG, or one picture per request. Read here, decoded by FFmpeg's decoders.

Every picture is complete in itself and is dated by its arrival, that of its first byte. So a picture is recorded when it is there, at
whatever pace they come.

Threads: a connection belongs to the thread that opened it.
"""

import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, cast

import av

from afterview.stream.errors import NotAVideo
from afterview.stream.source.decoding.damage import STRICT
from afterview.stream.source.events import Frame, Lacking, Passed, Picture
from afterview.stream.source.offered import OfferedStream
from afterview.stream.source.pictures.jpeg_end import WHOLE_FILES, Decoded
from afterview.stream.source.pictures.parts import Found

_GIVE_UP_AFTER = 16  # pictures in a row, from the first one on, that cannot be decoded
_CUT_IS_USUAL = 3  # pictures in a row, from the first one on, without an end: the camera never writes one

Due = Callable[[float | None], bool]


@dataclass(frozen=True)
class PictureAbout:
    """What is known of the stream when its first picture came; see stream.source.opening.opening.About."""

    codec: str = "mjpeg"
    rate: float | None = None


class PictureFeed(Protocol):
    """Where the pictures come from. note: what users should know of the source, for people, or ''."""

    note: str
    longest_step_s: float

    def pictures(self) -> Iterator[Found]:
        """The pictures as they come; their `at` is on the monotonic clock. Raises SourceError."""

    def ending(self) -> str:
        """What was skipped, for people, or ''."""

    def close(self) -> None:
        """Close the connection."""


class PictureConnection:
    """An open source of pictures, with the interface of stream.source.connection.Connection."""

    finite = False
    own_clock = False
    start_time: float | None = None
    delay_s = 0.0
    offered: tuple[OfferedStream, ...] = ()

    def __init__(
        self,
        feed: PictureFeed,
        shown: str,
        *,
        decoder_threads: int,
        monotonic: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        """shown: the address for people. clock: Unix seconds."""
        self._feed, self._shown, self._threads = feed, shown, decoder_threads
        self._monotonic, self._unix_time = monotonic, clock
        self.about = PictureAbout()
        self.damaged = self.decoded = 0
        self._contexts: dict[tuple[Decoded, bool], av.VideoCodecContext] = {}
        self._latest: tuple[bytes, av.VideoFrame, bool] | None = None
        self._whole = self._cut = 0  # pictures

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._feed.close()

    @property
    def longest_step_s(self) -> float:
        """How far apart the pictures may be."""
        return self._feed.longest_step_s

    def ending(self) -> str:
        """How the connection ended, for people."""
        return "; ".join(filter(None, ["the stream ended", self._feed.ending()]))

    def lacking(self) -> Lacking:
        """Nothing is known to be missing."""
        return Lacking()

    def frames(
        self, stop: threading.Event, due: Due | None = None, instead: Due | None = None
    ) -> Iterator[Frame | Passed]:
        """The pictures, as they come, until `stop`; see Connection.frames. Raises SourceLost, SourceTimeout, NotAVideo."""
        began: float | None = None
        newest = 0.0
        for found in self._feed.pictures():
            if stop.is_set():
                return
            whole = self._counts(found)
            pts_s = 0.0 if began is None else max(found.at - began, newest)
            arrival = self._unix_time() - (self._monotonic() - found.at)
            wanted = began is None or due is None or due(pts_s)
            if not (wanted or (whole and instead is not None and instead(pts_s))):
                newest = pts_s
                yield Passed(pts_s, arrival, None, self.damaged)
                continue
            decoded = self._decode(found, whole)
            if decoded is None:
                continue
            frame, sound = decoded
            if began is None:
                began, self.about = found.at, PictureAbout(found.kind)
            newest = pts_s
            yield Frame(
                pts_s,
                arrival,
                None,
                Picture(frame),
                self.damaged,
                picture_damaged=not (whole and sound),
                note=self._feed.note,
            )

    def _counts(self, found: Found) -> bool:
        """Whether the picture is whole. Others are counted as damaged, except those of a camera that never writes the end."""
        if not found.cut:
            self._whole += 1
            return True
        self._cut += 1
        if not self._whole and self._cut >= _CUT_IS_USUAL:
            return True
        self.damaged += 1
        return False

    def _decode(self, found: Found, whole: bool) -> tuple[av.VideoFrame, bool] | None:
        """The picture, and whether its decoder found nothing wrong with it. whole: it is not counted as damaged yet."""
        if self._latest is not None and self._latest[0] == found.data:
            return self._latest[1], self._latest[2]
        self.decoded += 1
        frames, sound = self._decode_by(found, strict=True), True
        if not frames:
            frames, sound = self._decode_by(found, strict=False), False
        if not frames:
            self.damaged += whole
            if self._latest is None and self.damaged >= _GIVE_UP_AFTER:
                raise NotAVideo(f"{self._shown}: its pictures cannot be decoded ({found.kind})")
            return None
        self.damaged += whole and not sound  # others were counted
        self._latest = found.data, frames[-1], sound
        return frames[-1], sound

    def _decode_by(self, found: Found, *, strict: bool) -> list[av.VideoFrame]:
        """strict: not if a part is missing. FFmpeg otherwise fills it, and does not say so."""
        if found.kind in WHOLE_FILES:
            return _decode_file(found.data) if strict else []
        kind = cast("Decoded", found.kind)
        context = self._contexts.get((kind, strict))
        if context is None:
            context = self._contexts[kind, strict] = av.VideoCodecContext.create(kind, "r")
            context.thread_count, context.options = self._threads, STRICT if strict else {}
        try:
            return context.decode(av.Packet(found.data))
        except (av.FFmpegError, ValueError):
            return []


def _decode_file(data: bytes) -> list[av.VideoFrame]:
    """The first picture of a file."""
    try:
        with av.open(io.BytesIO(data), "r", metadata_errors="replace") as container:
            return [next(container.decode(video=0))]
    except (av.FFmpegError, ValueError, OSError, IndexError, StopIteration):
        return []
