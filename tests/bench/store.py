"""Sealed frames on an object store: the cost of uploading and of reading them there, against the same reads from the disk.

The store is a moto server in another process on this machine. Its round trip takes almost no time and its bandwidth is
that of the loopback. In columns with a delay, a relay in front of it delays the start of every answer.
"""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.directory import Memory
from afterview.memory.format.upload_state import UploadState
from afterview.memory.reading.reader import CameraReader
from afterview.memory.remote.bucket import BucketClient, bucket_of
from afterview.memory.remote.settings import StoreSettings, write_store
from afterview.memory.sync.upload import Upload
from afterview.memory.writing.open import open_camera
from tests.bench.memory import IMAGE_BYTES, published_spec, tiny_spec
from tests.bench.table import Table
from tests.support.memory_world import START, make_frame
from tests.support.object_server import BUCKET, KEYS, Gate, ObjectServer, gate_to

FRAMES = 2048
SCATTERED = 128  # frames, each in a chunk of its own: what bounded recall reads at worst
DELAY_S = 0.02  # to a store of the same region
REPEATS = 3


def run() -> list[Table]:
    """Both tables."""
    os.environ.update(KEYS)
    sending = Table("Sending sealed frames to a store", ["spec", "MB", "seconds", "MB/s", "requests per seal"],
        "Two cores shared with the server, which takes most of the time.")  # fmt: skip
    away = f"store, {DELAY_S * 1e3:.0f} ms away (ms)"
    reading = Table(
        "Reading sealed frames, disk against store", ["spec", "what", "disk (ms)", "store (ms)", away],
        f"Median of {REPEATS}, the three taken in turn on a busy machine; what was read from the store before is dropped each time, the "
        "page cache is warm. Server and relay are Python on the same two cores, and take most of the time.",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as directory, ObjectServer() as server, gate_to(server) as gate:
        for name, spec in (("tiny", tiny_spec()), ("Hour-LLaVA 64x1152 float16", published_spec())):
            memory = Path(directory) / name.partition(" ")[0]
            _compare(name, memory, spec, server, gate, sending, reading)
    return [sending, reading]


def _compare(
    name: str, memory: Path, spec: FeatureSpec, server: ObjectServer, gate: Gate, sending: Table, reading: Table
) -> None:
    _record(memory, spec)
    here = memory.with_name(f"{memory.name}-here")
    shutil.copytree(memory, here)
    _use(memory, server.endpoint)
    sending.add(name, *_send(memory / "a"))
    local, stored = _reads(here, spec), _reads(memory, spec)
    for what in local:
        taken: dict[str, list[float]] = {"disk": [], "near": [], "far": []}
        for _ in range(REPEATS + 1):  # in turn, so that other work affects all alike; the first round warms up
            taken["disk"].append(_timed(here, local[what]))
            for column, endpoint, delay in (("near", server.endpoint, 0.0), ("far", gate.endpoint, DELAY_S)):
                gate.delay_s = delay
                _use(memory, endpoint)
                taken[column].append(_timed(memory, stored[what]))
        reading.add(name, what, *(statistics.median(times[1:]) * 1e3 for times in taken.values()))


def _record(memory: Path, spec: FeatureSpec) -> None:
    image = bytes(np.random.default_rng(0).integers(0, 256, IMAGE_BYTES, dtype=np.uint8))
    with open_camera(memory, "a", spec) as repository:
        for number in range(FRAMES):
            made = make_frame(number, spec)
            repository.append(type(made)(**{**vars(made), "image": image}))


def _use(memory: Path, endpoint: str) -> None:
    write_store(memory, StoreSettings(url=f"s3://{BUCKET}/{memory.name}", endpoint=endpoint, local_gigabytes=0))


def _bucket(camera: Path) -> BucketClient:
    bucket = bucket_of(camera)
    assert bucket is not None, "the memory was given a store"
    return bucket


def _send(camera: Path) -> tuple[float, float, float, float]:
    bucket = _bucket(camera)
    asked = 0
    plain = bucket._ask

    def counted(*arguments: object) -> object:
        nonlocal asked
        asked += 1
        return plain(*arguments)  # type: ignore[arg-type]

    bucket._ask = counted  # type: ignore[method-assign, assignment]
    upload, began = Upload(camera, bucket, local_bytes=0), time.perf_counter()
    while upload.step(finish=True):
        pass
    taken, size = time.perf_counter() - began, UploadState.read(camera).bytes / 1e6
    bucket._ask = plain  # type: ignore[method-assign]
    return size, taken, size / taken, asked / (FRAMES / 64)


def _reads(memory: Path, spec: FeatureSpec) -> dict[str, Callable[[], object]]:
    random = np.random.default_rng(1)
    chunks = np.sort(random.choice(FRAMES // 16, SCATTERED, replace=False))
    scattered = chunks * 16 + random.integers(0, 16, SCATTERED)
    camera = memory / "a"
    reads: dict[str, Callable[[], object]] = {
        "open and snapshot": lambda: CameraReader(camera).snapshot(),
        f"tokens of {SCATTERED} scattered frames": lambda: CameraReader(camera).snapshot().tokens(scattered),
        "tokens of 512 frames in a row": lambda: CameraReader(camera).snapshot().tokens(np.arange(512, 1024)),
        "one image": lambda: CameraReader(camera).snapshot().image(777),
        "256 images in a row": lambda: list(CameraReader(camera).snapshot().images(np.arange(512, 768))),
    }
    if spec.model == "tiny":
        reads["first token of an answer, warm model"] = _question(memory)
    return reads


@cache
def _tiny() -> Any:
    from afterview.model.checkpoint.loading import load_pretrained

    return load_pretrained("tiny")


def _question(memory: Path) -> Callable[[], object]:
    from afterview.stream.ask.answerer import Answerer
    from afterview.stream.ask.question import Question

    model = _tiny()
    question = Question("What was seen now?", ("a",), at=START + FRAMES - 1, max_new_tokens=1, evidence=0)
    return lambda: Answerer(Memory(memory), model).ask(question)


def _timed(memory: Path, act: Callable[[], object]) -> float:
    bucket = bucket_of(memory / "a")
    if bucket is not None:
        bucket.forget_read()
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
