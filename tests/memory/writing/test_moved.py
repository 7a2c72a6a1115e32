"""A camera's directory that is moved, replaced or deleted while it is recorded, between the steps that reach the disk.

`python -m tests.crash.moved` takes every step, and moves more watches.
"""

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest

from afterview.cli.commands import retain
from afterview.cli.main import main
from afterview.memory.base.errors import CameraMoved, MemoryNotFound
from afterview.memory.base.held_directory import hold, holder, place_of, shown
from afterview.memory.base.settings import CameraSettings, MemorySettings, write_memory_settings
from afterview.memory.directory import Memory
from afterview.memory.fsck.fsck import fsck
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.commands import camera_limits, execute
from afterview.memory.writing.open import open_camera
from afterview.stream.ingest.commands import apply
from tests.crash.moved import KINDS, Kind, Prepared, move_watch, move_writers
from tests.support.memory_world import START, assert_holds, kill_writer, make_frame, make_spec, record_frames

SPEC = make_spec()
EVERY = 13  # steps


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return Prepared(tmp_path_factory.mktemp("moved"))


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_happens_to_the_directory_no_promise_is_broken_and_no_other_file_is_touched(
    kind: Kind, prepared: Prepared
) -> None:
    first = 1 + KINDS.index(kind)  # other steps for each kind
    found = {at: broken for at, broken in move_writers(prepared, kind, first=first, every=EVERY) if broken}
    assert found == {}


@pytest.mark.thorough
def test_a_second_watch_in_the_place_of_the_first_and_every_frame_that_both_acknowledged(tmp_path: Path) -> None:
    assert move_watch(tmp_path, "moved", 0.5) == []


def replace_by_another(camera: Path, frames: int = 5) -> Path:
    """Move a camera's directory away, and record another camera in its place; returns where it went."""
    away = camera.parent.parent / "away"
    away.mkdir()
    camera.rename(away / camera.name)
    with open_camera(camera.parent, camera.name, SPEC) as repository:
        for number in range(frames):
            repository.append(make_frame(1000 + number, SPEC, time=START + number))
    return away / camera.name


def content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


# --- held directories ---


def test_a_held_path_keeps_name_and_memory_and_leads_to_the_directory_that_was_opened(tmp_path: Path) -> None:
    camera = record_frames(tmp_path / "m", 3, SPEC)
    held = hold(camera)
    moved = replace_by_another(camera)
    assert held.path.name == "a"
    assert (held.path / "frames").parent == held.path
    assert (held.path / "journal").read_bytes() == (moved / "journal").read_bytes()
    assert content(held.path.parent) == content(tmp_path / "m")
    assert place_of(held.path / "index" / "lock") == camera / "index" / "lock"
    assert shown(f"{held.path / 'journal'}: is empty") == f"{camera / 'journal'}: is empty"
    assert (held.in_place, held.is_replaced, held.is_deleted, held.find()) == (False, True, False, moved)


def test_a_descriptor_is_closed_when_nothing_refers_to_the_directory_any_more(tmp_path: Path) -> None:
    camera = record_frames(tmp_path, 3, SPEC)
    held = hold(camera)
    path, below = held.path, held.path / "journal"
    assert holder(below) is held
    del held
    assert below.exists()  # the path of the directory itself keeps it open
    del path
    assert holder(below) is None
    assert not below.exists()
    with pytest.raises(ValueError, match="closed"):
        assert below.parent.name


def test_a_system_without_proc_cannot_record_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from afterview.memory.base import held_directory
    from afterview.memory.base.errors import NotWritable

    record_frames(tmp_path, 3, SPEC)
    monkeypatch.setattr(held_directory, "_DESCRIPTORS", str(tmp_path / "no proc"))
    assert_holds(CameraReader(tmp_path / "a").snapshot(), range(3))
    with pytest.raises(NotWritable, match="/proc"):
        open_camera(tmp_path, "a", SPEC)


# --- writers ---


