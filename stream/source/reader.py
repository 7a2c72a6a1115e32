"""Reads one source as a sequence of events, and reconnects without end when a live source fails.

Threads: `read_events` is a plain generator that runs in its source's decode thread; it shares only the `stop` event. Closing or
dropping the generator closes the connection.
"""

import random
import threading
import time
from collections.abc import Callable, Generator, Iterator

from afterview.stream.errors import BadUrl, NotAVideo, SourceError, SourceLost
from afterview.stream.source.address.address import SourceAddress
from afterview.stream.source.backoff import Backoff
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.connection import Connection, Due, Wait
from afterview.stream.source.events import Ended, Event, Frame, Lost, Opened, Passed, Picture, Retry, Waiting
from afterview.stream.source.geometry import describe_angle
from afterview.stream.source.open_source import open_source
from afterview.stream.source.pictures.pictures import PictureConnection
from afterview.stream.source.recordings.animation import is_animated_webp, read_animation
from afterview.stream.source.segments import SegmentWatch

__all__ = [
    "Ended", "Event", "Frame", "Lost", "Opened", "Passed", "Picture", "Retry", "SourceConfig", "Waiting", "read_events",
]  # fmt: skip


def read_events(
    address: SourceAddress,
    config: SourceConfig,
    *,
    stop: threading.Event,
    keep_trying: bool = False,
    due: Due | None = None,
    instead: Due | None = None,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Wait | None = None,
    dice: random.Random | None = None,
) -> Iterator[Event]:
    """The events of `address` (their order: see `stream.source.events`), until a recording ends or `stop` is set.

    A recording ends with Ended. The reader reconnects to a live source without end once its first frame was seen; before that its failure
    is raised (a SourceError), unless `keep_trying`. `stop` takes effect at the next packet, so within the open or the read timeout.
    due: whether the next frame, at this `pts_s`, is wanted; others are Passed, and are not decoded unless they are needed. None: all are.
    instead: whether it is wanted though it is not due, unless it is known to be damaged.
    clock: Unix seconds. monotonic: seconds for waiting and timeouts. sleep: how to wait; by default until `stop` at most.
    """
    if address.kind == "file" and is_animated_webp(address.url):  # FFmpeg shows its first picture at most
        return read_animation(address, stop=stop, clock=clock)
    reader = _Reader(address, config, stop, due, instead, clock, monotonic, sleep or stop.wait)
    return reader.live(Backoff(config.backoff, dice), keep_trying) if address.live else reader.recording()


class _Reader:
    """State that outlives one connection to a source."""

    def __init__(
        self,
        address: SourceAddress,
        config: SourceConfig,
        stop: threading.Event,
        due: Due | None,
        instead: Due | None,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        sleep: Wait,
    ) -> None:
        self._address, self._config, self._stop, self._due = address, config, stop, due
        self._instead = instead
        self._clock, self._monotonic, self._sleep = clock, monotonic, sleep
        self._segments = SegmentWatch(address)
        self._was_live = False  # a live connection, not a recording's, has given pictures
        self._first_picture_at: float | None = None  # of the present connection, as are these:
        self._frames = 0
        self._damaged = 0  # packets

    def recording(self) -> Iterator[Event]:
        """Opened, frames, Ended. Raises NotAVideo when not one frame can be decoded."""
        with self._connect() as connection:
            yield from self._events(connection)
            if self._stop.is_set():
                return
            if not self._frames:
                raise NotAVideo(
                    f"{self._address.redacted}: not one picture in it can be decoded ({connection.ending()})"
                )
            yield Ended(connection.ending(), self._frames, connection.damaged, connection.lacking())

    def live(self, backoff: Backoff, keep_trying: bool) -> Iterator[Event]:
        """Opened, frames, Lost, Retry, Opened ... without end; Ended only for a recording behind a live kind of address."""
        down = False  # Lost was sent, and no picture came since
        while True:
            failure = yield from self._one_connection()
            if failure is None or self._stop.is_set():
                return
            if not (keep_trying or self._was_live) or isinstance(failure, BadUrl):
                raise failure
            if self._first_picture_at is not None:
                down = False
                backoff.connection_ended(self._monotonic() - self._first_picture_at)
            if not down:
                down = True
                yield Lost(str(failure), self._clock(), self._damaged)
            delay_s = backoff.next_delay()
            yield Retry(backoff.attempt, delay_s, str(failure))
            self._sleep(delay_s)

    def _one_connection(self) -> Generator[Event, None, SourceError | None]:
        """Events of one connection to a live source. Returns why it failed; None if it was stopped or a recording ended."""
        self._first_picture_at, self._damaged = None, 0
        if self._stop.is_set():
            return None
        try:
            with self._connect() as connection:
                if connection.finite and self._was_live:
                    return SourceLost(
                        f"{self._address.redacted}: the live stream became a finished recording; waiting for a live stream"
                    )
                for event in self._events(connection):
                    if self._first_picture_at is None and not isinstance(event, Waiting):
                        self._first_picture_at = self._monotonic()
                        self._was_live = not connection.finite
                    yield event
                if self._stop.is_set():
                    return None
                if connection.finite and self._first_picture_at is not None:
                    yield Ended(connection.ending(), self._frames, connection.damaged)
                    return None
                if isinstance(connection, PictureConnection):
                    return SourceLost(f"{self._address.redacted}: {connection.ending()}")
        except SourceError as error:
            return self._segments.explained(error)
        return SourceLost(f"{self._address.redacted}: the stream ended")

    def _connect(self) -> Connection | PictureConnection:
        self._segments.connected()
        return open_source(
            self._address,
            self._config,
            stop=self._stop,
            wait=self._sleep,
            segments=self._segments,
            monotonic=self._monotonic,
            clock=self._clock,
        )

    def _events(self, connection: Connection | PictureConnection) -> Iterator[Opened | Frame | Passed | Waiting]:
        """Opened with the first picture, then the pictures."""
        self._frames = 0
        try:
            for frame in connection.frames(self._stop, self._due, self._instead):
                if isinstance(frame, Waiting):
                    yield frame
                    continue
                if self._frames == 0 and isinstance(frame, Frame):  # the first always is
                    about, shown = connection.about, frame.picture.shown
                    start, own_clock = connection.start_time, connection.own_clock
                    yield Opened(
                        about.codec, *shown.size, about.rate, start, own_clock, connection.delay_s, connection.offered,
                        describe_angle(shown), connection.longest_step_s,
                    )  # fmt: skip
                self._frames += 1
                yield frame
        finally:
            self._damaged = connection.damaged
