"""The upload thread of one camera: sends what was sealed to the memory's store, for as long as it takes.

Threads: `upload-CAMERA` takes one step of memory.sync.upload after the other and waits when there is nothing to do, or when the store
cannot be used: then longer and longer, with jitter, for ever. It shares the directory and a lock file with the write thread, nothing
else, and the write thread never waits for it. `state` is replaced as a whole; anybody may read it.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from afterview.configs import AfterviewError
from afterview.memory.base.errors import RepositoryError
from afterview.memory.format.upload_state import UploadState, locked
from afterview.memory.remote.bucket import bucket_of
from afterview.memory.remote.settings import read_store
from afterview.memory.sync.upload import Upload
from afterview.stream.source.backoff import Backoff, BackoffConfig

FINISH_UPLOAD_S = 5.0  # at the end, for chunks that are not on the store yet; the next watch sends the others
LOOK_EVERY_S = 1.0  # for a new seal; one comes every 64 frames
_LOOK_FOR_STORE_S = 5.0  # where there is none: `store set` may name one at any time
_HEALTHY_S = 5.0  # of steps that went well, after which the waits begin afresh


@dataclass(frozen=True)
class UploadProgress:
    """How an upload stands. seals, bytes: sealed, and not on the store yet. silent_since, why: of a store that cannot be used."""

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


class Uploader:
    """Runs until `close`. A memory that has no store may be given one meanwhile."""

    def __init__(
        self,
        camera: Path,
        *,
        backoff: BackoffConfig | None = None,
        on_state: Callable[[UploadProgress], None] = lambda state: None,
    ) -> None:
        """on_state: the store went away or came back; called in the upload thread."""
        self._camera = camera
        self._backoff = Backoff(backoff or BackoffConfig(max_s=60.0, healthy_s=_HEALTHY_S))
        self._on_state = on_state
        self._stop, self._finish = threading.Event(), threading.Event()
        self.state = UploadProgress(place="")
        self._upload: Upload | None = None  # once there is a store
        self._thread = threading.Thread(target=self._run, name=f"upload-{camera.name}", daemon=True)
        self._thread.start()

    def close(self, patience_s: float) -> UploadProgress:
        """Send what is left, for so long at most, and end. Returns what could not be sent any more."""
        self._finish.set()
        self._thread.join(patience_s)
        self._stop.set()
        self._thread.join(0.5)  # one that waits for the network is left behind: every step may be cut off
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
            except Exception as error:  # whatever it is, the recording goes on, and so does the trying
                if finishing and (self.state.silent_since is not None or not self._camera.is_dir()):
                    return  # it was away before, and is not waited for at the end
                self._backoff.connection_ended(time.monotonic() - well_since)
                self._set_reachable(
                    str(error) if isinstance(error, AfterviewError) else f"{type(error).__name__}: {error}"
                )
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
        """Note, for other processes too, that the store went away or came back."""
        if (why is None) == (self.state.silent_since is None):
            self.state = replace(self.state, why=why or "")
            return
        since = None if why is None else time.time()
        self.state = replace(self.state, silent_since=since, why=why or "")
        try:
            with locked(self._camera, patience_s=1.0):
                replace(UploadState.read(self._camera), silent_since=since, why=why or "").write(self._camera)
        except (RepositoryError, OSError):
            pass  # said again with the next change
        self._on_state(self.state)
