"""Extracting the cameras of a memory: one that cannot be read is left out and named."""

import json
from pathlib import Path

import pytest

from afterview.cli.main import main
from afterview.memory.writing.open import open_camera
from afterview.model.checkpoint.loading import load_encoders
from tests.support.memory_world import make_frame


def test_a_camera_that_cannot_be_read_costs_itself_and_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = load_encoders("tiny").feature_spec
    for name in ("door", "hall"):
        with open_camera(tmp_path / "m", name, spec) as repository:
            for number in range(3):
                repository.append(make_frame(number, spec))
    (tmp_path / "m" / "door" / "camera.json").write_text("{")
    command = ["extract", str(tmp_path / "m"), "--model", "tiny", "--out", str(tmp_path / "bank")]
    capsys.readouterr()
    assert main([*command, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["made"] == ["hall"]
    assert "camera.json" in document["skipped"]["door"]
    assert main(command) == 1
    assert "door: left out: " in capsys.readouterr().out
