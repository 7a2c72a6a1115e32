"""Reads one source as a sequence of events, and reconnects for ever when a live one fails.

Threads: `read_events` is a plain generator that runs in its source's one decode thread; nothing in it is shared but the `stop`
event. Whoever closes the generator, or drops it, closes the connection.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator

from stream.address import SourceAddress
from stream.backoff import Backoff
from stream.errors import NotAVideo, SourceError, SourceLost
from stream.events import Ended, Event, Frame, Lost, Opened, Picture, Retry, TimeBasis
from stream.sources import Connection, Decoded, SourceConfig, Wait

__all__ = ["Ended", "Event", "Frame", "Lost", "Opened", "Picture", "Retry", "SourceConfig", "read_events"]


def read_events(
    address: SourceAddress,
    config: SourceConfig,
    *,
    stop: threading.Event,
    keep_trying: bool = False,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Wait | None = None,
    dice: random.Random | None = None,
) -> Iterator[Event]:
    """The events of `address` (their order: see `stream.events`), until a recording ends or `stop` is set.

    A recording ends with Ended. A live source is reconnected to for ever once its first frame was seen; before that its failure is
    raised (a SourceError), unless `keep_trying`. `stop` is honoured at the next packet, so within the open or the read timeout.
    clock: Unix seconds. monotonic: seconds for waiting and timeouts. sleep: how to wait; by default until `stop` at most.
    """
    reader = _Reader(address, config, stop, clock, monotonic, sleep or stop.wait)
    return reader.live(Backoff(config.backoff, dice), keep_trying) if address.live else reader.recording()


class _Reader:
    """What every connection to one source has in common."""

    def __init__(
        self,
        address: SourceAddress,
        config: SourceConfig,
        stop: threading.Event,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        sleep: Wait,
    ) -> None:
        self._address, self._config, self._stop = address, config, stop
        self._clock, self._monotonic, self._sleep = clock, monotonic, sleep
        self._damaged = 0  # packets of the current connection

    def recording(self) -> Iterator[Event]:
        """Opened, frames, Ended. Raises NotAVideo when not one frame can be decoded."""
        frames = 0
        with self._connect() as connection:
            for event in self._events(connection):
                frames += isinstance(event, Frame)
                yield event
            if self._stop.is_set():
                return
            if not frames:
                raise NotAVideo(
                    f"{self._address.redacted}: not one picture in it can be decoded ({connection.ending()})"
                )
            yield Ended(connection.ending(), frames, connection.damaged)

    def live(self, backoff: Backoff, keep_trying: bool) -> Iterator[Event]:
        """Opened, frames, Lost, Retry, Opened ... for ever; Ended only for a recording behind a live kind of address."""
        patient, down = keep_trying, False
        was_live = False
        while not self._stop.is_set():
            began: float | None = None  # when the first picture of this connection came
            self._damaged = 0
            try:
                with self._connect() as connection:
                    if connection.finite and was_live:
                        raise SourceLost(f"{self._address.redacted}: the broadcast is over; waiting for the next")
                    for event in self._events(connection):
                        if isinstance(event, Opened):
                            began = self._monotonic()
                            patient, down, was_live = True, False, not connection.finite
                        yield event
                    if self._stop.is_set():
                        return
                    if connection.finite and began is not None:
                        yield Ended(connection.ending(), damaged=connection.damaged)
                        return
                failure: SourceError = SourceLost(f"{self._address.redacted}: the stream ended")
            except SourceError as error:
                failure = error
            if self._stop.is_set():
                return
            if not patient:
                raise failure
            if began is not None:
                backoff.connection_ended(self._monotonic() - began)
            if not down:
                down = True
                yield Lost(str(failure), self._clock(), self._damaged)
            delay_s = backoff.next_delay()
            yield Retry(backoff.attempt, delay_s, str(failure))
            self._sleep(delay_s)

    def _connect(self) -> Connection:
        return Connection(self._address, self._config, wait=self._sleep, monotonic=self._monotonic)

    def _events(self, connection: Connection) -> Iterator[Opened | Frame]:
        """Opened as soon as there is a picture, then the pictures."""
        opened = False
        for decoded in connection.frames(self._stop):
            if not opened:
                opened = True
                about, picture = connection.about, decoded.picture
                yield Opened(about.codec, picture.width, picture.height, about.rate, about.start_time)
            self._damaged = connection.damaged
            yield Frame(
                decoded.pts_s,
                self._clock(),
                decoded.source_time,
                self._basis(decoded),
                decoded.picture,
                connection.damaged,
            )

    def _basis(self, decoded: Decoded) -> TimeBasis:
        if not self._address.live:
            return "file"
        return "arrival" if decoded.source_time is None else "source"
