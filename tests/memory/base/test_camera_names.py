"""Names of cameras: a text never means a camera of another name, unless it is its id or a respelling that is said."""

import json
import logging
import shutil
from pathlib import Path

import pytest

from afterview.cli.main import main
from afterview.memory import directory
from afterview.memory.base.errors import DamagedMemory, MemoryNotFound, NameTaken
from afterview.memory.base.held_directory import place_of
from afterview.memory.directory import Memory
from afterview.memory.fsck.fsck import fsck
from afterview.memory.writing.open import open_camera
from tests.support.clips import make_clip
from tests.support.memory_world import START, make_frame, make_spec

SPEC = make_spec()
LONG = "the camera above the loading bay at the back of the second warehouse of the northern site, beside the canal and the old road, "


def record(memory: Path, name: str, count: int = 3) -> Path:
    with open_camera(memory, name, SPEC) as repository:
        for number in range(repository.frames, repository.frames + count):
            repository.append(make_frame(number, SPEC))
        return place_of(repository.directory)


def frames(memory: Path, name: str) -> int:
    return Memory(memory).camera(name).snapshot().frames


PAIRS = [("../x", "-x"), ("FRONT door", "front  door"), (LONG + "left", LONG + "right"), ("Gate/1", "gate 1")]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_another_name_with_the_same_id_is_not_recorded_into_that_camera(
    tmp_path: Path, first: str, second: str
) -> None:
    directory = record(tmp_path, first)
    with pytest.raises(NameTaken) as caught:
        record(tmp_path, second)
    assert first in str(caught.value)
    assert second in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == [directory.name]
    assert record(tmp_path, first) == record(tmp_path, directory.name) == directory  # its own name, and its id
    assert frames(tmp_path, first) == frames(tmp_path, directory.name) == 9


@pytest.mark.parametrize(("first", "second"), [PAIRS[0], PAIRS[2], PAIRS[3]])
def test_a_reader_is_not_given_a_camera_of_another_name(tmp_path: Path, first: str, second: str) -> None:
    record(tmp_path, first)
    with pytest.raises(MemoryNotFound) as caught:
        Memory(tmp_path).camera(second)
    assert f"no camera '{second}'" in str(caught.value)
    assert f"is named '{first}'" in str(caught.value)


def test_a_respelling_is_read_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record(tmp_path, "FRONT door")
    memory = Memory(tmp_path)
    with caplog.at_level(logging.INFO):
        for exact in ("FRONT door", "front-door"):
            assert memory.camera(exact).info.name == "FRONT door"
        assert not caplog.records
        for _ in range(3):
            assert memory.camera("front  Door ") is memory.camera("front-door")
    (note,) = caplog.messages
    assert "front-door" in note
    assert "FRONT door" in note


def test_the_spellings_that_a_memory_remembers_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of the service may think of ever more of them."""
    record(tmp_path, "front door")
    monkeypatch.setattr(directory, "_MOST_FOUND", 8, raising=False)
    memory = Memory(tmp_path)
    for number in range(1, 40):
        assert memory.camera(f"front{' ' * number}DOOR").info.id == "front-door"
        assert len(memory._found) <= 8


def test_an_id_goes_before_a_name_and_several_respellings_are_refused(tmp_path: Path) -> None:
    record(tmp_path, "Hall", 2)
    for copy in ("HALL", "yard"):  # directories that a person copied; the second is named like the first
        shutil.copytree(tmp_path / "hall", tmp_path / copy)
    record(tmp_path, "HALL", 1)
    assert (frames(tmp_path, "Hall"), frames(tmp_path, "HALL"), frames(tmp_path, "yard")) == (2, 3, 2)
    assert [reader.info.id for reader in Memory(tmp_path).cameras()] == ["HALL", "hall", "yard"]
    with pytest.raises(MemoryNotFound, match="give the id"):
        Memory(tmp_path).camera("hALL")
    (tmp_path / "hall").rename(tmp_path / "den")
    with pytest.raises(MemoryNotFound, match=r"several cameras.*den, yard"):
        Memory(tmp_path).camera("Hall")


def test_a_renamed_directory_is_found_and_changed_by_its_name_and_its_id(tmp_path: Path) -> None:
    record(tmp_path, "Hall").rename(tmp_path / "lobby")
    assert record(tmp_path, "Hall") == record(tmp_path, "lobby") == tmp_path / "lobby"
    assert (frames(tmp_path, "Hall"), Memory(tmp_path).camera("lobby").info.id) == (9, "lobby")
    where = ["--memory", str(tmp_path), "--camera", "lobby"]
    assert main(["forget", *where, "--yes", "--from", str(START), "--to", str(START + 1)]) == 0
    assert frames(tmp_path, "Hall") == 7
    assert [entry.name for entry in tmp_path.iterdir()] == ["lobby"]


def test_damage_to_the_description_of_a_camera_hides_no_other_and_is_reported(tmp_path: Path) -> None:
    record(tmp_path, "Hall")
    record(tmp_path, "Front door")
    (tmp_path / "hall" / "camera.json").write_text("{")
    assert frames(tmp_path, "Front door") == 3
    for act in (lambda: record(tmp_path, "Hall"), lambda: Memory(tmp_path).camera("Hall")):
        with pytest.raises(DamagedMemory):
            act()
    assert not fsck(tmp_path / "hall", repair=True).damage
    with pytest.raises(NameTaken, match="--camera hall"):  # the name is lost: it may have been another
        record(tmp_path, "Hall")
    assert frames(tmp_path, "hall") == frames(tmp_path, "HALL") == 3


def test_commands_refuse_the_name_of_another_camera(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory, clip = tmp_path / "m", make_clip(tmp_path / "-x.mp4", frames=20, rate=10)
    record(memory, "../x")
    replay = ["replay", str(clip), "--memory", str(memory)]
    span = ["--from", str(START), "--to", str(START + 1)]
    named = ["--memory", str(memory), "--camera", "-x"]
    for command in (
        ["ask", "What now?", *named], ["search", "red", *named], ["export", str(tmp_path / "f"), *named], ["forget", *named, *span],
        ["keep", *named, *span], ["pause", *named], ["mask", *named], ["retain", *named], ["reembed", "--model", "tiny", *named],
        [*replay, "--camera", "-x"], replay,
    ):  # fmt: skip
        command = [f"--camera={word}" if word == "-x" else word for word in command if word != "--camera"]
        assert main(command) == 2, command
        errors = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
        assert len(errors) == 1
        assert "'../x'" in errors[0]
        assert "'-x'" in errors[0]
    assert frames(memory, "x") == 3
    assert not (tmp_path / "f").exists()


def test_an_import_does_not_join_a_camera_of_another_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "one", "front-door")
    file = str(tmp_path / "span")
    assert main(["export", file, "--memory", str(tmp_path / "one")]) == 0
    for name in ("Front door", "FRONT-DOOR"):
        memory = tmp_path / name
        with open_camera(memory, name, SPEC) as repository:
            repository.append(make_frame(0, SPEC, time=START - 60))
        assert main(["import", file, "--memory", str(memory)]) == 2
        assert f"named '{name}'" in capsys.readouterr().err
        assert main(["import", file, "--memory", str(memory), "--camera", "front-door", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["frames"] == 3
        assert frames(memory, name) == 4
