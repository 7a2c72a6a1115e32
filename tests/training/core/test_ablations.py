"""Switches for the paper's ablations, in asking and in training: rotary positions, MemAug, its blocks, memory scale, forgetting."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError

from afterview.configs import UsageError
from afterview.memory.plans.positions import plan_layout
from afterview.memory.plans.recall import plan_recall
from afterview.model.base.errors import CheckpointError
from afterview.model.batch import assemble
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.checkpoint.preset import find_preset
from afterview.model.checkpoint.saving import save_pretrained
from afterview.model.memaug.rope import rotate, rotation
from afterview.training.core.stage_data import StageData
from afterview.training.core.stages import StageConfig
from afterview.training.data.examples import Example, perceive
from afterview.training.run import train_stage
from tests.support.toy_stage import toy_stage, write_toy_set


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set, and a checkpoint of its model with two blocks of MemAug."""
    root = write_toy_set(tmp_path_factory.mktemp("toy"))
    save_pretrained(load_pretrained(root / "toy.yaml", device="cpu", dtype="float32"), root / "checkpoint")
    return root


def preset(directory: Path, toy: Path, **keys: Any) -> Path:
    path = directory / "ablation.yaml"
    kept = {"name": "ablation", "checkpoint": str(toy / "checkpoint"), "index_encoder": None}
    path.write_text(yaml.safe_dump(kept | {"forgetting": {"max_frames": 8, "min_frames": 2}} | keys))
    return path


def example_of(config: StageConfig) -> tuple[Example, AfterviewModel]:
    model = load_pretrained(config.model, device="cpu", dtype="float32", changes=config.ablations)
    example = StageData(config, model)(0)[0]
    assert isinstance(example, Example)
    return example, model


def inputs(example: Example, model: AfterviewModel, layout: Any = None) -> torch.Tensor:
    """The decoder's input in asking."""
    return model.video_language.inputs_embeds(example.features, layout or example.layout, example.prompt).inputs_embeds


def test_without_rotary_positions_it_does_not_matter_where_frames_are(toy: Path, tmp_path: Path) -> None:
    x = torch.randn(1, 5, 2, 8)
    assert torch.equal(rotate(x, rotation(torch.zeros(1, 5), 8, 1e6)), x)
    off = load_pretrained(preset(tmp_path, toy, rotary=False), device="cpu", dtype="float32")
    example, on = example_of(toy_stage(toy))
    moved = dataclasses.replace(example.layout, key_numbers=example.layout.key_numbers[::-1] * 9.0)
    assert torch.equal(inputs(example, off), inputs(example, off, moved))
    assert not torch.equal(inputs(example, on), inputs(example, on, moved))
    assert not torch.equal(inputs(example, on), inputs(example, off))


@pytest.mark.parametrize("changes", [{"rotary": False}, {"use_memaug": False}, {"memaug_depth": 1}])
def test_an_ablated_stage_learns_what_is_asked_afterwards(changes: dict[str, Any], toy: Path, tmp_path: Path) -> None:
    rates = {"projector": 1e-3, "language": 1e-4} | ({} if "use_memaug" in changes else {"memaug": 1e-3})
    config = toy_stage(toy, model=str(toy / "checkpoint"), trainer={"steps": 2, "learning_rates": rates}, **changes)
    trained = train_stage(config, tmp_path, cpu=True)
    model = load_pretrained(trained.model, device="cpu", dtype="float32")
    assert model.video_language.rotary == changes.get("rotary", True)
    assert model.video_language.use_memaug == changes.get("use_memaug", True)
    assert len(model.video_language.memaug.layers) == changes.get("memaug_depth", 2)
    example, same = example_of(config.model_copy(update={"model": str(trained.model)}))
    with torch.no_grad():
        learnt = assemble(same.video_language, [perceive(example, same.video_language, same.vision, config.forgetting)])
    prompt = dataclasses.replace(example.prompt, joins_before=None, joins_after=None)
    asked = model.video_language.inputs_embeds(example.features, example.layout, example.prompt)
    torch.testing.assert_close(learnt.inputs_embeds[0], asked.inputs_embeds, rtol=1e-4, atol=1e-5)
    weights = model.video_language.inputs_embeds(example.features, example.layout, prompt).frame_weights
    assert (weights is None) == ("use_memaug" in changes)


def test_fewer_blocks_are_the_first_ones_and_more_are_refused(toy: Path, tmp_path: Path) -> None:
    whole = load_pretrained(preset(tmp_path, toy), device="cpu", dtype="float32")
    fewer = load_pretrained(preset(tmp_path, toy, memaug_depth=1), device="cpu", dtype="float32")
    example, _ = example_of(toy_stage(toy))
    whole.video_language.memaug.layers = whole.video_language.memaug.layers[:1]
    assert torch.equal(inputs(example, fewer), inputs(example, whole))
    save_pretrained(fewer, tmp_path / "saved")
    assert len(load_pretrained(tmp_path / "saved", device="cpu").video_language.memaug.layers) == 1
    with pytest.raises(CheckpointError, match=r"memaug_depth is 3, but the checkpoint's MemAug has 2 blocks"):
        load_pretrained(preset(tmp_path, toy, memaug_depth=3), device="cpu")
    with pytest.raises(CheckpointError, match="evidence_blocks names block 1, but MemAug has 1"):
        load_pretrained(preset(tmp_path, toy, memaug_depth=1, evidence_blocks=[1]), device="cpu")