def test_the_error_says_where_the_frames_are_and_that_the_other_directory_was_not_touched(tmp_path: Path) -> None:
    repository = open_camera(tmp_path / "m", "a", SPEC)
    for number in range(3):
        repository.append(make_frame(number, SPEC))
    assert len(repository.sync()) == 3
    moved = replace_by_another(tmp_path / "m" / "a")
    repository.append(make_frame(3, SPEC))
    with pytest.raises(CameraMoved) as caught:
        repository.sync()
    for part in (str(tmp_path / "m" / "a"), f"moved to {moved}", "the frames up to 3 are in", "another directory"):
        assert part in str(caught.value)
    assert caught.value.exit_status == 1
    with pytest.raises(CameraMoved):
        repository.close()
    assert_holds(CameraReader(moved).snapshot(), range(4))  # the last one was not acknowledged
    gap = CameraReader(moved).snapshot().open_gap
    assert gap is not None
    assert gap.reason == "not recording"  # it was ended like any other
    assert CameraReader(tmp_path / "m" / "a").snapshot().frames == 5


def test_limits_of_a_whole_memory_count_a_camera_once(tmp_path: Path) -> None:
    record_frames(tmp_path, 3, SPEC)
    write_memory_settings(tmp_path, MemorySettings(gigabytes=8.0))
    with open_camera(tmp_path, "a", SPEC) as repository:
        assert camera_limits(repository.directory, CameraSettings()).bytes == pytest.approx(8e9)


def test_settings_of_the_memory_that_took_the_place_do_not_evict_frames_of_the_one_that_was_moved(
    tmp_path: Path,
) -> None:
    record_frames(tmp_path / "m", 256, SPEC)
    repository = open_camera(tmp_path / "m", "a", SPEC)
    (tmp_path / "m").rename(tmp_path / "away")
    (tmp_path / "m").mkdir()
    write_memory_settings(tmp_path / "m", MemorySettings(days=0.0001))
    assert camera_limits(repository.directory, CameraSettings()).seconds is None
    with pytest.raises(CameraMoved):
        execute(repository, {"do": "enforce"})
    with pytest.raises(CameraMoved):
        repository.close()
    assert_holds(CameraReader(tmp_path / "away" / "a").snapshot(), range(256))


def test_a_command_for_a_camera_that_was_read_does_not_reach_the_one_that_took_its_place(tmp_path: Path) -> None:
    reader = CameraReader(record_frames(tmp_path / "m", 3, SPEC))
    replace_by_another(reader.directory)
    before = content(reader.directory)
    with pytest.raises(CameraMoved, match="moved to"):
        apply(reader, {"do": "forget", "start": START, "stop": START + 10})
    with pytest.raises(CameraMoved, match="moved to"):
        open_camera(tmp_path / "m", "a", SPEC, expected=reader.held)
    assert content(reader.directory) == before
    shutil.rmtree(reader.directory)
    with pytest.raises(CameraMoved):
        open_camera(tmp_path / "m", "a", SPEC, expected=reader.held)
    assert not reader.directory.exists()  # nor is it made again


def test_limits_for_a_memory_do_not_reach_the_one_that_took_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record_frames(tmp_path / "m", 3, SPEC)

    def replace_memory(*unused: object) -> dict[str, float]:
        (tmp_path / "m").rename(tmp_path / "away")
        record_frames(tmp_path / "m", 5, SPEC)
        return {"days": 3.0}

    monkeypatch.setattr(retain, "_given", replace_memory)  # after the memory was opened
    assert main(["retain", "--memory", str(tmp_path / "m"), "--days", "3"]) == 1
    assert f"moved to {tmp_path / 'away'}" in capsys.readouterr().err
    for memory in ("m", "away"):
        assert not (tmp_path / memory / "settings.json").exists()


