"""Forgetting, eviction, protected spans: what goes is gone from every file, what stays is unchanged, and both can be told apart."""

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from afterview.cli.main import main
from afterview.memory.base.errors import DamagedFrames
from afterview.memory.base.records import SEAL_FRAMES
from afterview.memory.base.settings import CameraSettings, MemorySettings
from afterview.memory.fsck.fsck import fsck
from afterview.memory.index.frame_index import FrameIndex
from afterview.memory.plans.removal import Removal, add, present, runs
from afterview.memory.plans.retention import DAY, Limits, forecast, limits_of, plan_eviction
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.open import open_camera
from tests.support.memory_world import START, make_frame, make_spec
from tests.support.servers import wait_until

SPEC = make_spec()


@pytest.fixture
def camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """300 frames: four seals and 44 in the journal; an index on disk; evidence of an answer."""
    monkeypatch.setattr("afterview.memory.index.frame_index.SMALL", 64)
    with open_camera(tmp_path, "a", SPEC) as repository:
        for number in range(300):
            repository.append(make_frame(number, SPEC))
    FrameIndex(tmp_path / "a" / "index").catch_up(CameraReader(tmp_path / "a").snapshot())
    evidence = tmp_path / "answers" / "0123"
    evidence.mkdir(parents=True)
    for number in (90, 110, 280):
        (evidence / f"a-{number}.jpg").write_bytes(make_frame(number, SPEC).image)
    return tmp_path / "a"


def needles(number: int) -> list[bytes]:
    """Bytes that only this frame has: image, tokens, embedding as stored and as indexed."""
    frame = make_frame(number, SPEC)
    return [
        frame.image,
        frame.tokens.tobytes(),
        frame.embedding.tobytes(),
        frame.embedding.astype(np.float16).tobytes(),
    ]


def files_with(memory: Path, number: int) -> list[str]:
    """Every file of the whole memory that holds something of a frame."""
    files = [path for path in memory.rglob("*") if path.is_file()]
    return [
        str(path.relative_to(memory))
        for path in files
        if any(needle in path.read_bytes() for needle in needles(number))
    ]


@pytest.mark.parametrize(("first", "last"), [(100, 149), (64, 127), (60, 200), (250, 270), (180, 299), (0, 0)])
def test_nothing_of_a_forgotten_frame_is_left_in_any_file(camera: Path, first: int, last: int) -> None:
    assert files_with(camera.parent, first)  # the search can find
    with open_camera(camera.parent, "a", SPEC) as repository:
        done = repository.forget(START + first, START + last)
        assert done.frames == done.checked == last - first + 1
    for number in range(first, last + 1):
        assert files_with(camera.parent, number) == []
    snapshot = CameraReader(camera).snapshot()
    others = [number for number in range(300) if not first <= number <= last]
    assert snapshot.ids.tolist() == others
    np.testing.assert_array_equal(snapshot.tokens(snapshot.ids), np.stack([make_frame(n, SPEC).tokens for n in others]))
    np.testing.assert_array_equal(snapshot.times, [START + n for n in others])
    for number in others[::17]:
        assert snapshot.image(number) == make_frame(number, SPEC).image
    assert [(gone.first, gone.end, gone.reason) for gone in snapshot.removed] == [(first, last + 1, "forgotten")]
    assert fsck(camera).damage == []


def test_an_index_that_still_knew_forgotten_frames_never_brings_them_back(camera: Path) -> None:
    old = FrameIndex(camera / "index")
    old.catch_up(CameraReader(camera).snapshot())  # a process that has the index loaded
    with open_camera(camera.parent, "a", SPEC) as repository:
        stale = CameraReader(camera).snapshot()
        repository.forget(START + 100, START + 120)
        for number in range(300, 400):
            repository.append(make_frame(number, SPEC))
    old.catch_up(stale)  # late, with a snapshot from before
    assert files_with(camera.parent, 110) == []
    snapshot = CameraReader(camera).snapshot()
    old.catch_up(snapshot)
    query = make_frame(110, SPEC).embedding
    assert not {hit.frame for hit in old.search(query, 50, snapshot).hits} & set(range(100, 121))
    assert files_with(camera.parent, 110) == []


def test_files_that_a_crash_left_unfinished_are_forgotten_too(camera: Path) -> None:
    frame = make_frame(70, SPEC)
    for name, data in (("index/.flat-0-64.faiss.1", frame.embedding), ("generation-1/tokens/.c.4.0.0.1", frame.tokens)):
        (camera / f"{name}.partial").write_bytes(data.tobytes())
    with open_camera(camera.parent, "a", SPEC) as repository:
        repository.forget(START + 70, START + 70)
    assert files_with(camera.parent, 70) == []
    assert not list(camera.rglob(".*.partial"))


