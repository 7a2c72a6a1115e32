"""A question that the model does not know is declined, whoever asks: no camera answers, and the text says what can be asked."""

import json
from pathlib import Path

import pytest

import afterview
from afterview.cli.main import main
from afterview.memory.base.errors import MemoryNotFound
from afterview.memory.directory import Memory
from afterview.memory.writing.open import open_camera
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.question import Question
from afterview.stream.session import Session
from afterview.stream.session import run as run_loop
from tests.support.memory_world import make_frame
from tests.support.presets import write_preset

OUTSIDE, INSIDE = "Did the dog leave by the front door?", "Was there a red ring?"


@pytest.fixture(scope="module")
def model() -> AfterviewModel:
    return load_pretrained("tiny", device="cpu")


def record(path: Path, model: AfterviewModel, *names: str) -> Path:
    for name in names:
        spec = model.encoders.feature_spec
        with open_camera(path, name, spec) as repository:
            for number in range(8):
                repository.append(make_frame(number, spec))
    return path


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory, model: AfterviewModel) -> Path:
    return record(tmp_path_factory.mktemp("memory"), model, "front door", "yard")


def test_python_gets_a_declined_answer_without_evidence(memory: Path, model: AfterviewModel) -> None:
    pieces: list[str] = []
    answer = afterview.ask(str(memory), OUTSIDE, model=model, on_text=pieces.append)
    assert answer.declined
    assert (answer.parts, answer.evidence, answer.question) == ((), [], OUTSIDE)
    assert "synthetic world" in answer.text
    assert '"Did you see a red ring?"' in answer.text
    assert "".join(pieces) == answer.text
    known = afterview.ask(str(memory), INSIDE, camera="yard", model=model)
    assert not known.declined
    assert len(known.parts) == 1


def test_a_session_gets_the_same(memory: Path, model: AfterviewModel) -> None:
    async def asked() -> str:
        async with Session(memory, model.encoders) as session:
            answer = await session.ask(model, Question(OUTSIDE, ("yard",)))
        assert answer.declined
        return answer.text

    assert run_loop(asked()) == afterview.ask(str(memory), OUTSIDE, camera="yard", model=model).text


def test_the_name_of_a_camera_is_known(memory: Path, model: AfterviewModel) -> None:
    answer = Answerer(Memory(memory), model).ask(Question("Was a red ring at the front door?", max_new_tokens=2))
    assert not answer.declined


def test_ask_prints_it_and_exits_with_0(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", OUTSIDE, "--memory", str(memory), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["declined"] is True
    assert (said["evidence"], said["coverage"], said["provenance"], said["cameras"]) == ([], None, None, [])
    assert set(said["timing"]) == {"total_s"}
    assert main(["ask", OUTSIDE, "--memory", str(memory)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(said["answer"])
    assert "evidence" not in shown
    assert "coverage" not in shown
    assert main(["ask", INSIDE, "--memory", str(memory), "--camera", "yard", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["declined"] is False


def test_an_unknown_camera_is_still_an_error(memory: Path, model: AfterviewModel) -> None:
    with pytest.raises(MemoryNotFound):
        afterview.ask(str(memory), OUTSIDE, camera="attic", model=model)


def test_a_model_without_a_scope_declines_nothing(tmp_path: Path) -> None:
    model = load_pretrained(write_preset(tmp_path), device="cpu")
    path = record(tmp_path / "memory", model, "yard")
    assert not afterview.ask(str(path), OUTSIDE, model=model).declined
