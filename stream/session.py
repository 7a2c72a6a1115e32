"""A session: cameras that are recorded, and questions that are asked, in one process and one event loop.

Threads: those of the supervisor, and one `language` thread for questions. Questions read snapshots from disk, so ingest never waits for an
answer.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from afterview.memory.directory import Memory
from afterview.memory.writing.repository import Repository
from afterview.stream.ask.answerer import Answerer, OnCameras
from afterview.stream.ask.finding import FindingAnswerer, answerer_for
from afterview.stream.ask.question import Answer, Question
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.ingest.supervisor import Supervisor

if TYPE_CHECKING:  # built models are handed in: importing this module must not load torch
    from afterview.model.checkpoint.for_questions import AskedModel
    from afterview.model.checkpoint.models import Encoders


class Session:
    """Records any number of cameras until they end or `stop` is called, and answers questions meanwhile.

    async with Session(memory, encoders) as session:
        session.add("front door", IngestConfig(parse_source("rtsp://...")))
        await session.run()
    """

    def __init__(
        self, memory: Path, encoders: "Encoders", *, opened: Callable[[], Memory] | None = None, **options: Any
    ) -> None:
        """opened: gives the memory for reading; by default it is opened at the first question. options: those of Supervisor."""
        self._opened = opened or (lambda: Memory(memory))
        self._supervisor = Supervisor(memory, encoders, **options)
        self._language = ThreadPoolExecutor(1, thread_name_prefix="language")
        self._memory: Memory | None = None
        self._answerer: Answerer | FindingAnswerer | None = None

    @property
    def cameras(self) -> list[CameraIngest]:
        """Those that were added and not removed, whether or not they have ended."""
        return self._supervisor.cameras

    def add(self, name: str, config: IngestConfig) -> CameraIngest:
        """Open a camera for writing and start recording its source. Raises the errors of open_camera."""
        return self._supervisor.add(name, config)

    def open(self, name: str, config: IngestConfig, **options: Any) -> Repository:
        """The first half of `add`, from any thread: open a camera for writing. options and errors: those of Supervisor.open."""
        return self._supervisor.open(name, config, **options)

    def start(self, config: IngestConfig, repository: Repository) -> CameraIngest:
        """The second half: start recording its source. The camera is closed if that fails."""
        return self._supervisor.start(config, repository)

    async def remove(self, camera: CameraIngest) -> None:
        """Stop one camera, wait until everything of it is written, and remove it from the session."""
        await self._supervisor.remove(camera)

    async def wait(self) -> None:
        """Wait until every camera has ended, of itself or by `stop`. `failure` of each says whether it failed."""
        await self._supervisor.wait()

    async def run(self) -> None:
        """Wait until every camera has ended, of itself or by `stop`. Then raise the failure of the first that failed, if any."""
        await self._supervisor.run()

    def stop(self) -> None:
        """Stop all cameras: what was decoded is still encoded, written and synced. From any thread; more than once is fine."""
        self._supervisor.stop()

    async def ask(
        self,
        model: "AskedModel",
        question: Question,
        on_text: Callable[[str], None] | None = None,
        on_cameras: OnCameras | None = None,
        *,
        memory: Memory | None = None,
        times_since_start: bool = False,
    ) -> Answer:
        """Answer from what is committed by now, in the language thread. Cancelling this coroutine cancels the generation.

        on_text, on_cameras: those of Answerer.ask, called in the language thread. memory: as the asker may see it; default: all of it.
        times_since_start: as in Answerer. Raises what Answerer.ask raises.
        """
        cancel, loop = threading.Event(), asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._language, self._ask, model, question, on_text, on_cameras, cancel, memory, times_since_start
            )
        finally:
            cancel.set()

    def _ask(
        self,
        model: "AskedModel",
        question: Question,
        on_text: Callable[[str], None] | None,
        on_cameras: OnCameras | None,
        cancel: threading.Event,
        memory: Memory | None,
        times_since_start: bool,
    ) -> Answer:
        if memory is None:
            memory = self._memory = self._memory or self._opened()
        if times_since_start:  # of what came with one question
            answerer = answerer_for(memory, model, times_since_start=True)
            return answerer.ask(question, on_text=on_text, cancel=cancel, on_cameras=on_cameras)
        if self._answerer is None or self._answerer.model is not model or self._answerer.memory is not memory:
            self._answerer = answerer_for(memory, model)
        return self._answerer.ask(question, on_text=on_text, cancel=cancel, on_cameras=on_cameras)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._supervisor.__aexit__(kind, error, trace)
        finally:
            self._language.shutdown(wait=False, cancel_futures=True)


def run(main: Any) -> Any:
    """Run a coroutine on uvloop where it exists, else on asyncio's own loop."""
    if os.name == "posix":
        import uvloop

        return uvloop.run(main)
    return asyncio.run(main)
