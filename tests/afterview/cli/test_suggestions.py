"""Questions that commands, help, messages and documents suggest are such that the built-in model can answer them."""

import re
import shlex
from pathlib import Path

import pytest

from afterview.cli.main import main
from afterview.configs import UsageError
from afterview.memory.directory import Memory
from afterview.memory.writing.open import open_camera
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.preset import find_preset
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.question import Question
from tests.support.clips import make_clip
from tests.support.memory_world import make_frame
from tests.support.presets import write_preset

ROOT = Path(__file__).parents[3]
SOURCES = [
    *(ROOT / "afterview").glob("*.py"),
    *(ROOT / "afterview" / "cli").rglob("*.py"),
    *(ROOT / "afterview" / "demo").rglob("*.py"),
    ROOT / "README.md",
    *(path for path in (ROOT / "docs").glob("*.md") if path.name != "answer-with.md"),  # there another model answers
]
# Two forms: `afterview ask "..."`, also escaped in a Python string, and `afterview.ask(memory, "...")`.
SUGGESTED = re.compile(
    r"""(?:\b(?:ask|search) \\?"|afterview\.ask\([^"]*(?:"\./cameras", )?"|Question\(")([^"\\]+)\\?\""""
)
DECLINED = {
    "Did a parcel arrive?": "commands.md",  # on purpose
    # Other models are asked or searched with:
    "What colour is the coat of the man that stood at the door at noon?": "commands.md",
    "Did a person walk past?": "models.md",
    "Did a car pass?": "models.md",
    "a person": "record.py",
}


def test_the_built_in_model_can_answer_every_suggested_question() -> None:
    scope = find_preset("tiny").scope
    assert scope is not None
    found = {text: path.name for path in SOURCES for text in SUGGESTED.findall(path.read_text()) if "{" not in text}
    assert {"Did you see a red ring?", "Which scene do you see now?", "a red ring"} <= set(found)
    declined = {text: name for text, name in found.items() if scope.declines(text)}
    assert declined == DECLINED


def test_a_recording_suggests_a_question_of_its_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, other = make_clip(tmp_path / "clip.mp4", frames=3), write_preset(tmp_path)
    for model, question in (("tiny", "Which scene do you see now?"), (str(other), "What happened?")):
        memory = tmp_path / Path(model).stem
        assert main(["replay", str(clip), "--memory", str(memory), "--model", model]) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ask about it: ")]
        assert shlex.split(line)[3:6] == ["afterview", "ask", question]


def test_an_empty_question_is_answered_with_one_of_the_model(tmp_path: Path) -> None:
    for name, question in (("tiny", "Which scene do you see now"), (str(write_preset(tmp_path)), "What happened")):
        model = load_pretrained(name, device="cpu")
        path, spec = tmp_path / Path(name).stem, model.encoders.feature_spec
        with open_camera(path, "yard", spec) as repository:
            repository.append(make_frame(0, spec))
        with pytest.raises(UsageError, match=question):
            Answerer(Memory(path), model).ask(Question(" "))


def test_the_notice_names_a_published_model_for_real_footage() -> None:
    notice = find_preset("tiny").notice or ""
    assert "--model hour-llava-3b" in notice
    assert not re.search("search|timeline|info", notice)
