"""Questions and searches beside cameras that cannot be read: the others answer, and each left out is named with the reason."""

import asyncio
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import afterview
from afterview.cli.main import main
from afterview.memory.base.errors import NothingRecorded, RepositoryError, Unreadable
from afterview.memory.directory import Memory
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.memory.writing.open import open_camera
from afterview.model.checkpoint.loading import AfterviewModel, load_pretrained
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.context import Context
from afterview.stream.ask.question import Question
from afterview.stream.session import Session
from tests.support.memory_world import START, make_frame
from tests.support.unprivileged import public_directory, unprivileged

QUESTION = "What was the colour of the big ring?"


@pytest.fixture(scope="module")
def model() -> AfterviewModel:
    return load_pretrained("tiny", device="cpu")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, model: AfterviewModel) -> Path:
    memory, spec = tmp_path_factory.mktemp("recorded") / "m", model.encoders.feature_spec
    for name, first in (("back", 0), ("front", 0), ("gate", 0), ("late", 5000)):
        with open_camera(memory, name, spec) as repository:
            for number in range(first, first + 70):
                repository.append(make_frame(number, spec))
    return memory


@pytest.fixture
def memory(recorded: Path) -> Iterator[Path]:
    with public_directory() as place:
        shutil.copytree(recorded, place / "m")
        yield place / "m"


def test_a_question_goes_on_without_them(memory: Path, model: AfterviewModel) -> None:
    answerer = Answerer(Memory(memory), model)
    question = Question(QUESTION, at=START + 100)
    before = answerer.ask(question)
    assert [part.coverage.camera for part in before.parts] == ["back", "front", "gate"]
    (memory / "front").chmod(0)  # in the life of one Memory, as in a session
    (memory / "gate" / "committed").write_text("{")
    with unprivileged():
        answer = answerer.ask(question)
    assert [part.text for part in answer.parts] == [before.parts[0].text]
    assert "may not enter" in answer.skipped["front"]
    assert "committed" in answer.skipped["gate"]
    with unprivileged(), pytest.raises(Unreadable, match="may not enter"):
        answerer.ask(Question(QUESTION, ("front",), at=START + 100))
    with unprivileged(), pytest.raises(NothingRecorded, match=r"left out: front: .*may not enter.*gate: "):
        answerer.ask(Question(QUESTION, at=START - 100))  # it may lie in one of those


def test_frames_that_may_not_be_read_are_left_out_and_counted(memory: Path, model: AfterviewModel) -> None:
    for chunk in (memory / "back" / "generation-1" / "tokens").glob("c.0.*"):
        chunk.chmod(0)
    answerer = Answerer(Memory(memory), model)
    with unprivileged():
        (part,) = answerer.ask(Question(QUESTION, ("back",), at=START + 100)).parts
    assert (part.coverage.frames, part.coverage.unreachable, part.coverage.damaged) == (54, 16, 0)
    assert "may not read it" in part.coverage.to_dict()["unreachable_why"]
    with (
        unprivileged(),
        pytest.raises(Unreadable, match=r"all of its 11 frames in that span are out of reach.*may not"),
    ):
        answerer.ask(Question(QUESTION, ("back",), at=START + 10))


def test_a_camera_that_fails_in_the_middle_costs_itself(
    memory: Path, model: AfterviewModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    answerer = Answerer(Memory(memory), model)
    plan = answerer._planner.plan

    def failing(snapshot: MemorySnapshot, *rest: Any) -> Context:
        if snapshot.info.id == "front":
            raise OSError(5, "Input/output error", str(memory / "front" / "committed"))
        return plan(snapshot, *rest)

    monkeypatch.setattr(answerer._planner, "plan", failing)
    answer = answerer.ask(Question(QUESTION, at=START + 100))
    assert [part.coverage.camera for part in answer.parts] == ["back", "gate"]
    assert "input/output error" in answer.skipped["front"]


def test_the_nearest_of_many_are_chosen_among_the_readable(memory: Path, model: AfterviewModel) -> None:
    for name in ("a", "b", "c"):
        shutil.copytree(memory / "gate", memory / name)
    (memory / "a" / "camera.json").unlink()
    answer = Answerer(Memory(memory), model).ask(Question(QUESTION, at=START + 100))
    assert len(answer.parts) == 4
    assert "camera.json is missing" in answer.skipped["a"]


@pytest.mark.parametrize("command", ["ask", "search"])
def test_the_command_names_them_in_text_and_json(
    memory: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (memory / "gate" / "camera.json").chmod(0)
    (memory / "front" / "camera.json").write_text("{")
    asked = [command, QUESTION, "--memory", str(memory), "--at", str(START + 100), "--model", "tiny"]
    assert main([*asked, "--camera", "back"]) == 0  # imports everything
    capsys.readouterr()
    with unprivileged():
        assert main([*asked, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert main(asked) == 0
        printed = capsys.readouterr().out
        assert main([*asked, "--camera", "gate"]) == 1
        named = capsys.readouterr().err
    assert "may not read it" in document["skipped"]["gate"]
    assert "camera.json" in document["skipped"]["front"]
    assert re.search(r"not (asked|searched) gate: ", printed)
    assert re.search(r"not (asked|searched) front: ", printed)
    assert "may not read it" in named
    assert "no camera" not in named
    for name in ("back", "late"):
        (memory / name / "camera.json").write_text("{")
    with unprivileged():
        assert main(asked) == 1
    said = capsys.readouterr().err
    assert all(f"{name}: " in said for name in ("back", "front", "gate", "late"))


def test_python_and_a_session_go_on_without_them(memory: Path, model: AfterviewModel) -> None:
    (memory / "back" / "camera.json").write_text("{")
    (memory / "gate" / "journal").chmod(0)
    with unprivileged():
        opened = afterview.open(memory)
        assert sorted(opened.skipped()) == ["back"]  # the journal is read by the first snapshot
        answer = afterview.ask(opened, QUESTION, at=START + 100, model=model)
        assert [part.coverage.camera for part in answer.parts] == ["front"]
        assert sorted(answer.skipped) == ["back", "gate", "late"]

    async def live() -> list[str]:
        async with Session(memory, model.encoders) as session:
            with unprivileged():
                return sorted((await session.ask(model, Question(QUESTION, at=START + 100))).skipped)

    assert asyncio.run(live()) == ["back", "gate", "late"]
    for name in ("front", "late"):
        (memory / name / "camera.json").unlink()
    (memory / "gate" / "camera.json").unlink()
    with pytest.raises(RepositoryError, match="none of its 4 cameras"):
        afterview.ask(memory, QUESTION, model=model)
