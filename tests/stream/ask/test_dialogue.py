"""Follow-up questions keep cameras and span unless they name others."""

from pathlib import Path

import pytest

from afterview.configs import UsageError
from afterview.memory.directory import Memory
from afterview.memory.writing.open import open_camera
from afterview.stream.ask.dialogue import Dialogue, named_cameras
from afterview.stream.ask.question import Question
from tests.support.memory_world import make_frame, make_spec


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    spec = make_spec()
    for name in ("hall", "Front door", "left, upper"):
        repository = open_camera(tmp_path, name, spec)
        repository.append(make_frame(0, spec))
        repository.close()
    return Memory(tmp_path)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("hall", ("hall",)),
        (" hall , Front door", ("hall", "front-door")),
        ("front door, FRONT DOOR", ("front-door",)),
        ("left, upper", ("left-upper",)),
        ("hall, gate", ()),
        ("", ()),
        ("../hall", ()),
    ],
)
def test_cameras_are_named_only_if_each_name_is_one(memory: Memory, text: str, named: tuple[str, ...]) -> None:
    assert named_cameras(memory, text) == named


def test_a_question_keeps_what_the_one_before_was_about_unless_it_names_cameras(memory: Memory) -> None:
    first = Dialogue(Question("", ("hall",), start=10.0, at=20.0, seed=3))
    same, question = first.asked(memory, "At 14:03: who came?")
    assert same == first
    assert question == Question("At 14:03: who came?", ("hall",), start=10.0, at=20.0, seed=3)
    moved, question = first.asked(memory, "Front door: who came: a man?")
    assert question == Question("who came: a man?", ("front-door",), start=10.0, at=20.0, seed=3)
    assert moved.asked(memory, "And then?")[1].cameras == ("front-door",)
    with pytest.raises(UsageError, match=r"asks nothing.*/camera hall"):
        first.asked(memory, "hall: ")


def test_only_cameras_chosen_among_many_are_stayed_with() -> None:
    everyone, named = Dialogue(Question("")), Dialogue(Question("", ("hall",)))
    assert everyone.answered(["a", "b", "c", "d"], 5).about.cameras == ("a", "b", "c", "d")
    assert everyone.answered(["a", "b"], 4) == everyone
    assert everyone.answered([], 5) == everyone, "a question that was declined asked none"
    assert named.answered(["hall"], 5) == named
