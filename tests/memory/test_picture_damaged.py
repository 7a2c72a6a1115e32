"""The mark of a damaged picture stays with its frame: journal, seal, export and import; and memories without it are read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from afterview.cli.main import main
from afterview.memory.base.records import SEAL_FRAMES, TimeBasis
from afterview.memory.directory import Memory
from afterview.memory.format.layout import scalar_array
from afterview.memory.fsck.fsck import fsck
from afterview.memory.writing.open import open_camera
from tests.support.memory_world import make_frame, make_spec

SPEC, MARKED = make_spec(), [3, 40, 63, 64, 70]


def write(memory: Path, marked: list[int], count: int = SEAL_FRAMES + 10) -> None:
    with open_camera(memory, "gate", SPEC) as repository:
        for number in range(count):
            frame = replace(make_frame(number, SPEC), time_basis=TimeBasis(number % 3))
            repository.append(replace(frame, picture_damaged=number in marked))


def test_sealed_and_unsealed_frames_keep_it(tmp_path: Path) -> None:
    write(tmp_path, MARKED)
    snapshot = Memory(tmp_path).camera("gate").snapshot()
    assert 0 < snapshot.sealed_frames < snapshot.frames
    assert np.flatnonzero(snapshot.pictures_damaged(snapshot.ids)).tolist() == MARKED
    assert snapshot.picture_damaged(3)
    assert not snapshot.picture_damaged(4)
    np.testing.assert_array_equal(snapshot.scalars("time_basis", snapshot.ids), np.arange(74) % 3)
    assert sum(snapshot.time_bases(snapshot.ids).values()) == 74
    stored = scalar_array("time_basis").read(tmp_path / "gate", 0, SEAL_FRAMES)
    assert np.flatnonzero(stored & 0x80).tolist() == [3, 40, 63]
    assert fsck(tmp_path / "gate").findings == []


def test_export_and_import_keep_it(tmp_path: Path) -> None:
    write(tmp_path / "m", MARKED)
    file = tmp_path / "span.safetensors"
    assert main(["export", str(file), "--memory", str(tmp_path / "m")]) == 0
    assert load_file(file)["time_basis"].max() == 2  # as earlier versions read it
    assert main(["import", str(file), "--memory", str(tmp_path / "other")]) == 0
    snapshot = Memory(tmp_path / "other").camera("gate").snapshot()
    assert np.flatnonzero(snapshot.pictures_damaged(snapshot.ids)).tolist() == MARKED


def test_an_export_without_damage_is_as_before(tmp_path: Path) -> None:
    write(tmp_path / "m", [])
    file = tmp_path / "span.safetensors"
    assert main(["export", str(file), "--memory", str(tmp_path / "m")]) == 0
    assert "pictures_damaged" not in load_file(file)
    assert main(["import", str(file), "--memory", str(tmp_path / "other")]) == 0
    snapshot = Memory(tmp_path / "other").camera("gate").snapshot()
    assert not snapshot.pictures_damaged(snapshot.ids).any()