def test_a_frameless_camera_that_was_moved_is_not_deleted_nor_what_lies_in_its_place(tmp_path: Path) -> None:
    repository = open_camera(tmp_path / "m", "a", SPEC)
    moved = replace_by_another(tmp_path / "m" / "a")
    with pytest.raises(CameraMoved):
        repository.close()
    assert (moved / "camera.json").exists()
    assert CameraReader(tmp_path / "m" / "a").snapshot().frames == 5


def test_a_frameless_camera_in_its_place_is_deleted(tmp_path: Path) -> None:
    open_camera(tmp_path / "m", "a", SPEC).close()
    assert list((tmp_path / "m").iterdir()) == []


def test_a_journal_that_cannot_be_reopened_after_a_seal_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames must not go on into the file that was replaced, nor into a closed one."""
    repository = open_camera(tmp_path, "a", SPEC)
    for number in range(64):
        repository.append(make_frame(number, SPEC))
    opened = Path.open

    def no_descriptor(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "journal":
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", no_descriptor)
        with pytest.raises(OSError, match="Too many"):
            repository.sync()
    repository.append(make_frame(64, SPEC))
    assert [ack.frame for ack in repository.sync()] == list(range(65))
    kill_writer(repository)
    assert_holds(CameraReader(tmp_path / "a").snapshot(), range(65))
    assert fsck(tmp_path / "a").damage == []


# --- readers ---


def test_a_snapshot_stays_what_it_was_and_the_reader_does_not_mix_two_cameras(tmp_path: Path) -> None:
    reader = CameraReader(record_frames(tmp_path / "m", 70, SPEC))
    snapshot = reader.snapshot()
    replace_by_another(reader.directory)
    assert_holds(snapshot, range(70))
    with pytest.raises(CameraMoved, match="another directory is in its place"):
        reader.snapshot()


def test_a_memory_opens_a_camera_anew_whose_directory_was_replaced(tmp_path: Path) -> None:
    camera = record_frames(tmp_path / "m", 70, SPEC)
    memory = Memory(tmp_path / "m")
    before = memory.camera("a").snapshot()
    index = memory.index("a")
    index.catch_up(before)
    replace_by_another(camera)
    now = memory.camera("a").snapshot()
    assert now.frames == 5
    with pytest.raises(CameraMoved):
        index.catch_up(now)
    again = memory.index("a")
    again.catch_up(now)
    target = make_frame(1003, SPEC).embedding
    assert again.search(target, 1, now).hits[0].frame == 3
    with pytest.raises(CameraMoved):
        memory.camera("a").forgot_since(before)


def test_a_camera_that_was_deleted_is_not_made_again_by_readers(tmp_path: Path) -> None:
    camera = record_frames(tmp_path / "m", 70, SPEC)
    memory = Memory(tmp_path / "m")
    snapshot, index = memory.camera("a").snapshot(), memory.index("a")
    shutil.rmtree(camera)
    index.catch_up(snapshot.as_of(START - 1))
    with pytest.raises(CameraMoved, match="was deleted"):
        CameraReader.snapshot(memory._readers["a"])
    with pytest.raises(MemoryNotFound):
        memory.camera("a")
    assert not camera.exists()


# --- repairs ---


def test_a_repair_does_not_reach_what_took_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    camera = record_frames(tmp_path / "m", 70, SPEC)
    (camera / "frames" / "zarr.json").unlink()
    place: dict[str, bytes] = {}

    def progress(text: str) -> None:
        replace_by_another(camera)
        (camera / "frames" / "zarr.json").unlink()
        place.update(content(camera))

    with pytest.raises(CameraMoved):
        fsck(camera, repair=True, progress=progress)
    assert content(camera) == place
    assert fsck(tmp_path / "away" / "a").clean  # what was begun was finished there


def test_findings_name_files_as_people_know_them(tmp_path: Path) -> None:
    camera = record_frames(tmp_path / "m", 70, SPEC)
    (camera / "committed").write_bytes(b"{}")
    (finding,) = fsck(camera).findings
    assert finding.where == camera / "committed"
    assert "/proc/" not in finding.what
