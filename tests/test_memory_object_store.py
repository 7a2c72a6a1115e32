"""The sealed part of a memory on S3-compatible storage, against a real server process: what is sent, read back, released and lost."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memory.camera import read_camera, write_camera
from memory.errors import DamagedFrames, StoreRefused, StoreUnreachable, UnreachableFrames
from memory.fsck import fsck
from memory.layout import may_be_far
from memory.objects import SILENT_S, objects_of
from memory.reader import CameraReader
from memory.repository import open_camera
from memory.retention import Limits
from memory.snapshot import MemorySnapshot
from memory.store_settings import StoreSettings, write_store
from memory.upload import Upload
from memory.uploaded import Uploads
from tests.memory_world import START, make_frame, make_spec
from tests.object_server import BUCKET, KEYS, Gate, ObjectServer, gate_to, need_object_store

SPEC = make_spec()
FRAMES = 200  # three seals and eight frames in the journal
PREFIX = "house/m/a"


@pytest.fixture(scope="module")
def shared_server() -> Iterator[ObjectServer]:
    need_object_store()
    with ObjectServer() as running:
        yield running


@pytest.fixture
def server(shared_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    """The running server, with nothing in its bucket."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    shared_server.remove(*shared_server.objects())
    return shared_server


@pytest.fixture
def gate(server: ObjectServer) -> Iterator[Gate]:
    with gate_to(server) as open_gate:
        yield open_gate


def set_store(memory: Path, endpoint: str, *, local_gigabytes: float = 0.0, timeout_s: float = 2.0) -> None:
    settings = StoreSettings(
        url=f"s3://{BUCKET}/house/m", endpoint=endpoint, local_gigabytes=local_gigabytes, timeout_s=timeout_s
    )
    memory.mkdir(exist_ok=True)
    write_store(memory, settings)


