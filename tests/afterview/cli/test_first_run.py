"""What a person is told who records into a new memory with the built-in model: once per memory, in two lines."""

import logging
from pathlib import Path

import pytest

from afterview.cli.first_run import tell_what_it_knows
from afterview.memory.writing.open import open_camera
from afterview.model.base import machine
from afterview.model.base.machine import Gpu, Machine
from afterview.model.checkpoint.preset import find_preset
from tests.support.memory_world import make_frame, make_spec


def said(memory: Path, caplog: pytest.LogCaptureFixture, model: str = "tiny") -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.INFO):
        tell_what_it_knows(memory, find_preset(model))
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("gpu", "memory_bytes", "words"),
    [
        (None, 10**9, "no preset for real footage fits the memory of this machine (4 cores, 1 GB memory, no GPU)"),
        (None, 64 * 10**9, "search fits this machine (4 cores, 64 GB memory, no GPU): it finds frames and does not answer: afterview "
         "models pull search; then --model search; hour-llava-3b answers, but is slow without a GPU"),
        (24 * 10**9, 64 * 10**9, "hour-llava-7b fits this machine (4 cores, 64 GB memory, T (24 GB)): afterview models pull hour-llava-7b"),
    ],
)  # fmt: skip
def test_a_new_memory_is_told_once(
    gpu: int | None,
    memory_bytes: int,
    words: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpus = () if gpu is None else (Gpu("T", gpu, "1"),)
    monkeypatch.setattr(machine, "this_machine", lambda: Machine("p", 4, (), memory_bytes, memory_bytes, gpus, "2"))
    lines = said(tmp_path, caplog)
    assert len(lines) == 2
    assert lines[0].startswith("note: the model tiny knows a synthetic world of")
    assert words in lines[1]
    assert said(tmp_path, caplog, "hour-llava-3b") == []
    with open_camera(tmp_path, "hall", make_spec()) as repository:
        repository.append(make_frame(0, make_spec()))
    assert said(tmp_path, caplog) == []


def test_a_new_memory_of_a_model_that_finds_only_is_told_how_to_get_answers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (line,) = said(tmp_path, caplog, "search")
    assert "'search' finds frames and does not answer" in line
    assert "--answer-with URL" in line
    with open_camera(tmp_path, "hall", make_spec()) as repository:
        repository.append(make_frame(0, make_spec()))
    assert said(tmp_path, caplog, "search") == []
