"""Every command on a memory of which one camera cannot be read: it goes on with the others, names that one, and blames nothing else."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterview.cli.main import main
from afterview.memory.base.settings import read_settings
from afterview.memory.writing.open import open_camera
from tests.support.memory_world import make_frame, make_spec
from tests.support.unprivileged import public_directory, unprivileged

SPEC = make_spec()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    memory = tmp_path_factory.mktemp("recorded") / "m"
    for name in ("door", "hall", "yard"):
        with open_camera(memory, name, SPEC) as repository:
            for number in range(70):
                repository.append(make_frame(number, SPEC))
    assert main(["info", str(memory)]) == main(["fsck", str(memory)]) == 0  # imports everything
    return memory


@pytest.fixture
def memory(recorded: Path) -> Iterator[Path]:
    with public_directory() as place:
        shutil.copytree(recorded, place / "m")
        yield place / "m"


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> tuple[str, str]:
    """(standard output, standard error) of a command that nobody runs."""
    capsys.readouterr()
    with unprivileged():
        assert main(list(arguments)) == status
    said = capsys.readouterr()
    assert "bug" not in said.err
    return said.out, said.err


def test_info(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (memory / "door").chmod(0)
    (memory / "yard" / "camera.json").unlink()
    document = json.loads(run(capsys, "info", str(memory), "--json")[0])
    assert [camera["id"] for camera in document["cameras"]] == ["hall"]
    assert sorted(document["skipped"]) == ["door", "yard"]
    printed = run(capsys, "info", str(memory))[0]
    assert "door: not shown: " in printed
    assert f"may not enter {memory / 'door'} (" in printed
    assert "yard: not shown: " in printed
    shutil.rmtree(memory / "hall")
    said = run(capsys, "info", str(memory), status=1)[1]
    assert "door: " in said
    assert "yard: " in said


@pytest.mark.parametrize(
    "command",
    [
        ["forget", "--last", "1h"],
        ["keep", "--last", "1h"],
        ["pause"],
        ["resume"],
        ["mask", "--clear"],
        ["retain", "--days", "3"],
        ["export", "x.span"],
        ["reembed", "--model", "tiny"],
        ["ask", "What?"],
        ["search", "a ring"],
    ],
)
def test_naming_one_that_cannot_be_read_gives_the_reason(
    memory: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    (memory / "door").chmod(0)
    error = run(capsys, *command, "--memory", str(memory), "--camera", "door", status=1)[1]
    assert f"may not enter {memory / 'door'} (" in error
    assert "no camera" not in error
    assert "not a memory" not in error
    assert "fsck" not in error


@pytest.mark.parametrize(
    "command", [["pause", "--all"], ["mask", "--all", "--polygon", "0,0 1,0 1,1"], ["retain", "--days", "9e4"]]
)
def test_a_change_of_all_that_one_did_not_get_is_no_success(
    memory: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    (memory / "door" / "camera.json").write_text("{")
    capsys.readouterr()
    assert main([*command, "--memory", str(memory), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [camera["camera"] for camera in document["cameras"]] == ["hall", "yard"]
    assert "camera.json" in document["skipped"]["door"]
    if command[0] == "mask":
        assert len(read_settings(memory / "yard").masks) == 1
    assert main([*command, "--memory", str(memory)]) == 1
    assert "door: left out, and unchanged: " in capsys.readouterr().out


def test_export_of_the_only_camera_names_its_reason(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("hall", "yard"):
        shutil.rmtree(memory / name)
    (memory / "door").chmod(0)
    said = run(capsys, "export", str(memory / "x"), "--memory", str(memory), status=1)[1]
    assert "may not enter" in said


@pytest.mark.parametrize("repair", [[], ["--repair"]])
def test_fsck_checks_the_others(memory: Path, capsys: pytest.CaptureFixture[str], repair: list[str]) -> None:
    (memory / "door" / "frames" / "times" / "c.0").chmod(0)
    (memory / "yard").chmod(0)
    document = json.loads(run(capsys, "fsck", str(memory), "--json", *repair, status=1)[0])
    found = {camera["id"]: camera["findings"] for camera in document["cameras"]}
    for name in ("door", "yard"):
        assert {finding["severity"] for finding in found[name]} == {"unchecked"}
    assert found.get("hall", []) == []
    assert ("hall" in document["skipped"]) == bool(repair)  # it may not be written by nobody
    printed = run(capsys, "fsck", str(memory), *repair, status=1)[0]
    assert "unchecked: yard cannot be read: user " in printed
    assert "--repair`" not in printed


def test_fsck_goes_on_beside_a_newer_format_and_a_writer(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (memory / "door" / "camera.json").write_text('{"format": 99}')
    with open_camera(memory, "yard", SPEC):
        capsys.readouterr()
        assert main(["fsck", str(memory), "--repair", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    findings = {camera["id"]: camera["findings"] for camera in document["cameras"]}
    assert findings["door"][0]["severity"] == "unchecked"
    assert "storage format 99" in findings["door"][0]["what"]
    assert findings["hall"] == []
    assert "is being written by" in document["skipped"]["yard"]


@pytest.mark.parametrize("command", [["info"], ["fsck"], ["pause", "--memory"], ["export", "x", "--memory"]])
def test_a_memory_that_may_not_be_listed(memory: Path, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    memory.chmod(0o711)
    said = run(capsys, *command, str(memory), status=1)[1]
    assert f"{memory}: cannot be read: user " in said
    assert "may not list it" in said


def test_a_memory_that_may_not_be_written(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = run(capsys, "pause", "--memory", str(memory), "--camera", "door", status=2)[1]
    assert f"memory {memory / 'door' / 'lock'}: cannot be written: user " in said
    assert "may not write" in said


@pytest.mark.parametrize("lost", ["journal", "settings.json", "frames/images", "generation-1/tokens"])
@pytest.mark.parametrize("command", [["retain"], ["retain", "--days", "9e4"]])
def test_limits_of_the_others_do_not_depend_on_one_that_cannot_be_read(
    memory: Path, capsys: pytest.CaptureFixture[str], lost: str, command: list[str]
) -> None:
    assert main(["keep", "--memory", str(memory), "--camera", "door", "--last", "1s"]) == 0  # it has settings
    for place in (memory, memory / "hall", memory / "yard"):
        subprocess.run(["chmod", "-R", "a+rwX", place], check=True)
    (memory / "door" / lost).chmod(0)
    document = json.loads(run(capsys, *command, "--memory", str(memory), "--json", status=1)[0])
    assert [camera["camera"] for camera in document["cameras"]] == ["hall", "yard"]
    assert "give that permission" in document["skipped"]["door"]
    assert [camera["forecast"]["disk_cameras"] for camera in document["cameras"]] == [["hall", "yard"]] * 2
    if len(command) > 1:
        assert [camera["limits"]["days"] for camera in document["cameras"]] == [9e4, 9e4]
    assert "door: left out, and unchanged: " in run(capsys, *command, "--memory", str(memory), status=1)[0]


def test_limits_reach_the_others_where_one_is_being_written(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_camera(memory, "door", SPEC):  # without a control socket
        capsys.readouterr()
        assert main(["retain", "--days", "9e4", "--memory", str(memory), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [camera["camera"] for camera in document["cameras"]] == ["hall", "yard"]
    assert "is being written by" in document["skipped"]["door"]


def test_masks_do_not_need_the_limits_of_the_memory(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (memory / "settings.json").write_text("{")
    capsys.readouterr()
    assert main(["mask", "--all", "--polygon", "0,0 1,0 1,1", "--memory", str(memory), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == {}
    assert [len(read_settings(memory / name).masks) for name in ("door", "hall", "yard")] == [1, 1, 1]


def test_info_counts_frames_that_cannot_be_read(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (memory / "door" / "frames" / "times" / "c.0").write_bytes(b"damaged")
    capsys.readouterr()
    assert main(["info", str(memory)]) == 0
    printed = capsys.readouterr().out
    assert "6 frames (6.0 s" in printed
    assert "64 frames are missing here because they cannot be read; `afterview fsck` says what is wrong" in printed
    assert main(["info", str(memory), "--json"]) == 0
    assert [camera["damaged_frames"] for camera in json.loads(capsys.readouterr().out)["cameras"]] == [64, 0, 0]


def test_a_file_in_the_place_of_a_directory_is_named(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = memory / "door" / "generation-1" / "tokens"
    shutil.rmtree(place)
    place.write_text("x")
    capsys.readouterr()
    assert main(["fsck", str(memory), "--repair"]) == 1
    said = capsys.readouterr()
    assert f"{place} is in the way; move it away" in said.err
    assert "Errno" not in said.err + said.out
    assert "Error)" not in said.err + said.out
