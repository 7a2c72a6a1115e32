"""A session: cameras being taken in, and questions being asked, in one process and one event loop.

Threads: per camera one `decode` and one `write`; one `encode` for all cameras; one `language` for questions. The event loop
only supervises: it starts the threads, learns of their end through call_soon_threadsafe, and stops all of them when one
fails, so that no failure is swallowed. Questions read snapshots from disk, so ingest never waits for an answer.
"""

import asyncio
import math
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from afterview.memory.base.records import FrameRecord
from afterview.memory.base.spec import Storage
from afterview.memory.directory import Memory
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.repository import Acknowledgement
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.question import Answer, Question
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.clips import ClipGatherer, Group
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.ingest.cpu_affinity import pin_to_one_cpu
from afterview.stream.ingest.preprocess import Sampled
from afterview.stream.ingest.write import Interruption

if TYPE_CHECKING:  # built models are handed in: importing this module must not load torch
    from afterview.model.checkpoint.loaded import AfterviewModel, Encoders

ENCODER_BATCH = 16  # frames, of all cameras together
_STOP_PATIENCE = 3.0  # seconds that a blocked read may delay the end; the decode thread is a daemon and is left behind

OnDurable = Callable[[CameraIngest, Sequence[Acknowledgement]], None]


class Session:
    """Takes in any number of cameras until they end or `stop` is called.

    async with Session(memory, encoders) as session:
        session.add("front door", IngestConfig(parse_source("rtsp://...")))
        await session.run()
    """

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
        """token_storage: of cameras that are new (None: as the model's preset says).

        on_durable is called in a camera's write thread, on_state in whichever thread the state changed."""
        self._memory, self._encoders, self._timezone = memory, encoders, timezone
        self._spec = encoders.feature_spec.stored_as(token_storage) if token_storage else encoders.feature_spec
        self._on_durable, self._on_state = on_durable, on_state
        self._stop = threading.Event()
        self._work = threading.Condition()
        self._language = ThreadPoolExecutor(1, thread_name_prefix="language")
        self._answerer: Answerer | None = None
        self.cameras: list[CameraIngest] = []

    def add(self, name: str, config: IngestConfig) -> CameraIngest:
        """Open a camera for writing and take `config`'s source in when the session runs. Raises the errors of open_camera."""
        repository = open_camera(self._memory, name, self._spec, fps=config.fps, timezone=self._timezone)
        try:
            ingest = CameraIngest(
                config, repository, self._encoders, self._work,
                on_durable=lambda acknowledgements: self._on_durable(ingest, acknowledgements), on_state=self._on_state,
            )  # fmt: skip
        except BaseException:
            repository.close()
            raise
        self.cameras.append(ingest)
        return ingest

    async def run(self) -> None:
        """Run until every source has ended, or `stop`. Raises the first failure after everything is written and closed."""
        writers = [_in_thread(f"write-{c.repository.info.id}", c.write) for c in self.cameras]
        encoder = _in_thread("encode", self._encode)
        decoders = [_in_thread(f"decode-{c.repository.info.id}", self._decode, c) for c in self.cameras]
        stages = [*writers, encoder, *decoders]
        try:
            await self._until_done(stages, decoders)
        finally:
            self.stop()
            await asyncio.wait([*writers, encoder])
        for stage in stages:
            if stage.done() and stage.exception():
                raise stage.exception() or AssertionError("unreachable: the stage failed")

    async def _until_done(self, stages: list[asyncio.Future[None]], decoders: list[asyncio.Future[None]]) -> None:
        """Wait for all stages; when one fails, or the session is stopped, stop the others and wait a little for reads that block."""
        waiting = set(stages)
        while waiting and not self._stop.is_set():
            done, waiting = await asyncio.wait(waiting, timeout=0.1, return_when=asyncio.FIRST_EXCEPTION)
            if any(stage.exception() for stage in done):
                self.stop()
        if waiting:
            await asyncio.wait(decoders, timeout=_STOP_PATIENCE)

    def stop(self) -> None:
        """End the session: what was decoded is still encoded, written and synced. From any thread; more than once is fine."""
        self._stop.set()
        for camera in self.cameras:
            camera.inbox.close()

    async def ask(
        self, model: "AfterviewModel", question: Question, on_text: Callable[[str], None] | None = None
    ) -> Answer:
        """Answer from what is committed by now, in the language thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._language, self._ask, model, question, on_text)

    def _ask(self, model: "AfterviewModel", question: Question, on_text: Callable[[str], None] | None) -> Answer:
        if self._answerer is None or self._answerer.model is not model:
            self._answerer = Answerer(Memory(self._memory), model)
        return self._answerer.ask(question, on_text=on_text)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for camera in self.cameras:
            camera.repository.close()
        self._language.shutdown(wait=False, cancel_futures=True)

    # --- decode threads ---

    def _decode(self, camera: CameraIngest) -> None:
        config = camera.config
        if not config.live and math.isinf(config.speed) and config.source.decoder_threads == 1:
            pin_to_one_cpu()
        camera.decode(self._stop)

    # --- encode thread ---

    def _encode(self) -> None:
        """Batch whatever frames wait, of all cameras, and hand the features to each camera's writer."""
        clips = ClipGatherer()
        try:
            while (batch := self._collect()) is not None:
                self._encode_groups(clips.gather(batch))
            self._encode_groups(clips.rest())
        finally:
            for camera in self.cameras:
                camera.outbox.close()

    def _collect(self) -> list[tuple[CameraIngest, Sampled | Interruption]] | None:
        """Wait for items; take them from the cameras in turn. None when every inbox has ended."""
        with self._work:
            while True:
                ready = [camera for camera in self.cameras if camera.ready(ENCODER_BATCH)]
                share = max(1, ENCODER_BATCH // max(1, len(ready)))
                batch = [(camera, item) for camera in ready for item in camera.inbox.take_now(share)]
                if batch:
                    return batch
                if all(camera.inbox.ended for camera in self.cameras):
                    return None
                self._work.wait()

    def _encode_groups(self, groups: Sequence[Group]) -> None:
        """Neighbours that the same model encodes in one batch: all, but while a camera goes over to another."""
        whose: list[Encoders] = []
        for _, group in groups:
            whose.append(
                whose[-1] if isinstance(group, Interruption) and whose else _encoders_of(group, self._encoders)
            )
        for _, alike in groupby(zip(whose, groups, strict=True), key=lambda pair: id(pair[0])):
            pairs = list(alike)
            _encode_alike(pairs[0][0], [group for _, group in pairs])


def _encoders_of(group: list[Sampled] | Interruption, default: "Encoders") -> "Encoders":
    return default if isinstance(group, Interruption) else group[0].encoders


def _encode_alike(encoders: "Encoders", groups: Sequence[Group]) -> None:
    """Whole clips (single frames, where frames are not merged) in one batch, short ones each alone."""
    size = encoders.feature_spec.tokens.frames_per_record
    clips = [group for _, group in groups if isinstance(group, list) and len(group) == size]
    records = iter(encode_frames(encoders, [frame for clip in clips for frame in clip]))
    for camera, group in groups:
        if isinstance(group, Interruption):
            camera.submit(group)
            continue
        for record in islice(records, size) if len(group) == size else encode_frames(encoders, group):
            camera.submit(record, encoders)


def encode_frames(encoders: "Encoders", frames: Sequence[Sampled]) -> list[FrameRecord]:
    """Sampled frames to memory records: the one place where pixels become features, for live, replay and training alike.

    Where an encoder compresses clips, the frames are consecutive ones, clip by clip, and only the last clip may be short.
    """
    if not frames:
        return []
    tokens = encoders.vision.encode(np.stack([frame.token_pixels for frame in frames]))
    embeddings = encoders.index.encode_images(np.stack([frame.index_pixels for frame in frames]))
    return [
        FrameRecord(
            time=frame.time,
            arrival_time=frame.arrival_time,
            source_time=frame.source_time,
            time_basis=frame.time_basis,
            image=frame.image,
            tokens=tokens[row],
            embedding=embeddings[row],
        )
        for row, frame in enumerate(frames)
    ]


def _in_thread(name: str, function: Callable[..., None], *arguments: Any) -> asyncio.Future[None]:
    """Run `function` in a daemon thread of that name. Only crossing back: call_soon_threadsafe with its outcome."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def main() -> None:
        error: BaseException | None = None
        try:
            function(*arguments)
        except BaseException as failure:  # handed to the loop, where `run` raises it
            error = failure
        try:
            loop.call_soon_threadsafe(settle, error)
        except RuntimeError:
            pass  # the loop has closed: a decode thread that a frozen source held past the end

    threading.Thread(target=main, name=name, daemon=True).start()
    return future


def run(main: Any) -> Any:
    """Run a coroutine on uvloop where it exists, else on asyncio's own loop."""
    if os.name == "posix":
        import uvloop

        return uvloop.run(main)
    return asyncio.run(main)
