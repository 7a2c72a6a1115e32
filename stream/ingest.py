"""How one camera's video becomes memory. Three stages, each its own thread, joined by bounded queues.

    decode (one per source)  --Sampled-->  encode (one for all cameras)  --FrameRecord-->  write (one per camera)
                            DropOldest (live) or Blocking (recordings)      Blocking

Threads: `decode` owns PyAV, the sampler and the clock; `encode` owns the encoders; `write` owns the repository. They share
nothing but the queues and the counters of IngestStats, each of which one thread writes.
"""

import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from configs import UsageError
from memory.errors import RequestRefused
from memory.orders import Order
from memory.records import FrameRecord, TimeBasis
from memory.repository import Acknowledgement, Repository
from memory.settings import read_settings
from model.preprocess import to_square
from stream.address import SourceAddress
from stream.clock import LiveClock, RecordedClock
from stream.control import ControlServer
from stream.events import Ended, Frame, Lost, Opened, Retry
from stream.mask import apply_masks
from stream.media import encode_jpeg
from stream.queues import Blocking, BoundedQueue, Closed, DropOldest
from stream.reader import read_events
from stream.sampler import Chosen, Sampler
from stream.sources import SourceConfig
from stream.upgrade import Upgrade
from stream.uploading import FINISH_UPLOAD_S, Uploader
from stream.writer import WRITE_QUEUE, CameraWriter, FeaturesOf, Interruption, Stored

if TYPE_CHECKING:  # built models are handed in: importing this module must not load torch
    from model.loaded import Encoders

LIVE_QUEUE_S = (
    16.0  # seconds of sampled frames that may wait for the encoder; more than an HLS segment, which comes at once
)
MOST_AHEAD_S = (
    60.0  # seconds that a camera's newest frame may lie ahead of the clock when a live source goes on from it
)
RECORDED_QUEUE = 32  # frames; two encoder batches
SMALLEST_IMAGE = 240  # pixels, short side of stored images: what a person needs to recognise a scene, 10-15 kB each


@dataclass(frozen=True)
class Sampled:
    """A frame chosen by the sampler, ready for the encoders. Pixels are uint8 RGB squares of each encoder's resolution."""

    time: float
    arrival_time: float
    source_time: float
    time_basis: TimeBasis
    token_pixels: NDArray[np.uint8]
    index_pixels: NDArray[np.uint8]
    image: bytes
    encoders: "Encoders"  # that it is to be encoded by


Item = Sampled | Interruption


@dataclass
class IngestStats:
    """Counters of one camera since its session began. Latencies: seconds from arrival to durable, of the latest frames."""

    state: str = "starting"  # starting | online | offline | paused | disk full | ended
    detail: str = ""
    sampled: int = 0
    recorded: int = 0
    reconnects: int = 0
    damaged: int = 0  # packets that could not be decoded, of the present connection
    last_time: float | None = None
    clock: str = ""  # why the source's own clock is not believed, where it is not
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=600))

    def median_latency(self) -> float:
        """Median of the latest latencies, seconds; NaN before the first frame."""
        return statistics.median(self.latencies) if self.latencies else math.nan


@dataclass(frozen=True)
class IngestConfig:
    """How one source is taken in."""

    address: SourceAddress
    fps: float = 1.0
    live: bool = True
    speed: float = math.inf  # of a recording: 1 is its own pace, inf as fast as it goes
    start: float | None = None  # Unix time of a recording's first frame
    keep_trying: bool = False
    sync_every_s: float = 0.0  # how long a frame may wait to be made durable; 0: not at all
    source: SourceConfig = field(default_factory=SourceConfig)


