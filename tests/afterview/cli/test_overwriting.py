"""Files that a user names: an existing one is replaced only with --force, and then atomically."""

import json
from pathlib import Path

import pytest

from afterview.cli.arguments import require_new
from afterview.cli.main import main
from afterview.configs import UsageError
from afterview.memory.base.durable import observed
from afterview.memory.writing.open import open_camera
from afterview.training.world.truth import read_truth
from tests.support.clips import make_clip
from tests.support.memory_world import make_frame, make_spec

SMALL = ["--for", "10s", "--size", "64x36", "--rate", "1"]
SHARED = ["--for", "2m", *SMALL[2:]]
MINE = b"do not replace this"


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert len(errors) == 1
    return errors[0]


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    spec = make_spec()
    with open_camera(tmp_path / "m", "a", spec) as repository:
        for number in range(5):
            repository.append(make_frame(number, spec))
    return tmp_path / "m"


def test_export_replaces_a_file_only_with_force(
    memory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out" / "span"
    file.parent.mkdir()
    file.write_bytes(MINE)
    export = ["export", file, "--memory", memory]
    assert f"{file}: exists already; give another name, or --force to replace it" in refused(capsys, *export)
    assert contents(file.parent) == {"span": MINE}
    assert main([str(argument) for argument in (*export, "--force")]) == 0
    assert main(["import", str(file), "--memory", str(tmp_path / "other")]) == 0
    whole = file.read_bytes()
    (memory / "a" / "journal").write_bytes(b"")  # an export that fails keeps the old file
    assert main([str(argument) for argument in (*export, "--force")]) != 0
    assert contents(file.parent) == {"span": whole}


@pytest.mark.parametrize("existing", ["story.mp4", "story.truth.json", "questions.json"])
def test_world_make_replaces_files_only_with_force(
    tmp_path: Path, existing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / existing).write_bytes(MINE)
    make = ["world", "make", tmp_path / "story.mp4", *SMALL, "--questions", "2"]
    make += ["--kinds", "scene now", "--annotations", tmp_path / "questions.json"]
    assert f"{tmp_path / existing}: exists already" in refused(capsys, *make)
    assert contents(tmp_path) == {existing: MINE}
    assert main([str(argument) for argument in (*make, "--force")]) == 0
    assert set(contents(tmp_path)) == {"story.mp4", "story.truth.json", "questions.json"}
    assert (tmp_path / existing).read_bytes() != MINE
    assert read_truth(tmp_path / "story.truth.json")[0].duration_s == 10


@pytest.mark.parametrize("existing", ["story-gate.mp4", "story-hall.truth.json", "story.story.json"])
def test_world_make_of_several_cameras_replaces_none_of_its_files(
    tmp_path: Path, existing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / existing).write_bytes(MINE)
    make = ["world", "make", tmp_path / "story.mp4", "--cameras", "2", "--seed", "3", *SHARED]
    assert f"{tmp_path / existing}: exists already" in refused(capsys, *make)
    assert contents(tmp_path) == {existing: MINE}


def test_directories_devices_and_broken_links_are_not_replaced(tmp_path: Path) -> None:
    for force in (False, True):
        with pytest.raises(UsageError, match="is a directory"):
            require_new([tmp_path], force=force)
        with pytest.raises(UsageError, match="not a regular file"):
            require_new([Path("/dev/null")], force=force)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="exists already"):
        require_new([tmp_path / "new", tmp_path / "link"], force=False)
    require_new([tmp_path / "new"], force=False)


def test_acknowledgements_are_not_appended_to_another_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, acks = make_clip(tmp_path / "clip.mp4", frames=30, rate=10), tmp_path / "acks"
    replay = ["replay", clip, "--memory", tmp_path / "m", "--camera", "a"]
    before = clip.read_bytes()
    assert f"--ack-file {clip}: is not an ack file" in refused(capsys, *replay, "--ack-file", clip)
    assert clip.read_bytes() == before
    assert not (tmp_path / "m").exists()
    acks.write_bytes(b"0 1700000000.25 0badcafe\n1 17000\0\0")  # as a power cut leaves it
    assert main([*map(str, replay), "--ack-file", str(acks), "--json"]) == 0
    recorded = json.loads(capsys.readouterr().out)["recorded"]
    assert acks.read_bytes().count(b"\n") == 1 + recorded


def test_force_replaces_in_one_step(memory: Path, tmp_path: Path) -> None:
    file = tmp_path / "span"
    file.write_bytes(MINE)
    seen: list[bytes] = []
    with observed(lambda *unused: seen.append(file.read_bytes())):
        assert main(["export", str(file), "--memory", str(memory), "--force"]) == 0
    assert seen
    assert set(seen) <= {MINE, file.read_bytes()}
