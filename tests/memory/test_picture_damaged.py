"""The mark of a damaged picture stays with its frame: journal, seal, export and import; and memories without it are read."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from afterview.cli.main import main
from afterview.cli.output.answers import damage_of
from afterview.memory.base.records import SEAL_FRAMES, TimeBasis
from afterview.memory.directory import Memory
from afterview.memory.format.layout import scalar_array
from afterview.memory.fsck.fsck import fsck
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.reembed import build_sealed, open_generation
from afterview.stream.ask.question import Evidence
from afterview.stream.ask.search import Hit
from tests.support.memory_world import ANOTHER, encode_images, make_frame, make_spec

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


def test_info_and_show_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "m", MARKED)
    memory = ["--memory", str(tmp_path / "m")]
    assert main(["info", *memory]) == 0
    assert "5 frames with a damaged picture" in capsys.readouterr().out
    assert main(["info", "--json", *memory]) == 0
    assert json.loads(capsys.readouterr().out)["cameras"][0]["pictures_damaged"] == 5
    for frame in (63, 62):
        target = tmp_path / f"{frame}.jpg"
        assert main(["show", "--frame", str(frame), "--output", str(target), *memory]) == 0
        assert ("(picture damaged)" in capsys.readouterr().out) == (frame in MARKED)
        assert main(["show", "--frame", str(frame), "--output", str(target), "--force", "--json", *memory]) == 0
        assert json.loads(capsys.readouterr().out)["frames"][0]["picture_damaged"] == (frame in MARKED)


def test_evidence_and_hits_say_it() -> None:
    damaged, sound = (Evidence("gate", 3, 0.0, 0.5, b"", value) for value in (True, False))
    assert (damage_of(damaged), damage_of(sound)) == ("  (picture damaged)", "")
    assert damaged.to_dict()["picture_damaged"] is True
    assert Hit("gate", 3, 0.0, 0.5, "", picture_damaged=True).to_dict()["picture_damaged"] is True


def test_another_generation_keeps_it(tmp_path: Path) -> None:
    write(tmp_path, MARKED)
    generation = open_generation(tmp_path / "gate", ANOTHER)
    build_sealed(tmp_path / "gate", generation, ANOTHER, encode_images)
    with open_camera(tmp_path, "gate", SPEC) as repository:
        repository.switch(generation, ANOTHER, encode_images)
    snapshot = Memory(tmp_path).camera("gate").snapshot()
    assert snapshot.spec == ANOTHER
    assert np.flatnonzero(snapshot.pictures_damaged(snapshot.ids)).tolist() == MARKED
