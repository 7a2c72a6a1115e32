"""Several threads read one memory at the same time, as a service does: each gets what it would have got alone."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event

import numpy as np
import pytest

from afterview.memory.directory import Memory
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.memory.remote.bucket import bucket_of
from afterview.memory.writing.open import open_camera
from tests.support.memory_world import START, make_frame, make_spec
from tests.support.object_memory import SPEC, assert_holds, flush, record, set_store
from tests.support.object_server import ObjectServer

THREADS = 6


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def together(work: Callable[[int], None], *, rounds: int) -> None:
    """Call work(number) in THREADS threads at once, several times. Raises what any of them raises."""
    start = Barrier(THREADS)

    def each(number: int) -> None:
        for _ in range(rounds):
            start.wait(30)
            work(number)

    with ThreadPoolExecutor(THREADS) as threads:
        futures = [threads.submit(each, number) for number in range(THREADS)]
        errors = [error for future in futures if (error := future.exception())]
    start.abort()
    if errors:
        raise errors[0]


def test_frames_on_a_store_are_the_same_for_every_thread(tmp_path: Path, server: ObjectServer) -> None:
    set_store(tmp_path / "m", server.endpoint, timeout_s=10.0)
    camera = record(tmp_path / "m")
    flush(camera)
    memory, bucket = Memory(tmp_path / "m"), bucket_of(camera)
    assert bucket is not None

    def read(number: int) -> None:
        bucket.forget_read()
        snapshot = memory.camera("a").snapshot()
        if number % 2:
            assert_holds(snapshot)
        else:
            assert_some(snapshot, np.arange(number, 200, 17))

    together(read, rounds=3)


def assert_some(snapshot: MemorySnapshot, ids: np.ndarray) -> None:
    frames = [make_frame(number, SPEC) for number in ids.tolist()]
    np.testing.assert_array_equal(snapshot.tokens(ids), np.stack([frame.tokens for frame in frames]))
    assert list(snapshot.images(ids)) == [frame.image for frame in frames]


def test_threads_search_one_index(tmp_path: Path) -> None:
    record(tmp_path)
    memory = Memory(tmp_path)

    def search(number: int) -> None:
        snapshot, index = memory.camera("a").snapshot(), memory.index("a")
        index.catch_up(snapshot)
        for frame in range(number, 200, 7):
            assert index.search(make_frame(frame, SPEC).embedding, 1, snapshot).hits[0].frame == frame

    together(search, rounds=3)


def test_threads_take_snapshots_while_the_camera_is_written(tmp_path: Path) -> None:
    spec = make_spec()
    with open_camera(tmp_path, "a", spec) as repository:
        repository.append(make_frame(0, spec))
        repository.sync()
        memory, ended = Memory(tmp_path), Event()

        def look() -> None:
            while not ended.is_set():
                snapshot = memory.camera("a").snapshot()
                np.testing.assert_array_equal(snapshot.ids, np.arange(snapshot.frames))
                np.testing.assert_array_equal(snapshot.times, START + np.arange(snapshot.frames))
                newest = snapshot.ids[-2:]
                expected = np.stack([make_frame(number, spec).tokens for number in newest.tolist()])
                np.testing.assert_array_equal(snapshot.tokens(newest), expected)

        with ThreadPoolExecutor(3) as threads:
            futures = [threads.submit(look) for _ in range(3)]
            for number in range(1, 500):
                repository.append(make_frame(number, spec))
                if number % 16 == 0:
                    repository.sync()
            ended.set()
    for future in futures:
        future.result()
