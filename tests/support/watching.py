"""A live source being read in a thread of its own, as ingest does it, for tests that look at what comes while things go wrong."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from afterview.memory.directory import Memory
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.memory.writing.repository import Acknowledgement
from afterview.stream.ingest.camera import CameraIngest
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.ingest.sampler import Sampler
from afterview.stream.ingest.status import CameraStatus
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.backoff import BackoffConfig
from afterview.stream.source.reader import Event, Frame, Passed, SourceConfig, read_events
from tests.support.servers import wait_until

QUICK = SourceConfig(open_timeout_s=4, read_timeout_s=1.0, backoff=BackoffConfig(first_s=0.05, max_s=0.2))


class Watcher:
    """Reads `url` until told to stop. Threads: `reader` appends to the lists; tests only read them.

    events: everything but frames, with the monotonic time it came. frames: all of them. samples: (slot, pixels) of those the sampler
    chose. passed: pictures that were not decoded, if lazy. error: what the reader raised.
    """

    def __init__(
        self, url: str, *, config: SourceConfig = QUICK, fps: float = 1.0, keep_trying: bool = False, lazy: bool = False
    ) -> None:
        self.events: list[tuple[float, Event]] = []
        self.frames: list[tuple[float, Frame]] = []
        self.samples: list[tuple[int, NDArray[np.uint8]]] = []
        self.passed: list[Passed] = []
        self.error: BaseException | None = None
        self._lazy = lazy
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(url, config, fps, keep_trying), daemon=True)

    def _read(self, url: str, config: SourceConfig, fps: float, keep_trying: bool) -> None:
        sampler = Sampler(fps)
        try:
            due = sampler.due if self._lazy else None
            for event in read_events(parse_source(url), config, stop=self._stop, keep_trying=keep_trying, due=due):
                if isinstance(event, Passed):
                    sampler.admit(event.pts_s)
                    self.passed.append(event)
                    continue
                if not isinstance(event, Frame):
                    self.events.append((time.monotonic(), event))
                    continue
                if chosen := sampler.admit(event.pts_s):
                    self.samples.append((chosen.slot, event.picture.rgb()))
                self.frames.append((time.monotonic(), event))
        except BaseException as error:
            self.error = error

    def kinds(self) -> list[str]:
        """Names of the events, repeats left out."""
        names = [type(event).__name__ for _, event in self.events]
        return [name for number, name in enumerate(names) if number == 0 or name != names[number - 1]]

    def of(self, kind: type) -> list[Event]:
        """The events of one kind."""
        return [event for _, event in self.events if isinstance(event, kind)]

    def until(self, condition: Callable[[], object], within_s: float = 10.0) -> None:
        """Wait for a condition; fail with what came instead."""
        assert wait_until(lambda: condition() or self.error, within_s), f"it did not happen; events: {self.events}"
        if self.error is not None:
            raise self.error

    def more_frames(self, count: int, within_s: float = 10.0) -> None:
        """Wait for so many frames more than there are now."""
        wanted = len(self.frames) + count
        self.until(lambda: len(self.frames) >= wanted, within_s)

    def until_error(self, within_s: float) -> bool:
        """Wait for the reader to raise."""
        return wait_until(lambda: self.error, within_s)

    def stop(self, within_s: float = 5.0) -> float:
        """Stop the reader; seconds until it had ended."""
        began = time.monotonic()
        self._stop.set()
        self._reader.join(within_s)
        assert not self._reader.is_alive(), "the reader did not stop"
        return time.monotonic() - began

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._reader.join(5)


def samples_of_file(path: Path, fps: float) -> list[tuple[int, NDArray[np.uint8]]]:
    """(slot, pixels) of the frames that the sampler chooses from a file."""
    sampler, samples = Sampler(fps), []
    for event in read_events(parse_source(str(path)), SourceConfig(), stop=threading.Event()):
        if isinstance(event, Frame) and (chosen := sampler.admit(event.pts_s)):
            samples.append((chosen.slot, event.picture.rgb()))
    return samples


def assert_same_frames(live: list[tuple[int, NDArray[np.uint8]]], file: list[tuple[int, NDArray[np.uint8]]]) -> None:
    """The same slots with bit-identical pixels."""
    assert [slot for slot, _ in live] == [slot for slot, _ in file]
    different = [slot for (slot, seen), (_, stored) in zip(live, file, strict=True) if not np.array_equal(seen, stored)]
    assert different == []


class Recording:
    """A session with one camera in a thread of its own, from entering to leaving, or to `stop`.

    acks: frames that are durable, in order. states: each state of the camera with its detail. Tests only read the lists.
    """

    def __init__(self, memory: Path, encoders: Any, name: str, config: IngestConfig) -> None:
        self.memory, self.ingest = memory, cast("CameraIngest", None)
        self.acks: list[Acknowledgement] = []
        self.states: list[tuple[str, str]] = []
        self._begin = (encoders, name, config)
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            run_loop(self._record(*self._begin))
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _record(self, encoders: Any, name: str, config: IngestConfig) -> None:
        options: dict[str, Any] = {"on_durable": lambda ingest, acks: self.acks.extend(acks), "on_state": self._changed}
        async with Session(self.memory, encoders, **options) as session:
            self.ingest = session.add(name, config)
            self._ready.set()
            await session.run()

    def _changed(self, ingest: CameraIngest) -> None:
        status = ingest.status()
        self.states.append((status.state, status.detail))

    def wait_for(self, frames: int, within_s: float = 20.0) -> None:
        """Wait until so many frames are durable."""
        assert wait_until(lambda: len(self.acks) >= frames or self._error, within_s), (
            f"{len(self.acks)} of {frames} frames"
        )
        if self._error is not None:
            raise self._error

    def snapshot(self) -> MemorySnapshot:
        return Memory(self.memory).camera(self.ingest.id).snapshot()

    def stop(self) -> CameraStatus:
        """End it; raises what went wrong."""
        if self.ingest is not None:
            self.ingest.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
        return self.ingest.status()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.stop()
        elif self.ingest is not None:
            self.ingest.stop()
