"""Training and asking state a video's length alike: as add_time_instruction of the checkpoint says."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from afterview.model.checkpoint.loading import load_pretrained
from afterview.training.core.stage_data import StageData
from afterview.training.data.features import save_features
from afterview.training.run import train_stage
from tests.support.presets import write_toy
from tests.training.core.test_trainer import stage


@pytest.mark.parametrize("stated", [True, False])
def test_the_time_sentence_is_in_training_prompts_if_it_is_in_those_of_questions(tmp_path: Path, stated: bool) -> None:
    model = replace(load_pretrained(write_toy(tmp_path), device="cpu"), time_instruction=stated)
    save_features(tmp_path / "features", "a.mp4", torch.zeros(12, 64, 32).half(), 12.0, model.encoders.feature_spec)
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A toy"}]
    (tmp_path / "annotations.json").write_text(json.dumps([{"video": "a.mp4", "conversations": turns}]))
    assert model.tokenizer is not None
    learnt = model.tokenizer.decode(StageData(stage(tmp_path), model)(0)[0].prompt.after)
    asked = model.tokenizer.decode(model.prompt("What?", frames=12, seconds=12.0).after)
    for text in (learnt, asked):
        assert ("The video lasts for 12.00 seconds, and 12 frames" in text) == stated
        assert "What?<|im_end|>" in text


@pytest.mark.parametrize("stated", [True, False])
def test_a_stage_may_set_it_and_its_checkpoint_keeps_it(tmp_path: Path, stated: bool) -> None:
    write_toy(tmp_path)
    spec = load_pretrained(tmp_path / "toy.yaml", device="cpu").encoders.feature_spec
    save_features(tmp_path / "features", "a.mp4", torch.zeros(12, 64, 32).half(), 12.0, spec)
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A toy"}]
    (tmp_path / "annotations.json").write_text(json.dumps([{"video": "a.mp4", "conversations": turns}]))
    config = stage(tmp_path, time_instruction=stated, trainer={"steps": 1, "learning_rates": {"memaug": 1e-3}})
    trained = train_stage(config, tmp_path / "out", cpu=True).model
    assert load_pretrained(trained, device="cpu").time_instruction == stated
