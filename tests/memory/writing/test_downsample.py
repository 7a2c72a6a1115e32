"""Old frames in a quarter of their tokens: at their places, in far less space, and no less safe."""

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from afterview.cli.main import main
from afterview.memory.base.durable import observed
from afterview.memory.base.errors import DamagedFrames
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.directory import Memory
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.usage import bytes_under
from afterview.memory.fsck.fsck import fsck
from afterview.memory.plans.downsampling import Downsampled, add_downsampled, can_downsample, downsample, spread
from afterview.memory.plans.retention import Limits, Savings, forecast, plan_downsampling
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.memory.writing.erase import traces
from afterview.memory.writing.open import open_camera
from tests.support.memory_world import START, downsampled_tokens, kept_frame, kill_writer, make_frame, make_spec

SPECS = {storage: make_spec(storage=storage) for storage in ("float16", "int8")}
FRAMES = 330  # five seals and ten frames in the journal
SECONDS = 150.0  # the first two seals end more than this before the newest sealed frame


@pytest.fixture(params=SPECS)
def spec(request: pytest.FixtureRequest) -> FeatureSpec:
    return SPECS[request.param]


@pytest.fixture
def camera(tmp_path: Path, spec: FeatureSpec) -> Path:
    with open_camera(tmp_path, "a", spec) as repository:
        for number in range(FRAMES):
            repository.append(make_frame(number, spec))
        repository.sync()
        assert repository.downsample(SECONDS, ()) == 128
    return tmp_path / "a"


def expected(numbers: list[int], spec: FeatureSpec, downsampled: int = 128) -> NDArray[np.floating]:
    return np.stack([downsampled_tokens(n, spec) if n < downsampled else kept_frame(n, spec).tokens for n in numbers])


def assert_readable(snapshot: MemorySnapshot, lost: range = range(0)) -> None:
    numbers = [number for number in range(FRAMES) if number not in lost]
    assert snapshot.ids.tolist() == numbers
    np.testing.assert_array_equal(snapshot.tokens(snapshot.ids), expected(numbers, snapshot.spec))


def test_a_coarse_token_is_the_mean_of_its_square_and_stands_where_the_square_was() -> None:
    grid = np.arange(2 * 16, dtype=np.float16).reshape(2, 16, 1)
    downsampled = downsample(grid)
    assert downsampled[0, :, 0].tolist() == [2.5, 4.5, 10.5, 12.5]
    assert (
        spread(downsampled)[0, :, 0].reshape(4, 4).tolist()
        == [[2.5, 2.5, 4.5, 4.5]] * 2 + [[10.5, 10.5, 12.5, 12.5]] * 2
    )
    np.testing.assert_array_equal(downsample(spread(downsampled)), downsampled)
    spec = make_spec().tokens
    assert can_downsample(spec)
    assert not can_downsample(spec.model_copy(update={"pooling": "merged"}))
    assert not can_downsample(spec.model_copy(update={"tokens_per_frame": 9}))


def test_the_plan_takes_whole_old_seals_and_spares_what_is_kept() -> None:
    times = START + np.arange(64 * 5.0)
    held = np.ones(len(times), dtype=bool)
    assert plan_downsampling(times, held, seconds=150, keep=()) == [0, 64]
    assert plan_downsampling(times, held, seconds=150, keep=[(START + 10, START + 20)]) == [64]
    held[:64] = False
    assert plan_downsampling(times, held, seconds=150, keep=()) == [64]
    assert plan_downsampling(times, held, seconds=1e6, keep=()) == []
    assert plan_downsampling(times[:0], held[:0], seconds=1, keep=()) == []
    assert add_downsampled([Downsampled(0, 64)], [Downsampled(64, 128), Downsampled(256, 320), Downsampled(128, 192, erased=False)]) == (
        Downsampled(0, 128), Downsampled(128, 192, erased=False), Downsampled(256, 320),
    )  # fmt: skip


def test_old_frames_are_coarse_and_small_and_read_like_the_others(camera: Path, spec: FeatureSpec) -> None:
    snapshot = CameraReader(camera).snapshot()
    assert_readable(snapshot)
    some = np.array([3, 17, 63, 64, 127, 128, 140, 319, 320, 329])
    np.testing.assert_array_equal(snapshot.tokens(some), expected(some.tolist(), spec))
    assert not (camera / "generation-1" / "tokens" / "c.7.0.0").exists()
    assert (camera / "generation-1" / "tokens" / "c.8.0.0").exists()
    assert Manifest.read(camera).downsampled == (Downsampled(0, 128),)
    assert fsck(camera).findings == []
    assert snapshot.image(5) == make_frame(5, spec).image
    with open_camera(camera.parent, "a", spec) as repository:
        before = repository.usage.bytes
        assert repository.downsample(SECONDS, ()) == 0  # nothing more to do
        assert repository.downsample(100.0, [(START, START + 1e6)]) == 0  # protected
        assert repository.downsample(60.0, (), at_most=1) == 64
        assert repository.downsample(60.0, ()) == 64
        used = repository.usage.bytes
        assert abs(bytes_under(camera) - used) < 5000  # metadata and the commit are not followed to the byte
        assert used < before
        for number in range(FRAMES, 400):
            repository.append(make_frame(number, spec))
    assert fsck(camera).findings == []
    after = CameraReader(camera).snapshot()
    np.testing.assert_array_equal(after.tokens(after.ids), expected([*range(400)], spec, downsampled=256))


