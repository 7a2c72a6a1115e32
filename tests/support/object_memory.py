"""A small memory whose sealed part lies on a test's object server."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.memory.remote.bucket import bucket_of
from afterview.memory.remote.settings import StoreSettings, write_store
from afterview.memory.sync.upload import Upload
from afterview.memory.writing.open import open_camera
from tests.support.memory_world import START, make_frame, make_spec
from tests.support.object_server import BUCKET

SPEC = make_spec()
FRAMES = 200  # three seals and eight frames in the journal
PREFIX = "house/m/a"


def set_store(memory: Path, endpoint: str, *, local_gigabytes: float = 0.0, timeout_s: float = 2.0) -> None:
    settings = StoreSettings(
        url=f"s3://{BUCKET}/house/m", endpoint=endpoint, local_gigabytes=local_gigabytes, timeout_s=timeout_s
    )
    memory.mkdir(exist_ok=True)
    write_store(memory, settings)


@cache
def _recorded() -> Path:
    """One recording, for `record` to copy."""
    memory = Path(tempfile.mkdtemp(prefix="afterview-recorded-"))
    atexit.register(shutil.rmtree, memory)
    with open_camera(memory, "a", SPEC) as repository:
        for number in range(FRAMES):
            repository.append(make_frame(number, SPEC))
    return memory


def record(memory: Path) -> Path:
    """A memory of FRAMES frames; returns its camera."""
    shutil.copytree(_recorded(), memory, dirs_exist_ok=True)
    return memory / "a"


def upload(camera: Path, *, local_bytes: float = 0.0) -> Upload:
    bucket = bucket_of(camera)
    assert bucket is not None
    return Upload(camera, bucket, local_bytes=local_bytes)


def flush(camera: Path, *, local_bytes: float = 0.0) -> None:
    steps = upload(camera, local_bytes=local_bytes)
    for _ in range(1000):
        if not steps.step(finish=True):
            return
    raise AssertionError("there is always something left to do")


def moving(camera: Path) -> list[Path]:
    """Files that belong on the store."""
    return sorted([*camera.glob("generation-*/*/c.*"), *camera.glob("frames/images/*/c.0")])


def assert_holds(snapshot: MemorySnapshot, frames: range | list[int] = range(FRAMES)) -> None:
    """Bit for bit what was recorded."""
    assert snapshot.ids.tolist() == list(frames)
    made = [make_frame(number, SPEC) for number in frames]
    np.testing.assert_array_equal(snapshot.tokens(snapshot.ids), np.stack([frame.tokens for frame in made]))
    np.testing.assert_array_equal(snapshot.embeddings(snapshot.ids), np.stack([frame.embedding for frame in made]))
    np.testing.assert_array_equal(snapshot.times, [START + number for number in frames])
    assert list(snapshot.images(snapshot.ids)) == [frame.image for frame in made]
