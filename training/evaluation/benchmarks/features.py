"""A video's memory, made once by the same ingest as any recording, and kept for every question, run and model with the same encoders.

    WORK/<key>/memory/    one camera, `video`, whose first frame is at START        WORK/<key>/done.json    written last

The key is of the video's content and of the encoders, so a video of another name or another benchmark is not read again. What a crash left
without done.json is made anew. A memory that is asked about is locked: no other process or run removes it meanwhile.

Short videos are read densely, as published, where the model's preset says so; online they never are: how many frames of them are read would
depend on how long they will be.
"""

import fcntl
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from afterview.memory.base.durable import make_directory, remove_tree, write_file
from afterview.memory.base.lock import file_lock
from afterview.memory.directory import Memory
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from afterview.stream.source.address.address import parse_source
from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.fingerprint import file_fingerprint, values_fingerprint

if TYPE_CHECKING:  # a model is handed in: importing this module must not load torch
    from afterview.model.checkpoint.models import Encoders

CAMERA: Final = "video"
START: Final = 1_767_225_600.0  # Unix time of a video's first frame: 2026-01-01, midnight UTC
_KEY: Final = 24  # hexadecimal digits

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoMemories:
    """The memories of a benchmark's videos in one directory. dense: short videos may be read densely.

    The latest that `memory` gave is in use, and nobody removes it, until the next, until `discard` or until this object ends.
    """

    directory: Path
    encoders: "Encoders"
    dense: bool = True
    _in_use: ExitStack = field(default_factory=ExitStack, init=False, repr=False, compare=False)

    def place(self, video: Path) -> Path:
        """The directory of a video's memory, whether or not it is there."""
        preset, spec = self.encoders.preset, self.encoders.feature_spec.document()
        spec.pop("model")  # its name says nothing of the features
        sampled = preset.short_videos if self.dense else "per-second"
        values = {"video": file_fingerprint(video), "spec": spec, "short_videos": sampled}
        return self.directory / values_fingerprint(values).removeprefix("sha256:")[:_KEY]

    def memory(self, video: Path) -> Path:
        """The memory of a video, recorded now if it is not there. Raises the errors of a source, of the store and of the disk."""
        place = self.place(video)
        make_directory(self.directory)
        self._use(place)
        while not _is_done(
            place
        ):  # the kernel turns one lock into the other with a gap, in which another may discard it
            self._in_use.close()
            with file_lock(self._lock(place)):
                if not _is_done(place):
                    self._make(video, place)
            self._use(place)
        return place / "memory"

    def discard(self, video: Path) -> None:
        """Remove a video's memory, which this object uses no longer. One that another process or run uses stays, and a warning says so."""
        place = self.place(video)
        make_directory(self.directory)
        self._in_use.close()
        try:
            with file_lock(self._lock(place), patience_s=0.0):
                remove_tree(place)
        except TimeoutError:
            _LOGGER.warning("%s: its memory %s stays: another process or run uses it now", video, place)

    def _lock(self, place: Path) -> Path:
        return self.directory / f".{place.name}.lock"

    def _use(self, place: Path) -> None:
        self._in_use.close()
        self._in_use.enter_context(_shared_lock(self._lock(place)))

    def _make(self, video: Path, place: Path) -> None:
        remove_tree(place)
        make_directory(place)
        self._record(video, place / "memory")
        frames = len(Memory(place / "memory").camera(CAMERA).snapshot().times)
        write_file(place / "done.json", json.dumps({"video": video.name, "frames": frames}).encode())
        _LOGGER.debug("%s: %d frames recorded into %s", video, frames, place)

    def _record(self, video: Path, memory: Path) -> None:
        config = IngestConfig(
            parse_source(str(video)), live=False, start=START, short_videos=None if self.dense else "per-second"
        )

        async def replay() -> None:
            async with Session(memory, self.encoders) as session:
                session.add(CAMERA, config)
                await session.run()

        run_loop(replay())


class Unchanged:
    """Holds that questions leave a memory as it is: every file but those of the index, which is a cache."""

    def __init__(self, memory: Path) -> None:
        self._memory, self._state = memory, _state(memory)

    def require(self) -> None:
        """Raise BenchmarkError, which names a file, if the memory is not what it was, and another if it is gone."""
        if (state := _state(self._memory)) != self._state:
            if not state:
                raise BenchmarkError(
                    f"{self._memory} was removed meanwhile; do not share --work with a run that has --discard"
                )
            changed = sorted({*state.items()} ^ {*self._state.items()})[0][0]
            raise BenchmarkError(f"a question changed the memory ({changed}); a question must leave it as it is")


@contextmanager
def _shared_lock(path: Path) -> Iterator[None]:
    """Hold `path` beside others that hold it so, and against `file_lock`."""
    with path.open("a+") as file:  # NFS gives a shared lock only on what can be read
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def _state(memory: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of each file."""
    found = {}
    for path in sorted(memory.rglob("*")):
        name = path.relative_to(memory)
        if "index" not in name.parts and path.is_file():
            state = path.stat()
            found[name.as_posix()] = (state.st_size, state.st_mtime_ns)
    return found


def _is_done(place: Path) -> bool:
    return (place / "done.json").is_file() and (place / "memory").is_dir()


Recorded = Callable[[Path], Path]  # a video's file -> its memory
