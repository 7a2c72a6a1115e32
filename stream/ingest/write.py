"""The write thread of one camera: appends what the encoder hands over, carries out orders, keeps retention, waits out a full disk.

Threads: `run` is the write thread, the only one that touches the repository. `command` and `switch` may be called from any other; they
hand their work over and wait for its result.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from afterview.memory.base.errors import NotWritable
from afterview.memory.base.records import FrameRecord, GapReason
from afterview.memory.base.spec import FeatureSpec
from afterview.memory.writing.commands import Command, downsample_old_frames, enforce, execute
from afterview.memory.writing.repository import DISK_FULL, Acknowledgement, Repository
from afterview.stream.ingest.queues import Blocking, Closed

if TYPE_CHECKING:
    from afterview.stream.ingest.upgrade import Upgrade

WRITE_QUEUE = 64  # frames waiting for the disk
COMMANDS_EVERY_S = 0.25  # how long an order may wait while no frame comes
RETENTION_EVERY_S = 30.0
DOWNSAMPLE_EVERY_S = 2.0  # while old frames are being made coarse, a few seals at a time
RETRY_FULL_S = 1.0  # between two tries to write to a disk that was full


@dataclass(frozen=True)
class Interruption:
    """Nothing comes in from here on, because of `reason`."""

    reason: GapReason


@dataclass(frozen=True)
class FeaturesOf:
    """Frames from here on were encoded as this spec says; at first, as the repository's does."""

    spec: FeatureSpec


Stored = FrameRecord | Interruption | FeaturesOf
Work = Callable[[Repository], dict[str, Any]]


class CameraWriter:
    """Owns a repository until its queue is closed and empty; then closes it."""

    def __init__(
        self,
        repository: Repository,
        outbox: Blocking[Stored],
        *,
        on_stored: Callable[[Sequence[FrameRecord], Sequence[Acknowledgement]], None],
        on_full: Callable[[str | None], None],
        drops: Callable[[], int] = lambda: 0,
        on_settings: Callable[[], None] = lambda: None,
        stopping: Callable[[], bool] = lambda: False,
        sync_every_s: float = 0.0,
    ) -> None:
        """on_stored: these frames are durable. on_full: the disk is full (why), or no longer (None). drops: frames lost before the queue.

        on_settings: the camera's settings were changed. stopping: nothing more comes in, so a full disk is not waited for. All are called
        in the write thread. sync_every_s: how long a frame may wait to be made durable, and acknowledged, together with later ones.
        """
        self._repository, self._outbox = repository, outbox
        self._on_stored, self._on_full, self._drops, self._on_settings = on_stored, on_full, drops, on_settings
        self._stopping, self._sync_every_s = stopping, sync_every_s
        self._waiting: list[FrameRecord] = []  # written, but not durable yet
        self._sync_due = math.inf  # monotonic
        self._commands: SimpleQueue[tuple[Work, Future[dict[str, Any]]]] = SimpleQueue()
        self._incoming = repository.spec
        self._upgrade: Upgrade | None = None  # to the model in use; none: it has been so from the start
        self._drops_seen = 0
        self._was_full = False
        self._retention_due = 0.0  # monotonic: at once
        self._ended = threading.Event()

    def command(self, command: Command) -> dict[str, Any]:
        """Have the write thread carry out an order; its result. Raises what it raised."""
        return self._do(lambda repository: execute(repository, command))

    def switch(self, upgrade: "Upgrade", on_switched: Callable[[], None]) -> dict[str, Any]:
        """Have the write thread go over to another model; on_switched is called there once it has. Raises what it raised."""

        def work(repository: Repository) -> dict[str, Any]:
            generation = repository.manifest.generation
            try:
                return upgrade.execute(repository)
            finally:
                if repository.manifest.generation != generation:
                    self._upgrade = upgrade
                    on_switched()

        return self._do(work)

    def _do(self, work: Work) -> dict[str, Any]:
        future: Future[dict[str, Any]] = Future()
        self._commands.put((work, future))
        if self._ended.is_set():
            self._refuse_commands()
        return future.result()

    def run(self) -> list[Acknowledgement]:
        """The write thread. Returns what closing made durable."""
        try:
            while True:
                self._store(self._outbox.take(WRITE_QUEUE, timeout=self._patience()))
                self._serve_commands()
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
        return last

    def _patience(self) -> float:
        """Seconds to wait for frames: no longer than an order, or the next sync, may wait."""
        return min(COMMANDS_EVERY_S, max(0.0, self._sync_due - time.monotonic()))

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
                if error.errno not in DISK_FULL:
                    raise
                self._wait_for_space(error, len(left))
            else:
                self._synced(acknowledged)

    def _synced(self, acknowledged: list[Acknowledgement]) -> None:
        waiting, self._waiting, self._sync_due = self._waiting, [], math.inf
        self._say_full(
            "sealing waits for space; new frames still fit the journal" if self._repository.seal_error else None
        )
        self._on_stored(waiting, acknowledged)

    def _append(self, item: Stored) -> None:
        if isinstance(item, FeaturesOf):
            self._incoming = item.spec
            return
        self._sync_due = min(self._sync_due, time.monotonic() + self._sync_every_s)
        if isinstance(item, Interruption):
            self._repository.interrupted(item.reason)
            return
        dropped = self._drops()
        if dropped > self._drops_seen:
            self._drops_seen = dropped
            self._repository.missed("disk full" if self._was_full else "dropped")
            self._was_full = False
        if self._upgrade and self._repository.spec.differences(self._incoming):  # it was on its way at the switch
            item = self._upgrade.embed(item)
        self._repository.append(item)
        self._waiting.append(item)

    def _wait_for_space(self, error: OSError, waiting: int) -> None:
        self._was_full = True
        self._say_full(
            f"the disk is full ({error.strerror}); {waiting} frames wait, recording goes on when there is space"
        )
        self._repository.reserve.release()  # forgetting and evicting make space, but must write a little first
        self._keep_retention(now=True)
        deadline = time.monotonic() + RETRY_FULL_S
        while time.monotonic() < deadline:
            self._serve_commands()
            # The queue itself stays open while the encoder waits for room in it.
            if self._outbox.closed or self._stopping():
                lost = waiting + len(self._outbox)
                raise NotWritable(
                    f"{self._repository.directory}: the disk is full; {lost} frames that were never acknowledged are lost"
                )
            time.sleep(0.05)
        self._repository.reserve.hold()

    def _say_full(self, why: str | None) -> None:
        self._on_full(why)

    def _serve_commands(self) -> None:
        while True:
            try:
                work, future = self._commands.get_nowait()
            except Empty:
                return
            try:
                result = work(self._repository)
                self._on_settings()
                future.set_result(result)
            except Exception as error:  # its asker gets it; the recording goes on
                future.set_exception(error)

    def _refuse_commands(self) -> None:
        while True:
            try:
                _, future = self._commands.get_nowait()
            except Empty:
                return
            future.set_exception(NotWritable(f"{self._repository.directory}: the recording has just ended; ask again"))

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
