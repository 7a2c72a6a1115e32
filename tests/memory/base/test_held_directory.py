"""A held directory keeps its name and its parent; a place that `resolve` finds is an ordinary path."""

from pathlib import Path

from afterview.memory.base.held_directory import hold, hold_memory, place_of


def test_a_held_camera_is_named_as_before_and_lies_in_its_memory(tmp_path: Path) -> None:
    (tmp_path / "m" / "hall").mkdir(parents=True)
    held = hold(tmp_path / "m" / "hall")
    assert (held.path.name, place_of(held.path.parent)) == ("hall", tmp_path / "m")
    assert place_of(held.path / "journal") == tmp_path / "m" / "hall" / "journal"


def test_a_resolved_path_has_its_own_name_and_parent_at_any_depth(tmp_path: Path) -> None:
    place = tmp_path
    for name in "abcdef":
        place = place / name
        place.mkdir()
        found = hold_memory(place).path.resolve()
        assert (found.name, found.parent) == (name, place.parent)
