"""A store that does not answer is never reported as damage, and nothing on it is given up."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from afterview.cli.main import main
from afterview.memory.base.errors import (
    DamagedMemory,
    StoreError,
    UnreachableFrames,
    UnreachableOnStore,
)
from afterview.memory.format.feature_spec_file import read_spec
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.sealed import SealedFrames
from afterview.memory.fsck.fsck import fsck
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.downsample import downsampled_rows, write_from_store
from afterview.memory.writing.reembed import build_sealed, open_generation
from tests.support.memory_world import make_spec
from tests.support.object_memory import FRAMES, assert_holds, flush, record, set_store
from tests.support.object_server import Gate

SENT = 192  # frames in the store; the others are in the journal


@pytest.fixture
def camera(tmp_path: Path, gate: Gate, after_silence: Callable[[], None]) -> Path:
    """A camera whose sealed frames lie on a store that does not answer."""
    set_store(tmp_path / "m", gate.endpoint)
    directory = record(tmp_path / "m")
    flush(directory)
    gate.shut()
    return directory


def run(capsys: pytest.CaptureFixture[str], *arguments: object, status: int) -> str:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == status
    printed = capsys.readouterr()
    said = printed.out + printed.err
    assert "damage" not in said.replace("no damage", "")
    assert "lost" not in said
    return said


def test_it_is_no_damage_for_a_handler_of_damage(camera: Path) -> None:
    assert issubclass(UnreachableOnStore, UnreachableFrames)
    assert not issubclass(UnreachableOnStore, DamagedMemory)
    snapshot = CameraReader(camera).snapshot()
    for read in (snapshot.tokens, snapshot.embeddings, snapshot.stored_tokens, lambda ids: list(snapshot.images(ids))):
        with pytest.raises(StoreError, match="does not answer"):
            read(np.arange(FRAMES))


def test_what_is_here_as_well_is_read_without_the_store(
    tmp_path: Path, gate: Gate, after_silence: Callable[[], None]
) -> None:
    set_store(tmp_path / "m", gate.endpoint, local_gigabytes=1.0)
    directory = record(tmp_path / "m")
    flush(directory, local_bytes=1e9)
    gate.shut()
    assert_holds(CameraReader(directory).snapshot())


def test_fsck_says_unchecked_and_repairs_nothing(
    camera: Path, gate: Gate, after_silence: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    for options in ([], ["--deep"], ["--repair"], ["--repair", "--deep"]):
        said = run(capsys, "fsck", camera.parent, *options, status=1)
        assert "no damage found, 1 not checked" in said
        assert "does not answer" in said
    (report,) = json.loads(run(capsys, "fsck", camera.parent, "--json", status=1).splitlines()[0])["cameras"]
    assert (report["clean"], [finding["severity"] for finding in report["findings"]]) == (False, ["unchecked"])
    gate.open()
    after_silence()
    assert fsck(camera, deep=True).clean
    assert_holds(CameraReader(camera).snapshot())


def test_export_and_reembed_end_with_the_errors_of_the_store(
    camera: Path, gate: Gate, after_silence: Callable[[], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "does not answer" in run(capsys, "export", tmp_path / "span", "--memory", camera.parent, status=1)
    assert not (tmp_path / "span").exists()
    spec = make_spec(weights="sha256:cc")
    number = open_generation(camera, spec)
    with pytest.raises(StoreError, match="does not answer"):
        build_sealed(camera, number, spec, lambda images: pytest.fail("nothing can be encoded"))
    gate.open()
    after_silence()
    assert_holds(CameraReader(camera).snapshot())


def test_retention_and_downsampling_give_up_nothing(
    camera: Path, gate: Gate, after_silence: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, spec = Manifest.read(camera), read_spec(camera, 1)
    with pytest.raises(UnreachableFrames):
        downsampled_rows(SealedFrames(camera, 1), manifest, spec, 0)
    with pytest.raises(StoreError, match="does not answer"):
        write_from_store(camera, manifest, spec, 0)
    run(capsys, "retain", "--memory", camera.parent, "--days", "30", status=0)
    gate.open()
    after_silence()
    assert Manifest.read(camera).removed == ()
    assert_holds(CameraReader(camera).snapshot())
