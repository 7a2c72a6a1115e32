"""kill -9 of a writer that has an object store, at each place where its upload thread, or an erasure there, can be cut off.

The store is a server process of its own that outlives the writer. Checked after each kill: what is checked without a store, the bytes
of every object against what was reported forgotten, and the answer to a fixed question. Every memory ends with everything sent and read.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from afterview.memory.base.failpoints import UPLOAD_POINTS
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.settings import CameraSettings, write_settings
from afterview.memory.format.manifest import Manifest
from afterview.memory.fsck.fsck import fsck
from afterview.memory.plans.downsampling import downsampled_mask
from afterview.memory.plans.retention import DAY, Limits
from afterview.memory.reading.reader import CameraReader
from afterview.memory.remote.bucket import BucketClient, bucket_of
from afterview.memory.remote.settings import StoreSettings, write_store
from afterview.memory.sync.upload import Upload
from afterview.memory.writing.commands import downsample_old_frames
from afterview.memory.writing.open import open_camera
from tests.crash import writer
from tests.crash.answers import ASKED, FixedAnswer
from tests.crash.promises import broken_promises, read_acks, read_requests
from tests.crash.tally import Tally
from tests.crash.writer import KEEP_S, SPARED, THIN_S
from tests.support.memory_world import START, downsampled_tokens, make_frame
from tests.support.object_server import BUCKET, KEYS, ObjectServer

STORE_POINTS = (
    *UPLOAD_POINTS, "seal.after-commit", "forget.after-commit", "forget.half-erased", "evict.half-erased", "thin.after-commit",
)  # fmt: skip
PATIENCE_S = 90.0  # for a writer to get to its failpoint
_ATTEMPTS = 3  # writers, until one gets there
ROUNDS_PER_MEMORY = 9
_SAMPLE = 80  # forgotten frames whose bytes are looked for in all objects


@dataclass(frozen=True)
class Place:
    """A memory under test, with what was promised about it."""

    directory: Path

    @property
    def memory(self) -> Path:
        """The memory's directory."""
        return self.directory / "m"

    @property
    def camera(self) -> Path:
        """Its one camera."""
        return self.memory / "a"

    @property
    def bucket(self) -> BucketClient:
        """The camera's objects, nothing of them from a cache."""
        bucket = bucket_of(self.camera)
        assert bucket is not None
        bucket.forget_read()
        return bucket


def begin(directory: Path, spec: FeatureSpec, server: ObjectServer) -> Place:
    """A memory with a store of its own, and the frames that are spared."""
    place = Place(directory)
    place.memory.mkdir()
    url = f"s3://{BUCKET}/{directory.name}"
    write_store(place.memory, StoreSettings(url=url, endpoint=server.endpoint, local_gigabytes=0.001, timeout_s=10.0))
    writer.begin(place.memory, directory / "acks", spec)
    spared = (START, START + SPARED)
    write_settings(place.camera, CameraSettings(coarse_days=THIN_S / DAY, keep=(spared,)))
    return place


def kill_at(place: Place, point: str, dice: random.Random) -> bool:
    """Start a writer with a store and one failpoint armed, and wait for it to die there; False when it did not."""
    environment = {**os.environ, **KEYS, "AFTERVIEW_FAILPOINT": f"{point}:{dice.randint(1, 3)}"}
    command = [sys.executable, "-m", "tests.crash.store_writer", *map(str, (place.memory, place.directory / "acks"))]
    with subprocess.Popen([*command, str(place.directory / "log")], env=environment) as process:
        try:
            return process.wait(PATIENCE_S) == -signal.SIGKILL
        except subprocess.TimeoutExpired:
            return False
        finally:
            process.kill()