@pytest.fixture(scope="module", autouse=True)
def _recorded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One recording, for `record` to copy."""
    RECORDED.append(tmp_path_factory.mktemp("recorded"))
    with open_camera(RECORDED[-1], "a", SPEC) as repository:
        for number in range(FRAMES):
            repository.append(make_frame(number, SPEC))


RECORDED: list[Path] = []


def record(memory: Path) -> Path:
    """A memory of FRAMES frames."""
    shutil.copytree(RECORDED[-1], memory, dirs_exist_ok=True)
    return memory / "a"


def upload(camera: Path, *, local_bytes: float = 0.0) -> Upload:
    objects = objects_of(camera)
    assert objects is not None
    return Upload(camera, objects, local_bytes=local_bytes)


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
    assert [snapshot.image(int(frame)) for frame in snapshot.ids] == [frame.image for frame in made]


def test_what_is_sealed_moves_to_the_store_and_is_read_back_bit_for_bit(tmp_path: Path, server: ObjectServer) -> None:
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    before = {path.relative_to(camera): path.read_bytes() for path in moving(camera)}
    assert len(before) == 3 * 6
    flush(camera)
    assert moving(camera) == []
    for path, data in before.items():
        assert server.read(f"{PREFIX}/{path}") == data
    snapshot = CameraReader(camera).snapshot()
    assert_holds(snapshot)
    scattered = np.array([1, 20, 21, 100, 130, 191, 195])
    np.testing.assert_array_equal(
        snapshot.tokens(scattered), np.stack([make_frame(int(number), SPEC).tokens for number in scattered])
    )
    uploads = Uploads.read(camera)
    assert uploads.away == uploads.bytes == sum(len(data) for data in before.values())


def test_what_the_cache_allows_stays_here_too(tmp_path: Path, server: ObjectServer) -> None:
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    everything = sum(path.stat().st_size for path in moving(camera))
    flush(camera, local_bytes=everything / 2)
    left = sum(path.stat().st_size for path in moving(camera))
    assert 0 < left <= everything / 2
    assert (camera / "frames/images/2/c.0").exists()  # the newest stay
    assert not (camera / "frames/images/0/c.0").exists()
    assert_holds(CameraReader(camera).snapshot())


def test_a_connection_cut_in_mid_upload_loses_nothing_and_the_upload_goes_on(tmp_path: Path, gate: Gate) -> None:
    set_store(tmp_path / "m", gate.endpoint)
    camera = record(tmp_path / "m")
    before = moving(camera)
    gate.open(bytes_left=20_000)
    with pytest.raises(StoreUnreachable, match="does not answer"):
        flush(camera)
    assert moving(camera) != []
    with open_camera(tmp_path / "m", "a", SPEC) as repository:  # nothing of this waits for the store
        for number in range(FRAMES, FRAMES + 64):
            repository.append(make_frame(number, SPEC))
    assert len(moving(camera)) >= len(before)
    gate.open()
    flush(camera)
    assert moving(camera) == []
    assert CameraReader(camera).snapshot().frames == FRAMES + 64
    assert fsck(camera).findings == []


def test_a_store_that_does_not_answer_is_not_taken_for_one_that_has_nothing(tmp_path: Path, gate: Gate) -> None:
    set_store(tmp_path / "m", gate.endpoint)
    camera = record(tmp_path / "m")
    flush(camera)
    gate.shut()
    snapshot = CameraReader(camera).snapshot()
    with pytest.raises(UnreachableFrames, match="does not answer") as caught:
        snapshot.tokens(np.array([3, 100, 199]))
    here = snapshot.within_reach(caught.value.frames)
    assert here.ids.tolist() == list(range(192, FRAMES))  # the journal is always here
    assert here.unreachable.tolist() == list(range(192))
    np.testing.assert_array_equal(here.tokens(here.ids), [make_frame(n, SPEC).tokens for n in range(192, FRAMES)])
    gate.open()
    time.sleep(SILENT_S)
    assert_holds(CameraReader(camera).snapshot())


def test_a_frozen_store_is_waited_for_no_longer_than_said(tmp_path: Path, server: ObjectServer) -> None:
    set_store(tmp_path / "m", server.endpoint, timeout_s=1.0)
    camera = record(tmp_path / "m")
    flush(camera)
    server.freeze()
    try:
        began = time.monotonic()
        with pytest.raises(UnreachableFrames):
            CameraReader(camera).snapshot().tokens(np.arange(192))
        assert time.monotonic() - began < 8
    finally:
        server.thaw()


def test_forgetting_leaves_no_object_and_no_byte_of_it(tmp_path: Path, server: ObjectServer) -> None:
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    flush(camera)
    gone = range(40, 130)  # parts of the first and the last of three seals, and all of the one between
    secrets = [make_frame(number, SPEC) for number in gone]
    assert b"".join(server.read(key) for key in server.objects()).count(secrets[0].image) == 1
    with open_camera(tmp_path / "m", "a", SPEC) as repository:
        done = repository.forget(START + gone[0], START + gone[-1])
    assert done.frames == len(gone)
    assert done.erased.objects >= 6
    left = {key: server.read(key) for key in server.objects()}
    everything = b"".join([*left.values(), *(path.read_bytes() for path in camera.rglob("*") if path.is_file())])
    for frame in secrets:
        assert frame.image not in everything
        assert frame.tokens.tobytes() not in everything
        assert frame.embedding.tobytes() not in everything
    flush(camera)  # the blanked chunks go back
    assert moving(camera) == []
    kept = [number for number in range(FRAMES) if number not in gone]
    assert_holds(CameraReader(camera).snapshot(), kept)
    assert fsck(camera).findings == []


def test_forgetting_while_the_store_is_away_is_finished_when_it_is_back(
    tmp_path: Path, server: ObjectServer, gate: Gate
) -> None:
    set_store(tmp_path / "m", gate.endpoint)
    camera = record(tmp_path / "m")
    flush(camera)
    gate.shut()
    with open_camera(tmp_path / "m", "a", SPEC) as repository:
        with pytest.raises(StoreUnreachable, match="still has some"):
            repository.forget(START + 10, START + 70)
        with pytest.raises(StoreUnreachable):
            repository.forget(START + 10, START + 70)
    assert CameraReader(camera).snapshot().ids.tolist() == [*range(10), *range(71, FRAMES)]
    gate.open()
    with open_camera(tmp_path / "m", "a", SPEC) as repository:
        repository.enforce(Limits(None, None))  # what a watch does every half minute
        assert all(removal.erased for removal in repository.commit.removed)
    image = make_frame(20, SPEC).image
    assert all(image not in server.read(key) for key in server.objects())
    flush(camera)
    assert_holds(CameraReader(camera).snapshot(), [*range(10), *range(71, FRAMES)])


def test_eviction_deletes_objects_too(tmp_path: Path, server: ObjectServer) -> None:
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    flush(camera)
    with open_camera(tmp_path / "m", "a", SPEC) as repository:
        repository.enforce(Limits(100.0, None))
    assert not [key for key in server.objects() if "/tokens/c.0." in key or "images/0/" in key]
    assert_holds(CameraReader(camera).snapshot(), list(range(64, FRAMES)))
    assert Uploads.read(camera).bytes == sum(
        size
        for key, size in server.objects().items()
        if may_be_far(key.removeprefix(f"{PREFIX}/")) and "json" not in key
    )
    assert fsck(camera).findings == []


def test_an_empty_store_gets_again_what_is_still_here(tmp_path: Path, server: ObjectServer) -> None:
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    flush(camera, local_bytes=1e9)
    server.remove(*server.objects())
    flush(camera)
    assert moving(camera) == []
    assert_holds(CameraReader(camera).snapshot())


def test_a_place_with_another_memory_is_refused(tmp_path: Path, server: ObjectServer) -> None:
    set_store(tmp_path / "m", server.endpoint)
    flush(record(tmp_path / "m"))
    set_store(tmp_path / "n", server.endpoint)
    other = record(tmp_path / "n")
    write_camera(other, replace(read_camera(other), created=1.0))
    with pytest.raises(StoreRefused, match="another memory"):
        flush(other)


def test_a_corrupt_object_costs_its_chunk(tmp_path: Path, server: ObjectServer) -> None:
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    flush(camera)
    key = f"{PREFIX}/generation-1/tokens/c.2.0.0"
    data = bytearray(server.read(key))
    data[5] ^= 1
    server.write(key, bytes(data))
    snapshot = CameraReader(camera).snapshot()
    with pytest.raises(DamagedFrames) as caught:
        snapshot.tokens(snapshot.ids)
    assert caught.value.frames.tolist() == list(range(32, 48))
