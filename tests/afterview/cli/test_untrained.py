"""What is said of a model with parts that were never trained, wherever it is loaded or named."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from afterview.cli.cautions import caution_of
from afterview.cli.commands.serve import _load_model
from afterview.cli.first_run import tell_what_it_knows
from afterview.cli.main import main
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.preset import find_preset
from tests.support.checkpoints import TIED, copied, rewrite
from tests.support.pairs import qwen, siglip, write_pair
from tests.support.service import record_camera

SAID = "untrained: the projector and MemAug of pair are newly initialised, so its answers mean nothing"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The preset file of a pair, and beside it `cameras`, a memory with a few frames."""
    root = tmp_path_factory.mktemp("untrained")
    siglip(root / "siglip"), qwen(root / "qwen")
    path = write_pair(root)
    record_camera(root / "cameras", "porch", load_pretrained(path, device="cpu"), 6)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_answers_and_their_provenance(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory = str(pair.parent / "cameras")
    text = run(capsys, "ask", "Where?", "--memory", memory, "--max-tokens", "2")
    assert text.count(f"note: {SAID}") == 1
    document: dict[str, Any] = json.loads(
        run(capsys, "ask", "Where?", "--memory", memory, "--max-tokens", "2", "--json")
    )
    assert document["notice"].startswith(SAID)
    assert (document["provenance"]["trained"], document["provenance"]["untrained"]) == (False, ["projector", "memaug"])
    assert document["notice"] in run(capsys, "answers", document["id"], "--memory", memory)


def test_info_without_loading_the_model(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory = str(pair.parent / "cameras")
    assert run(capsys, "info", "--memory", memory).count(SAID) == 1
    (camera,) = json.loads(run(capsys, "info", "--memory", memory, "--json"))["cameras"]
    assert camera["model_notice"].startswith(SAID)
    pair.rename(pair.with_suffix(".moved"))
    try:
        assert "newly initialised" not in run(capsys, "info", "--memory", memory)
    finally:
        pair.with_suffix(".moved").rename(pair)


@pytest.mark.parametrize("content", ["name: [", "- 1", "name: x\nencoder: a/b\n", ""])
def test_a_preset_file_that_was_spoilt_hides_nothing_else_of_info(tmp_path: Path, content: str) -> None:
    (tmp_path / "pair.yaml").write_text(content)
    assert caution_of(str(tmp_path / "pair.yaml")) is None
    assert caution_of("tiny") is None
    assert caution_of("owner/name") is None


def test_recording_and_serving(pair: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tell_what_it_knows(tmp_path, find_preset(pair))
    assert [record.getMessage().startswith(f"note: {SAID}") for record in caplog.records] == [True]
    caplog.clear()
    assert not _load_model(str(pair), None).trained
    assert sum(record.getMessage().startswith(f"note: {SAID}") for record in caplog.records) == 1


def test_a_llava_whose_memaug_is_new_says_so_of_memaug_alone(tmp_path: Path) -> None:
    place = copied(TIED, tmp_path, config={"mm_resampler_type": None})
    names = [
        name for name in load_pretrained(TIED, device="cpu").video_language.state_dict() if name.startswith("memaug.")
    ]
    rewrite(place, {f"model.vision_resampler.{name.removeprefix('memaug.')}": None for name in names})
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"name": "mine", "checkpoint": str(place), "init_memaug": True}))
    model = load_pretrained(tmp_path / "mine.yaml", device="cpu")
    assert (model.trained, model.preset.new_parts) == (False, ("memaug",))
    assert model.notice is not None
    assert model.notice.startswith("untrained: MemAug of mine is newly initialised")
