"""Forgetting and retention with not one free byte: on a full file system, with every step that needs room refused, and cut off anywhere."""

import contextlib
import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from afterview.cli.main import main
from afterview.memory.base.durable import Detail, StepKind, observed
from afterview.memory.format import in_place
from afterview.memory.format.manifest import Manifest
from afterview.memory.fsck.fsck import fsck
from afterview.memory.index.frame_index import FrameIndex
from afterview.memory.plans.retention import Limits
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.open import open_camera
from tests.memory.writing.test_remove import files_with
from tests.support.memory_world import START, die_holding, kept_frame, kill_writer, make_frame, make_spec, record_frames

SPEC = make_spec()
FRAMES = 300  # four seals and 44 in the journal
SPANS = [(100, 104), (290, 295), (60, 200), (250, 262), (64, 127)]
GROWING = ("create", "write", "mkdir")


class Cut(BaseException):
    """The process ends here."""


def fill(disk: Path) -> Path:
    """Take every free byte."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 16, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return ballast


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture(scope="module", autouse=True)
def small_segments() -> Iterator[None]:
    """An index that is saved."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("afterview.memory.index.frame_index.SMALL", 64)
        yield


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memory to copy."""
    memory = tmp_path_factory.mktemp("recorded")
    assert list((with_index(record_frames(memory, FRAMES, SPEC)) / "index").glob("*.faiss"))
    return memory


def with_index(camera: Path) -> Path:
    FrameIndex(camera / "index").catch_up(CameraReader(camera).snapshot())
    return camera


def assert_seen(camera: Path, *, without: range | None) -> None:
    """A reader sees exactly these frames, each as it was recorded."""
    snapshot = CameraReader(camera).snapshot()
    numbers = [number for number in range(FRAMES) if without is None or number not in without]
    assert snapshot.ids.tolist() == numbers
    tokens, embeddings = snapshot.tokens(snapshot.ids), snapshot.embeddings(snapshot.ids)
    for row, number in enumerate(numbers):
        frame = kept_frame(number, SPEC)
        assert np.array_equal(tokens[row], frame.tokens), number
        assert np.array_equal(embeddings[row], frame.embedding), number
    for number, image in zip(numbers, snapshot.images(snapshot.ids), strict=True):
        assert image == kept_frame(number, SPEC).image, number


def assert_forgotten(camera: Path, first: int, last: int) -> None:
    for number in {first, *range(first, last, 16), last}:
        assert files_with(camera.parent, number) == []
    assert_seen(camera, without=range(first, last + 1))
    assert [finding.what for finding in fsck(camera).findings] == []


# --- a full file system ---


@pytest.mark.integration
@pytest.mark.parametrize("room", ["reserve and index", "slots alone", "reserve alone"])
@pytest.mark.parametrize(("first", "last"), SPANS)
def test_forget_works_without_a_free_byte(
    disk: Path, recorded: Path, first: int, last: int, room: str, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = shutil.copytree(recorded, disk / "m") / "a"
    if room != "reserve and index":
        shutil.rmtree(camera / "index")
    if room == "slots alone":
        (camera / "reserve").unlink()
    if room == "reserve alone":  # an earlier version made the camera
        (camera / in_place.FILE).unlink()
    ballast = fill(disk)
    span = ["--from", repr(START + first), "--to", repr(START + last)]
    assert main(["forget", "--memory", str(camera.parent), *span, "--yes", "--json"]) == 0
    (document,) = json.loads(capsys.readouterr().out)["cameras"]
    assert (document["frames"], document["proof"]["traces"]) == (last - first + 1, 0)
    ballast.unlink()
    assert_forgotten(camera, first, last)
    with open_camera(disk / "m", "a", SPEC) as repository:  # and recording goes on, with room and from the next id
        assert repository.append(make_frame(FRAMES, SPEC)) == FRAMES
    assert CameraReader(camera).snapshot().ids[-1] == FRAMES


@pytest.mark.integration
@pytest.mark.parametrize("options", [["--camera", "a"], []])
def test_retain_works_without_a_free_byte(disk: Path, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    camera = record_frames(disk / "m", FRAMES, SPEC)
    (camera / "reserve").unlink()
    fill(disk)
    command = ["retain", "--memory", str(camera.parent), *options, "--days", repr(120 / 86400), "--yes", "--json"]
    assert main(command) == 0
    (document,) = json.loads(capsys.readouterr().out)["cameras"]
    assert document["evicted"]["frames"] == 128
    assert document["evicted"]["bytes"] > 0
    assert document["limits"]["days"] == pytest.approx(120 / 86400)
    assert_seen(camera, without=range(128))
    assert fsck(camera).findings == []


@pytest.mark.integration
def test_a_camera_that_never_had_room_for_its_slots_says_so(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    camera = record_frames(disk / "m", FRAMES, SPEC)
    (camera / "reserve").unlink()
    (camera / in_place.FILE).unlink()
    fill(disk)
    span = ["--from", repr(START), "--to", repr(START + 9)]
    assert main(["forget", "--memory", str(camera.parent), *span, "--yes"]) == 2
    assert "the disk is full" in capsys.readouterr().err
    assert_seen(camera, without=None)


@pytest.mark.integration
def test_retain_that_frees_nothing_says_that_the_disk_is_full(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    camera = record_frames(disk / "m", FRAMES, SPEC)
    (camera / "reserve").unlink()
    fill(disk)
    assert main(["retain", "--memory", str(camera.parent), "--days", "3"]) == 2
    assert "the disk is full" in capsys.readouterr().err
    assert_seen(camera, without=None)


# --- every step refused or cut off ---


class Full:
    """Refuses every step that needs room, from growing step `after` on; ends the process at step `cut`, in the middle of an overwrite."""

    def __init__(self, *, after: int = 0, cut: int | None = None) -> None:
        self.after, self.cut = after, cut
        self.growing = self.steps = 0

    def __call__(self, kind: StepKind, path: Path, detail: Detail) -> None:
        if self.steps == self.cut:
            if kind == "overwrite":
                assert isinstance(detail, tuple)
                with path.open("r+b") as file:
                    os.pwrite(file.fileno(), detail[1][: len(detail[1]) // 2], detail[0])
            raise Cut
        self.steps += 1
        if kind in GROWING:
            self.growing += 1
            if self.growing > self.after:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


@pytest.mark.parametrize(("first", "last"), [(100, 104), (290, 295), (60, 70)])
def test_forget_works_from_whichever_step_on_the_disk_is_full(
    tmp_path: Path, recorded: Path, first: int, last: int
) -> None:
    after, refused = 0, True
    while refused:
        memory = shutil.copytree(recorded, tmp_path / str(after))
        camera = memory / "a"
        with open_camera(memory, "a", SPEC) as repository:
            full = Full(after=after)
            with observed(full):
                repository.forget(START + first, START + last)
            refused = full.growing > after
        assert_forgotten(camera, first, last)
        after += 1 if after < 6 else 3
    assert after > 6


@pytest.mark.thorough
@pytest.mark.parametrize(("first", "last"), [(100, 104), (290, 292)])
def test_an_overwrite_that_is_cut_off_is_finished_by_the_next_writer(
    tmp_path: Path, recorded: Path, first: int, last: int
) -> None:
    cut, ended, torn = 0, False, 0
    while not ended:
        memory = shutil.copytree(recorded, tmp_path / str(cut))
        camera = memory / "a"
        repository, full = open_camera(memory, "a", SPEC), Full(cut=cut)
        try:
            with observed(full):
                repository.forget(START + first, START + last)
            ended = True
        except Cut:
            pass
        kill_writer(repository)
        die_holding(camera)
        begun = bool(Manifest.read(camera).removed)
        torn += begun and not ended
        # Whoever reads before the next writer comes sees the frames as they were, or none of them, and the others whole.
        assert_seen(camera, without=range(first, last + 1) if begun else None)
        assert not fsck(camera).damage
        full = Full()
        with observed(full):  # the disk is still full
            open_camera(memory, "a", SPEC).close()
        if begun:
            assert_forgotten(camera, first, last)
        else:
            assert_seen(camera, without=None)
            assert fsck(camera).findings == []
        cut += 1
    assert torn > 10


def test_a_reader_beside_an_overwrite_sees_whole_frames_at_every_step(tmp_path: Path) -> None:
    camera = record_frames(tmp_path, FRAMES, SPEC)
    looked = 0

    def look(kind: StepKind, path: Path, detail: Detail) -> None:
        nonlocal looked
        if kind in GROWING:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        begun = bool(Manifest.read(camera).removed)
        assert_seen(camera, without=range(100, 105) if begun else None)
        looked += 1

    with open_camera(tmp_path, "a", SPEC) as repository, observed(look):
        done = repository.forget(START + 100, START + 104)
    assert looked > 20
    assert done.erased.overwritten > 5
    assert done.erased.rewritten == 0


def test_eviction_needs_no_room(tmp_path: Path) -> None:
    camera = with_index(record_frames(tmp_path, FRAMES, SPEC))
    with open_camera(tmp_path, "a", SPEC) as repository, observed(Full()):
        done = repository.enforce(Limits(100.0, None))
    assert done.frames == 128
    assert_seen(camera, without=range(128))
    assert fsck(camera).findings == []


def test_a_manifest_slot_counts_only_for_the_file_that_it_replaces(tmp_path: Path) -> None:
    camera = record_frames(tmp_path, 70, SPEC)
    manifest = Manifest.read(camera)
    newer, newest = Manifest(64, 0, 1, (), ()), Manifest(0, 0, 1)
    with observed(Full()):
        newer.write(camera)
        newest.write(camera)
    assert Manifest.read(camera) == newest
    data = bytearray((camera / in_place.FILE).read_bytes())
    slot = (len(data) - in_place.NOTE_SLOT) // 2
    data[slot + 40] ^= 1  # the newest is torn: the one before it counts
    (camera / in_place.FILE).write_bytes(data)
    assert Manifest.read(camera) == newer
    manifest.write(camera)
    assert Manifest.read(camera) == manifest


def test_the_lock_needs_no_room_and_says_whether_its_holder_died(tmp_path: Path) -> None:
    camera = record_frames(tmp_path, 3, SPEC)
    assert (camera / "lock").stat().st_size > 100  # blanks: the block stays
    assert (camera / "lock").read_text().strip() == ""
    (camera / "lock").write_bytes(b"")  # as an earlier version leaves it
    record_frames(tmp_path, 3, SPEC)
    assert CameraReader(camera).snapshot().frames == 6
