"""Supervises the cameras that are recorded, in one process and one event loop.

Threads: per camera one `decode` and one `write`; one `encode` for all cameras. The event loop starts the threads and learns of their end
through call_soon_threadsafe. A camera whose stage fails ends with that cause as its state; the other cameras go on.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from afterview.memory.base.feature_spec import Storage
from afterview.memory.base.settings import read_settings
from afterview.memory.writing.commands import execute
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.repository import Acknowledgement, Repository
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.ingest.encode import EncodeStage
from afterview.stream.ingest.reuse import require_reusable

if TYPE_CHECKING:  # built models are handed in: importing this module must not load torch
    from afterview.model.checkpoint.models import Encoders

_STOP_PATIENCE_S = 3.0  # that a blocked read may delay the end; the decode thread is a daemon and is left behind

_LOGGER = logging.getLogger(__name__)

OnDurable = Callable[[CameraIngest, Sequence[Acknowledgement]], None]


class Supervisor:
    """Records any number of cameras, which may be added and removed at any time. All methods belong to the event loop, but `stop`."""

    def __init__(
        self,
        memory: Path,
        encoders: "Encoders",
        *,
        timezone: str | None = None,
        token_storage: Storage | None = None,
        on_durable: OnDurable = lambda ingest, acknowledgements: None,
        on_state: Callable[[CameraIngest], None] = lambda ingest: None,
    ) -> None:
        """token_storage: of new cameras (None: as the model's preset says).

        on_durable is called in a camera's write thread, on_state in whichever thread changed the state."""
        self._memory, self._encoders, self._timezone = memory, encoders, timezone
        self._spec = encoders.feature_spec.stored_as(token_storage) if token_storage else encoders.feature_spec
        self._on_durable, self._on_state = on_durable, on_state
        self._stage = EncodeStage()
        self._encoding: asyncio.Future[None] | None = None
        self._supervising: dict[CameraIngest, asyncio.Task[None]] = {}

    @property
    def cameras(self) -> list[CameraIngest]:
        """Those that were added and not removed, whether or not they have ended."""
        return list(self._supervising)

    def add(self, name: str, config: IngestConfig) -> CameraIngest:
        """Open a camera for writing and start recording its source. Raises the errors of open_camera."""
        return self.start(config, self.open(name, config))

    def open(
        self,
        name: str,
        config: IngestConfig,
        *,
        timezone: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Repository:
        """Open a camera for writing, for `start`; from any thread. Raises the errors of open_camera, RequestRefused, and UsageError for
        features that cannot be reused.

        timezone: of a new camera, instead of the session's. settings: changes of its settings, in force before the first frame.
        """
        require_reusable(self._encoders, config.reuse_bound)
        repository = open_camera(self._memory, name, self._spec, fps=config.fps, timezone=timezone or self._timezone)
        try:
            if settings:
                _change_settings(repository, settings)
        except BaseException:
            repository.close()
            raise
        return repository

    def start(self, config: IngestConfig, repository: Repository) -> CameraIngest:
        """Start recording a source into an open camera, which is closed if that fails."""
        if self._encoding is None:
            self._encoding = _in_thread("encode", self._encode)
        try:
            ingest = CameraIngest(
                config, repository, self._encoders, self._stage.work,
                on_durable=lambda acknowledgements: self._on_durable(ingest, acknowledgements), on_state=self._on_state,
            )  # fmt: skip
        except BaseException:
            repository.close()
            raise
        self._stage.add(ingest)
        self._supervising[ingest] = asyncio.get_running_loop().create_task(self._supervise(ingest))
        return ingest

    async def remove(self, camera: CameraIngest) -> None:
        """Stop one camera, wait until everything of it is written, and remove it from the session."""
        camera.stop()
        await asyncio.wait({self._supervising[camera]})
        del self._supervising[camera]

    async def wait(self) -> None:
        """Wait until every camera has ended. `failure` of each says whether it failed."""
        while running := {task for task in self._supervising.values() if not task.done()}:
            await asyncio.wait(running)

    async def run(self) -> None:
        """Wait until every camera has ended. Then raise the failure of the first that failed, if any."""
        await self.wait()
        for camera in self.cameras:
            if camera.failure is not None:
                raise camera.failure

    def stop(self) -> None:
        """Stop all cameras: what was decoded is still encoded, written and synced. From any thread; more than once is fine."""
        for camera in self.cameras:
            camera.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._stage.close()
        if self._encoding is not None:
            await asyncio.wait({self._encoding, *self._supervising.values()})

    async def _supervise(self, camera: CameraIngest) -> None:
        """Run a camera's threads to their end. A failing stage stops the camera, so that the other stage ends, too."""
        writer = _in_thread(f"write-{camera.id}", self._run_stage, camera, camera.write)
        decoder = _in_thread(f"decode-{camera.id}", self._run_stage, camera, camera.decode)
        await writer  # it ends after the encode thread has submitted the last frame
        await asyncio.wait({decoder}, timeout=_STOP_PATIENCE_S)
        camera.finish()

    def _run_stage(self, camera: CameraIngest, stage: Callable[[], None]) -> None:
        try:
            stage()
        except BaseException as error:
            _LOGGER.debug("%s: failed", camera.id, exc_info=True)
            camera.fail(error)

    def _encode(self) -> None:
        try:
            self._stage.run()
        except BaseException as error:  # a bug outside the encoders, which concerns all cameras
            for camera in self.cameras:
                camera.fail(error)
                camera.outbox.close()


def _change_settings(repository: Repository, values: Mapping[str, Any]) -> None:
    known = read_settings(repository.directory)
    if known.changed(**values) != known:
        execute(repository, {"do": "set", "settings": dict(values)})


def _in_thread(name: str, function: Callable[..., None], *arguments: object) -> asyncio.Future[None]:
    """Run a function that raises nothing in a daemon thread of that name. Only crossing back: call_soon_threadsafe at its end."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def settle() -> None:
        if not future.done():
            future.set_result(None)

    def main() -> None:
        try:
            function(*arguments)
        finally:
            try:
                loop.call_soon_threadsafe(settle)
            except RuntimeError:
                pass  # the loop has closed: a decode thread that a frozen source held past the end

    threading.Thread(target=main, name=name, daemon=True).start()
    return future