def broken(place: Place, spec: FeatureSpec, answer: FixedAnswer, dice: random.Random) -> list[str]:
    """Every promise that does not hold."""
    log = place.directory / "log"
    bucket = place.bucket
    found = broken_promises(place.memory, "a", place.directory / "acks", log, spec, keep_s=KEEP_S)
    found += [*_downsampled_altered(place, spec), *_left_on_store(bucket, log, spec, dice)]
    return [*found, *answer.changed(place.memory, START + ASKED)]


def _downsampled_altered(place: Place, spec: FeatureSpec) -> list[str]:
    """Frames that are coarse and are not what they should be (of the others the acknowledgement says what they are)."""
    snapshot = CameraReader(place.camera).snapshot()
    downsampled = downsampled_mask(snapshot.end, Manifest.read(place.camera).downsampled)
    ids = snapshot.ids[downsampled[snapshot.ids]]
    same = [
        np.array_equal(row, downsampled_tokens(int(n), spec)) for n, row in zip(ids, snapshot.tokens(ids), strict=True)
    ]
    return [f"coarse frame {frame} was altered" for frame, sound in zip(ids, same, strict=True) if not sound]


def _left_on_store(bucket: BucketClient, log: Path, spec: FeatureSpec, dice: random.Random) -> list[str]:
    """Frames that were reported forgotten, and of which an object still has bytes."""
    _, done, _ = read_requests(log)
    gone = sorted({number for start, stop in done for number in range(round(start - START), round(stop - START) + 1)})
    data = b"".join(bucket.read(key) or b"" for key in bucket.sizes())
    frames = {number: make_frame(number, spec) for number in dice.sample(gone, min(_SAMPLE, len(gone)))}
    held = [number for number, frame in frames.items() if frame.image in data or frame.embedding.tobytes() in data]
    return [f"forgotten, yet on the store: frame {number}" for number in held]


def end(place: Place, spec: FeatureSpec) -> list[str]:
    """Send everything and read all of it again."""
    upload = Upload(place.camera, place.bucket, local_bytes=0)
    with open_camera(place.memory, "a", spec) as repository:
        repository.enforce(Limits(None, None))  # a removal that a crash cut off before the store took part
        while downsample_old_frames(repository) or upload.step(finish=True):
            pass
        unfinished = [part for part in Manifest.read(place.camera).downsampled if not part.erased]
    return [*map(str, unfinished)] + [
        f"at the end: {found.where.name} {found.what}" for found in fsck(place.camera, deep=True).findings
    ]


def kill_uploads(
    tally: Tally,
    kills: int,
    dice: random.Random,
    say: Callable[[str], None],
    *,
    points: Sequence[str] = STORE_POINTS,
) -> None:
    """Every one of `points` in turn, over and over."""
    from afterview.model.checkpoint.loading import load_pretrained

    model: Any = load_pretrained("tiny")
    spec = model.encoders.feature_spec
    root = Path(tempfile.mkdtemp(prefix="afterview-store-"))
    with patch.dict(os.environ, KEYS), ObjectServer() as server:
        for number in range(kills):
            if number % ROUNDS_PER_MEMORY == 0:
                directory = root / f"memory-{number // ROUNDS_PER_MEMORY}"
                directory.mkdir()
                place, answer = begin(directory, spec, server), FixedAnswer(model)
            point = points[number % len(points)]
            # Its writing may be over before a busy machine has sent often enough; then the next writer gets there.
            found = [] if any(kill_at(place, point, dice) for _ in range(_ATTEMPTS)) else ["the writer never got there"]
            found += broken(place, spec, answer, dice)
            if number % ROUNDS_PER_MEMORY == ROUNDS_PER_MEMORY - 1 or number == kills - 1:
                found += end(place, spec)
            tally.kills[f"with a store, {point}"] += 1
            tally.broken += [f"with a store, {point}: {what}" for what in found]
            tally.acknowledged += len(read_acks(directory / "acks"))
            tally.answers += 1
            if number % 10 == 9:
                say(f"{number + 1} kills with a store, {len(tally.broken)} promises broken")
    shutil.rmtree(root)