class CameraIngest:
    """One camera's three stages. The session runs `decode` and `write` in threads of their own and calls `encode_next`."""

    def __init__(
        self,
        config: IngestConfig,
        repository: Repository,
        encoders: "Encoders",
        work: threading.Condition,
        *,
        on_durable: Callable[[Sequence[Acknowledgement]], None] = lambda acknowledgements: None,
        on_state: Callable[["CameraIngest"], None] = lambda ingest: None,
    ) -> None:
        """work: the condition that the encode thread waits on, shared by all cameras. on_durable is called in the write thread."""
        self.config, self.repository, self.stats = config, repository, IngestStats()
        self._encoders = encoders  # replaced by the write thread when the camera goes over to another model
        self._handed = encoders  # whose features went to the writer last; encode thread
        self._upgrading = threading.Lock()
        self._on_durable, self._on_state = on_durable, on_state
        self.inbox = _inbox(config, work)
        self.outbox: Blocking[Stored] = Blocking(WRITE_QUEUE)
        self.settings = read_settings(repository.directory)  # replaced as a whole by the write thread, read by decode
        self._writer = CameraWriter(
            repository, self.outbox, on_stored=self._stored, on_full=self._full,
            drops=lambda: self.inbox.dropped, on_settings=self._read_settings, stopping=lambda: self.inbox.closed,
            sync_every_s=config.sync_every_s,
        )  # fmt: skip
        self.uploader: Uploader | None = None  # of the memory's store; runs while `write` does
        self._end_reason = "stopped"
        self._clock: LiveClock | RecordedClock | None = None
        self._held: list[tuple[Chosen, Frame]] = []  # chosen frames whose time is not known until the clock has settled
        if config.live:
            self._refuse_future()
            self._clock = LiveClock(after=repository.last_time, bursts=config.address.kind == "hls")

    def _refuse_future(self) -> None:
        """Live frames go after the newest one. Were that one far ahead of the clock, their times would all be wrong."""
        last, info = self.repository.last_time, self.repository.info
        if last is not None and last > time.time() + MOST_AHEAD_S:
            raise UsageError(
                f"camera '{info.id}': its newest frame lies in the future, at {info.show(last)} (a recording, "
                "or a clock that was wrong); watch into another --camera, or set this machine's clock"
            )

    def _say(self, state: str, detail: str = "") -> None:
        self.stats.state, self.stats.detail = state, detail
        self._on_state(self)

    # --- decode thread ---

    def decode(self, stop: threading.Event) -> None:
        """Read the source until it ends or `stop` is set. Raises the source's error."""
        config = self.config
        sampler = Sampler(config.fps)
        pace = _Pace(config.speed, stop)
        try:
            for event in read_events(config.address, config.source, stop=stop, keep_trying=config.keep_trying):
                match event:
                    case Frame():
                        self._take(event, sampler, pace)
                    case Opened():
                        self._connected(event, sampler)
                    case Lost():
                        self._release()
                        self.inbox.put(Interruption("lost"))
                        self._say("offline", event.reason)
                    case Retry():
                        self._say("offline", f"{event.reason}; next try in {event.delay_s:.1f} s")
                    case Ended():
                        self._end_reason = event.reason
            self._release()
        except Closed:
            pass  # the session is being stopped
        except BaseException:
            self._end_reason = "failed"
            raise
        finally:
            self.inbox.close()

    def _connected(self, event: Opened, sampler: Sampler) -> None:
        if isinstance(self._clock, LiveClock):
            self._clock.connected()
        else:
            self._clock = self._recorded_clock(event.start_time)
        self.stats.reconnects += self.stats.state == "offline" and self.stats.sampled > 0
        sampler.restart(nominal_rate=event.rate)
        self._say("online", f"{event.codec} {event.width}x{event.height}")

    def _recorded_clock(self, file_start: float | None) -> RecordedClock:
        last, info = self.repository.last_time, self.repository.info
        start = next(value for value in (self.config.start, file_start, time.time()) if value is not None)
        if last is not None and start <= last:
            raise UsageError(
                f"{self.config.address.redacted}: a recording that starts at {info.show(start)} lies before "
                f"the newest frame of camera '{info.id}' ({info.show(last)}); give a later --start or another --camera"
            )
        return RecordedClock(start, fps=self.config.fps)

    def _take(self, event: Frame, sampler: Sampler, pace: "_Pace") -> None:
        self.stats.damaged = event.damaged
        chosen = sampler.admit(event.pts_s)
        if chosen is not None and self._paused():
            chosen = None
        if chosen is not None:
            pace.wait_until(chosen.pts_s, restarted=chosen.discontinuity)
            self._held.append((chosen, event))
        if self._clock is not None:
            self._clock.observe(event.pts_s, event.arrival_time, event.source_time, event.reached_s)
            self._doubt_source_clock(event)
            if self._clock.settled or len(self._held) >= _live_capacity(self.config.fps):
                self._release()

    def _doubt_source_clock(self, event: Frame) -> None:
        """Say once that the source's clock is not believed."""
        if not isinstance(self._clock, LiveClock) or self._clock.disbelieved is None or self.stats.clock:
            return
        info, arrival = self.repository.info, event.arrival_time
        self.stats.clock = (
            f"its clock says {info.show(arrival + self._clock.disbelieved)} at {info.show(arrival)} of this machine's, and is "
            "not believed: until it is right, times are those of arrival; set the camera's clock by NTP"
        )
        self._say("online", self.stats.clock)

    def _paused(self) -> bool:
        """Whether a person has paused this live camera; says so once, and once when it goes on."""
        paused = self.config.live and self.settings.paused
        if paused and self.stats.state != "paused":
            self._release()
            self.inbox.put(Interruption("paused"))
            self._say("paused", "on request; nothing is recorded")
        elif not paused and self.stats.state == "paused":
            self._say("online")
        return paused

    def _release(self) -> None:
        """Give the chosen frames that waited for the clock their times, and pass them on."""
        held, self._held = self._held, []
        for chosen, event in held:
            if self._clock is not None:
                when = self._clock.time_of(chosen.pts_s, event.arrival_time, restarted=chosen.discontinuity)
                self.inbox.put(self._prepare(event, when, self._clock.basis))
                self.stats.sampled += 1

    def _prepare(self, event: Frame, when: float, basis: TimeBasis) -> Sampled:
        rgb = apply_masks(event.picture.rgb(), self.settings.masks)
        encoders = self._encoders
        vision, index = encoders.feature_spec.tokens.resolution, encoders.feature_spec.index.resolution
        token_pixels = to_square(rgb, vision)
        return Sampled(
            time=when,
            arrival_time=event.arrival_time,
            source_time=math.nan if event.source_time is None else event.source_time,
            time_basis=basis,
            token_pixels=token_pixels,
            index_pixels=token_pixels if index == vision else to_square(rgb, index),
            image=encode_jpeg(rgb, short_side=max(vision, index, SMALLEST_IMAGE)),
            encoders=encoders,
        )

    # --- encode thread ---

    def ready(self, batch: int) -> bool:
        """Whether the encoder should take from this camera now. A recording at full speed waits until a batch is full: small batches
        cost several times more per frame, and equal batches make two replays equal to the last bit."""
        hurried = self.config.live or math.isfinite(self.config.speed)
        return len(self.inbox) >= (1 if hurried or self.inbox.closed else batch)

    def hand_over(self, item: FrameRecord | Interruption, encoders: "Encoders | None" = None) -> None:
        """Give the writer what the encoders made. A writer that failed takes nothing more; `Session.run` raises its error."""
        try:
            if encoders is not None and encoders is not self._handed:
                self.outbox.put(FeaturesOf(encoders.feature_spec))
                self._handed = encoders
            self.outbox.put(item)
        except Closed:
            self.inbox.close()

    # --- write thread ---

    def write(self) -> None:
        """Append what the encoder hands over, sync after every batch, until the queue is closed. Orders come in by the control socket."""
        self.uploader = Uploader(self.repository.directory, on_state=lambda state: self._on_state(self))
        try:
            with self._control():
                last = self._writer.run()
            self._on_durable(last)
        finally:
            self.outbox.close()
            self.uploader.close(FINISH_UPLOAD_S)
            self._say("ended", self._end_reason)

    def _control(self) -> AbstractContextManager[object]:
        try:
            return ControlServer(self.repository.directory, self._order)
        except OSError:
            return (
                nullcontext()
            )  # a file system without sockets: orders are refused while this records, nothing else changes

    def _order(self, order: Order) -> dict[str, Any]:
        """Called in the order's own thread."""
        if order.get("do") != "switch":
            return self._writer.order(order)
        if not self._upgrading.acquire(blocking=False):
            raise RequestRefused("it is going over to another model already")
        try:
            upgrade = Upgrade.prepare(self.repository.directory, order)
            return self._writer.switch(upgrade, lambda: self._go_over(upgrade.encoders))
        finally:
            self._upgrading.release()

    def _go_over(self, encoders: "Encoders") -> None:
        self._encoders = encoders
        self._say(self.stats.state, f"goes on with the features of '{encoders.name}'")

    def _stored(self, frames: Sequence[FrameRecord], acknowledged: Sequence[Acknowledgement]) -> None:
        now = time.time()
        for frame in frames:
            self.stats.recorded += 1
            self.stats.last_time = frame.time
            self.stats.latencies.append(now - frame.arrival_time)
        self._on_durable(acknowledged)

    def _full(self, why: str | None) -> None:
        if why and self.stats.state != "disk full":
            self._say("disk full", why)
        elif not why and self.stats.state == "disk full":
            self._say("online")

    def _read_settings(self) -> None:
        self.settings = read_settings(self.repository.directory)


def _inbox(config: IngestConfig, work: threading.Condition) -> BoundedQueue[Item]:
    return DropOldest(_live_capacity(config.fps), work) if config.live else Blocking(RECORDED_QUEUE, work)


def _live_capacity(fps: float) -> int:
    return max(4, math.ceil(LIVE_QUEUE_S * fps))


class _Pace:
    """Holds a recording back to `speed` times its own pace; decode thread only."""

    def __init__(self, speed: float, stop: threading.Event) -> None:
        self._speed, self._stop = speed, stop
        self._began: float | None = None

    def wait_until(self, pts_s: float, *, restarted: bool) -> None:
        """Return when the frame at `pts_s` is due, or the session stops."""
        if math.isinf(self._speed):
            return
        due = pts_s / self._speed
        if self._began is None or restarted:
            self._began = time.monotonic() - due
        self._stop.wait(max(0.0, self._began + due - time.monotonic()))
