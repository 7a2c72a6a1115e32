"""A writer that does everything a writer does, without a model, until it is killed: `python -m tests.crash.writer DIR ACKS LOG STORAGE`.

A camera that `begin` made has frames that are spared, so that a question can be asked about them; any other is made anew.

ACKS gets `id time crc` of each frame after it is durable; LOG gets `forget START STOP` before, and `forgotten START STOP` after, each
request; `evict SECONDS` before retention runs. Both are fsync'd, so that they say no more and no less than what was promised.
"""

import os
import random
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import get_args

from afterview.memory.base.durable import observed
from afterview.memory.base.feature_spec import FeatureSpec, Storage
from afterview.memory.format.feature_spec_file import read_spec
from afterview.memory.format.manifest import Manifest
from afterview.memory.index import frame_index as index_module
from afterview.memory.index import segments
from afterview.memory.index.frame_index import FrameIndex
from afterview.memory.plans.retention import Limits
from afterview.memory.reading.reader import CameraReader
from afterview.memory.remote.bucket import bucket_of
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.repository import Repository
from tests.crash.disk import refuse_growth
from tests.support.memory_world import START, make_frame, make_spec

SPECS: dict[Storage, FeatureSpec] = {storage: make_spec(storage=storage) for storage in get_args(Storage)}
SPARED = 130  # frames, two seals of them: nobody forgets or evicts these, and a fixed question is about them
THIN_S = 100.0  # seconds of it that frames keep all their tokens
KEEP_S = 500.0  # seconds of made-up time that retention allows


class Log:
    """A text file that is durable line by line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="ascii")

    def write(self, *lines: str) -> None:
        """Append lines, durably."""
        self._file.writelines(f"{line}\n" for line in lines)
        self._file.flush()
        os.fsync(self._file.fileno())


def small_segments() -> None:
    """Index segments of 64 and 256 frames, so that saving and merging happen all the time."""
    for module in (index_module, segments):
        for name, size in (("SMALL", 64), ("LARGE", 256)):
            if hasattr(module, name):
                setattr(module, name, size)


def write_for_ever(
    repository: Repository,
    acks: Log,
    log: Log,
    dice: random.Random,
    *,
    spared: tuple[float, float] | None = None,
    after_each: Callable[[Repository], None] = lambda repository: None,
) -> None:
    """Append, sync, index, forget (half the time on a full disk) and evict in a random order. spared: the oldest span, which stays."""
    index = FrameIndex(repository.directory / "index")
    keep = [spared] if spared else []
    while True:
        after_each(repository)
        for _ in range(dice.randint(1, 20)):
            repository.append(make_frame(repository.frames, repository.spec))
        acks.write(*(f"{ack.frame} {ack.time!r} {ack.crc:08x}" for ack in repository.sync()))
        what = dice.random()
        if what < 0.15:
            index.catch_up(CameraReader(repository.directory).snapshot())
        elif what < 0.25 and repository.last_time is not None:
            stop = repository.last_time - dice.randint(0, 300)
            start = stop - dice.randint(1, 40)
            if spared and start <= spared[1]:
                continue
            log.write(f"forget {start!r} {stop!r}")
            full = bucket_of(repository.directory) is None and dice.random() < 0.5
            with observed(refuse_growth) if full else nullcontext():
                repository.forget(start, stop)
            log.write(f"forgotten {start!r} {stop!r}")
        elif what < 0.35:
            log.write(f"evict {KEEP_S!r}")
            repository.enforce(Limits(KEEP_S, None), keep)
        elif what < 0.38:
            repository.interrupted("lost")
        elif what < 0.5:
            repository.downsample(THIN_S, keep)


def begin(memory: Path, acks: Path, spec: FeatureSpec) -> None:
    """A camera of a model's spec, and the frames in it that are spared."""
    with open_camera(memory, "a", spec) as repository:
        for number in range(SPARED):
            repository.append(make_frame(number, spec))
        Log(acks).write(*(f"{ack.frame} {ack.time!r} {ack.crc:08x}" for ack in repository.sync()))


def main() -> None:
    """Open the camera and go on until somebody kills this."""
    memory, acks, log = (Path(argument) for argument in sys.argv[1:4])
    (spec,) = (spec for storage, spec in SPECS.items() if storage == sys.argv[4])
    if (memory / "a" / "camera.json").exists():
        spec = read_spec(memory / "a", Manifest.read(memory / "a").generation)
    spared = (START, START + SPARED) if spec != SPECS[spec.tokens.storage] else None
    small_segments()
    with open_camera(memory, "a", spec) as repository:
        print("ready", flush=True)
        write_for_ever(repository, Log(acks), Log(log), random.Random(os.getpid()), spared=spared)


if __name__ == "__main__":
    main()
