"""The service without its doors: cameras, one model, one memory, questions. The HTTP API only translates.

Threads: everything here belongs to the event loop. `read-N` threads read the memory for requests, `search` embeds texts, `load` loads the
model; ingest and the language model have those of the session. What they report comes by call_soon_threadsafe.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from afterview.configs import AfterviewError, UsageError
from afterview.memory.base.errors import MemoryNotFound
from afterview.memory.directory import Memory
from afterview.memory.limited import Limits
from afterview.memory.writing.repository import Repository
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.commands import apply
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.service.aside import in_daemon_thread, in_one_line
from afterview.stream.service.cameras import plan_camera, require_literal
from afterview.stream.service.config import CameraConfig, ServiceConfig, camera_changes, require_name, settings_of
from afterview.stream.service.errors import ModelNotReady, NotFound, Stopping
from afterview.stream.service.events import EventHub
from afterview.stream.service.line import QuestionLine
from afterview.stream.service.people.access import Access
from afterview.stream.service.places import read_added_cameras, require_readable, write_added_cameras
from afterview.stream.service.served import ModelState, Origin, ServedCamera, close_unused, same_source, served_cameras
from afterview.stream.session import Session

if TYPE_CHECKING:  # built models are handed in: importing this module must not load torch
    from afterview.model.checkpoint.for_questions import AskedModel

# the name, and the index encoder that the memory was recorded with
LoadModel = Callable[[str, str | None], "AskedModel"]
_READERS = 4  # threads

_LOGGER = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class Engine:
    """Records cameras and answers questions until `stop`. Cameras are added, changed and removed while it runs."""

    def __init__(
        self,
        memory: Path,
        config: ServiceConfig,
        load_model: LoadModel,
        *,
        environment: Mapping[str, str],
        version: str,
    ) -> None:
        """load_model: called in a thread."""
        self.path, self.config, self.version = memory, config, version
        self.hub, self.line = EventHub(), QuestionLine(config.http.longest_queue)
        self.cameras: dict[str, ServedCamera] = {}
        self.model_state: ModelState = "loading"
        self.model_problem = ""
        self.began = time.time()
        self._environment, self._load_model = environment, load_model
        self._model: AskedModel | None = None
        self._session: Session | None = None
        self._memory: Memory | None = None
        self._limited = Limits()
        self._added: dict[str, CameraConfig] = {}
        self._loop = asyncio.get_running_loop()
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="read")
        self._searcher = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._stopping = False

    # --- start and end ---

    def start(self) -> None:
        """Read what was added before, and begin to load the model; recording begins when it is there. Raises RepositoryError."""
        require_readable(self.path)
        self._added = read_added_cameras(self.path)
        self.cameras |= served_cameras(self._added, self.config.cameras)
        self.spawn(self._load())

    async def stop(self) -> None:
        """Refuse new questions, stop all cameras, and wait until everything that was decoded is written."""
        self._stopping = True
        self.line.close()
        self.hub.close()
        for camera in self.cameras.values():
            if camera.retry is not None:
                camera.retry.cancel()
        for task in set(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        session, self._session = self._session, None
        if session is not None:
            await session.__aexit__(None, None, None)
        for pool in (self._readers, self._searcher):
            pool.shutdown(wait=False, cancel_futures=True)

    def spawn(self, work: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
        """Run a coroutine until it or the service ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _load(self) -> None:
        """Load the model, then begin to record."""
        self._set_model("loading")
        try:
            self._model = await in_daemon_thread("load", self._chosen_model)
            encoders = self._model.encoders
        except Exception as error:  # of torch, too: a GPU without room
            self._set_model("failed", in_one_line(error))
            return
        self._session = Session(
            self.path, encoders, opened=self.memory, timezone=self.config.zone, on_state=self._state_changed
        )
        self._set_model("ready")
        async with self._changing:
            for camera in list(self.cameras.values()):
                await self._begin(camera)

    def _chosen_model(self) -> "AskedModel":
        try:
            specs = [reader.spec for reader in self.memory().cameras()]
        except MemoryNotFound:
            specs = []
        name = self.config.model or (specs[0].model if specs else "tiny")
        model = self._load_model(name, specs[0].index.encoder if specs else None)
        _ = model.encoders  # they are loaded on first use
        return model

    def _set_model(self, state: ModelState, problem: str = "") -> None:
        self.model_state, self.model_problem = state, problem
        level = logging.ERROR if problem else logging.INFO
        _LOGGER.log(level, "model: %s%s", state, f": {problem}" if problem else "")
        self.hub.publish("model", {"state": state, "detail": problem})

    # --- what doors use ---

    @property
    def model(self) -> "AskedModel":
        """The loaded model. Raises ModelNotReady."""
        if self._model is None or self.model_state == "failed":
            if self.model_state == "failed":
                raise ModelNotReady(f"the model could not be loaded: {self.model_problem}")
            raise ModelNotReady("the model is still loading; try again in a few seconds")
        return self._model

    @property
    def session(self) -> Session:
        """Raises ModelNotReady, Stopping."""
        if self._stopping:
            raise Stopping("the service is ending")
        if self._session is None:
            _ = self.model
            raise ModelNotReady("the model is still loading; try again in a few seconds")
        return self._session

    def memory(self) -> Memory:
        """The memory for reading, from any thread. Raises MemoryNotFound while it holds no camera."""
        if self._memory is None:
            self._memory = Memory(self.path)
        return self._memory

    def view(self, access: Access) -> Memory:
        """The memory as a client may see it, from any thread. Raises MemoryNotFound while it holds no camera."""
        return self.memory() if access.cameras is None else self._limited.of(self.memory(), access.cameras)

    async def read(self, work: Callable[[], _Result]) -> _Result:
        """Run work that reads the memory in a thread of its own."""
        return await self._in(self._readers, work)

    async def search(self, work: Callable[[], _Result]) -> _Result:
        """Run work that embeds a text in the one thread for it."""
        return await self._in(self._searcher, work)

    async def _in(self, pool: ThreadPoolExecutor, work: Callable[[], _Result]) -> _Result:
        if self._stopping:
            raise Stopping("the service is ending")
        return await asyncio.get_running_loop().run_in_executor(pool, work)

    def visible(self, access: Access) -> list[ServedCamera]:
        """The recorded cameras that a client may know of."""
        return [camera for camera in self.cameras.values() if access.sees(camera.id)]

    def served(self, name: str, access: Access | None = None) -> ServedCamera:
        """A camera that is recorded, by id or name; access: who asks, the owner by default. Raises NotFound."""
        for camera in self.cameras.values() if access is None else self.visible(access):
            if name in (camera.id, camera.name):
                return camera
        raise NotFound(f"the service records no camera '{name}'")

    # --- changes of cameras ---

    async def put_camera(self, name: str, config: CameraConfig) -> tuple[ServedCamera, bool]:
        """Add a camera, or change one that was added by the API; it is there again after a restart. Returns whether it is new.

        Raises UsageError, NameTaken and others for what cannot be recorded.
        """
        async with self._changing:
            require_literal(config)
            try:
                identity = require_name(name)
            except ValueError as error:
                raise UsageError(str(error)) from None
            known = self.cameras.get(identity)
            if known is not None and known.origin == "configuration":
                raise UsageError(f"camera '{known.name}' is in the configuration file; change it there, and reload")
            if known is not None and known.name != name:
                raise UsageError(f"'{name}' and '{known.name}' would both be camera '{identity}'; give another name")
            planned = await self.read(lambda: plan_camera(self.path, name, config, self.config.zone, {}))
            added = {**self._added, name: config}
            await self.read(lambda: write_added_cameras(self.path, added))
            self._added = added
            camera = await self._replace(planned.id, name, config, "api")
            return camera, known is None

    async def remove_camera(self, name: str) -> ServedCamera:
        """Stop recording a camera that was added by the API. What it has recorded stays. Raises NotFound, UsageError."""
        async with self._changing:
            camera = self.served(name)
            if camera.origin == "configuration":
                raise UsageError(f"camera '{camera.name}' is in the configuration file; remove it there, and reload")
            added = {other: config for other, config in self._added.items() if other != camera.name}
            await self.read(lambda: write_added_cameras(self.path, added))
            self._added = added
            await self._end(camera)
            del self.cameras[camera.id]
            self._said(camera, "removed")
            return camera

    async def reload(self, config: ServiceConfig) -> dict[str, str]:
        """Take over the cameras of a new configuration; what changed, by camera. A model that could not be loaded is tried again."""
        async with self._changing:
            changes = camera_changes(self.config.cameras, config.cameras)
            before, self.config = self.config, self.config.model_copy(update={"cameras": config.cameras})
            for name, change in changes.items():
                identity = require_name(name)
                if change == "removed":
                    camera = self.cameras.pop(identity)
                    await self._end(camera)
                    self._said(camera, "removed")
                elif change == "changed" and same_source(before.cameras[name], config.cameras[name]):
                    await self._change_settings(self.cameras[identity], config.cameras[name])
                else:
                    await self._replace(identity, name, config.cameras[name], "configuration")
            if self.model_state == "failed":
                self.spawn(self._load())
            self.hub.publish("configuration", {"cameras": dict(changes)})
            return dict(changes)

    async def _replace(self, identity: str, name: str, config: CameraConfig, origin: Origin) -> ServedCamera:
        """Record a camera anew; one that has its id ends before."""
        known = self.cameras.get(identity)
        if known is not None:
            await self._end(known)
        camera = self.cameras[identity] = ServedCamera(identity, name, config, origin)
        self._said(camera, "added" if known is None else "changed")
        await self._begin(camera)
        return camera

    async def _change_settings(self, camera: ServedCamera, config: CameraConfig) -> None:
        camera.config = config
        values = settings_of(config)
        try:
            if values and camera.ingest is not None:
                await self.read(lambda: apply(self.memory().camera(camera.id), {"do": "set", "settings": values}))
        except (AfterviewError, OSError) as error:
            _LOGGER.error("%s: its settings were not changed: %s", camera.id, in_one_line(error))
        self._said(camera, "changed")

    async def _begin(self, camera: ServedCamera) -> None:
        """Start to record. A failure is a state of this camera, and tried again; the others go on."""
        session = self._session
        if session is None or self._stopping:
            return
        camera.retry = None

        def opened() -> tuple[IngestConfig, Repository]:
            planned = plan_camera(self.path, camera.name, camera.config, self.config.zone, self._environment)
            settings = settings_of(camera.config)
            return planned.ingest, session.open(camera.name, planned.ingest, timezone=planned.zone, settings=settings)

        opening = self._readers.submit(opened)
        try:
            config, repository = await asyncio.wrap_future(opening)
            if self._stopping:
                raise asyncio.CancelledError
            camera.ingest = session.start(config, repository)
            camera.failure = ""
        except asyncio.CancelledError:
            opening.add_done_callback(close_unused)
            raise
        except Exception as error:  # whatever it is, the other cameras go on
            self._failed(camera, in_one_line(error))

    def _failed(self, camera: ServedCamera, why: str) -> None:
        if why != camera.failure:
            camera.failure, camera.since = why, time.time()
            _LOGGER.error("%s: failed: %s", camera.id, why)
            self._said(camera, "failed")
        loop = asyncio.get_running_loop()
        camera.retry = loop.call_later(camera.next_delay(), lambda: self.spawn(self._revive(camera)))

    async def _revive(self, camera: ServedCamera) -> None:
        async with self._changing:
            if self.cameras.get(camera.id) is camera and not self._stopping:
                await self._end(camera)
                await self._begin(camera)

    async def _end(self, camera: ServedCamera) -> None:
        """Stop recording, and wait until everything is written."""
        if camera.retry is not None:
            camera.retry.cancel()
        ingest, camera.ingest = camera.ingest, None
        if ingest is not None and self._session is not None:
            await self._session.remove(ingest)

    def _state_changed(self, ingest: CameraIngest) -> None:
        """From any thread."""
        try:
            self._loop.call_soon_threadsafe(self._note_state, ingest)
        except RuntimeError:
            pass  # the loop has closed

    def _note_state(self, ingest: CameraIngest) -> None:
        camera = next((one for one in self.cameras.values() if one.ingest is ingest), None)
        if camera is None:
            return
        status = ingest.status()
        if camera.is_news(status):
            detail = f": {status.cause or status.detail}" if status.cause or status.detail else ""
            _LOGGER.info("%s: %s%s", camera.id, status.state, detail)
            self._said(camera, status.state)
        if status.state == "online":
            camera.recovered()
        if status.state == "failed" and not self._stopping:
            self._failed(camera, status.cause or status.detail or "failed")

    def _said(self, camera: ServedCamera, change: str) -> None:
        self.hub.publish("camera", {**camera.to_dict(self.model_state), "change": change})
