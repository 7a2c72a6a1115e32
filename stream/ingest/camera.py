"""How one camera's video becomes memory. Three stages, each its own thread, joined by bounded queues.

    decode (one per source)  --Sampled-->  encode (one for all cameras)  --FrameRecord-->  write (one per camera)
                            DropOldest (live) or Blocking (recordings)      Blocking

Threads: `decode` (stream.ingest.decode) owns PyAV, the sampler and the clock; `encode` owns the encoders; `write` (stream.ingest.write) owns the
repository. They share nothing but the queues and the counters of IngestStats, each of which one thread writes.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from afterview.memory.base.errors import RequestRefused
from afterview.memory.base.records import FrameRecord
from afterview.memory.base.settings import read_settings
from afterview.memory.writing.commands import Command
from afterview.memory.writing.repository import Acknowledgement, Repository
from afterview.stream.ingest.config import IngestConfig, IngestStats
from afterview.stream.ingest.control import ControlServer
from afterview.stream.ingest.decode import CameraDecoder, Item
from afterview.stream.ingest.queues import Blocking, BoundedQueue, Closed, DropOldest
from afterview.stream.ingest.upgrade import Upgrade
from afterview.stream.ingest.upload import FINISH_UPLOAD_S, Uploader
from afterview.stream.ingest.write import WRITE_QUEUE, CameraWriter, FeaturesOf, Interruption, Stored

if TYPE_CHECKING:  # built models are handed in: importing this module must not load torch
    from afterview.model.checkpoint.loaded import Encoders

# Seconds of sampled frames that may wait for the encoder; more than an HLS segment, which comes at once.
LIVE_QUEUE_S = 16.0
RECORDED_QUEUE = 32  # frames; two encoder batches


class CameraIngest:
    """One camera's three stages. The session runs `decode` and `write` in threads of their own, and calls `ready` and `submit`."""

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
        self._decoder = CameraDecoder(
            config, repository, self.inbox, self.stats,
            settings=lambda: self.settings, encoders=lambda: self._encoders, say=self._say,
        )  # fmt: skip

    def _say(self, state: str, detail: str = "") -> None:
        self.stats.state, self.stats.detail = state, detail
        self._on_state(self)

    # --- decode thread ---

    def decode(self, stop: threading.Event) -> None:
        """Read the source until it ends or `stop` is set. Raises the source's error."""
        self._decoder.run(stop)

    # --- encode thread ---

    def ready(self, batch: int) -> bool:
        """Whether the encoder should take from this camera now. A recording at full speed waits until a batch is full: small batches
        cost several times more per frame, and equal batches make two replays equal to the last bit."""
        hurried = self.config.live or math.isfinite(self.config.speed)
        return len(self.inbox) >= (1 if hurried or self.inbox.closed else batch)

    def submit(self, item: FrameRecord | Interruption, encoders: "Encoders | None" = None) -> None:
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
            self._say("ended", self._decoder.end_reason)

    def _control(self) -> AbstractContextManager[object]:
        try:
            return ControlServer(self.repository.directory, self._command)
        except OSError:  # a file system without sockets: orders are refused while this records, nothing else changes
            return nullcontext()

    def _command(self, command: Command) -> dict[str, Any]:
        """Called in the order's own thread."""
        if command.get("do") != "switch":
            return self._writer.command(command)
        if not self._upgrading.acquire(blocking=False):
            raise RequestRefused("it is going over to another model already")
        try:
            upgrade = Upgrade.prepare(self.repository.directory, command)
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
    if config.live:
        return DropOldest(max(4, math.ceil(LIVE_QUEUE_S * config.fps)), work)
    return Blocking(RECORDED_QUEUE, work)