def test_published_tokens_take_a_quarter_of_the_space(tmp_path: Path, spec: FeatureSpec) -> None:
    large = make_spec(width=256, cells=64, storage=spec.tokens.storage)
    with open_camera(tmp_path, "a", large) as repository:
        for number in range(192):
            repository.append(make_frame(number, large))
        repository.sync()
        features = tmp_path / "a" / "generation-1"

        def size() -> int:
            files = [
                path
                for name in ("tokens", "scales", "coarse", "coarse_scales")
                for path in features.glob(f"{name}/c.*")
            ]
            return sum(path.stat().st_size for path in files)

        full = size()
        assert repository.downsample(64.0, ()) == 64
        saved = full / 3 - (size() - full * 2 / 3)
        assert 0.72 * full / 3 < saved < 0.76 * full / 3


def test_damage_to_a_coarse_chunk_costs_its_seal(camera: Path, spec: FeatureSpec) -> None:
    for path in sorted((camera / "generation-1").glob("coarse*/c.1.*")):
        whole = path.read_bytes()
        for data in (whole[:20] + bytes([whole[20] ^ 1]) + whole[21:], whole[:9], None):
            path.unlink() if data is None else path.write_bytes(data)
            snapshot = CameraReader(camera).snapshot()
            with pytest.raises(DamagedFrames) as caught:
                snapshot.tokens(snapshot.ids)
            assert caught.value.frames.tolist() == list(range(64, 128))
            assert_readable(snapshot.without(caught.value.frames), range(64, 128))
            assert [(found.where, found.frames) for found in fsck(camera).damage] == [(path, (64, 128))]
        path.write_bytes(whole)
    assert fsck(camera).findings == []
    path.unlink()
    assert fsck(camera, repair=True).damage == []
    assert_readable(CameraReader(camera).snapshot(), range(64, 128))


def test_lost_coarse_arrays_are_found(camera: Path, spec: FeatureSpec) -> None:
    for name in ("coarse", "coarse_scales"):
        shutil.rmtree(camera / "generation-1" / name, ignore_errors=True)
    assert fsck(camera).damage
    assert fsck(camera, repair=True).damage == []
    assert_readable(CameraReader(camera).snapshot(), range(128))


def test_damage_elsewhere_does_not_cost_coarse_frames(camera: Path) -> None:
    (camera / "generation-1" / "tokens" / "c.9.0.0").write_bytes(b"x")
    snapshot = CameraReader(camera).snapshot()
    with pytest.raises(DamagedFrames) as caught:
        snapshot.tokens(snapshot.ids)
    assert caught.value.frames.tolist() == list(range(144, 160))
    assert_readable(snapshot.without(caught.value.frames), range(144, 160))


