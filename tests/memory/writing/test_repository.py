"""The memory of one camera: what is appended comes back, whatever happens between."""

import multiprocessing
import os
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from afterview.configs import UsageError
from afterview.memory.base.camera import camera_id
from afterview.memory.base.documents import encode_json, read_json
from afterview.memory.base.errors import (
    CameraBusy,
    DamagedFrames,
    DamagedMemory,
    FormatMismatch,
    MemoryNotFound,
    NotWritable,
    RepositoryError,
    SpecMismatch,
)
from afterview.memory.base.held_directory import place_of
from afterview.memory.base.records import SEAL_FRAMES, GapReason
from afterview.memory.directory import Memory
from afterview.memory.format.sealed_writer import SealedWriter
from afterview.memory.reading.reader import CameraReader, MemorySnapshot, frames_between, gaps_touching
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.repository import Repository
from tests.support.memory_world import START, kill_writer, make_frame, make_spec

SPEC = make_spec()


def fill(repository: Repository, count: int) -> None:
    for number in range(repository.frames, repository.frames + count):
        repository.append(make_frame(number, SPEC))
    repository.sync()


def assert_holds(snapshot: MemorySnapshot, numbers: list[int]) -> None:
    assert snapshot.frames == len(numbers)
    frames = [make_frame(number, SPEC) for number in numbers]
    np.testing.assert_array_equal(snapshot.times, [frame.time for frame in frames])
    if not frames:
        return
    ids = np.arange(len(frames))
    np.testing.assert_array_equal(snapshot.tokens(ids), np.stack([frame.tokens for frame in frames]))
    np.testing.assert_array_equal(snapshot.embeddings(ids), np.stack([frame.embedding for frame in frames]))
    np.testing.assert_array_equal(snapshot.scalars("source_times", ids), [frame.source_time for frame in frames])
    assert list(snapshot.images(ids)) == [frame.image for frame in frames]
    some = ids[:: SEAL_FRAMES // 2 + 1]
    assert list(snapshot.images(some)) == [snapshot.image(row) for row in some.tolist()]


@pytest.mark.parametrize("count", [0, 1, SEAL_FRAMES - 1, SEAL_FRAMES, SEAL_FRAMES + 1, 3 * SEAL_FRAMES + 5])
def test_what_is_appended_comes_back_open_and_reopened(tmp_path: Path, count: int) -> None:
    with open_camera(tmp_path, "Front door", SPEC) as repository:
        fill(repository, count)
        assert_holds(CameraReader(repository.directory).snapshot(), list(range(count)))
    assert (tmp_path / "front-door").exists() == (count > 0)  # a camera that never held a frame leaves nothing behind
    if count:
        assert_holds(CameraReader(tmp_path / "front-door").snapshot(), list(range(count)))
    with open_camera(tmp_path, "Front door", SPEC) as repository:
        assert repository.frames == count


def test_scattered_tokens_are_those_of_the_frames_asked_for(tmp_path: Path) -> None:
    with open_camera(tmp_path, "a", SPEC) as repository:
        fill(repository, 200)
        snapshot = CameraReader(repository.directory).snapshot()
    ids = np.array([0, 1, 17, 40, 41, 63, 64, 90, 127, 128, 191, 192, 199])
    np.testing.assert_array_equal(snapshot.tokens(ids), np.stack([make_frame(int(i), SPEC).tokens for i in ids]))


def test_a_snapshot_never_changes(tmp_path: Path) -> None:
    with open_camera(tmp_path, "a", SPEC) as repository:
        fill(repository, 70)
        reader = CameraReader(repository.directory)
        before = reader.snapshot()
        fill(repository, 100)
        assert_holds(before, list(range(70)))
        assert_holds(reader.snapshot(), list(range(170)))
        assert_holds(reader.snapshot().as_of(START + 69), list(range(70)))
        assert_holds(reader.snapshot().as_of(START + 69.9), list(range(70)))
        assert reader.snapshot().as_of(START - 1).frames == 0


def test_reopened_snapshot_equals_as_of(tmp_path: Path) -> None:
    with open_camera(tmp_path, "a", SPEC) as repository:
        for number in (0, 1, 2):
            repository.append(make_frame(number, SPEC))
        repository.interrupted("lost")
        lasting = CameraReader(repository.directory).snapshot()
        repository.append(make_frame(3, SPEC, time=START + 50))
        repository.sync()
        later = CameraReader(repository.directory).snapshot()
    assert lasting.open_gap is not None
    assert lasting.open_gap.start == START + 2
    past = later.as_of(START + 20)
    assert (past.frames, past.gaps) == (lasting.frames, lasting.gaps)
    assert past.open_gap is not None
    assert past.open_gap.start == lasting.open_gap.start
    assert [(gap.start, gap.end, gap.reason, gap.before_frame) for gap in later.gaps] == [
        (START + 2, START + 50, "lost", 3)
    ]
    assert later.open_gap is None
    assert gaps_touching(later, START + 10, START + 20)
    assert not gaps_touching(later, START, START + 2)


def test_gaps_survive_sealing_once_each(tmp_path: Path) -> None:
    expected = []
    with open_camera(tmp_path, "a", SPEC) as repository:
        when = START
        for number in range(150):
            when += 1.0
            if number in (5, 64, 100, 149):
                repository.interrupted("lost")
                expected.append((when - 1, when + 29, "lost", number))
                when += 29.0
            repository.append(make_frame(number, SPEC, time=when))
            repository.sync()
        repository.append(make_frame(150, SPEC, time=when + 40))  # nobody said why
        expected.append((when, when + 40, "jump", 150))
    snapshot = CameraReader(tmp_path / "a").snapshot()
    assert [(gap.start, gap.end, gap.reason, gap.before_frame) for gap in snapshot.gaps] == expected
    assert snapshot.open_gap is not None  # closed: not recording since
    with open_camera(tmp_path, "a", SPEC) as repository:
        repository.append(make_frame(151, SPEC, time=when + 100))
    assert CameraReader(tmp_path / "a").snapshot().gaps[-1].reason == "not recording"


def gaps_of(memory: Path, times: list[float]) -> list[tuple[float, float, str]]:
    with open_camera(memory, "a", SPEC) as repository:
        for number, time in enumerate(times):
            repository.append(make_frame(number, SPEC, time=START + time))
    gaps = CameraReader(memory / "a").snapshot().gaps
    return [(gap.start - START, gap.end - START, gap.reason) for gap in gaps]


def test_a_hole_of_two_slots_or_more_is_a_gap_although_nobody_said_why(tmp_path: Path) -> None:
    assert gaps_of(tmp_path, [0, 1, 2, 3, 9, 10, 13, 14, 16]) == [(3, 9, "jump"), (10, 13, "jump")]


def test_a_source_slower_than_the_sampling_rate_has_no_gap_at_every_frame(tmp_path: Path) -> None:
    frames = [float(7 * number) for number in range(40)]
    assert gaps_of(tmp_path, [*frames, 400.0, 407.0]) == [(0, 7, "jump"), (273, 400, "jump")]


def test_a_first_step_that_the_sources_pace_explains_is_no_gap(tmp_path: Path) -> None:
    with open_camera(tmp_path, "a", SPEC) as repository:
        repository.allow_silence(20.0)
        for number, time in enumerate([0.0, 20.0, 40.0, 60.0, 180.0, 200.0]):
            repository.append(make_frame(number, SPEC, time=START + time))
    gaps = CameraReader(tmp_path / "a").snapshot().gaps
    assert [(gap.start - START, gap.end - START, gap.reason) for gap in gaps] == [(60, 180, "jump")]


def test_short_interruptions_are_no_gap(tmp_path: Path) -> None:
    with open_camera(tmp_path, "a", SPEC) as repository:
        repository.append(make_frame(0, SPEC))
        repository.interrupted("lost")
        repository.append(make_frame(1, SPEC))  # came when it was due
        assert CameraReader(repository.directory).snapshot().gaps == ()


@pytest.mark.parametrize("cut", [1, 5, 11, 40, 100])
def test_an_unfinished_record_is_cut_and_the_rest_kept(tmp_path: Path, cut: int) -> None:
    repository = open_camera(tmp_path, "a", SPEC)
    fill(repository, 10)
    kill_writer(repository)
    journal = tmp_path / "a" / "journal"
    data = journal.read_bytes()
    journal.write_bytes(data[:-cut])
    assert CameraReader(tmp_path / "a").snapshot().frames == 9
    with open_camera(tmp_path, "a", SPEC) as again:
        assert again.frames == 9
        assert journal.stat().st_size < len(data) - cut
        fill(again, 3)
    assert_holds(CameraReader(tmp_path / "a").snapshot(), list(range(12)))


def test_damage_in_the_middle_of_the_journal_is_named(tmp_path: Path) -> None:
    repository = open_camera(tmp_path, "a", SPEC)
    fill(repository, 10)
    fill(repository, 1)
    kill_writer(repository)
    journal = tmp_path / "a" / "journal"
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 0xFF
    journal.write_bytes(data)
    with pytest.raises(DamagedMemory, match=r"checksum.*fsck --repair"):
        open_camera(tmp_path, "a", SPEC)
    snapshot = CameraReader(tmp_path / "a").snapshot()  # a reader goes on with the others, and says which it left out
    assert snapshot.frames == 10
    assert snapshot.damaged.tolist() == [5]
    np.testing.assert_array_equal(snapshot.tokens(np.array([6]))[0], make_frame(6, SPEC).tokens)


def test_a_torn_batch_is_cut_even_where_the_disk_wrote_its_end_first(tmp_path: Path) -> None:
    repository = open_camera(tmp_path, "a", SPEC)
    fill(repository, 5)
    synced = (tmp_path / "a" / "journal").stat().st_size
    for number in (5, 6, 7):
        repository.append(make_frame(number, SPEC))  # never synced
    kill_writer(repository)
    journal = tmp_path / "a" / "journal"
    data = bytearray(journal.read_bytes())
    data[synced : synced + 40] = bytes(40)  # a page that the power cut kept from the disk; those after it are there
    journal.write_bytes(data)
    with open_camera(tmp_path, "a", SPEC) as again:
        assert again.frames == 5
        assert journal.stat().st_size == synced
        fill(again, 3)
    assert_holds(CameraReader(tmp_path / "a").snapshot(), list(range(8)))


def test_a_crash_between_seal_and_journal_renewal_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = open_camera(tmp_path, "a", SPEC)
    fill(repository, 60)
    with monkeypatch.context() as patch:
        patch.setattr(
            "afterview.memory.format.journal.Journal.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            fill(repository, 8)
    kill_writer(repository)
    with open_camera(tmp_path, "a", SPEC) as again:
        assert again.frames == 68
        fill(again, 70)
    assert_holds(CameraReader(tmp_path / "a").snapshot(), list(range(138)))


def test_a_crash_before_the_commit_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = open_camera(tmp_path, "a", SPEC)
    with monkeypatch.context() as patch:
        patch.setattr(
            "afterview.memory.format.manifest.Manifest.write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            fill(repository, 70)
    kill_writer(repository)
    with open_camera(tmp_path, "a", SPEC) as again:
        assert again.frames == 70
        fill(again, 1)
    assert_holds(CameraReader(tmp_path / "a").snapshot(), list(range(71)))


def test_a_failed_write_leaves_no_half_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_camera(tmp_path, "a", SPEC) as repository:
        fill(repository, 3)

        def write_half(file: IO[bytes], path: Path, data: bytes) -> None:
            file.write(data[:10])
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("afterview.memory.base.durable.append", write_half)
            with pytest.raises(OSError, match="No space"):
                repository.append(make_frame(3, SPEC))
        fill(repository, 2)
    assert_holds(CameraReader(tmp_path / "a").snapshot(), [0, 1, 2, 3, 4])


def test_a_missing_chunk_is_named_and_costs_only_its_frames(tmp_path: Path) -> None:
    with open_camera(tmp_path, "a", SPEC) as repository:
        fill(repository, 130)
    (tmp_path / "a" / "generation-1" / "tokens" / "c.2.0.0").unlink()
    snapshot = CameraReader(tmp_path / "a").snapshot()
    snapshot.tokens(np.arange(0, 32))
    with pytest.raises(DamagedFrames, match="frame 32 and 15 more cannot be read") as caught:
        snapshot.tokens(np.arange(130))
    assert caught.value.frames.tolist() == list(range(32, 48))
    rest = snapshot.without(caught.value.frames)
    np.testing.assert_array_equal(rest.tokens(rest.ids), np.stack([make_frame(int(i), SPEC).tokens for i in rest.ids]))


def test_a_flipped_byte_is_detected(tmp_path: Path) -> None:
    with open_camera(tmp_path, "a", SPEC) as repository:
        fill(repository, 64)
    chunk = tmp_path / "a" / "generation-1" / "tokens" / "c.1.0.0"
    data = bytearray(chunk.read_bytes())
    data[7] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(DamagedMemory, match="tokens"):
        CameraReader(tmp_path / "a").snapshot().tokens(np.arange(64))


def test_refusals_name_the_thing(tmp_path: Path) -> None:
    with open_camera(tmp_path, "a", SPEC) as repository:
        fill(repository, 2)
        with pytest.raises(ValueError, match="does not follow"):
            repository.append(make_frame(0, SPEC))
        with pytest.raises(ValueError, match="spec says"):
            repository.append(make_frame(5, make_spec(width=7)))
        with pytest.raises(CameraBusy, match=str(os.getpid())):
            open_camera(tmp_path, "a", SPEC)
    with pytest.raises(SpecMismatch, match="reembed"):
        open_camera(tmp_path, "a", make_spec(weights="sha256:cc"))
    with pytest.raises(RepositoryError, match="--fps 1"):
        open_camera(tmp_path, "a", SPEC, fps=2.0)
    with pytest.raises(MemoryNotFound, match="no memory"):
        Memory(tmp_path / "nowhere")
    with pytest.raises(MemoryNotFound, match="there are: a"):
        Memory(tmp_path).camera("b")
    camera = tmp_path / "a" / "camera.json"
    camera.write_bytes(encode_json({**read_json(camera, missing=""), "format": 99}))
    with pytest.raises(FormatMismatch, match="format 99"):
        CameraReader(tmp_path / "a")


@pytest.mark.parametrize("step", ["create", "write_spec", "Manifest.write", "write_camera"])
def test_a_creation_that_was_killed_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    target = (
        "afterview.memory.format.sealed_writer.SealedWriter.create"
        if step == "create"
        else f"afterview.memory.writing.create.{step}"
    )
    real = SealedWriter.create

    def killed(*arguments: object) -> None:
        if step == "create":
            real(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(target, killed)
        with pytest.raises(KeyboardInterrupt):
            open_camera(tmp_path, "a", SPEC)
    with open_camera(tmp_path, "a", SPEC) as repository:
        fill(repository, 3)
    assert_holds(CameraReader(tmp_path / "a").snapshot(), [0, 1, 2])


def test_a_lost_camera_file_is_damage_and_not_a_new_camera(tmp_path: Path) -> None:
    with open_camera(tmp_path, "a", SPEC) as repository:
        fill(repository, 3)
    (tmp_path / "a" / "camera.json").unlink()
    with pytest.raises(DamagedMemory, match=r"camera.json is missing"):
        open_camera(tmp_path, "a", SPEC)
    assert (tmp_path / "a" / "journal").stat().st_size > 100


def test_camera_ids() -> None:
    assert camera_id("Front door") == "front-door"
    assert camera_id("Ärger / Übung") == "ärger-übung"
    assert camera_id("日本 1") != camera_id("中国 1")
    assert len(camera_id("日" * 200).encode()) <= 120
    for name in ("...", "Answers", "-"):
        with pytest.raises(UsageError):
            camera_id(name)
    assert camera_id("../../etc") == "etc"


def test_frames_between() -> None:
    times = np.array([1.0, 2.0, 3.0])
    assert frames_between(times, None, None) == (0, 3)
    assert frames_between(times, 1.5, 2.5) == (1, 2)
    assert frames_between(times, 2.0, 3.0) == (1, 3)
    assert frames_between(times, 5.0, None) == (3, 3)


def _read_all_the_time(
    directory: Path, stop: "multiprocessing.synchronize.Event", out: "multiprocessing.Queue[object]"
) -> None:
    reader, seen = CameraReader(directory), 0
    try:
        while not stop.is_set() or seen == 0:
            snapshot = reader.snapshot()
            assert snapshot.frames >= seen
            seen = snapshot.frames
            if seen:
                assert_holds(snapshot, list(range(seen)))
        out.put(seen)
    except BaseException as error:
        out.put(repr(error))


def test_another_process_reads_while_one_writes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with open_camera(tmp_path, "a", SPEC) as repository:
        fill(repository, 1)
        stop, out = context.Event(), context.Queue()
        child = context.Process(target=_read_all_the_time, args=(place_of(repository.directory), stop, out))
        child.start()
        for _ in range(300):
            fill(repository, 1)
        stop.set()
        seen = out.get(timeout=60)
        child.join(10)
    assert isinstance(seen, int), seen
    assert seen > 0


def test_a_python_package_is_not_recorded_into(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").touch()
    with pytest.raises(NotWritable, match="is a Python package"):
        open_camera(tmp_path, "door", make_spec())
    assert [path.name for path in tmp_path.iterdir()] == ["__init__.py"]


@pytest.mark.parametrize("reason", ["lost", "paused", "disk full"])
@pytest.mark.parametrize("killed", [False, True])
def test_an_outage_keeps_its_reason_over_a_restart(tmp_path: Path, reason: GapReason, killed: bool) -> None:
    """What readers said of it meanwhile stays in the record."""
    repository = open_camera(tmp_path, "a", SPEC)
    repository.append(make_frame(0, SPEC))
    repository.sync()
    repository.interrupted(reason)
    kill_writer(repository) if killed else repository.close()
    lasting = CameraReader(tmp_path / "a").snapshot().open_gap
    assert lasting is not None
    with open_camera(tmp_path, "a", SPEC) as repository:
        repository.interrupted("lost")  # the camera cannot be reached, either
        repository.append(make_frame(1, SPEC, time=START + 100))
    [gap] = CameraReader(tmp_path / "a").snapshot().gaps
    assert (gap.start, gap.end, gap.reason) == (START, START + 100, reason)
    assert lasting.reason == reason
