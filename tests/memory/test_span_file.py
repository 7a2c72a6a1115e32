"""A span as one file: what comes in is what went out."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from afterview.cli.main import main
from afterview.memory.base.records import FrameRecord
from afterview.memory.base.settings import CameraSettings, write_settings
from afterview.memory.directory import Memory
from afterview.memory.fsck.fsck import fsck
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.repository import Repository
from tests.support.memory_world import START, make_frame, make_spec, record_frames

SPEC = make_spec()


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    with open_camera(tmp_path / "m", "Front door", SPEC, timezone="Europe/Paris") as repository:
        for number in range(150):
            if number == 60:
                repository.interrupted("lost")
            repository.append(make_frame(number, SPEC, time=START + number + (50 if number >= 60 else 0)))
    return tmp_path / "m"


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_a_span_comes_back_as_it_was(memory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "span.safetensors"
    assert run("export", file, "--memory", memory, "--from", START + 10, "--to", START + 180, "--json") == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 121
    assert run("import", file, "--memory", tmp_path / "other", "--json") == 0
    old, new = (
        Memory(memory).camera("Front door").snapshot(),
        Memory(tmp_path / "other").camera("Front door").snapshot(),
    )
    assert (new.info.name, new.info.timezone, new.spec) == ("Front door", "Europe/Paris", old.spec)
    ids = old.ids[10:131]
    np.testing.assert_array_equal(new.times, old.times[10:131])
    np.testing.assert_array_equal(new.tokens(new.ids), old.tokens(ids))
    np.testing.assert_array_equal(new.embeddings(new.ids), old.embeddings(ids))
    for name in ("arrival_times", "source_times", "time_basis"):
        np.testing.assert_array_equal(new.scalars(name, new.ids), old.scalars(name, ids))
    assert list(new.images(new.ids)) == list(old.images(ids))
    assert [(gap.start, gap.end, gap.reason) for gap in new.gaps] == [
        (gap.start, gap.end, gap.reason) for gap in old.gaps
    ]
    assert fsck(tmp_path / "other" / "front-door").findings == []


def test_trainers_can_read_it_without_a_store(memory: Path, tmp_path: Path) -> None:
    file = tmp_path / "span.safetensors"
    assert run("export", file, "--memory", memory) == 0
    arrays = load_file(file)
    assert arrays["tokens"].shape == (150, 4, 6)
    np.testing.assert_array_equal(arrays["tokens"][77], make_frame(77, SPEC).tokens)
    assert arrays["image_offsets"][-1] == len(arrays["images"])


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_damaged_file_is_refused(
    memory: Path, tmp_path: Path, place: float, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "span.safetensors"
    assert run("export", file, "--memory", memory) == 0
    data = bytearray(file.read_bytes())
    data[int(place * len(data))] ^= 0x10
    file.write_bytes(data)
    assert run("import", file, "--memory", tmp_path / "other") == 1
    assert "damaged" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_an_export_that_fails_leaves_nothing(memory: Path, tmp_path: Path) -> None:
    (memory / "front-door/generation-1/tokens/c.1.0.0").unlink()
    assert run("export", tmp_path / "out" / "span", "--memory", memory) == 2
    (tmp_path / "out").mkdir()
    assert run("export", tmp_path / "out" / "span", "--memory", memory) == 1
    assert list((tmp_path / "out").iterdir()) == []


def test_mistakes_get_one_clear_line(memory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "span.safetensors"
    assert run("export", file, "--memory", memory, "--from", START + 5000, "--to", START + 6000) == 2
    assert "nothing is remembered" in capsys.readouterr().err
    assert run("export", tmp_path / "no" / "where", "--memory", memory) == 2
    assert run("export", file, "--memory", memory) == 0
    assert run("import", file, "--memory", memory) == 2
    assert "give another --camera" in capsys.readouterr().err
    file.write_bytes(file.read_bytes()[:-5])
    assert run("import", file, "--memory", tmp_path / "other") == 2
    assert "not an exported span" in capsys.readouterr().err
    assert run("import", tmp_path / "nothing", "--memory", memory) == 2


@pytest.mark.parametrize("masked", [False, True])
def test_an_import_that_fails_leaves_no_part_of_a_new_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, masked: bool
) -> None:
    spec, file = make_spec(), tmp_path / "span"
    camera = record_frames(tmp_path / "m", 100, spec)
    assert main(["export", str(file), "--memory", str(camera.parent), "--json"]) == 0
    command = ["import", str(file), "--memory", str(tmp_path / "other"), "--json"]
    if masked:
        with open_camera(tmp_path / "other", "a", spec) as repository:
            write_settings(repository.directory, CameraSettings(paused=True))
    append = Repository.append

    def interrupted(repository: Repository, frame: FrameRecord) -> int:
        if repository.frames == 70:
            raise KeyboardInterrupt
        return append(repository, frame)

    with monkeypatch.context() as patched:
        patched.setattr(Repository, "append", interrupted)
        assert main(command) == 130
    assert (tmp_path / "other" / "a").exists() == masked
    if not masked:
        assert main(command) == 0
        assert fsck(tmp_path / "other" / "a").clean
        assert CameraReader(tmp_path / "other" / "a").snapshot().frames == 100
