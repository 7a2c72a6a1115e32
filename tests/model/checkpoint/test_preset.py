"""Presets: finding them by name, and what a preset file must not contain."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from afterview.configs import ConfigError, preset_names
from afterview.model.base.errors import CheckpointError, ModelNotFound
from afterview.model.checkpoint.hub import locate
from afterview.model.checkpoint.preset import DEFAULT_INDEX_ENCODER, find_preset


def test_every_shipped_preset_reads_and_the_published_ones_are_the_papers() -> None:
    assert {"tiny", "hour-llava-3b", "hour-llava-7b"} <= set(preset_names())
    for name in preset_names():
        assert find_preset(name).name == name
    for name, checkpoint in [("3b", "jylins/hourllava-qwen25-3b-s3"), ("7b", "jylins/hourllava-qwen2-7b-s3")]:
        preset = find_preset(f"hour-llava-{name}")
        assert preset.checkpoint == checkpoint
        assert preset.index_encoder == DEFAULT_INDEX_ENCODER
        forgetting = preset.forgetting
        assert (forgetting.min_frames, forgetting.max_frames) == (32, 512)
        assert (forgetting.temporal_ratio, forgetting.spatial_ratio) == (4, 4)
        assert (forgetting.temporal, forgetting.spatial) == ("uniform", "random")
        assert preset.recall.budget == preset.trained_frames == 3600


def test_recall_of_every_preset_can_hold_what_it_shows() -> None:
    for name in preset_names():
        preset = find_preset(name)
        assert preset.recall.budget >= max(preset.forgetting.max_frames, preset.forgetting.shortest)


def test_directories_beside_a_preset_file_win_over_hub_ids(tmp_path: Path) -> None:
    (tmp_path / "owner" / "model").mkdir(parents=True)
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"name": "p", "checkpoint": "owner/model"}))
    assert find_preset(tmp_path / "p.yaml").checkpoint == str((tmp_path / "owner" / "model").resolve())
    (tmp_path / "q.yaml").write_text(yaml.safe_dump({"name": "q", "checkpoint": "owner/other"}))
    assert find_preset(tmp_path / "q.yaml").checkpoint == "owner/other"


def test_a_directory_stands_for_itself_with_the_papers_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "owner" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    preset = find_preset("owner/model")
    assert preset.checkpoint == os.path.realpath(tmp_path / "owner" / "model")
    assert preset.forgetting.max_frames == 512
    assert find_preset("owner/elsewhere").checkpoint == "owner/elsewhere"


@pytest.mark.parametrize("name", ["notes.txt", "owner/model.safetensors", "./notes.txt"])
def test_a_file_that_is_no_preset_is_no_hub_id_either(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "owner").mkdir()
    (tmp_path / name).write_text("words")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ModelNotFound, match=r"this file is neither a preset .* by the directory that holds its config.json"
    ):
        find_preset(name)
    with pytest.raises(CheckpointError, match="is a file; give the directory"):
        locate(name)


@pytest.mark.parametrize("name", ["tinny", "./nowhere", "/nowhere", "a/b/c", "owner/"])
def test_names_of_nothing_are_refused(name: str) -> None:
    with pytest.raises(ModelNotFound, match="no preset, preset file, directory or hub id"):
        find_preset(name)


def test_an_empty_name_is_not_the_working_directory() -> None:
    with pytest.raises(ModelNotFound, match="name is empty"):
        find_preset("")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "give exactly one of"),
        ({"checkpoint": "a/b", "encoder": "c/d", "decoder": "e/f"}, "give exactly one of"),
        ({"encoder": "c/d", "decoder": "e/f", "init_memaug": False}, "has no MemAug of its own; leave init_memaug out"),
        ({"encoder": "c/d"}, "encoder and decoder come together: encoder was given without decoder"),
        ({"encoder": "c/d", "vision": "c/d", "decoder": "e/f"}, "vision is the earlier name of encoder"),
        ({"encoder": "c/d", "decoder": "e/f", "untrained": ["memaug"]}, "untrained names parts of a checkpoint"),
        ({"checkpoint": "a/b", "untrained": ["tower"]}, "must be 'projector' or 'memaug'"),
        ({"checkpoint": "a/b", "trained": False}, "needs a notice"),
        ({"checkpoint": "a/b", "forgeting": {}}, "did you mean 'forgetting'"),
        ({"checkpoint": "a/b", "positions": "linear"}, "positions"),
    ],
)
def test_presets_that_contradict_themselves_are_refused(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({"name": "p", **values}))
    with pytest.raises(ConfigError, match=message):
        find_preset(tmp_path / "p.yaml")