def test_frame_ids_never_shift_and_recording_goes_on(camera: Path) -> None:
    with open_camera(camera.parent, "a", SPEC) as repository:
        repository.forget(START + 250, START + 299)  # the newest, still in the journal
        assert repository.append(make_frame(300, SPEC)) == 300
        repository.forget(START + 10, START + 20)
    with open_camera(camera.parent, "a", SPEC) as repository:
        assert repository.frames == 301
        for number in range(301, 400):
            assert repository.append(make_frame(number, SPEC)) == number
    assert CameraReader(camera).snapshot().ids.tolist() == [*range(10), *range(21, 250), *range(300, 400)]
    assert fsck(camera).damage == []


def test_forgetting_twice_or_nothing_is_fine(camera: Path) -> None:
    with open_camera(camera.parent, "a", SPEC) as repository:
        assert repository.forget(START + 100, START + 149).frames == 50
        assert repository.forget(START + 90, START + 159).frames == 20
        assert repository.forget(START + 90, START + 159).frames == 0
        assert repository.forget(START - 90, START - 10).frames == 0
    assert CameraReader(camera).snapshot().frames == 230


def test_eviction_takes_whole_old_seals_with_their_files_and_spares_kept_spans(camera: Path) -> None:
    before = sum(path.stat().st_size for path in camera.rglob("*") if path.is_file())
    with open_camera(camera.parent, "a", SPEC) as repository:
        done = repository.enforce(Limits(100.0, None), keep=[(START + 70, START + 75)])
    assert done.freed > 0
    snapshot = CameraReader(camera).snapshot()
    assert snapshot.ids.tolist() == [
        *range(64, 128),
        *range(128, 300),
    ]  # 0..63 is old and goes, 64..127 is kept, 128.. touches the limit
    assert not (camera / "generation-1/tokens/c.0.0.0").exists()
    assert not (camera / "frames/images/0").exists()
    assert not (camera / "index/flat-0-64.faiss").exists()
    assert sum(path.stat().st_size for path in camera.rglob("*") if path.is_file()) < before
    assert fsck(camera).damage == []
    with open_camera(camera.parent, "a", SPEC) as repository:
        repository.enforce(Limits(100.0, None))
    assert CameraReader(camera).snapshot().ids.tolist() == list(range(192 - 64, 300))


def test_a_limit_in_bytes_evicts_until_it_is_kept(camera: Path) -> None:
    with open_camera(camera.parent, "a", SPEC) as repository:
        limit = repository.usage.bytes * 0.6
        repository.enforce(Limits(None, limit))
        assert 0 < CameraReader(camera).snapshot().ids[0] < 256
        for number in range(300, 600):
            repository.append(make_frame(number, SPEC))
            repository.sync()
            repository.enforce(Limits(None, limit))
        counted = sum(path.stat().st_size for path in camera.rglob("*") if path.is_file())
        assert abs(repository.usage.bytes - counted) < 0.2 * counted
        assert repository.frames == 600
    assert CameraReader(camera).snapshot().ids[-1] == 599


def test_a_reader_beside_an_evicting_writer_loses_only_what_was_evicted(tmp_path: Path) -> None:
    stop, failures, rounds = threading.Event(), [], 0

    def write() -> None:
        with open_camera(tmp_path, "a", SPEC) as repository:
            number = 0
            while not stop.is_set():
                for _ in range(64):
                    repository.append(make_frame(number, SPEC))
                    number += 1
                repository.sync()
                repository.enforce(Limits(150.0, None))
                repository.forget(START + number - 30, START + number - 28)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        wait_until(lambda: (tmp_path / "a" / "camera.json").exists(), 20)
        reader = CameraReader(tmp_path / "a")
        snapshot, deadline = reader.snapshot(), time.monotonic() + 60
        while rounds < 40 or not snapshot.removed or snapshot.removed[0].reason != "evicted":
            assert time.monotonic() < deadline
            snapshot = reader.snapshot()
            try:
                tokens = snapshot.tokens(snapshot.ids)
            except DamagedFrames as error:  # gone between the snapshot and the read
                later = reader.snapshot()
                failures += [frame for frame in error.frames.tolist() if frame in set(later.ids.tolist())]
                continue
            rounds += 1
            wrong = [
                int(i)
                for row, i in enumerate(snapshot.ids)
                if tokens[row].tobytes() != make_frame(int(i), SPEC).tokens.tobytes()
            ]
            gone = present(snapshot.end, reader.snapshot().removed)
            failures += [frame for frame in wrong if frame in gone]
    finally:
        stop.set()
        writer.join()
    assert failures == []
    assert snapshot.ids[0] > 0
    assert fsck(tmp_path / "a").damage == []


