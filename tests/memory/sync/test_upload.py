"""The sealed part of a memory on S3-compatible storage, against a real server process: sent, read back, forgotten, embedded anew."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from afterview.memory.base.errors import CameraMoved, StoreUnreachable
from afterview.memory.base.held_directory import hold
from afterview.memory.format.layout import may_be_remote
from afterview.memory.format.upload_state import UploadState
from afterview.memory.fsck.fsck import fsck
from afterview.memory.plans.retention import Limits
from afterview.memory.reading.reader import CameraReader
from afterview.memory.sync.replica import replica_of
from afterview.memory.sync.restore import restore_camera
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.reembed import build_sealed, open_generation
from tests.support.memory_world import START, make_frame, make_spec
from tests.support.object_memory import FRAMES, PREFIX, SPEC, assert_holds, flush, moving, record, set_store, upload
from tests.support.object_server import BUCKET, Gate, ObjectServer


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
    state = UploadState.read(camera)
    assert state.remote_only == state.bytes == sum(len(data) for data in before.values())


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


def test_a_camera_that_was_moved_sends_nothing_more_to_the_place_of_the_one_that_replaced_it(
    tmp_path: Path, server: ObjectServer
) -> None:
    """A copy of a camera counts as the same one to the store."""
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    steps = upload(hold(camera).path)
    assert steps.step(finish=True)
    sent = server.objects()
    (tmp_path / "m").rename(tmp_path / "away")
    set_store(tmp_path / "m", server.endpoint)
    record(tmp_path / "m")
    with pytest.raises(CameraMoved, match="away"):
        steps.step(finish=True)
    assert server.objects() == sent
    with pytest.raises(CameraMoved):
        restore_camera(steps._held.path, steps._bucket)  # type: ignore[union-attr]
    assert server.objects() == sent


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
        assert all(removal.erased for removal in repository.manifest.removed)
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
    assert UploadState.read(camera).bytes == sum(
        size
        for key, size in server.objects().items()
        if may_be_remote(key.removeprefix(f"{PREFIX}/")) and "json" not in key
    )
    assert fsck(camera).findings == []


def test_what_was_forgotten_before_it_was_sealed_is_sent_blank_and_fsck_knows(
    tmp_path: Path, server: ObjectServer
) -> None:
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    flush(camera)
    with open_camera(tmp_path / "m", "a", SPEC) as repository:
        for number in range(FRAMES, 230):
            repository.append(make_frame(number, SPEC))
        repository.forget(START + 192, START + 225)  # two whole chunks of tokens, all of it in the journal
        for number in range(230, 320):
            repository.append(make_frame(number, SPEC))
    flush(camera)
    assert f"{PREFIX}/generation-1/tokens/c.12.0.0" in server.objects()
    assert fsck(camera, deep=True).findings == []
    whole = server.read(f"{PREFIX}/generation-1/tokens/c.11.0.0")
    server.write(f"{PREFIX}/generation-1/tokens/c.12.0.0", whole)
    assert [finding.where.name for finding in fsck(camera).damage] == ["c.12.0.0"]


def test_fsck_tells_an_unfinished_eviction_from_what_is_left_of_forgotten_frames(
    tmp_path: Path, server: ObjectServer, gate: Gate
) -> None:
    set_store(tmp_path / "m", gate.endpoint)
    camera = record(tmp_path / "m")
    flush(camera)
    pack = f"{PREFIX}/frames/images/0/c.0"
    images = server.read(pack)
    with open_camera(tmp_path / "m", "a", SPEC) as repository:
        repository.forget(START + 10, START + 20)
        flush(camera)
        blanked = server.read(pack)
        server.write(pack, images)
        assert [finding.where for finding in fsck(camera).damage] == [camera / "frames/images/0/c.0"]
        server.write(pack, blanked)
        gate.shut()
        repository.enforce(Limits(100.0, None))
        assert [removal.erased for removal in repository.manifest.removed] == [False, True, False]
    gate.open()
    report = fsck(camera)
    assert report.damage == []
    assert {finding.where.name for finding in report.findings} == {"committed"}


def test_a_new_generation_moves_to_the_store_and_the_old_one_goes(tmp_path: Path, server: ObjectServer) -> None:
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    flush(camera)
    fresh = make_spec(weights="sha256:new")
    generation = open_generation(camera, fresh)
    build_sealed(camera, generation, fresh, encode)
    flush(camera)
    assert moving(camera) == []  # the one that is being built leaves as it grows
    assert_holds(CameraReader(camera).snapshot())
    with open_camera(tmp_path / "m", "a", SPEC) as repository:
        repository.switch(generation, fresh, encode)
    flush(camera)
    assert not [key for key in server.objects() if "generation-1/" in key]
    snapshot = CameraReader(camera).snapshot()
    images = [make_frame(number, SPEC).image for number in range(FRAMES)]
    np.testing.assert_array_equal(snapshot.tokens(snapshot.ids), encode(images)[0])
    assert fsck(camera, deep=True).findings == []


def test_another_machine_takes_no_times_over_from_a_memory_that_was_there_before(
    tmp_path: Path, server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    for module in ("layout", "sealed_writer"):
        monkeypatch.setattr(
            f"afterview.memory.format.{module}.SCALAR_CHUNK", 128
        )  # so that a whole chunk is known from before
    for name, start in (("m", START), ("later", START + 1e6)):
        server.remove(*server.objects())
        set_store(tmp_path / name, server.endpoint)
        with open_camera(tmp_path / name, "a", SPEC) as repository:
            for number in range(FRAMES):
                repository.append(make_frame(number, SPEC, time=start + number))
        flush(tmp_path / name / "a")
        camera = replica_of(f"s3://{BUCKET}/house/m", cache=tmp_path / "cache") / "a"
        np.testing.assert_array_equal(CameraReader(camera).snapshot().times, start + np.arange(192))


def encode(images: Sequence[bytes]) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Features that only an image of its own gives."""
    made = [make_frame(1000 + image[0] * 256 + image[1], SPEC) for image in images]
    return np.stack([frame.tokens for frame in made]), np.stack([frame.embedding for frame in made])
