"""A memory of which only some cameras are visible: nothing that it says depends on the others."""

import shutil
from pathlib import Path

import pytest

from afterview.memory.base.errors import MemoryNotFound, RepositoryError
from afterview.memory.directory import Memory
from afterview.memory.limited import LimitedMemory, Limits
from afterview.memory.writing.open import open_camera
from tests.support.memory_world import make_frame, make_spec


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    for name in ("Front door", "yard", "attic secret"):
        with open_camera(tmp_path, name, make_spec(), timezone="UTC") as repository:
            repository.append(make_frame(0, make_spec()))
    return tmp_path


def said(seen: Memory, name: str) -> str:
    with pytest.raises(RepositoryError) as told:
        seen.camera(name)
    return str(told.value).replace(name, "NAME")


def test_it_is_as_if_there_were_no_others(memory: Path) -> None:
    seen = LimitedMemory(Memory(memory), {"front-door", "yard", "to come"})
    assert seen.camera_ids() == ["front-door", "yard"]
    assert [reader.info.id for reader in seen.cameras()] == ["front-door", "yard"]
    assert seen.camera("FRONT  door").info.id == "front-door"
    assert seen.skipped() == {}
    words = {said(seen, name) for name in ("attic-secret", "attic secret", "ATTIC secret", "nowhere", "to come")}
    assert len(words) == 1
    assert "attic" not in words.pop()
    with pytest.raises(MemoryNotFound):
        seen.index("attic-secret")
    with pytest.raises(MemoryNotFound):
        seen.each(lambda reader: reader, ["yard", "attic-secret"])
    (memory / "attic-secret" / "camera.json").write_text("{")
    assert seen.skipped() == {}
    assert "attic" not in said(seen, "nowhere")


def test_a_hidden_camera_with_the_name_of_a_visible_one_stays_hidden(memory: Path) -> None:
    """A copy of a directory keeps the name of its camera."""
    shutil.copytree(memory / "yard", memory / "copy")
    shutil.rmtree(memory / "yard")
    with pytest.raises(MemoryNotFound):
        LimitedMemory(Memory(memory), {"yard"}).camera("yard")


def test_nothing_is_visible(memory: Path) -> None:
    seen = LimitedMemory(Memory(memory), ())
    assert (seen.camera_ids(), seen.skipped()) == ([], {})
    with pytest.raises(MemoryNotFound, match="holds no camera"):
        seen.cameras()


def test_the_same_cameras_are_the_same_view(memory: Path) -> None:
    whole, limits = Memory(memory), Limits()
    first = limits.of(whole, frozenset({"yard"}))
    assert limits.of(whole, frozenset({"yard"})) is first
    assert limits.of(whole, frozenset({"yard", "front-door"})) is not first
    assert first.camera("yard") is whole.camera("yard"), "readers are shared"
    for number in range(1000):
        limits.of(whole, frozenset({str(number)}))
    assert len(limits._views) <= 256