def test_memaug_that_is_off_cannot_learn(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="use_memaug is false, so MemAug cannot learn"):
        toy_stage(toy, use_memaug=False)
    with pytest.raises(UsageError, match="use_memaug is false, so MemAug cannot learn"):
        train_stage(toy_stage(toy, model=str(preset(tmp_path, toy, use_memaug=False))), tmp_path / "out", cpu=True)


def cosines(rows: NDArray[np.floating], to: NDArray[np.floating]) -> NDArray[np.floating]:
    lengths = np.linalg.norm(rows, axis=-1) * np.linalg.norm(to, axis=-1)
    return (rows * to).sum(-1) / lengths


def by_the_papers_rule(rule: str, example: Example, model: AfterviewModel, slots: int) -> list[int]:
    """Slots that stay visible: a quarter, computed from the paper's sentences. A video of 12 frames is repeated to `slots`."""
    shown = np.linspace(0, 11, slots, dtype=int)
    if rule == "keyframe":  # the least similar to their eight nearest neighbours in time
        means = example.features.double().mean(1).numpy()[shown]
        scores = []
        for place in range(slots):
            near = [other for other in range(place - 4, place + 5) if other != place and 0 <= other < slots]
            scores.append(float(np.mean([cosines(means[place], means[other]) for other in near])))
    else:  # the most similar to the question
        language = model.video_language
        with torch.no_grad():
            means = language.projector(example.features.float()).double().mean(1).numpy()[shown]
            ids = example.prompt.after[example.prompt.question]
            question = language.language.decoder.model.embed_tokens(torch.from_numpy(ids)).double().mean(0).numpy()
        scores = list(-cosines(means, question))
    return sorted(np.argsort(scores, kind="stable")[: slots // 4].tolist())


@pytest.mark.parametrize("rule", ["keyframe", "question-guided"])
def test_rules_that_look_at_frames_train_and_choose_as_the_paper_says(rule: str, toy: Path, tmp_path: Path) -> None:
    forgetting = {"temporal": rule, "max_frames": 8, "min_frames": 4, "spatial": "uniform"}
    config = toy_stage(toy, forgetting=forgetting, trainer={"steps": 2})
    example, model = example_of(config)
    sample = perceive(example, model.video_language, model.vision, config.forgetting)
    assert sample.layout.visible.tolist() == by_the_papers_rule(rule, example, model, 16)
    assert len(sample.layout.query_tokens()) == len(example.layout.query_tokens())
    assert train_stage(config, tmp_path, cpu=True).steps == 2
    assert load_pretrained(tmp_path / "model", device="cpu").preset.forgetting.temporal == rule


def test_the_memory_scale_acts_in_training_as_in_asking(toy: Path, tmp_path: Path) -> None:
    forgetting = {"max_frames": 8, "min_frames": 2, "repository_scale": 0.5}
    config = toy_stage(toy, forgetting=forgetting, trainer={"steps": 1})
    example, _ = example_of(config)
    assert len(example.layout.key_rows) == 6  # of 12 frames
    asked = plan_layout(12, config=config.forgetting, random_constant=example.seed)
    assert np.array_equal(asked.key_tokens(), example.layout.key_tokens())
    assert train_stage(config, tmp_path, cpu=True).steps == 1
    assert load_pretrained(tmp_path / "model", device="cpu").preset.forgetting.repository_scale == 0.5


@pytest.mark.parametrize("name", ["hour-llava-3b", "hour-llava-7b"])
def test_the_paper_at_any_length_is_what_a_presets_comment_says(name: str, tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "configs" / "presets" / f"{name}.yaml").read_text()
    assert "Beyond 3,600 frames they are not" in text
    for key, value in re.findall(r"^#   (\w+): (.*)$", text, re.MULTILINE):
        text = re.sub(rf"^{key}:.*$", f"{key}: {value}", text, flags=re.MULTILINE)
    (tmp_path / "paper.yaml").write_text(text)
    found = find_preset(tmp_path / "paper.yaml")
    frames = 90_000
    recall = plan_recall(frames, np.arange(0, frames, 200), np.empty(0, dtype=np.int64), found.recall)
    assert (recall.mode, len(recall.frames)) == ("full", frames)
    layout = plan_layout(frames, recall.frames, config=found.forgetting, policy=found.positions)
    assert layout.key_numbers.tolist() == list(range(frames))
    shipped = find_preset(name)
    assert plan_recall(frames, np.arange(0, frames, 200), recall.frames[:0], shipped.recall).mode == "bounded"


def test_a_stage_may_have_a_new_memaug_of_any_depth(toy: Path, tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                key: value
                for key, value in yaml.safe_load((toy / "toy.yaml").read_text()).items()
                if key != "memaug_depth"
            }
        )
    )
    config = toy_stage(toy, model=str(path), memaug_depth=3, trainer={"steps": 1})
    trained = train_stage(config, tmp_path / "out", cpu=True)
    assert json.loads((trained.model / "config.json").read_text())["memaug_depth"] == 3
    assert len(load_pretrained(trained.model, device="cpu").video_language.memaug.layers) == 3