def test_damage_beyond_the_room_of_coarse_arrays_costs_its_chunk(
    tmp_path: Path, spec: FeatureSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterview.memory.format.sealed_writer.ROWS_AHEAD", 64)
    with open_camera(tmp_path, "a", spec) as repository:
        for number in range(FRAMES):
            repository.append(make_frame(number, spec))
        repository.sync()
        assert repository.downsample(SECONDS, ()) == 128
    test_damage_elsewhere_does_not_cost_coarse_frames(tmp_path / "a")


def test_coarse_frames_are_forgotten_like_others(camera: Path, spec: FeatureSpec) -> None:
    with open_camera(camera.parent, "a", spec) as repository:
        repository.forget(START + 40, START + 99)
        repository.forget(START + 130, START + 139)
        assert repository.downsample(60.0, ()) == 128  # of which ten frames are gone
    snapshot = CameraReader(camera).snapshot()
    numbers = [n for n in range(FRAMES) if not (40 <= n <= 99 or 130 <= n <= 139)]
    assert snapshot.ids.tolist() == numbers
    np.testing.assert_array_equal(snapshot.tokens(snapshot.ids), expected(numbers, spec, downsampled=256))
    for gone in snapshot.removed:
        assert traces(camera, gone, sealed=320) == []
    rows = np.frombuffer((camera / "generation-1/coarse/c.0.0.0").read_bytes()[:-4], dtype=np.uint8)
    assert not rows.reshape(64, -1)[40:].any()
    assert rows.reshape(64, -1)[:40].any(axis=1).all()
    assert fsck(camera).findings == []


def test_downsampling_can_stop_at_any_step(tmp_path: Path, spec: FeatureSpec) -> None:
    """Whatever was done, readers see every frame, whole or coarse, and the next writer finishes."""

    class Crash(BaseException):
        pass

    with open_camera(tmp_path / "m", "a", spec) as repository:
        for number in range(FRAMES):
            repository.append(make_frame(number, spec))
    for steps in range(0, 200, 3):
        memory = tmp_path / f"n{steps}"
        shutil.copytree(tmp_path / "m", memory)
        repository, left = open_camera(memory, "a", spec), steps

        def crash(*step: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Crash

        try:
            with observed(crash):
                repository.downsample(SECONDS, ())
        except Crash:
            pass
        kill_writer(repository)
        snapshot = CameraReader(memory / "a").snapshot()
        for number, tokens in enumerate(snapshot.tokens(snapshot.ids)):
            whole, downsampled = kept_frame(number, spec).tokens, downsampled_tokens(number, spec)
            assert np.array_equal(tokens, whole) or (number < 128 and np.array_equal(tokens, downsampled)), (
                steps,
                number,
            )
        assert fsck(memory / "a").damage == []
        with open_camera(memory, "a", spec) as again:
            again.downsample(SECONDS, ())
        assert_readable(CameraReader(memory / "a").snapshot())
        assert fsck(memory / "a").findings == []
        if left >= 0:
            break
    else:
        raise AssertionError("it took more steps than were tried")


def test_readers_go_on_while_frames_are_made_coarse(tmp_path: Path, spec: FeatureSpec) -> None:
    with open_camera(tmp_path, "a", spec) as repository:
        for number in range(FRAMES):
            repository.append(make_frame(number, spec))
        repository.sync()
        wrong: list[object] = []
        done = threading.Event()

        def read() -> None:
            snapshot = CameraReader(tmp_path / "a").snapshot()
            try:
                while not done.is_set():
                    for number, tokens in enumerate(snapshot.tokens(snapshot.ids)):
                        whole, downsampled = kept_frame(number, spec).tokens, downsampled_tokens(number, spec)
                        if not np.array_equal(tokens, whole) and not np.array_equal(tokens, downsampled):
                            wrong.append(number)
            except Exception as error:
                wrong.append(error)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        for _ in range(4):
            repository.downsample(10.0, (), at_most=1)
        done.set()
        reader.join()
        assert wrong == []


def test_what_was_committed_is_found_again_without_its_commit(camera: Path) -> None:
    (camera / "committed").unlink()
    assert fsck(camera, repair=True).damage == []
    assert Manifest.read(camera).downsampled == (Downsampled(0, 128),)
    assert_readable(CameraReader(camera).snapshot())


def test_the_forecast_reckons_with_coarse_frames() -> None:
    day, gigabyte = 86400.0, 10**9
    limits = Limits(None, 100e9, downsample_seconds=2 * day)
    young = forecast(10 * gigabyte, 86400, 1.0, limits, free=1e12)
    assert young.bytes_per_day == pytest.approx(10e9)
    each = 7.5e9 / day  # saved
    old = forecast(int(25e9), 4 * 86400, 1.0, limits, free=1e12, downsampled=Savings(2 * 86400, each))
    assert old.bytes_per_day == pytest.approx(2.5e9)  # a day more, and a day made coarse
    assert old.full_in_s == pytest.approx(75 / 2.5 * day)


def test_the_command(tmp_path: Path, spec: FeatureSpec, capsys: pytest.CaptureFixture[str]) -> None:
    with open_camera(tmp_path, "a", spec) as repository:
        for number in range(64 * 12):
            repository.append(make_frame(number, spec))
    before = Memory(tmp_path).camera("a").bytes_on_disk()
    assert main(["retain", "--memory", str(tmp_path), "--coarse-days", "0.001", "--json"]) == 0
    (document,) = json.loads(capsys.readouterr().out)["cameras"]
    assert document["coarse_frames"] == document["coarse"] == 64 * 10  # more than is done at once beside a watch
    assert document["limits"]["coarse_days"] == pytest.approx(0.001)
    assert main(["info", str(tmp_path), "--json"]) == 0
    (camera,) = json.loads(capsys.readouterr().out)["cameras"]
    assert {name: tier["frames"] for name, tier in camera["tiers"].items()} == {"full": 128, "coarse": 640}
    assert camera["bytes"] < before
    assert main(["info", str(tmp_path)]) == 0
    assert "640 old frames keep 1 of them" in capsys.readouterr().out
    assert main(["retain", "--memory", str(tmp_path)]) == 0
    assert (
        "640 frames downsampled to a quarter of their tokens; downsampling after 0.001 days" in capsys.readouterr().out
    )
    assert main(["retain", "--memory", str(tmp_path), "--forever"]) == 0
    assert "downsampling is off" in capsys.readouterr().out
    assert main(["retain", "--memory", str(tmp_path), "--coarse-days", "0"]) == 2
