"""LoRA in training: what learns, what is saved, and that both results are the same model. Expected weights: the formula of the paper."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from afterview.configs import UsageError
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.checkpoint.published import published_slots
from afterview.model.checkpoint.saving import save_pretrained
from afterview.training.base.errors import TrainingError
from afterview.training.core import lora
from afterview.training.core.parts import parts_of
from afterview.training.core.stages import StageConfig
from afterview.training.run import train_stage
from tests.support.toy_stage import toy_stage, train_until, write_toy_set

pytest.importorskip("peft", reason="the extra peft is not installed")

LORA = {"rank": 4, "alpha": 8, "targets": ["q_proj", "up_proj"]}
RATES = {"memaug": 1e-3, "language": 1e-2}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set, and a checkpoint of its model."""
    root = write_toy_set(tmp_path_factory.mktemp("toy"))
    save_pretrained(load_pretrained(root / "toy.yaml", device="cpu", dtype="float32"), root / "checkpoint")
    return root


def stage(toy: Path, model: str = "checkpoint", *, steps: int = 3, **settings: Any) -> StageConfig:
    trainer = {"steps": steps, "learning_rates": RATES, "save_every": 1}
    return toy_stage(toy, trainer=trainer, model=str(toy / model), lora=LORA | settings)


def weights(model: AfterviewModel) -> dict[str, torch.Tensor]:
    slots = published_slots(model.video_language, model.vision.tower, tied=bool(model.config["tie_word_embeddings"]))
    return {name: slot.value.detach() for name, slot in slots.items()}


def test_only_the_updates_learn_and_the_merged_model_is_base_plus_updates(toy: Path, tmp_path: Path) -> None:
    result = train_stage(stage(toy), tmp_path / "out", cpu=True)
    before = weights(load_pretrained(toy / "checkpoint", device="cpu", dtype="float32"))
    after = weights(load_pretrained(result.model, device="cpu", dtype="float32"))
    updates = load_file(tmp_path / "out" / "adapter" / "adapter_model.safetensors")
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    decoder = {name for name in changed if ".layers." in name and "vision" not in name}
    assert decoder
    assert decoder == {
        name
        for name in after
        if name.endswith(("self_attn.q_proj.weight", "mlp.up_proj.weight")) and name.startswith("model.layers.")
    }
    assert all("vision_resampler" in name for name in changed - decoder)  # MemAug has a rate, the projector has none
    for name in decoder:
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        update = updates[f"{stem}.lora_B.weight"] @ updates[f"{stem}.lora_A.weight"]
        torch.testing.assert_close(after[name], before[name] + 8 / 4 * update, rtol=1e-5, atol=1e-6)


KINDS = [{"rslora": True}, {"kind": "dora"}, {"kind": "loha"}, {"kind": "lokr"}]


@pytest.mark.parametrize("settings", KINDS, ids=["rslora", "dora", "loha", "lokr"])
def test_the_adapter_alone_on_its_base_is_the_same_model(settings: dict[str, Any], toy: Path, tmp_path: Path) -> None:
    result = train_stage(stage(toy, **settings), tmp_path / "out", cpu=True)
    document = json.loads((tmp_path / "out" / "adapter" / "adapter_config.json").read_text())
    assert (document["r"], document.get("lora_alpha", document.get("alpha"))) == (4, 8)
    before = weights(load_pretrained(toy / "checkpoint", device="cpu", dtype="float32"))
    merged = weights(load_pretrained(result.model, device="cpu", dtype="float32"))
    added = weights(load_pretrained(tmp_path / "out" / "adapter", device="cpu", dtype="float32"))
    for name, value in merged.items():
        torch.testing.assert_close(added[name], value, rtol=1e-5, atol=1e-6)
    learnt = [name for name in merged if name.endswith("self_attn.q_proj.weight") and name.startswith("model.layers.")]
    assert learnt
    assert not any(torch.equal(merged[name], before[name]) for name in learnt)


def test_a_resumed_training_ends_with_the_same_weights(toy: Path, tmp_path: Path) -> None:
    whole = train_stage(stage(toy), tmp_path / "whole", cpu=True)
    train_until(stage(toy), tmp_path / "parts", 2)
    parts = train_stage(stage(toy), tmp_path / "parts", cpu=True)
    one, two = (weights(load_pretrained(result.model, device="cpu", dtype="float32")) for result in (whole, parts))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_model_without_a_checkpoint_has_no_adapter_alone(
    toy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    train_stage(stage(toy, "toy.yaml", steps=1), tmp_path / "out", cpu=True)
    assert not (tmp_path / "out" / "adapter").exists()
    assert "saved only in the model" in caplog.text


def test_mistakes_are_named(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="at the rate of language"):
        toy_stage(toy, trainer={"learning_rates": {"memaug": 1e-3}}, lora=LORA)
    with pytest.raises(ValidationError, match="not of loha"):
        stage(toy, kind="loha", rslora=True)
    decoder = load_pretrained(toy / "checkpoint", device="cpu").video_language.language.decoder
    with pytest.raises(TrainingError, match=r"no linear layer 'qproj'; it has .*q_proj"):
        lora.add_lora(decoder, lora.LoraSettings(targets=("qproj",)), seed=0)
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(UsageError, match="extra 'peft'"):
        lora.add_lora(decoder, lora.LoraSettings(), seed=0)


def test_updates_change_nothing_at_first_and_are_the_part_called_language(toy: Path) -> None:
    model = load_pretrained(toy / "checkpoint", device="cpu", dtype="float32")
    language = model.video_language.language
    inputs = torch.randn(1, 5, language.width, generator=torch.Generator().manual_seed(0))
    before = language(inputs)
    lora.add_lora(language.decoder, lora.LoraSettings(rank=2, dropout=0.0), seed=0)
    assert torch.equal(language(inputs), before)
    part = parts_of(model.video_language, model.vision.tower)["language"]
    assert {value.shape[0] == 2 or value.shape[1] == 2 for value in part} == {True}
