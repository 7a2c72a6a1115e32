"""The shipped prompts and configurations: exemplars are answers as they are asked for, and pass the checks themselves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from afterview.configs import load
from afterview.training.marathon.checks.form import faults
from afterview.training.marathon.config import ChecksConfig, MarathonConfig, prompts_directory
from afterview.training.marathon.models.prompts import data_in, prompt
from afterview.training.marathon.models.request import PURPOSES, Purpose
from afterview.training.marathon.models.shapes import (
    AnswersAnswer,
    CaptionAnswer,
    ClipCaptionAnswer,
    CompareAnswer,
    EventsAnswer,
    QuestionsAnswer,
)
from afterview.training.marathon.rows import Checked, Moment, Question
from afterview.training.marathon.run import run
from afterview.training.marathon.stages.files import DataSet
from afterview.training.marathon.tasks import FORMS, SUMMARY, TASKS, TOPICS, tasks_of
from afterview.training.marathon.worlds.exact import WorldModel
from tests.training.marathon.conftest import EXACT, settings

SHAPES: dict[Purpose, type[BaseModel]] = {
    "clip_caption": ClipCaptionAnswer, "events": EventsAnswer, "event_caption": CaptionAnswer, "global_caption": CaptionAnswer,
    "questions": QuestionsAnswer, "agreed_caption": ClipCaptionAnswer, "answers": AnswersAnswer, "compare": CompareAnswer,
    "blind": AnswersAnswer,
}  # fmt: skip


def test_questions_of_the_examples_are_rejected(worlds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of 135 million parameters answers with the examples of its prompt."""
    copied, plain = "What colour is the handle of the knife?", WorldModel.answer

    def answer(self: WorldModel, purpose: Purpose, item: str, data: Mapping[str, Any], seed: int) -> dict[str, Any]:
        said = plain(self, purpose, item, data, seed)
        if purpose == "questions" and data["topic"] == "object":
            said["questions"][0] = {**said["questions"][0], "question": copied}
        return said

    monkeypatch.setattr(WorldModel, "answer", answer)
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(settings(models={"captioner": EXACT, "writer": EXACT})))
    run(config, worlds, tmp_path / "out")
    rows = [row for row in DataSet(tmp_path / "out").rows("checks") if isinstance(row, Checked)]
    assert {row.question for row in rows if "exemplar" in row.reasons} == {copied}
    assert not [row for row in rows if row.question == copied and row.kept]


@pytest.mark.parametrize("purpose", PURPOSES)
def test_exemplars_have_the_shape_that_is_asked_for(purpose: Purpose) -> None:
    file = prompt(purpose).file
    assert file.exemplars
    for one in file.exemplars:
        SHAPES[purpose].model_validate(one.answer)
    messages = prompt(purpose).messages({"number": 1, "text": "```json\n{}\n```"})
    assert [*[message["role"] for message in messages][:1], messages[-1]["role"]] == ["system", "user"]
    assert data_in(messages[-1]["content"])["number"] == 1
    assert all(name in file.user for name in SHAPES[purpose].model_fields), "every key is asked for"


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("form", FORMS)
def test_exemplars_of_questions_pass_the_checks(topic: str, form: str) -> None:
    (one,) = [one for one in prompt("questions").file.exemplars if one.of == {"topic": topic, "form": form}]
    moments = [Moment.model_validate(moment) for clip in one.data["clips"] for moment in clip["moments"]]
    for said in QuestionsAnswer.model_validate(one.answer).questions:
        question = Question.model_validate(
            {"key": "k", "video": "v", "topic": topic, "form": form, **said.model_dump()}
        )
        assert faults(question, one.data["seconds"], moments, ChecksConfig()) == []
        assert (form == "choice") == (len(said.wrong) == one.data["options"] - 1)
        assert said.task != SUMMARY or said.answer == one.data["global_caption"]


def test_the_tasks_are_the_paper_s() -> None:
    assert len(TASKS) == 22
    assert [len(tasks_of(topic)) for topic in TOPICS] == [5, 2, 6, 4, 2, 3]
    assert sum(task.reach == "short" for task in TASKS) == 7


@pytest.mark.parametrize("name", ["world", "openai", "vllm"])
def test_shipped_configurations_load(name: str) -> None:
    config = load(prompts_directory().parent / f"{name}.yaml", MarathonConfig)
    assert len(config.models.looks) == 3
    assert config.checks.captioners == 2
