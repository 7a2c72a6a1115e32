"""Which frames `show` shows, and what it says where there is none at the time asked for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from afterview.configs import UsageError
from afterview.memory.base.errors import DamagedFrames, NoLongerRemembered, NothingRecorded
from afterview.memory.format.layout import IMAGES
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.memory.writing.open import open_camera
from afterview.stream.ask.frame_images import image_of
from afterview.stream.ask.looking import frame_at, frame_numbered, frames_of_span, newest_frame
from tests.support.memory_world import START, make_frame, make_spec

SPEC = make_spec()


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> MemorySnapshot:
    """Frames 0 to 29 in the first half minute and 30 to 49 from second 60 on; 10 to 14 are forgotten."""
    path = tmp_path_factory.mktemp("looking")
    with open_camera(path, "a", SPEC, timezone="UTC") as repository:
        for number in range(30):
            repository.append(make_frame(number, SPEC))
        repository.interrupted("lost")
        for number in range(30, 50):
            repository.append(make_frame(number, SPEC, time=START + 30 + number))
        repository.forget(START + 10, START + 14)
    return CameraReader(path / "a").snapshot()


@pytest.mark.parametrize(
    ("at", "frame", "before", "note"),
    [
        (5.0, 5, 0.0, None),
        (5.9, 5, 0.9, None),
        (4.9995, 5, 0.0, None),  # printed to the millisecond, it is found again
        (45.0, 29, 16.0, "lies in a gap: 2023-11-14 22:13:49 UTC to 2023-11-14 22:14:20 UTC (lost)"),
        (12.0, 9, 3.0, "5 frames were forgotten on request"),
        (79.0, 49, 0.0, None),
        (500.0, 49, 421.0, "is after the record, which ends at"),
    ],
)
def test_the_frame_at_a_time_or_before_it(
    snapshot: MemorySnapshot, at: float, frame: int, before: float, note: str | None
) -> None:
    chosen = frame_at(snapshot, START + at)
    assert chosen.frames == [frame]
    assert chosen.before_s == pytest.approx(before, abs=0.001)
    assert [note in said for said in chosen.notes if note] == ([True] if note else [])
    assert bool(chosen.notes) == bool(note)


def test_before_the_first_frame_there_is_none(snapshot: MemorySnapshot) -> None:
    with pytest.raises(NothingRecorded, match="nothing was recorded before 2023-11-14 22:13:20 UTC, its first frame"):
        frame_at(snapshot, START - 1)


def test_a_frame_by_its_number(snapshot: MemorySnapshot) -> None:
    assert frame_numbered(snapshot, 49).frames == [49]
    with pytest.raises(NoLongerRemembered, match=r"frame 12: .* forgotten on request"):
        frame_numbered(snapshot, 12)
    with pytest.raises(UsageError, match="has no frame 50; its frames are 0 to 49"):
        frame_numbered(snapshot, 50)
    lost = snapshot.without(np.array([20]))
    with pytest.raises(DamagedFrames, match="frame 20 cannot be read"):
        frame_numbered(lost, 20)
    assert "cannot be read" in frame_at(lost.without(np.array([19, 18])), START + 20).notes[0]


def test_a_span_gives_evenly_spaced_frames_with_both_ends(snapshot: MemorySnapshot) -> None:
    assert frames_of_span(snapshot, START + 20, START + 28, 5).frames == [20, 22, 24, 26, 28]
    whole = frames_of_span(snapshot, None, None, 4)
    assert (whole.frames[0], whole.frames[-1], len(whole.frames)) == (0, 49, 4)
    assert "1 gap lies in that span" in whole.notes[0]
    assert "5 frames were forgotten" in whole.notes[1]
    few = frames_of_span(snapshot, START + 20, START + 21, 12)
    assert few.frames == [20, 21]
    assert few.notes == ("only 2 frames lie in that span",)
    assert frames_of_span(snapshot, START + 20, START + 29, 1).frames == [20]


def test_a_span_without_frames_says_why(snapshot: MemorySnapshot) -> None:
    with pytest.raises(NothingRecorded, match="nothing was recorded in that span"):
        frames_of_span(snapshot, START + 31, START + 40, 3)
    with pytest.raises(NoLongerRemembered, match="forgotten on request"):
        frames_of_span(snapshot, START + 11, START + 13, 3)
    with pytest.raises(UsageError, match="ends before it begins"):
        frames_of_span(snapshot, START + 13, START + 11, 3)


def test_a_camera_without_frames_is_said(snapshot: MemorySnapshot) -> None:
    empty = replace(snapshot, times=snapshot.times[:0], ids=snapshot.ids[:0], removed=(), gaps=(), open_gap=None)
    for look in (newest_frame, lambda of: frame_at(of, START), lambda of: frames_of_span(of, None, None, 3)):
        with pytest.raises(NothingRecorded, match="holds no frame yet"):
            look(empty)


def test_why_a_frame_has_no_image(tmp_path: Path) -> None:
    with open_camera(tmp_path, "a", SPEC) as repository:
        for number in range(64):
            repository.append(make_frame(number, SPEC))
    snapshot = CameraReader(tmp_path / "a").snapshot()
    assert image_of(snapshot, 3)[0] == make_frame(3, SPEC).image
    assert image_of(snapshot, 99) == (b"", "frame 99 is no longer remembered")
    blob = tmp_path / "a" / IMAGES / "0" / "c.0"
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    image, why = image_of(CameraReader(tmp_path / "a").snapshot(), 3)
    assert image == b""
    assert "frame 3 cannot be read; `afterview fsck` says why" in why
