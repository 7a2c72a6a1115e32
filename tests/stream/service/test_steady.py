"""What a question costs does not depend on how many were asked before, nor, beyond the model's budget, on how much was seen."""

import os
from pathlib import Path
from typing import Any

import pytest

from afterview.memory.format import answer_files
from afterview.model.checkpoint.models import AfterviewModel
from tests.support.service import ServiceHere, record_camera

ASKED = {"question": "Did you see a red ring?"}


def test_a_question_opens_no_other_answer(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record_camera(tmp_path, "hall", tiny, 20)
    monkeypatch.setattr(answer_files, "_SETTLED_NS", -1, raising=False)
    opened: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: opened.append(str(path)) or scandir(path))
    counts = []
    with ServiceHere(tmp_path, tiny) as service:
        for _ in range(6):
            opened.clear()
            answer = service.json("POST", "/ask", ASKED)
            assert answer["id"] in {os.path.basename(path) for path in opened}
            counts.append(sum("/answers/" in path for path in opened))
        assert len(service.json("GET", "/answers")["answers"]) == 6
    assert counts == [1] * 6


def test_a_question_reads_no_more_frames_than_the_model_recalls(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = tiny.preset.recall.budget
    sizes = {"young": budget - 28, "full": budget, "old": budget + 172}
    for name, frames in sizes.items():
        record_camera(tmp_path, name, tiny, frames)
    given: list[int] = []
    inputs = AfterviewModel.video_inputs

    def counted(model: AfterviewModel, asked: Any) -> Any:
        given.extend(len(features) for features, _, _ in asked)
        return inputs(model, asked)

    monkeypatch.setattr(AfterviewModel, "video_inputs", counted)
    with ServiceHere(tmp_path, tiny) as service:
        for name in sizes:
            service.json("POST", "/ask", {**ASKED, "cameras": [name]})
    assert given == [budget - 28, budget, budget]