def test_plan_eviction() -> None:
    times, held = np.arange(256.0), np.ones(256, dtype=bool)
    assert plan_eviction(times, held, limits=Limits(None, None), used=1e9, keep=()) == []
    assert plan_eviction(times, held, limits=Limits(100, None), used=0, keep=()) == [(0, 128)]
    assert plan_eviction(times, held, limits=Limits(1, None), used=0, keep=()) == [(0, 192)]  # never the newest seal
    assert plan_eviction(times, held, limits=Limits(1, None), used=0, keep=[(70, 71)]) == [(0, 64), (128, 192)]
    assert plan_eviction(times, held, limits=Limits(None, 250), used=400, keep=()) == [(0, 128)]
    held[:64] = False
    assert plan_eviction(times, held, limits=Limits(100, None), used=0, keep=()) == [(64, 128)]
    assert SEAL_FRAMES == 64


def test_limits_and_forecast() -> None:
    own, shared = CameraSettings(gigabytes=3), MemorySettings(days=30, gigabytes=10)
    assert limits_of(own, shared, sharing=2) == Limits(30 * DAY, 3e9)
    assert limits_of(CameraSettings(), shared, sharing=2) == Limits(30 * DAY, 5e9)
    outlook = forecast(1_000_000_000, 86400, 1.0, Limits(None, 10e9), free=100_000_000_000)
    assert outlook.full_in_s == pytest.approx(9 * DAY)
    assert forecast(1_000_000_000, 86400, 1.0, Limits(3 * DAY, 10e9), free=10**12).full_in_s is None
    assert forecast(1_000_000_000, 86400, 1.0, Limits(None, None), free=2_000_000_000).full_in_s == pytest.approx(
        2 * DAY
    )


def test_ranges() -> None:
    assert runs(np.array([3, 4, 5, 9])) == [(3, 6), (9, 10)]
    one = Removal(0, 64, 0.0, 63.0, "evicted", 1.0, True)
    two = Removal(64, 128, 64.0, 127.0, "evicted", 2.0, True)
    assert add([one], [two]) == (Removal(0, 128, 0.0, 127.0, "evicted", 2.0, True),)
    assert present(130, [one, two]).tolist() == [128, 129]


def test_commands_work_without_a_writer_and_say_what_is_left(camera: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory = ["--memory", str(camera.parent)]
    assert main(["forget", *memory, "--yes", "--from", str(START + 100), "--to", str(START + 149), "--json"]) == 0
    (document,) = json.loads(capsys.readouterr().out)["cameras"]
    assert (document["frames"], document["proof"]["traces"], document["by"]) == (50, 0, "command")
    assert main(["forget", *memory, "--yes", "--from", str(START + 1), "--to", str(START + 2)]) == 0
    assert "0 traces left" in capsys.readouterr().out
    assert main(["forget", *memory]) == 2
    assert "which span" in capsys.readouterr().err
    assert main(["keep", *memory, "--from", str(START), "--to", str(START + 30)]) == 0
    assert main(["retain", *memory, "--yes", "--days", "0.001", "--json"]) == 0  # 86 seconds
    capsys.readouterr()
    snapshot = CameraReader(camera).snapshot()
    assert set(snapshot.ids.tolist()) >= set(range(3, 64))  # kept
    assert 70 not in snapshot.ids
    assert main(["retain", *memory]) == 0
    assert "0.001 days" in capsys.readouterr().out
    assert main(["ask", "What now?", *memory, "--from", str(START + 110), "--at", str(START + 120)]) == 2
    assert "no longer remembered: 50 frames were forgotten on request" in capsys.readouterr().err
    assert main(["fsck", str(camera.parent)]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mask", "--polygon", "0,0 1,1"], "at least three corners"),
        (["mask", "--polygon", "0,0 1,1 7,0"], "fractions of the picture"),
        (["retain", "--days", "0"], "must be above 0"),
        (["retain", "--days", "inf"], "use --forever to remove all limits"),
        (["forget", "--from", "1700000009", "--to", "1700000001"], "ends before it begins"),
        (["pause", "--camera", "nowhere"], "there are: a"),
    ],
)
def test_mistakes_get_one_clear_line(
    camera: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([arguments[0], "--memory", str(camera.parent), *arguments[1:]]) == 2
    assert message in capsys.readouterr().err
