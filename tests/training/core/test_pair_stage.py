"""Stage 1 of a pair of a SigLIP and a Qwen: it learns, goes on, is saved in the published layout, and says what is still untrained."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from afterview.cli.main import main
from afterview.configs import load
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.preset import find_preset
from afterview.training.core.stages import StageConfig
from tests.support.pairs import qwen, siglip, write_pair
from tests.support.toy_stage import train_until

CONFIGS = Path(__file__).parents[3] / "configs" / "training"
RATES = {"projector": 1e-3, "memaug": 1e-3}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair, and four pictures with a sentence about each."""
    root = tmp_path_factory.mktemp("pair-stage")
    siglip(root / "siglip"), qwen(root / "qwen", rows=272, dtype=torch.bfloat16)
    write_pair(root)
    draw = np.random.default_rng(0)
    items = []
    for number in range(4):
        Image.fromarray(draw.integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(root / f"{number}.png")
        turns = [{"from": "human", "value": "<image>\nWhat is this?"}, {"from": "gpt", "value": f"It is {number}"}]
        items.append({"image": f"{number}.png", "conversations": turns})
    (root / "images.json").write_text(json.dumps(items))
    return root


def stage(root: Path, *, model: str = "", steps: int = 2, rates: dict[str, float] = RATES, **changes: Any) -> Path:
    """The file of a stage over the pictures."""
    trainer = {"steps": steps, "learning_rates": rates, "log_every": 1, "warmup": 0.0}
    values = {
        "name": "stage1", "model": model or str(root / "pair.yaml"), "batch": 2, "trainer": trainer,
        "streams": [{"annotations": str(root / "images.json"), "pictures": str(root)}], "gradient_checkpointing": False,
    } | changes  # fmt: skip
    path = root / f"{'-'.join([*rates, str(steps)])}.yaml"
    path.write_text(json.dumps(values))
    return path


def test_stage_1_trains_a_pair_and_goes_on_where_it_stopped(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = stage(root)
    assert main(["train", str(config), "--out", str(root / "whole"), "--cpu", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["steps"], done["untrained"]) == (2, [])
    train_until(load(config, StageConfig), root / "parts", 1)
    assert main(["train", str(config), "--out", str(root / "parts"), "--cpu", "--resume"]) == 0
    whole, parts = (load_file(root / out / "model" / "model.safetensors") for out in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    before, after = (
        load_pretrained(root / "pair.yaml", device="cpu"),
        load_pretrained(root / "whole" / "model", device="cpu"),
    )
    assert (after.trained, after.notice, after.preset.new_parts) == (True, None, ())
    assert after.config["mm_resampler_type"] == "memaug"
    assert after.config["mm_vision_tower"] == "./vision_tower"
    old, new = (dict(model.video_language.named_parameters()) for model in (before, after))
    changed = {name.split(".")[0] for name in old if not torch.equal(old[name], new[name])}
    assert changed == {"projector", "memaug", "newline"}
    assert before.encoders.feature_spec.differences(after.encoders.feature_spec) == []


def test_what_was_frozen_stays_untrained_until_a_later_stage(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = stage(root, steps=1, rates={"memaug": 1e-3})
    assert main(["train", str(first), "--out", str(root / "first"), "--cpu"]) == 0
    said = "untrained: the projector of pair is newly initialised"
    assert said in capsys.readouterr().err
    half = load_pretrained(root / "first" / "model", device="cpu")
    assert (half.trained, half.preset.new_parts) == (False, ("projector",))
    assert half.notice is not None
    assert half.notice.startswith(said)
    second = stage(root, model=str(root / "first" / "model"), steps=1, rates={"projector": 1e-3})
    assert main(["train", str(second), "--out", str(root / "second"), "--cpu"]) == 0
    assert find_preset(root / "second" / "model").caution is None
    assert find_preset(root / "second" / "model").trained


def test_the_shipped_stage_1_of_a_pair_learns_all_that_is_new() -> None:
    preset = find_preset(CONFIGS / "pair.yaml")
    config = load(CONFIGS / "pair-stage1.yaml", StageConfig)
    assert config.model == "configs/training/pair.yaml"
    assert all(config.trainer.learning_rates.get(part) for part in preset.new_parts)
    assert preset.new_parts == ("projector", "memaug")
