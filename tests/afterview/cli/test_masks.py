"""Privacy masks and pauses from the command line: nothing is replaced, removed or applied to more cameras without being told to."""

import json
from pathlib import Path

import pytest

from afterview.cli.main import main
from afterview.memory.base.settings import CameraSettings, read_settings, write_settings
from afterview.memory.writing.open import open_camera
from tests.support.memory_world import make_frame, make_spec

SPEC = make_spec()
LEFT, RIGHT = "0,0 0.3,0 0.3,1", "1,0 0.7,0 0.7,1"
LEFT_MASK, RIGHT_MASK = ((0, 0), (0.3, 0), (0.3, 1)), ((1, 0), (0.7, 0), (0.7, 1))


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    for name in ("hall", "yard"):
        with open_camera(tmp_path / "m", name, SPEC) as repository:
            repository.append(make_frame(0, SPEC))
    return tmp_path / "m"


def masks(memory: Path, camera: str) -> tuple[object, ...]:
    return read_settings(memory / camera).masks


def mask(memory: Path, *arguments: str) -> int:
    return main(["mask", "--memory", str(memory), *arguments])


def test_a_second_mask_is_added_and_masks_go_only_when_told(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hall = ["--camera", "hall"]
    assert mask(memory, *hall, "--polygon", LEFT) == 0
    assert mask(memory, *hall, "--polygon", RIGHT) == 0
    assert masks(memory, "hall") == (LEFT_MASK, RIGHT_MASK)
    capsys.readouterr()
    assert mask(memory, *hall) == 0
    assert "mask 2: 1,0 0.7,0 0.7,1" in capsys.readouterr().out
    assert mask(memory, *hall, "--remove", "1") == 0
    assert masks(memory, "hall") == (RIGHT_MASK,)
    assert mask(memory, *hall, "--replace", "--polygon", LEFT) == 0
    assert masks(memory, "hall") == (LEFT_MASK,)
    assert mask(memory, *hall, "--clear") == 0
    assert masks(memory, "hall") == ()
    assert masks(memory, "yard") == ()
    capsys.readouterr()
    assert mask(memory, *hall) == 0
    assert capsys.readouterr().out == "hall: 0 masks\n", "not: 'not paused; unchanged'"
    assert main(["keep", "--memory", str(memory), *hall]) == 0
    assert capsys.readouterr().out == "hall: 0 kept spans\n"
    assert main(["pause", "--memory", str(memory), *hall]) == 0
    assert capsys.readouterr().out == "hall: paused; set by this command\n"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--remove", "3"], "camera 'hall' has 1 mask;"),
        (["--remove", "0"], "camera 'hall' has 1 mask;"),
        (["--replace"], "--replace: by what?"),
        (["--clear", "--polygon", RIGHT], "--replace and --polygon alone"),
        (["--replace", "--remove", "1", "--polygon", RIGHT], "--replace and --polygon alone"),
    ],
)
def test_what_contradicts_itself_changes_nothing(
    memory: Path, arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mask(memory, "--camera", "hall", "--polygon", LEFT) == 0
    assert mask(memory, "--camera", "hall", *arguments) == 2
    assert named in capsys.readouterr().err
    assert masks(memory, "hall") == (LEFT_MASK,)


@pytest.mark.parametrize("command", [["mask", "--polygon", LEFT], ["mask", "--clear"], ["pause"], ["resume"]])
def test_a_change_of_several_cameras_wants_all(
    memory: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_settings(memory / "yard", CameraSettings(masks=(RIGHT_MASK,)))
    before = [read_settings(memory / name) for name in ("hall", "yard")]
    assert main([*command, "--memory", str(memory)]) == 2
    assert "give --camera, or --all to change hall, yard" in capsys.readouterr().err
    assert [read_settings(memory / name) for name in ("hall", "yard")] == before
    assert main([*command, "--memory", str(memory), "--all", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["cameras"]) == 2


def test_masks_are_numbered_for_each_camera(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mask(memory, "--polygon", LEFT, "--all") == 0
    assert mask(memory, "--remove", "1", "--all") == 2
    assert "give --camera" in capsys.readouterr().err
    assert masks(memory, "hall") == masks(memory, "yard") == (LEFT_MASK,)


def test_a_camera_without_a_frame_keeps_its_masks(tmp_path: Path) -> None:
    with open_camera(tmp_path, "hall", SPEC) as repository:
        write_settings(repository.directory, CameraSettings(masks=(LEFT_MASK,)))
    assert masks(tmp_path, "hall") == (LEFT_MASK,)
    with open_camera(tmp_path, "hall", SPEC) as repository:
        repository.append(make_frame(0, SPEC))
    assert masks(tmp_path, "hall") == (LEFT_MASK,)
    with open_camera(tmp_path, "yard", SPEC):
        pass
    assert not (tmp_path / "yard").exists()
