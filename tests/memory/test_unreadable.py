"""Cameras that cannot be read: found, named with the reason, never taken for damaged, and no harm to the others."""

import errno
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from afterview.memory.base.camera_names import camera_ids, directory_to_record
from afterview.memory.base.documents import encode_json, read_json
from afterview.memory.base.durable import observed
from afterview.memory.base.errors import (
    DamagedMemory,
    MemoryNotFound,
    NotWritable,
    RepositoryError,
    StoreError,
    UnreachableFrames,
    Unreadable,
)
from afterview.memory.base.held_directory import place_of
from afterview.memory.description import CameraDescription
from afterview.memory.directory import Memory
from afterview.memory.fsck.fsck import camera_directories, fsck
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.open import open_camera
from tests.support.memory_world import make_frame, make_spec
from tests.support.unprivileged import public_directory, unprivileged

SPEC = make_spec()
FRAMES = 70  # one seal and six frames in the journal


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    memory = tmp_path_factory.mktemp("recorded") / "m"
    for name in ("door", "hall", "yard"):
        with open_camera(memory, name, SPEC) as repository:
            for number in range(FRAMES):
                repository.append(make_frame(number, SPEC))
    return memory


@pytest.fixture
def memory(recorded: Path) -> Iterator[Path]:
    """Three cameras, where nobody else's permissions are in the way."""
    with public_directory() as place:
        shutil.copytree(recorded, place / "m")
        yield place / "m"


def newer_format(camera: Path) -> None:
    about = read_json(camera / "camera.json", missing="")
    (camera / "camera.json").write_bytes(encode_json({**about, "format": 99}))


def replaced_by_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("x")


def replaced_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def dangling(camera: Path) -> None:
    shutil.rmtree(camera)
    camera.symlink_to("elsewhere")


def in_a_circle(camera: Path) -> None:
    shutil.rmtree(camera)
    camera.symlink_to(camera.name)


REFUSED = {  # what is done to the camera `door`, and what is said of it
    "directory closed": (lambda c: c.chmod(0), "may not enter"),
    "directory without search permission": (lambda c: c.chmod(0o644), "may not enter"),
    "camera.json closed": (lambda c: (c / "camera.json").chmod(0), "camera.json: cannot be read: user"),
    "manifest closed": (lambda c: (c / "committed").chmod(0), "committed: cannot be read: user"),
    "journal closed": (lambda c: (c / "journal").chmod(0), "journal: cannot be read: user"),
    "times closed": (lambda c: (c / "frames" / "times" / "c.0").chmod(0), "c.0: cannot be read: user"),
    "spec closed": (lambda c: (c / "generation-1").chmod(0), "may not enter"),
}
WRONG = {
    "camera.json missing": (lambda c: (c / "camera.json").unlink(), "camera.json is missing"),
    "camera.json damaged": (lambda c: (c / "camera.json").write_text("{"), "fsck --repair"),
    "camera.json a directory": (lambda c: replaced_by_directory(c / "camera.json"), "is a directory, not a file"),
    "newer format": (newer_format, "storage format 99"),
    "unknown zone": (
        lambda c: (c / "camera.json").write_bytes(
            encode_json({**read_json(c / "camera.json", missing=""), "timezone": "Mars/Olympus"})
        ),
        "does not know",
    ),
    "manifest damaged": (lambda c: (c / "committed").write_text("{"), "fsck --repair"),
    "manifest missing": (lambda c: (c / "committed").unlink(), "not a camera"),
    "manifest of odd values": (
        lambda c: (c / "committed").write_text('{"frames": 1, "gaps": 0, "generation": 1, "removed": [1]}'),
        "fsck --repair",
    ),
    "generation a file": (lambda c: replaced_by_file(c / "generation-1"), "spec.json"),
    "dangling link": (dangling, "is a symbolic link to elsewhere, which does not exist"),
    "link in a circle": (in_a_circle, "lead in a circle"),
}


def look(memory: Path, damage: Callable[[Path], object], said: str) -> None:
    damage(memory / "door")
    opened = Memory(memory)
    with unprivileged():
        found = opened.each(CameraDescription.of)
        assert sorted(found.results) == ["hall", "yard"]
        assert said in found.skipped["door"]
        assert [reader.info.id for reader in opened.cameras()][-2:] == ["hall", "yard"]
        assert camera_ids(memory) == ["door", "hall", "yard"]
        with pytest.raises(RepositoryError) as caught:
            CameraDescription.of(opened.camera("door"))
    assert said in str(caught.value)
    assert "no camera" not in str(caught.value)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_the_system_refuses_costs_its_camera_and_is_no_damage(memory: Path, kind: str) -> None:
    look(memory, *REFUSED[kind])
    with unprivileged():
        with pytest.raises(Unreadable) as caught:
            CameraDescription.of(Memory(memory).camera("door"))
        assert "fsck" not in str(caught.value)
        for repair in (False, True):
            before = {path: path.stat().st_mtime_ns for path in (memory / "hall").rglob("*")}
            report = fsck(memory / "door", repair=repair)
            assert report.unchecked
            assert not report.damage
            assert not report.repaired
            assert before == {path: path.stat().st_mtime_ns for path in (memory / "hall").rglob("*")}
        assert memory / "door" in camera_directories(memory)


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_with_one_camera_costs_that_one(memory: Path, kind: str) -> None:
    look(memory, *WRONG[kind])


