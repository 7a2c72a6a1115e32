"""Stores that go away, come back empty, lose objects or corrupt them, against a real server process behind a gate."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from afterview.memory.base.camera import read_camera, write_camera
from afterview.memory.base.durable import observed
from afterview.memory.base.errors import DamagedFrames, DamagedMemory, StoreRefused, StoreUnreachable, UnreachableFrames
from afterview.memory.directory import Memory
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.upload_state import UploadState, upload_lock
from afterview.memory.fsck.fsck import fsck
from afterview.memory.index.frame_index import FrameIndex
from afterview.memory.plans.removal import Removal
from afterview.memory.reading.reader import CameraReader
from afterview.memory.remote.bucket import BucketClient, bucket_of
from afterview.memory.sync.replica import replica_of
from afterview.memory.sync.restore import restore_chunk
from afterview.memory.writing.erase import erase_leftovers
from afterview.memory.writing.open import open_camera
from tests.support.memory_world import START, make_frame
from tests.support.object_memory import FRAMES, PREFIX, SPEC, assert_holds, flush, moving, record, set_store, upload
from tests.support.object_server import BUCKET, Gate, ObjectServer


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


def test_a_store_that_does_not_answer_is_not_taken_for_one_that_has_nothing(
    tmp_path: Path, gate: Gate, after_silence: Callable[[], None]
) -> None:
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
    after_silence()
    assert_holds(CameraReader(camera).snapshot())


def test_no_request_outlives_the_error_of_another(tmp_path: Path, server: ObjectServer) -> None:
    """Else it would change a file or an object behind the back of whoever gets the lock next."""
    set_store(tmp_path / "m", server.endpoint)
    bucket, (begun, raised, ended) = bucket_of(tmp_path / "m" / "a"), (Event() for _ in range(3))
    assert bucket is not None

    def ask(key: str) -> None:
        if key == "fails":
            begun.wait(5)
            raise StoreUnreachable("no answer")
        begun.set()
        raised.wait(0.5)  # in vain: nothing is raised before this is done
        ended.set()

    with pytest.raises(StoreUnreachable):
        bucket.each(ask, ["fails", "answers late"])
    assert ended.is_set()
    raised.set()


def test_what_is_forgotten_does_not_come_back_with_a_late_answer(
    tmp_path: Path, server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    flush(camera)
    asked, forgotten, read = Event(), Event(), BucketClient.read
    late: list[Path] = []

    def read_late(self: BucketClient, key: str) -> bytes | None:
        if "embeddings" in key:
            asked.wait(5)
            raise StoreUnreachable("no answer")
        if "tokens" in key:
            asked.set()
            forgotten.wait(0.5)  # in vain: whoever forgets waits for it
            late.append(camera / key)
        return read(self, key)

    monkeypatch.setattr(BucketClient, "read", read_late)
    with open_camera(tmp_path / "m", "a", SPEC) as repository:
        with pytest.raises(StoreUnreachable, match="still has some"):
            repository.forget(START + 10, START + 12)
        assert late
        forgotten.set()
        assert not [path for path in late if path.exists()]
        monkeypatch.setattr(BucketClient, "read", read)
        assert repository.forget(START + 10, START + 12).frames == 0
        assert all(removal.erased for removal in repository.manifest.removed)
    secret = make_frame(11, SPEC)
    everything = [path.read_bytes() for path in camera.rglob("*") if path.is_file()]
    everything += [server.read(key) for key in server.objects()]
    assert not any(secret.image in data or secret.tokens.tobytes() in data for data in everything)


def test_forgetting_leaves_alone_what_the_upload_is_writing(tmp_path: Path, server: ObjectServer) -> None:
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    crashed = camera / "frames/images/0/.c.0.1.partial"
    crashed.write_bytes(make_frame(3, SPEC).image)
    met: list[str] = []

    def forget_meanwhile(kind: str, path: Path, *detail: object) -> None:
        if kind == "rename" and path.name.startswith(".uploaded."):
            met.append(path.name)
            erase_leftovers(camera, Removal(0, 64, START, START + 63, "forgotten", START))

    with observed(forget_meanwhile):
        flush(camera)
    assert met
    assert moving(camera) == []
    assert not crashed.exists()


def test_a_note_that_a_crash_left_unfinished_is_cleared_away_by_the_next_who_holds_the_lock(tmp_path: Path) -> None:
    left, other = tmp_path / ".uploaded.4711.partial", tmp_path / ".committed.4711.partial"
    left.write_text("{")
    other.write_text("{")
    with upload_lock(tmp_path):
        assert not left.exists()
        UploadState(silent_since=5.0).write(tmp_path)
    assert other.exists()  # not the lock's business
    assert UploadState.read(tmp_path).silent_since == 5.0


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


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("{")])
def test_a_lost_note_of_what_was_sent_costs_no_frame(
    tmp_path: Path, server: ObjectServer, harm: Callable[[Path], None]
) -> None:
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    flush(camera)
    harm(camera / "uploaded")
    assert fsck(camera, repair=True, deep=True).damage == []
    assert_holds(CameraReader(camera).snapshot())
    flush(camera)
    assert_holds(CameraReader(camera).snapshot())
    assert fsck(camera, deep=True).findings == []


def test_a_lost_commit_costs_no_frame_that_lies_on_the_store(
    tmp_path: Path, gate: Gate, after_silence: Callable[[], None]
) -> None:
    set_store(tmp_path / "m", gate.endpoint)
    camera = record(tmp_path / "m")
    with open_camera(tmp_path / "m", "a", SPEC) as repository:
        repository.forget(START + 20, START + 30)
    flush(camera)
    (camera / "committed").write_text("{")
    gate.shut()
    assert [finding.where for finding in fsck(camera, repair=True).damage] == [camera / "committed"]
    gate.open()
    after_silence()
    assert fsck(camera, repair=True, deep=True).damage == []
    assert_holds(CameraReader(camera).snapshot(), [*range(20), *range(31, FRAMES)])
    assert Manifest.read(camera).removed[0].reason == "forgotten"


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("{")])
def test_a_lost_spec_comes_back_from_the_store(
    tmp_path: Path, server: ObjectServer, harm: Callable[[Path], None]
) -> None:
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    flush(camera)
    harm(camera / "generation-1" / "spec.json")
    assert fsck(camera, repair=True, deep=True).damage == []
    assert_holds(CameraReader(camera).snapshot())
    flush(camera)
    assert fsck(camera, deep=True).findings == []


def test_frames_on_a_store_whose_name_is_damaged_are_out_of_reach_and_not_lost(
    tmp_path: Path, server: ObjectServer
) -> None:
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    flush(camera)
    place = tmp_path / "m" / "store.json"
    whole = place.read_text()
    place.write_text(whole[:-9])
    snapshot = CameraReader(camera).snapshot()
    with pytest.raises(UnreachableFrames, match=r"store\.json.*afterview store set") as caught:
        snapshot.tokens(snapshot.ids)
    assert caught.value.frames[:3].tolist() == [0, 1, 2]
    assert [finding.where for finding in fsck(camera, repair=True).damage] == [place]
    place.write_text(whole)
    assert_holds(CameraReader(camera).snapshot())


CHUNKS = ["generation-1/tokens/c.5.0.0", "generation-1/embeddings/c.1.0", "frames/images/1/c.0"]


@pytest.mark.parametrize("key", CHUNKS)
def test_a_damaged_chunk_that_was_sent_comes_back_from_the_store(
    tmp_path: Path, gate: Gate, key: str, after_silence: Callable[[], None]
) -> None:
    set_store(tmp_path / "m", gate.endpoint, local_gigabytes=1)
    camera = record(tmp_path / "m")
    flush(camera, local_bytes=1e9)
    (camera / key).write_bytes(b"x")
    gate.shut()
    assert fsck(camera, repair=True).damage != []
    gate.open()
    after_silence()
    assert fsck(camera, repair=True, deep=True).damage == []
    assert_holds(CameraReader(camera).snapshot())
    flush(camera)
    assert_holds(CameraReader(camera).snapshot())


def test_a_camera_that_lost_its_description_is_still_the_one_that_the_store_knows(
    tmp_path: Path, gate: Gate, after_silence: Callable[[], None]
) -> None:
    set_store(tmp_path / "m", gate.endpoint)
    camera = record(tmp_path / "m")
    flush(camera)
    before = read_camera(camera)
    (camera / "camera.json").write_text('{"format": 1, "id": "a"}')
    gate.shut()
    assert [finding.where for finding in fsck(camera, repair=True).damage] == [camera / "camera.json"]
    gate.open()
    after_silence()
    assert fsck(camera, repair=True).damage == []
    assert read_camera(camera) == before
    with open_camera(tmp_path / "m", "a", SPEC) as repository:
        for number in range(FRAMES, FRAMES + 64):
            repository.append(make_frame(number, SPEC))
    flush(camera)
    assert_holds(CameraReader(camera).snapshot(), range(FRAMES + 64))


def flip(server: ObjectServer, key: str) -> None:
    """Change one byte of an object."""
    data = bytearray(server.read(key))
    data[5] ^= 1
    server.write(key, bytes(data))


def test_a_corrupt_object_costs_its_chunk(tmp_path: Path, server: ObjectServer) -> None:
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    flush(camera)
    flip(server, f"{PREFIX}/generation-1/tokens/c.2.0.0")
    snapshot = CameraReader(camera).snapshot()
    with pytest.raises(DamagedFrames) as caught:
        snapshot.tokens(snapshot.ids)
    assert caught.value.frames.tolist() == list(range(32, 48))


def another_machine(tmp_path: Path) -> CameraReader:
    return CameraReader(replica_of(f"s3://{BUCKET}/house/m", cache=tmp_path / "cache") / "a")


@pytest.mark.parametrize("harm", [lambda data: data[:-1], lambda data: bytes([data[0] ^ 1]) + data[1:]])
def test_times_that_are_damaged_on_the_store_cost_another_machine_their_frames_until_they_are_whole(
    tmp_path: Path, server: ObjectServer, monkeypatch: pytest.MonkeyPatch, harm: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    set_store(tmp_path / "m", server.endpoint)
    flush(record(tmp_path / "m"))
    key = f"{PREFIX}/frames/times/c.0"
    whole = server.read(key)
    server.write(key, harm(whole))
    snapshot = another_machine(tmp_path).snapshot()
    assert (snapshot.frames, len(snapshot.damaged)) == (0, 192)
    server.write(key, whole)
    assert_holds(another_machine(tmp_path).snapshot(), range(192))


def test_another_machine_believes_no_array_metadata_of_the_store(
    tmp_path: Path, server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    set_store(tmp_path / "m", server.endpoint)
    flush(record(tmp_path / "m"))
    for name in ("generation-1/tokens", "generation-1/embeddings", "frames/times", "frames/gaps", "frames/images"):
        server.write(f"{PREFIX}/{name}/zarr.json", server.read(f"{PREFIX}/frames/images/1/zarr.json"))
    assert_holds(another_machine(tmp_path).snapshot(), range(192))


@pytest.mark.parametrize(
    ("key", "harm"),
    [("committed", b""), ("committed", b"flipped"), ("camera.json", b"flipped"), ("generation-1/spec.json", b"\xff")],
)
def test_another_machine_is_told_where_a_damaged_document_is_put_right(
    tmp_path: Path, server: ObjectServer, monkeypatch: pytest.MonkeyPatch, key: str, harm: bytes
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    set_store(tmp_path / "m", server.endpoint)
    flush(record(tmp_path / "m"))
    whole = server.read(f"{PREFIX}/{key}")
    server.write(f"{PREFIX}/{key}", whole.replace(b"1", b"3", 1) if harm == b"flipped" else harm)
    with pytest.raises(DamagedMemory, match=r"s3://.*`afterview store flush` on the recording machine"):
        another_machine(tmp_path)
    server.write(f"{PREFIX}/{key}", whole)
    assert_holds(another_machine(tmp_path).snapshot(), range(192))


def test_damage_on_the_store_costs_its_camera_alone(
    tmp_path: Path, server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    with open_camera(tmp_path / "m", "b", SPEC) as repository:
        for number in range(70):
            repository.append(make_frame(number, SPEC))
    flush(camera)
    flush(tmp_path / "m" / "b")
    url = f"s3://{BUCKET}/house/m"
    whole = server.read(f"{PREFIX}/committed")
    server.write(f"{PREFIX}/committed", b"{")
    memory = Memory(replica_of(url, cache=tmp_path / "cache"))
    found = memory.each(lambda reader: reader.snapshot().frames)
    assert found.results == {"b": 64}
    assert "`afterview store flush` on the recording machine" in found.skipped["a"]
    server.write(f"{PREFIX}/committed", whole)
    assert Memory(replica_of(url, cache=tmp_path / "cache")).each(lambda reader: reader.snapshot().frames).results == {
        "a": 192,
        "b": 64,
    }


def test_what_another_machine_reads_first_is_checked_and_published_anew(
    tmp_path: Path, server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    flush(camera)
    assert fsck(camera, deep=True).findings == []
    keys = ["camera.json", "committed", "frames/images/1/zarr.json", "frames/times/c.0", "generation-1/spec.json"]
    for key in keys:
        data = server.read(f"{PREFIX}/{key}")
        server.write(f"{PREFIX}/{key}", bytes([data[0] ^ 1]) + data[1:])
    server.remove(f"{PREFIX}/frames/source_times/c.0", f"{PREFIX}/frames/images/2/zarr.json")
    found = [str(finding.where.relative_to(camera)) for finding in fsck(camera, deep=True).damage]
    assert sorted(found) == sorted([*keys, "frames/source_times/c.0", "frames/images/2/zarr.json"])
    assert fsck(camera, repair=True, deep=True).damage == []
    flush(camera)
    assert fsck(camera, deep=True).findings == []
    assert_holds(another_machine(tmp_path).snapshot(), range(192))


def test_a_damaged_name_on_the_store_is_not_taken_for_another_camera(tmp_path: Path, server: ObjectServer) -> None:
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    flush(camera, local_bytes=1e9)
    server.write(f"{PREFIX}/camera.json", b"{")
    key = "generation-1/tokens/c.5.0.0"
    (camera / key).write_bytes(b"x")
    with pytest.raises(
        StoreRefused, match="cannot verify that these objects belong"
    ):  # a repair gives up nothing that may be there
        restore_chunk(camera, key, ("generation-1", 1), 1)
    flush(camera, local_bytes=1e9)
    assert server.read(f"{PREFIX}/camera.json") == (camera / "camera.json").read_bytes()
    assert fsck(camera, repair=True, deep=True).damage == []
    assert_holds(CameraReader(camera).snapshot())


def test_a_server_that_was_killed_comes_back_empty_and_is_found_out(tmp_path: Path, server: ObjectServer) -> None:
    with ObjectServer() as mortal:
        set_store(tmp_path / "m", mortal.endpoint)
        camera = record(tmp_path / "m")
        sizes = [path.stat().st_size for path in moving(camera)]
        flush(camera, local_bytes=sum(sizes) / 2)
        here = moving(camera)
        mortal.kill()
        mortal.start(bucket=False)
        with pytest.raises(StoreRefused, match="no such bucket"):
            upload(camera).step()
        mortal.client().create_bucket(Bucket=BUCKET)
        report = fsck(camera, repair=True)
        assert [finding.what for finding in report.damage if "holds nothing where" in finding.what]
        assert not Manifest.read(camera).removed  # nothing is given up because a store was exchanged
        flush(camera, local_bytes=1e9)
        assert {f"{PREFIX}/{path.relative_to(camera)}" for path in here} <= set(mortal.objects())


def test_fsck_finds_what_vanished_from_the_store_and_repair_sends_what_is_here(
    tmp_path: Path, server: ObjectServer
) -> None:
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    flush(camera, local_bytes=1e9)
    key = "generation-1/tokens/c.5.0.0"
    server.remove(f"{PREFIX}/{key}")
    report = fsck(camera)
    assert [finding.where for finding in report.damage] == [camera / key]
    assert "whole here" in report.damage[0].what
    assert fsck(camera, repair=True).damage == []
    flush(camera)
    assert moving(camera) == []
    assert fsck(camera, deep=True).findings == []


def test_fsck_names_what_a_corrupt_and_a_lost_object_cost(tmp_path: Path, server: ObjectServer) -> None:
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    flush(camera)
    flip(server, f"{PREFIX}/generation-1/tokens/c.2.0.0")
    server.remove(f"{PREFIX}/frames/images/1/c.0", f"{PREFIX}/generation-1/tokens/c.11.0.0")
    assert [finding.frames for finding in fsck(camera).damage] == [(176, 192), (64, 128)]
    assert [finding.frames for finding in fsck(camera, deep=True).damage] == [(32, 48), (176, 192), (64, 128)]
    report = fsck(camera, repair=True, deep=True)
    assert report.damage == []
    kept = [number for number in range(FRAMES) if number not in range(32, 48) and number not in range(176, 192)]
    snapshot = CameraReader(camera).snapshot()
    assert snapshot.ids.tolist() == kept
    np.testing.assert_array_equal(snapshot.tokens(snapshot.ids), [make_frame(n, SPEC).tokens for n in kept])
    assert snapshot.image(64) == b""
    assert snapshot.image(63) == make_frame(63, SPEC).image


def test_an_index_never_takes_unreachable_frames_for_gone_ones(
    tmp_path: Path, gate: Gate, after_silence: Callable[[], None]
) -> None:
    set_store(tmp_path / "m", gate.endpoint)
    camera = record(tmp_path / "m")
    flush(camera)
    gate.shut()
    index, snapshot = FrameIndex(camera / "index"), CameraReader(camera).snapshot()
    with pytest.raises(UnreachableFrames) as caught:
        index.catch_up(snapshot)
    near = snapshot.within_reach(caught.value.frames)
    index.catch_up(near)
    query = make_frame(20, SPEC).embedding
    assert all(hit.frame >= 192 for hit in index.search(query, 3, near).hits)
    gate.open()
    after_silence()
    index.catch_up(snapshot)
    assert index.search(query, 1, snapshot).hits[0].frame == 20
