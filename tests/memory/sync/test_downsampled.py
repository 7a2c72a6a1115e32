"""Old frames in a quarter of their tokens where a store has them: the objects are replaced, whatever cuts it off, and nobody waits."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from afterview.cli.main import main
from afterview.memory.base.durable import observed
from afterview.memory.base.errors import UnreachableFrames
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.base.int8_tokens import quantise
from afterview.memory.base.settings import CameraSettings, write_settings
from afterview.memory.format.layout import may_be_remote
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.upload_state import UploadState
from afterview.memory.fsck.fsck import fsck
from afterview.memory.plans.downsampling import Downsampled, downsample
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.memory.sync.replica import replica_of
from afterview.memory.sync.upload import Upload
from afterview.memory.writing.commands import downsample_old_frames
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.repository import Repository
from tests.support.memory_world import START, downsampled_tokens, kept_frame, kill_writer, make_frame, make_spec
from tests.support.object_memory import FRAMES, PREFIX, flush, moving, set_store, upload
from tests.support.object_server import BUCKET, Gate, ObjectServer

SPECS = {storage: make_spec(cells=16, storage=storage) for storage in ("float16", "int8")}
COARSE = 128  # frames of 192 sealed ones that are old enough
LOCAL = 24_000  # bytes, two seals of int8 and a half: the oldest seal lies on the store alone


@pytest.fixture(params=SPECS)
def spec(request: pytest.FixtureRequest) -> FeatureSpec:
    return SPECS[request.param]


def on_store(memory: Path, spec: FeatureSpec, endpoint: str, *, local_bytes: float = 0.0) -> Path:
    """A camera whose sealed part was sent, and whose oldest frames are to become coarse from now on."""
    set_store(memory, endpoint)
    with open_camera(memory, "a", spec) as repository:
        for number in range(FRAMES):
            repository.append(make_frame(number, spec))
    flush(memory / "a", local_bytes=local_bytes)
    write_settings(memory / "a", CameraSettings(coarse_days=60 / 86400))
    return memory / "a"


def turns(repository: Repository, steps: Upload) -> Iterator[str]:
    """The writer and the upload in turn until neither has anything to do; says whose turn it was."""
    while True:
        written = downsample_old_frames(repository)
        yield "writer"
        sent = steps.step(finish=True)
        yield "upload"
        if not written and not sent:
            return


def make_downsampled(camera: Path, spec: FeatureSpec, *, local_bytes: float = 0.0) -> None:
    with open_camera(camera.parent, "a", spec) as repository:
        for _ in turns(repository, upload(camera, local_bytes=local_bytes)):
            pass


def expected(numbers: list[int], spec: FeatureSpec) -> NDArray[np.generic]:
    return np.stack([downsampled_tokens(n, spec) if n < COARSE else kept_frame(n, spec).tokens for n in numbers])


def assert_downsampled(snapshot: MemorySnapshot, numbers: list[int]) -> None:
    assert snapshot.ids.tolist() == numbers
    np.testing.assert_array_equal(snapshot.tokens(snapshot.ids), expected(numbers, snapshot.spec))
    made = np.stack([make_frame(number, snapshot.spec).embedding for number in numbers])
    np.testing.assert_array_equal(snapshot.embeddings(snapshot.ids), made)


def assert_whole_or_coarse(snapshot: MemorySnapshot) -> None:
    assert snapshot.frames == FRAMES
    for number, tokens in enumerate(snapshot.tokens(snapshot.ids)):
        downsampled = number < COARSE and np.array_equal(tokens, downsampled_tokens(number, snapshot.spec))
        assert downsampled or np.array_equal(tokens, kept_frame(number, snapshot.spec).tokens), number


def assert_replaced(server: ObjectServer) -> None:
    """The store has the coarse chunks of old frames and the others of newer ones, and nothing else."""
    there = {key.removeprefix(f"{PREFIX}/generation-1/") for key in server.objects() if "/c." in key}
    assert {key for key in there if key.startswith("tokens/")} == {f"tokens/c.{chunk}.0.0" for chunk in range(8, 12)}
    assert {key for key in there if key.startswith("coarse/")} == {"coarse/c.0.0.0", "coarse/c.1.0.0"}
    assert not {key for key in there if key.startswith("scales/")} - {"scales/c.2.0"}


@pytest.mark.parametrize("local_bytes", [0.0, 1e9])
def test_objects_of_old_frames_are_replaced_by_coarse_ones(
    tmp_path: Path, server: ObjectServer, spec: FeatureSpec, local_bytes: float
) -> None:
    camera = on_store(tmp_path / "m", spec, server.endpoint, local_bytes=local_bytes)
    before, early = UploadState.read(camera).bytes, CameraReader(camera).snapshot()
    make_downsampled(camera, spec, local_bytes=local_bytes)
    assert Manifest.read(camera).downsampled == (Downsampled(0, COARSE),)
    assert_replaced(server)
    assert (moving(camera) == []) == (local_bytes == 0)
    state = UploadState.read(camera)
    chunks = [size for key, size in server.objects().items() if "generation-1" in key and "/c." in key]
    packs = [size for key, size in server.objects().items() if "images" in key and key.endswith("c.0")]
    assert state.bytes == sum(chunks) + sum(packs) < before
    assert state.remote_only == (0 if local_bytes else state.bytes)
    assert_downsampled(CameraReader(camera).snapshot(), [*range(FRAMES)])
    assert_downsampled(early, [*range(FRAMES)])  # a reader that knows nothing of it yet
    some = np.array([3, 17, 63, 64, 127, 128, 140, 191, 195])
    np.testing.assert_array_equal(CameraReader(camera).snapshot().tokens(some), expected(some.tolist(), spec))
    assert fsck(camera, deep=True).findings == []
    make_downsampled(camera, spec)  # nothing more to do
    assert_replaced(server)


def test_another_machine_reads_them(tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SPECS["float16"]
    camera = on_store(tmp_path / "m", spec, gate.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", gate.endpoint)
    url = f"s3://{BUCKET}/house/m"
    old = CameraReader(replica_of(url, cache=tmp_path / "old") / "a").snapshot()
    assert old.frames == 192
    make_downsampled(camera, spec)
    for cache in ("old", "new"):
        assert_downsampled(CameraReader(replica_of(url, cache=tmp_path / cache) / "a").snapshot(), [*range(192)])
    gate.shut()
    snapshot = CameraReader(tmp_path / "m" / "a").snapshot()
    with pytest.raises(UnreachableFrames) as caught:
        snapshot.tokens(snapshot.ids)
    assert snapshot.within_reach(caught.value.frames).ids.tolist() == [*range(192, FRAMES)]


def test_another_machine_that_opened_it_before_reads_them(
    tmp_path: Path, server: ObjectServer, spec: FeatureSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = on_store(tmp_path / "m", spec, server.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    reader = CameraReader(replica_of(f"s3://{BUCKET}/house/m", cache=tmp_path / "cache") / "a")
    before = reader.snapshot()
    make_downsampled(camera, spec)
    for snapshot in (before, reader.snapshot()):
        assert_downsampled(snapshot, [*range(192)])


def test_what_is_published_as_coarse_has_its_coarse_chunks_there(
    tmp_path: Path, server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SPECS["float16"]
    camera = on_store(tmp_path / "m", spec, server.endpoint, local_bytes=1e9)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    with open_camera(camera.parent, "a", spec) as repository:
        assert downsample_old_frames(repository) == COARSE
    steps, wrong = upload(camera, local_bytes=1e9), 0
    while steps.step(finish=True):  # whatever is published in between
        snapshot = CameraReader(replica_of(f"s3://{BUCKET}/house/m", cache=tmp_path / "cache") / "a").snapshot()
        for number, tokens in enumerate(snapshot.tokens(snapshot.ids)):
            whole = np.array_equal(tokens, kept_frame(number, spec).tokens)
            wrong += not whole and not np.array_equal(tokens, downsampled_tokens(number, spec))
    assert wrong == 0
    assert_replaced(server)


def test_the_writer_waits_for_no_store(tmp_path: Path, gate: Gate, after_silence: Callable[[], None]) -> None:
    spec = SPECS["float16"]
    camera = on_store(tmp_path / "m", spec, gate.endpoint)
    gate.shut()
    with open_camera(tmp_path / "m", "a", spec) as repository:
        began = time.monotonic()
        assert downsample_old_frames(repository) == 0
        assert time.monotonic() - began < 0.5
        gate.open()
        steps = upload(camera)
        assert steps.step()
        gate.shut()
        assert downsample_old_frames(repository) == 64  # what was fetched is here: the store has no part in it
    assert Manifest.read(camera).downsampled == (Downsampled(0, 64, erased=False),)
    assert [finding for finding in fsck(camera).damage if "does not answer" not in finding.what] == []
    gate.open()
    after_silence()
    make_downsampled(camera, spec)
    assert fsck(camera, deep=True).findings == []


def test_no_object_is_deleted_whose_coarse_chunk_was_lost(tmp_path: Path, server: ObjectServer) -> None:
    spec = SPECS["float16"]
    camera = on_store(tmp_path / "m", spec, server.endpoint)
    steps = upload(camera)
    with open_camera(tmp_path / "m", "a", spec) as repository:
        steps.step()
        assert downsample_old_frames(repository) == 64
        (camera / "generation-1/coarse/c.0.0.0").unlink()
        while steps.step():
            pass
    assert f"{PREFIX}/generation-1/tokens/c.0.0.0" in server.objects()
    assert [finding.where for finding in fsck(camera).damage] == [camera / "generation-1/coarse/c.0.0.0"]


@pytest.mark.thorough
def test_it_can_stop_at_any_step(tmp_path: Path, server: ObjectServer) -> None:
    """Whatever was done, readers see every frame, whole or coarse, and the next ones to come finish."""

    class Crash(BaseException):
        pass

    spec = SPECS["int8"]
    for steps in range(0, 400, 23):
        server.remove(*server.objects())
        camera = on_store(tmp_path / f"m{steps}", spec, server.endpoint, local_bytes=LOCAL)
        left = steps

        def crash(*step: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Crash

        repository = open_camera(camera.parent, "a", spec)
        try:
            with observed(crash):
                for _ in turns(repository, upload(camera)):
                    pass
        except Crash:
            pass
        kill_writer(repository)
        assert_whole_or_coarse(CameraReader(camera).snapshot())
        assert fsck(camera, deep=True).damage == []
        make_downsampled(camera, spec)
        assert_downsampled(CameraReader(camera).snapshot(), [*range(FRAMES)])
        assert_replaced(server)
        assert fsck(camera, deep=True).findings == []
        if left >= 0:
            break
    else:
        raise AssertionError("it took more steps than were tried")


def thin_and_forget(repository: Repository, steps: Upload) -> None:
    for _ in turns(repository, steps):
        pass
    repository.forget(START + 140, START + 150)


@pytest.mark.parametrize("local_bytes", [0.0, LOCAL])
@pytest.mark.parametrize("point", ["before-thinned", "half-thinned", "before-release", "after-release", "half-erased"])
def test_what_lies_there_is_counted_right_after_a_crash(
    tmp_path: Path, server: ObjectServer, monkeypatch: pytest.MonkeyPatch, point: str, local_bytes: float
) -> None:
    """Else retention would evict by bytes that are not there, for good."""

    class Crash(BaseException):
        pass

    def crash(name: str) -> None:
        if name == f"upload.{point}":
            raise Crash

    spec = SPECS["int8"]
    camera = on_store(tmp_path / "m", spec, server.endpoint, local_bytes=local_bytes)
    repository = open_camera(camera.parent, "a", spec)
    with monkeypatch.context() as patch:
        patch.setattr("afterview.memory.sync.upload.reach", crash)
        patch.setattr("afterview.memory.writing.erase_remote.reach", crash)
        with pytest.raises(Crash):
            thin_and_forget(repository, upload(camera, local_bytes=local_bytes))
    kill_writer(repository)
    make_downsampled(camera, spec, local_bytes=local_bytes)
    state = UploadState.read(camera)
    moved = {key: size for key, size in server.objects().items() if may_be_remote(key.removeprefix(f"{PREFIX}/"))}
    there = sum(size for key, size in moved.items() if not key.endswith("zarr.json"))
    assert (state.bytes, state.remote_only) == (there, there - sum(path.stat().st_size for path in moving(camera)))


def test_a_lost_commit_does_not_lose_what_is_coarse_on_the_store(
    tmp_path: Path, server: ObjectServer, spec: FeatureSpec
) -> None:
    camera = on_store(tmp_path / "m", spec, server.endpoint)
    make_downsampled(camera, spec)
    (camera / "committed").unlink()
    assert fsck(camera, repair=True, deep=True).damage == []
    assert Manifest.read(camera).downsampled == (Downsampled(0, COARSE),)
    assert_downsampled(CameraReader(camera).snapshot(), [*range(FRAMES)])


def test_readers_go_on_meanwhile(tmp_path: Path, server: ObjectServer, spec: FeatureSpec) -> None:
    camera = on_store(tmp_path / "m", spec, server.endpoint)
    wrong: list[BaseException] = []
    rounds, done = [0], threading.Event()

    def read() -> None:
        snapshot = CameraReader(camera).snapshot()
        try:
            while not done.is_set():
                assert_whole_or_coarse(snapshot)
                assert_whole_or_coarse(CameraReader(camera).snapshot())
                rounds[0] += 1
        except BaseException as error:
            wrong.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    make_downsampled(camera, spec)
    done.set()
    reader.join()
    assert wrong == []
    assert rounds[0] > 0


@pytest.mark.parametrize("at", [0, 2, 3, 4, 6])
def test_forgetting_leaves_nothing_of_it_however_far_it_is(tmp_path: Path, server: ObjectServer, at: int) -> None:
    """Forget after so many turns of the writer and the upload, then go on."""
    spec = SPECS["int8"]
    camera = on_store(tmp_path / "m", spec, server.endpoint)
    gone = range(40, 100)
    with open_camera(tmp_path / "m", "a", spec) as repository:
        going = turns(repository, upload(camera))
        for _ in range(at):
            next(going, None)
        repository.forget(START + gone[0], START + gone[-1])
        assert_nothing_left(camera, server, spec, gone)
        for _ in turns(repository, upload(camera)):
            pass
    assert_nothing_left(camera, server, spec, gone)
    kept = [number for number in range(FRAMES) if number not in gone]
    assert_downsampled(CameraReader(camera).snapshot(), kept)
    assert fsck(camera, deep=True).findings == []


def assert_nothing_left(camera: Path, server: ObjectServer, spec: FeatureSpec, gone: range) -> None:
    everything = b"".join(
        [*map(server.read, server.objects()), *(path.read_bytes() for path in camera.rglob("*") if path.is_file())]
    )
    for number in gone:
        frame = kept_frame(number, spec)
        rows = downsample(frame.tokens[None])
        downsampled = quantise(rows).codes if spec.tokens.storage == "int8" else rows
        for secret in (frame.image, frame.stored["tokens"].tobytes(), frame.embedding.tobytes(), downsampled.tobytes()):
            assert secret not in everything, number


def test_the_command_makes_coarse_what_lies_on_the_store(
    tmp_path: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = SPECS["float16"]
    camera = on_store(tmp_path / "m", spec, server.endpoint)
    write_settings(camera, CameraSettings())
    assert main(["retain", "--memory", str(tmp_path / "m"), "--coarse-days", repr(60 / 86400), "--json"]) == 0
    (document,) = json.loads(capsys.readouterr().out)["cameras"]
    assert document["coarse"] == document["coarse_frames"] == COARSE
    assert_replaced(server)
    assert_downsampled(CameraReader(camera).snapshot(), [*range(FRAMES)])