def test_repair_never_takes_what_it_may_not_read_for_lost(memory: Path) -> None:
    (memory / "door" / "frames" / "images").chmod(0)
    (memory / "door" / "committed").unlink()  # to be rebuilt from the images that are found
    with unprivileged():
        report = fsck(memory / "door", repair=True)
    assert not (memory / "door" / "committed").exists()
    assert report.repaired == []
    (memory / "door" / "frames" / "images").chmod(0o755)
    assert fsck(memory / "door", repair=True).clean
    assert CameraReader(memory / "door").snapshot().frames == FRAMES


def test_frames_that_may_not_be_read_are_out_of_reach_not_damaged(memory: Path) -> None:
    tokens = memory / "door" / "generation-1" / "tokens"
    (tokens / "c.1.0.0").chmod(0)
    with unprivileged():
        snapshot = Memory(memory).camera("door").snapshot()
        with pytest.raises(UnreachableFrames, match="may not read it") as caught:
            snapshot.tokens(snapshot.ids)
    assert caught.value.frames.tolist() == list(range(16, 32))
    assert not isinstance(caught.value, StoreError)
    left = snapshot.within_reach(caught.value.frames, str(caught.value))
    assert (left.frames, len(left.damaged), len(left.unreachable)) == (FRAMES - 16, 0, 16)
    assert "may not read it" in left.unreachable_why


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES])
@pytest.mark.parametrize("name", ["camera.json", "committed", "journal", "c.0"])
def test_a_passing_failure_is_never_remembered_as_damage(
    memory: Path, monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    opened, plain = Memory(memory), Path.read_bytes

    def failing(path: Path) -> bytes:
        if "door" in place_of(path).parts and path.name == name:
            raise OSError(number, os.strerror(number), str(path))
        return plain(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", failing)
        found = opened.each(lambda reader: reader.snapshot().frames)
        assert found.results == {"hall": FRAMES, "yard": FRAMES}
        assert name in found.skipped["door"]
        assert "fsck" not in found.skipped["door"]
    assert opened.each(lambda reader: reader.snapshot().frames).results == dict.fromkeys(
        ("door", "hall", "yard"), FRAMES
    )
    assert not len(opened.camera("door").snapshot().damaged)


def test_if_none_can_be_read_each_is_named(memory: Path) -> None:
    for name in ("door", "hall", "yard"):
        (memory / name / "camera.json").write_text("{")
    with pytest.raises(RepositoryError, match=r"none of its 3 cameras.*door: .*hall: .*yard: "):
        Memory(memory).cameras()
    assert sorted(Memory(memory).skipped()) == ["door", "hall", "yard"]
    for name in ("door", "hall", "yard"):
        (memory / name).chmod(0)
    with unprivileged(), pytest.raises(RepositoryError, match=r"may be cameras.*door: .*hall: .*yard: "):
        Memory(memory).cameras()


@pytest.mark.parametrize("mode", [0, 0o711, 0o744])
def test_a_memory_that_may_not_be_listed_or_entered_is_not_called_missing(memory: Path, mode: int) -> None:
    memory.chmod(mode)
    with unprivileged():
        with pytest.raises(RepositoryError, match=r"user '.*' may not (list|enter)") as caught:
            Memory(memory).cameras()
        assert not isinstance(caught.value, MemoryNotFound)
        with pytest.raises(RepositoryError, match=r"user '.*' may not (list|enter)"):
            open_camera(memory, "new", SPEC)
    memory.chmod(0o755)
    assert sorted(path.name for path in memory.iterdir()) == ["door", "hall", "yard"]


@pytest.mark.parametrize("what", ["file", "below a file", "dangling", "circle", "name too long", "NUL"])
def test_what_is_no_directory_is_no_memory(tmp_path: Path, what: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "dangling").symlink_to("away")
    (tmp_path / "circle").symlink_to("circle")
    place = {"below a file": tmp_path / "file" / "m", "name too long": tmp_path / ("n" * 300)}.get(
        what, tmp_path / what
    )
    with pytest.raises((MemoryNotFound, ValueError)) as caught:
        Memory(Path("a\0b") if what == "NUL" else place)
    assert "is a bug" not in str(caught.value)


def test_other_things_in_a_memory_are_no_cameras(memory: Path) -> None:
    for name in ("lost+found", ".trash", "notes", "answers"):
        (memory / name).mkdir(mode=0o700)
    (memory / "readme.txt").write_text("x")
    begun = memory / "begun"  # creation was cut off before the first frame
    begun.mkdir()
    (begun / "committed").write_bytes((memory / "hall" / "committed").read_bytes())
    (begun / "journal").write_bytes(b"AFTRJNL1")
    assert camera_ids(memory) == ["door", "hall", "yard"]
    (begun / "settings.json").write_text("{}")  # a mask was set: it is missed
    assert "begun" in Memory(memory).skipped()
    with pytest.raises(DamagedMemory, match=r"camera\.json is missing"):
        Memory(memory).camera("begun")


def test_a_name_that_leads_to_a_camera_that_cannot_be_read_gives_its_error(memory: Path) -> None:
    (memory / "door" / "camera.json").unlink()
    for name in ("door", "Door"):
        with pytest.raises(DamagedMemory, match=r"camera\.json is missing"):
            Memory(memory).camera(name)
    with pytest.raises(MemoryNotFound, match="the names of door cannot be read"):
        Memory(memory).camera("gate")
    assert directory_to_record(memory, "gate") == memory / "gate"


def test_a_damaged_journal_is_said_and_the_sealed_frames_stay(memory: Path, caplog: pytest.LogCaptureFixture) -> None:
    for place, damage in enumerate(
        (
            lambda path: path.write_bytes(path.read_bytes()[:300] + b"x" + path.read_bytes()[301:]),
            lambda path: path.write_bytes(b"nothing"),
            lambda path: path.write_bytes(json.dumps([]).encode()),
            lambda path: path.unlink(),
        )
    ):
        camera = memory / ("door", "hall", "yard", "yard")[place]
        damage(camera / "journal")
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            described = CameraDescription.of(CameraReader(camera))
        assert "journal" in described.journal_damage
        assert described.to_dict()["journal_damage"] == described.journal_damage
        assert described.frames >= 64
        assert sum("sealed" in record.getMessage() for record in caplog.records) == 1


def test_a_journal_of_another_camera_is_damage(memory: Path, tmp_path: Path) -> None:
    with open_camera(tmp_path, "wide", make_spec(width=10)) as repository:
        for number in range(70):
            repository.append(make_frame(number, make_spec(width=10)))
    shutil.copy(tmp_path / "wide" / "journal", memory / "door" / "journal")
    described = CameraDescription.of(CameraReader(memory / "door"))
    assert "does not fit this camera" in described.journal_damage
    assert described.frames == 64


def test_settings_that_cannot_be_read_are_not_taken_for_none(memory: Path) -> None:
    from afterview.memory.base.settings import read_settings

    (memory / "door" / "settings.json").symlink_to("away")
    with pytest.raises(DamagedMemory, match="which does not exist"):
        read_settings(memory / "door")
    (memory / "hall" / "settings.json").write_text("{}")
    (memory / "hall" / "settings.json").chmod(0)
    with unprivileged(), pytest.raises(Unreadable, match="may not read it"):
        read_settings(memory / "hall")


def test_the_index_and_bytes_of_the_others_are_counted(memory: Path) -> None:
    before = CameraDescription.of(CameraReader(memory / "hall")).bytes
    (memory / "door" / "frames" / "images").chmod(0)
    with unprivileged():
        found = Memory(memory).each(CameraDescription.of)
    assert found.results["hall"].bytes == before
    assert "images: cannot be read: user" in found.skipped["door"]
    assert np.isfinite(before)


class FullDisk:
    """A disk that takes so many steps and then no byte more."""

    def __init__(self, room: int) -> None:
        self.room, self.refused = room, 0

    def __call__(self, kind: str, path: Path, detail: object) -> None:
        self.room -= 1
        if self.room < 0 and kind in ("mkdir", "create", "write"):
            self.refused += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def begin(memory: Path, disk: FullDisk) -> RepositoryError | OSError | None:
    """Create a camera and write a frame; what was raised."""
    try:
        with observed(disk), open_camera(memory, "door", SPEC) as repository:
            repository.append(make_frame(0, SPEC))
    except (NotWritable, OSError) as error:
        return error
    return None


def test_a_disk_that_is_full_from_the_start_is_named_and_costs_nothing_later(tmp_path: Path) -> None:
    """At whichever step of the creation of a camera it is full: one line without blame, and the next try works."""
    tried = 0
    while (error := begin(tmp_path / str(tried), disk := FullDisk(tried * 3))) is not None:
        if isinstance(error, OSError):  # the first frame: a watch waits for space
            assert error.errno == errno.ENOSPC
        else:
            assert "cannot be written: the disk is full; free some space" in str(error)
        with open_camera(tmp_path / str(tried), "door", SPEC) as repository:
            repository.append(make_frame(100, SPEC))
        assert fsck(tmp_path / str(tried) / "door").clean
        tried += 1
    assert tried > 7
    assert disk.refused == 0
