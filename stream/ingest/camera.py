"""How one camera's video becomes memory. Three stages, each its own thread, joined by bounded queues.

    decode (one per source)  --Sampled-->  encode (one for all cameras)  --FrameRecord-->  write (one per camera)
                            DropOldest (live) or Blocking (recordings)      Blocking

Threads: `decode` (stream.ingest.decode) owns PyAV, the sampler and the clock; `encode` (stream.ingest.encode) owns the encoders; `write`
(stream.ingest.write) owns the repository. What they tell each other travels in the queues, in the order in which it happened
(stream.ingest.items). Beside the queues they share IngestStats and Controls, each value of which one thread writes.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from afterview.memory.base.errors import RepositoryError, RequestRefused
from afterview.memory.base.held_directory import shown
from afterview.memory.base.records import FrameRecord
from afterview.memory.base.settings import read_settings, write_settings
from afterview.memory.writing.commands import Command
from afterview.memory.writing.repository import Acknowledgement, Repository
from afterview.stream.ingest.archive import FileOutcome
from afterview.stream.ingest.config import Controls, IngestConfig
from afterview.stream.ingest.control import ControlServer
from afterview.stream.ingest.cpu_affinity import pin_to_one_cpu
from afterview.stream.ingest.decode import STOPPED, CameraDecoder, Item
from afterview.stream.ingest.items import FeaturesOf, Marker
from afterview.stream.ingest.queues import Blocking, BoundedQueue, Closed, DropOldest
from afterview.stream.ingest.session_settings import with_session
from afterview.stream.ingest.short_recording import ShortRecording
from afterview.stream.ingest.status import CameraStatus, ImageStatus, IngestStats
from afterview.stream.ingest.upgrade import Upgrade
from afterview.stream.ingest.upload import FINISH_UPLOAD_S, Uploader
from afterview.stream.ingest.write import WRITE_QUEUE, CameraWriter, OnDurable, Stored

if TYPE_CHECKING:  # built models are handed in: importing this module must not load torch
    from afterview.model.checkpoint.models import Encoders

LIVE_QUEUE_S = 16.0  # seconds of frames that may wait for the encoder; longer than an HLS segment, which comes at once
NOTE_REUSED_S = 30.0  # between two notes of how many frames reused features; a crash loses the count of that time
HELD_FRAMES_S = 1.0  # that the end waits for frames which the decoder still holds
RECORDED_QUEUE = 32  # frames; two encoder batches

_LOGGER = logging.getLogger(__name__)


class CameraIngest:
    """One camera's three stages. The supervisor runs `decode` and `write` in threads of their own; the encode thread calls
    `ready` and `submit`. failure: the first error of any stage, which ends the camera."""

    def __init__(
        self,
        config: IngestConfig,
        repository: Repository,
        encoders: "Encoders",
        work: threading.Condition,
        *,
        on_durable: OnDurable = lambda acknowledgements: None,
        on_state: Callable[["CameraIngest"], None] = lambda ingest: None,
    ) -> None:
        """work: the condition that the encode thread waits on, shared by all cameras. on_durable is called in the write thread."""
        self.config, self.repository = config, repository
        self.failure: BaseException | None = None
        self.stats = IngestStats(on_change=lambda: on_state(self))
        self.inbox = self._make_inbox(work)
        self.outbox: Blocking[Stored] = Blocking(WRITE_QUEUE)
        self.uploader: Uploader | None = None  # of the memory's store; runs while `write` does
        self._on_state = on_state
        self._stop = threading.Event()
        self._submitted = encoders  # whose features went to the writer last; encode thread
        self._upgrading = threading.Lock()
        controls = Controls(read_settings(repository.directory), encoders)
        self._decoder = CameraDecoder(config, repository, self.inbox, self.stats, controls)
        self._writer = CameraWriter(
            repository, self.outbox, self.stats, controls, on_durable=self._durable, sync_every_s=config.sync_every_s
        )
        self._on_durable, self._controls = on_durable, controls
        self._last_before = repository.last_time
        self._noted = False  # in the camera's settings
        self._reused_noted, self._reused_due = (
            0,
            0.0,
        )  # frames that reused features, and when that is noted next (monotonic)

    def _make_inbox(self, work: threading.Condition) -> BoundedQueue[Item]:
        if not self.config.live:
            return Blocking(RECORDED_QUEUE, work)
        capacity = max(4, math.ceil(LIVE_QUEUE_S * self.config.fps))
        return DropOldest(capacity, work, reason=lambda: "disk full" if self.stats.disk_full else "dropped")

    @property
    def id(self) -> str:
        """The camera's id."""
        return self.repository.info.id

    @property
    def never_began(self) -> str:
        """Why the source has given no picture so far; empty once it has."""
        return self._decoder.never_began

    @property
    def cut_short(self) -> bool:
        """Whether somebody stopped it before its source had ended."""
        return self._decoder.end_reason == STOPPED

    @property
    def short(self) -> ShortRecording | None:
        """How its source is sampled, if that is a short recording which is sampled as published."""
        return self._decoder.short

    @property
    def outcomes(self) -> list[FileOutcome]:
        """What became of the files of an archive so far."""
        return self._decoder.outcomes

    def status(self) -> CameraStatus:
        """How the camera is doing. From any thread."""
        stats, upload = self.stats, self.uploader.state if self.uploader else None
        return CameraStatus(
            camera=self.id,
            state=stats.state,
            detail=stats.detail,
            cause=None if self.failure is None else shown(str(self.failure)) or type(self.failure).__name__,
            recorded=stats.recorded,
            frames=self.repository.frames,
            dropped=self.inbox.dropped,
            reconnects=stats.reconnects,
            progress=stats.progress,
            pictures_damaged=stats.pictures_damaged,
            pictures_replaced=stats.pictures_replaced,
            last_time=self.repository.last_time,
            median_latency_s=stats.median_latency(),
            lag_s=stats.latest_latency(),
            clock=stats.clock or None,
            upload=upload if upload and upload.place else None,
            images=ImageStatus.of(self._decoder.images, self.config.fps),
            offered=stats.offered,
            picture_note=stats.picture_note or None,
            short_clips=stats.short_clips,
            features_reused=stats.features_reused,
        )

    def stop(self) -> None:
        """End the camera: what was decoded is still encoded, written and synced. From any thread; more than once is fine."""
        self._stop.set()
        if self.config.live and self.failure is None:
            # The decoder may hold frames back until its clock has settled: it queues them, then closes the inbox. A frozen source
            # does not let it, and cannot make the others wait.
            late = threading.Timer(HELD_FRAMES_S, self.inbox.close)
            late.daemon = True
            late.start()
        else:
            self.inbox.close()
        self._writer.end_input()

    def fail(self, error: BaseException) -> None:
        """End the camera because of an error in one of its stages; the first error counts. From any thread."""
        self.failure = self.failure or error
        self.stop()

    def finish(self) -> None:
        """All stages have ended: set the last state."""
        if self.failure is None:
            self.stats.set_end("ended", "; ".join(filter(None, (self._decoder.end_reason, self.never_began))))
        else:
            self.stats.set_end("failed", "")

    # --- decode thread ---

    def decode(self) -> None:
        """Read the source until it ends or the camera is stopped. Raises the source's error."""
        config = self.config
        if not config.live and math.isinf(config.speed) and config.source.decoder_threads == 1:
            pin_to_one_cpu()
        try:
            self._decoder.run(self._stop)
        finally:
            self._writer.end_input()

    # --- encode thread ---

    def ready(self, batch: int) -> bool:
        """Whether the encoder should take from this camera now. A recording at full speed waits until a batch is full: small batches
        cost several times more per frame, and equal batches make two replays equal to the last bit."""
        hurried = self.config.live or math.isfinite(self.config.speed)
        return len(self.inbox) >= (1 if hurried or self.inbox.closed else batch)

    def submit(self, item: FrameRecord | Marker, encoders: "Encoders | None" = None) -> None:
        """Give the writer what the encoders made. A writer that failed takes nothing more."""
        try:
            if encoders is not None and encoders is not self._submitted:
                self.outbox.put(FeaturesOf(encoders.feature_spec))
                self._submitted = encoders
            self.outbox.put(item)
        except Closed:
            self.inbox.close()

    # --- write thread ---

    def write(self) -> None:
        """Append what the encoder submits until the queue is closed. Commands come in by the control socket."""
        self.uploader = Uploader(self.repository.directory, on_state=lambda state: self._on_state(self))
        try:
            with self._control():
                self._writer.run()
            self._note_reused()
        finally:
            self.outbox.close()
            self.uploader.close(FINISH_UPLOAD_S)

    def _durable(self, acknowledgements: Sequence[Acknowledgement]) -> None:
        if acknowledgements and not self._noted:  # a camera without frames leaves nothing
            self._note(acknowledgements[0].time)
        if time.monotonic() >= self._reused_due:
            self._note_reused()
        self._on_durable(acknowledgements)

    def _note_reused(self) -> None:
        """Add to the camera's settings how many frames reused features since they were last noted there."""
        count, self._reused_due = self.stats.features_reused, time.monotonic() + NOTE_REUSED_S
        if count == self._reused_noted:
            return
        try:
            before = read_settings(self.repository.directory)
            settings = before.changed(features_reused=before.features_reused + count - self._reused_noted)
            write_settings(self.repository.directory, settings)
        except (OSError, RepositoryError) as error:  # a full disk; the next time adds them
            _LOGGER.debug("%s: how many frames reused features is not stored yet: %s", self.id, error)
            return
        self._controls.settings, self._reused_noted = settings, count

    def _note(self, first_time: float) -> None:
        """Note in the settings how this session records."""
        try:
            before = read_settings(self.repository.directory)
            settings = with_session(
                before, self.config, first_time=first_time, last_before=self._last_before, short=self._decoder.short
            )
            if settings != before:
                write_settings(self.repository.directory, settings)
                self._controls.settings = settings
            self._noted = True
        except OSError as error:  # a full disk; the next frame tries again
            _LOGGER.debug("%s: how this session records is not stored yet: %s", self.id, error)

    def _control(self) -> AbstractContextManager[object]:
        try:
            return ControlServer(self.repository.directory, self._command)
        except OSError:  # a file system without sockets: commands are refused while this records, nothing else changes
            return nullcontext()

    def _command(self, command: Command) -> dict[str, Any]:
        """Called in the command's own thread."""
        if command.get("do") == "status":
            return self.status().to_dict()
        if command.get("do") != "switch":
            return self._writer.command(command)
        if not self._upgrading.acquire(blocking=False):
            raise RequestRefused("already switching to another model; wait until it has finished")
        try:
            return self._writer.switch(Upgrade.prepare(self.repository.directory, command))
        finally:
            self._upgrading.release()
