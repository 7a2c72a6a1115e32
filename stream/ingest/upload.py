"""The upload thread of one camera: sends sealed frames to the memory's store.

Threads: `upload-CAMERA` repeats the steps of memory.sync.upload. It waits when there is nothing to do; when the store cannot be used, it
waits longer and longer, with jitter, without end. It shares only the directory and a lock file with the write thread, which never waits
for it. `state` is replaced as a whole; any thread may read it.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from afterview.configs import AfterviewError
from afterview.configs.system_errors import describe
from afterview.memory.base.errors import RepositoryError
from afterview.memory.base.held_directory import hold
from afterview.memory.format.upload_state import UploadState, upload_lock
from afterview.memory.remote.bucket import bucket_of
from afterview.memory.remote.settings import read_store
from afterview.memory.sync.upload import Upload
from afterview.stream.source.backoff import Backoff, BackoffConfig

FINISH_UPLOAD_S = 5.0  # at the end; the next watch sends the other chunks
LOOK_EVERY_S = 1.0  # for a new seal, which other processes may write, too; one comes every 64 frames
_LOOK_FOR_STORE_S = 5.0  # if there is none: `store set` may add one at any time
_HEALTHY_S = 5.0  # of successful steps, after which the wait is reset


@dataclass(frozen=True)
class UploadProgress:
    """Progress of an upload. seals, bytes: sealed, but not on the store yet. silent_since, why: since when, and why, the store fails."""

    place: str
    seals: int = 0
    bytes: int = 0
    silent_since: float | None = None
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "place": self.place,
            "waiting_seals": self.seals,
            "waiting_bytes": self.bytes,
            "unreachable_since": self.silent_since,
            "why": self.why,
        }


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return describe(error)
    return str(error) if isinstance(error, AfterviewError) else f"{type(error).__name__}: {error}"


class Uploader:
    """Runs until `close`. A store may be added to the memory meanwhile."""

    def __init__(
        self,
        camera: Path,
        *,
        backoff: BackoffConfig | None = None,
        on_state: Callable[[UploadProgress], None] = lambda state: None,
    ) -> None:
        """on_state: called in the upload thread when the store became unreachable or reachable. Raises OSError."""
        self._held = hold(camera)  # as long as the thread runs, which may be left behind
        self._camera = self._held.path
        self._backoff = Backoff(backoff or BackoffConfig(max_s=60.0, healthy_s=_HEALTHY_S))
        self._on_state = on_state
        self._stop, self._finish = threading.Event(), threading.Event()
        self.state = UploadProgress(place="")
        self._upload: Upload | None = None  # once there is a store
        self._thread = threading.Thread(target=self._run, name=f"upload-{camera.name}", daemon=True)
        self._thread.start()

    def close(self, patience_s: float) -> UploadProgress:
        """Send the rest, for `patience_s` at most, and end. Returns the state, which counts what could not be sent."""
        self._finish.set()
        self._thread.join(patience_s)
        self._stop.set()
        self._thread.join(0.5)  # a thread that waits for the network is left behind: every step may be interrupted
        self._measure(self._upload)
        return self.state

    def _run(self) -> None:
        well_since = time.monotonic()
        while not self._stop.is_set():
            finishing = self._finish.is_set()
            try:
                self._upload = self._upload or self._open()
                if self._upload is not None:
                    moved = self._upload.step(finish=finishing)
                    self._set_reachable(None)
                    if moved:
                        continue
                    self._measure(self._upload)
                if finishing:
                    return
                self._finish.wait(LOOK_EVERY_S if self._upload else _LOOK_FOR_STORE_S)
            except Exception as error:  # of any kind: the recording continues, and the upload is tried again
                if not self._held.in_place:
                    return  # the recording ends, too; another camera may send to the same bucket now
                if finishing and self.state.silent_since is not None:
                    return  # it was unreachable before, and is not waited for at the end
                self._backoff.connection_ended(time.monotonic() - well_since)
                self._set_reachable(_why(error))
                self._measure(self._upload)
                self._finish.wait(self._backoff.next_delay())
                well_since = time.monotonic()

    def _open(self) -> Upload | None:
        settings, objects = read_store(self._camera.parent), bucket_of(self._camera)
        if settings is None or objects is None or not (self._camera / "camera.json").exists():
            return None
        self.state = replace(self.state, place=objects.name)
        return Upload(self._camera, objects, local_bytes=settings.local_gigabytes * 1e9)

    def _measure(self, upload: Upload | None) -> None:
        if upload is not None:
            try:
                seals, size = upload.waiting()
            except (RepositoryError, OSError):
                return
            self.state = replace(self.state, seals=seals, bytes=size)

    def _set_reachable(self, why: str | None) -> None:
        """Note, for other processes too, that the store became unreachable or reachable."""
        if (why is None) == (self.state.silent_since is None):
            self.state = replace(self.state, why=why or "")
            return
        since = None if why is None else time.time()
        self.state = replace(self.state, silent_since=since, why=why or "")
        try:
            with upload_lock(self._camera, patience_s=1.0):
                replace(UploadState.read(self._camera), silent_since=since, why=why or "").write(self._camera)
        except (RepositoryError, OSError):
            pass  # noted again with the next change
        self._on_state(self.state)
