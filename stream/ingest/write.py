"""The write thread of one camera: appends what the encoder submits, executes commands, enforces retention, waits out a full disk.

Threads: `run` is the write thread, the only one that touches the repository. `command` and `switch` may be called from any other; they
queue their work, wake the write thread and wait for the result.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from afterview.memory.base.counts import counted
from afterview.memory.base.durable import DISK_FULL
from afterview.memory.base.errors import DamagedMemory, NotWritable, Unreadable
from afterview.memory.base.records import FrameRecord
from afterview.memory.base.settings import read_settings
from afterview.memory.plans.clip_marks import ends_clip
from afterview.memory.writing.commands import Command, downsample_old_frames, enforce, execute
from afterview.memory.writing.repository import Acknowledgement, Repository
from afterview.stream.ingest.config import Controls
from afterview.stream.ingest.forgotten import OnTheWay
from afterview.stream.ingest.items import Dropped, FeaturesOf, Interruption, Joint, Pace
from afterview.stream.ingest.queues import Blocking, Closed
from afterview.stream.ingest.status import IngestStats

if TYPE_CHECKING:
    from afterview.stream.ingest.upgrade import Upgrade

WRITE_QUEUE = 64  # frames waiting for the disk
RETENTION_EVERY_S = 30.0
DOWNSAMPLE_EVERY_S = 2.0  # while old frames are downsampled, a few seals at a time
LOOK_EVERY_S = 1.0  # for the camera's directory, which may be moved or deleted while nothing comes in
RETRY_FULL_S = 1.0  # between two tries to write to a disk that was full

_LOGGER = logging.getLogger(__name__)

Stored = FrameRecord | Interruption | Dropped | Pace | Joint | FeaturesOf
Work = Callable[[Repository], dict[str, Any]]
OnDurable = Callable[[Sequence[Acknowledgement]], None]


class CameraWriter:
    """Owns a repository until its queue is closed and empty; then closes it."""

    def __init__(
        self,
        repository: Repository,
        outbox: Blocking[Stored],
        stats: IngestStats,
        controls: Controls,
        *,
        on_durable: OnDurable = lambda acknowledgements: None,
        sync_every_s: float = 0.0,
    ) -> None:
        """stats, controls: kept up to date here. on_durable is called in the write thread.

        sync_every_s: how long a frame may wait to be made durable, and acknowledged, together with later ones.
        """
        self._repository, self._outbox, self._stats, self._controls = repository, outbox, stats, controls
        self._on_durable, self._sync_every_s = on_durable, sync_every_s
        self._waiting: list[FrameRecord] = []  # written, but not durable yet
        self._clip: list[Stored] = []  # of a clip whose last frame has not come: written and acknowledged as a whole
        self._sync_due = math.inf  # monotonic
        self._commands: SimpleQueue[tuple[Work, Future[dict[str, Any]]]] = SimpleQueue()
        self._forgotten: OnTheWay | None = None  # by the latest `forget`
        self._incoming = repository.spec
        self._upgrade: Upgrade | None = None  # to the model in use; None: it has been in use from the start
        self._dropped: Dropped | None = None  # before the next frame
        self._retention_due = 0.0  # monotonic: at once
        self._retention_problem = ""  # why limits cannot be enforced
        self._input_ended = False
        self._ended = threading.Event()

    def end_input(self) -> None:
        """Nothing more comes in, so a full disk is not waited for. From any thread."""
        self._input_ended = True
        self._outbox.wake()

    def command(self, command: Command) -> dict[str, Any]:
        """Let the write thread execute a command; its result. Raises what it raised."""

        def work(repository: Repository) -> dict[str, Any]:
            try:
                return execute(repository, command)
            finally:
                if command.get("do") == "forget":
                    self._forgotten = OnTheWay.of(command)

        return self._do(work)

    def switch(self, upgrade: "Upgrade") -> dict[str, Any]:
        """Let the write thread switch to another model. Raises what it raised."""

        def work(repository: Repository) -> dict[str, Any]:
            generation = repository.manifest.generation
            try:
                return upgrade.execute(repository)
            finally:
                if repository.manifest.generation != generation:
                    self._upgrade, self._controls.encoders = upgrade, upgrade.encoders
                    self._stats.set_detail(f"now records features of model '{upgrade.encoders.name}'")

        return self._do(work)

    def _do(self, work: Work) -> dict[str, Any]:
        future: Future[dict[str, Any]] = Future()
        self._commands.put((work, future))
        self._outbox.wake()
        if self._ended.is_set():
            self._refuse_commands()
        return future.result()

    def run(self) -> None:
        """The write thread. Raises OSError, NotWritable, CameraMoved."""
        try:
            while True:
                self._store(self._outbox.take(WRITE_QUEUE, timeout=self._timeout_s()))
                self._repository.require_in_place()
                self._execute_commands()
                self._keep_retention()
        except Closed:
            if self._waiting:
                self._sync_due = -math.inf
                self._store([])
        finally:
            self._outbox.close()
            self._ended.set()
            self._refuse_commands()
            last = self._repository.close()
        self._on_durable(last)

    def _timeout_s(self) -> float:
        """Seconds until the next sync, the next look at retention or at the directory is due."""
        return min(LOOK_EVERY_S, max(0.0, min(self._sync_due, self._retention_due) - time.monotonic()))

    def _store(self, batch: list[Stored]) -> None:
        """Append, and sync when it is due; where the disk is full, keep the batch and try again until it is not."""
        left = list(batch)
        while left or time.monotonic() >= self._sync_due:
            try:
                while left:
                    self._append(left[0])
                    left.pop(0)
                if time.monotonic() < self._sync_due:
                    return
                acknowledged = self._repository.sync()
            except OSError as error:
                self._repository.require_in_place()
                if error.errno not in DISK_FULL:
                    raise
                self._wait_for_space(error, len(left))
            else:
                self._synced(acknowledged)

    def _synced(self, acknowledged: list[Acknowledgement]) -> None:
        frames, self._waiting, self._sync_due = self._waiting, [], math.inf
        self._stats.set_disk_full(
            "the disk is too full to seal; new frames are still written to the journal"
            if self._repository.seal_error
            else None
        )
        now = time.time()
        for frame in frames:
            self._stats.recorded += 1
            self._stats.last_time = frame.time
        waits = [now - frame.arrival_time for frame in frames]
        # The newest frame's wait is reported; of frames that waited for each other in a clip, the longest.
        self._stats.latencies.extend(sorted(waits) if self._repository.spec.tokens.clip_marks else waits)
        self._on_durable(acknowledged)

    def _append(self, item: Stored) -> None:
        """Append an item, or hold it until the clip that it is in is complete. After an OSError, call it again with the same item."""
        if not self._clip or self._clip[-1] is not item:
            self._clip.append(item)
        if isinstance(item, FrameRecord):
            if item.clip is not None and not ends_clip(item.clip):
                return
        elif len(self._clip) > 1:
            return
        if self._forgotten and (count := self._forgotten.frames(self._clip)):
            _LOGGER.warning(
                "%s: on their way when their span was forgotten, so not recorded: %s",
                self._repository.info.id, counted(count, "frame"),
            )  # fmt: skip
            self._clip = [Dropped(count)]
        while self._clip:
            self._append_now(self._clip[0])
            self._clip.pop(0)

    def _append_now(self, item: Stored) -> None:
        if isinstance(item, FeaturesOf):
            self._incoming = item.spec
            return
        if isinstance(item, Dropped):
            self._dropped = self._dropped or item
            return
        if isinstance(item, Pace):
            self._repository.allow_silence(item.step_s)
            return
        if isinstance(item, Joint):
            self._repository.goes_on(item.reason, item.steps)
            return
        self._sync_due = min(self._sync_due, time.monotonic() + self._sync_every_s)
        if isinstance(item, Interruption):
            self._repository.interrupted(item.reason)
            return
        if self._dropped is not None:
            self._repository.missed(self._dropped.reason)
        if self._upgrade and self._repository.spec.differences(self._incoming):  # it was on its way at the switch
            item = self._upgrade.embed(item)
        self._repository.append(item)
        self._dropped = None  # only now: an append that fails is tried again, and records the gap then
        self._waiting.append(item)

    def _wait_for_space(self, error: OSError, waiting: int) -> None:
        self._stats.set_disk_full(
            f"the disk is full ({error.strerror}); {waiting} frames wait, recording continues when there is space"
        )
        self._keep_retention(now=True)
        deadline = time.monotonic() + RETRY_FULL_S
        while (left_s := deadline - time.monotonic()) > 0:
            self._execute_commands()
            # The queue itself stays open while the encoder waits for space in it.
            if self._outbox.closed or self._input_ended:
                lost = waiting + len(self._outbox)
                raise NotWritable(
                    f"{self._repository.directory}: the disk is full; {lost} frames that were never acknowledged are lost"
                )
            self._outbox.wait_for_wake(left_s)

    def _execute_commands(self) -> None:
        while True:
            try:
                work, future = self._commands.get_nowait()
            except Empty:
                return
            try:
                result = self._obey(work)
            except Exception as error:  # the sender gets it; the recording continues
                future.set_exception(error)
            else:
                future.set_result(result)

    def _obey(self, work: Work) -> dict[str, Any]:
        """Execute a command. What it has set counts from here on, even if it failed later: a mask that is stored is in force."""
        try:
            return work(self._repository)
        finally:
            self._controls.settings = read_settings(self._repository.directory)

    def _refuse_commands(self) -> None:
        while True:
            try:
                _, future = self._commands.get_nowait()
            except Empty:
                return
            future.set_exception(
                NotWritable(f"{self._repository.directory}: the recording process is ending; run the command again")
            )

    def _keep_retention(self, *, now: bool = False) -> None:
        if now or time.monotonic() >= self._retention_due:
            self._retention_due = time.monotonic() + RETENTION_EVERY_S
            try:
                enforce(self._repository)
                if downsample_old_frames(self._repository):
                    self._retention_due = time.monotonic() + DOWNSAMPLE_EVERY_S  # there may be more to do
            except OSError as error:
                if error.errno not in DISK_FULL:
                    raise
            except (
                DamagedMemory,
                Unreadable,
            ) as error:  # above all the limits: nothing is evicted until they are known again
                if str(error) != self._retention_problem:
                    _LOGGER.warning(
                        "%s: recording goes on, but nothing is evicted: %s", self._repository.info.id, error
                    )
                self._retention_problem = str(error)
