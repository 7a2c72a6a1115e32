"""PEFT adapters, made here in the published layouts. Expected weights are computed from the formulas of the papers, not by the loader."""

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from afterview.configs import ConfigError, UsageError
from afterview.model.base.checkpoint_files import SINGLE_FILE
from afterview.model.base.errors import CheckpointError, DamagedCheckpoint, HubUnreachable, TensorMismatch
from afterview.model.checkpoint.loading import load_encoders, load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.checkpoint.preset import find_preset
from afterview.model.checkpoint.published import published_slots
from afterview.model.checkpoint.saving import save_pretrained
from afterview.model.vision.tower import KNOWN_TOWERS
from tests.support.checkpoints import TIED, UNTIED, copied, rewrite
from tests.support.presets import write_preset

Q, UP = "model.layers.0.self_attn.q_proj", "model.layers.2.mlp.up_proj"
BASE = load_file(TIED / SINGLE_FILE)
CONFIG = {"peft_type": "LORA", "base_model_name_or_path": str(TIED), "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "up_proj"],
          "bias": "none", "fan_in_fan_out": False, "modules_to_save": None, "task_type": "CAUSAL_LM"}  # fmt: skip


def halves(module: str, rank: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A [r, in] and B [out, r] of a module."""
    out, into = BASE[f"{module}.weight"].shape
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(rank, into, generator=chance) * 0.1, torch.randn(out, rank, generator=chance) * 0.1


def lora(*modules: str, rank: int = 4) -> dict[str, Tensor]:
    """An adapter's tensors under the names that PEFT gives them."""
    tensors = {}
    for module in modules:
        a, b = halves(module, rank)
        tensors |= {f"base_model.model.{module}.lora_A.weight": a, f"base_model.model.{module}.lora_B.weight": b}
    return tensors


def write_adapter(place: Path, tensors: dict[str, Tensor], **config: Any) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    (place / "adapter_config.json").write_text(json.dumps(CONFIG | config))
    save_file(tensors, place / "adapter_model.safetensors")
    return place


def weights(model: AfterviewModel) -> dict[str, Tensor]:
    tied = bool(model.config["tie_word_embeddings"])
    return {
        name: slot.value for name, slot in published_slots(model.video_language, model.vision.tower, tied=tied).items()
    }


def require(model: AfterviewModel, changed: dict[str, Tensor], base: dict[str, Tensor] = BASE) -> None:
    """Exactly these weights differ from the base's."""
    for name, value in weights(model).items():
        torch.testing.assert_close(value, changed.get(name, base[name]), msg=lambda text, name=name: f"{name}: {text}")


def test_lora_is_merged_into_the_base_that_it_names(tmp_path: Path) -> None:
    model = load_pretrained(write_adapter(tmp_path / "adapter", lora(Q, UP)), device="cpu")
    expected = {}
    for module in (Q, UP):
        a, b = halves(module)
        expected[f"{module}.weight"] = BASE[f"{module}.weight"] + 8 / 4 * b @ a
    require(model, expected)
    base = load_pretrained(TIED, device="cpu")
    assert model.weights_hash != base.weights_hash
    assert model.vision.spec.weights == base.vision.spec.weights  # memories of the base stay valid
    save_pretrained(model, tmp_path / "whole")
    require(load_pretrained(tmp_path / "whole", device="cpu"), expected)


@pytest.mark.parametrize(
    ("config", "factor"),
    [
        ({"use_rslora": True}, 8 / 4**0.5),  # arXiv 2312.03732
        ({"alpha_pattern": {"q_proj": 1}}, 1 / 4),
        ({"alpha_pattern": {r"layers\.[12]\..*q_proj": 1}}, 8 / 4),
    ],
)
def test_the_scale_of_an_update(tmp_path: Path, config: dict[str, Any], factor: float) -> None:
    model = load_pretrained(write_adapter(tmp_path, lora(Q), **config), device="cpu")
    a, b = halves(Q)
    require(model, {f"{Q}.weight": BASE[f"{Q}.weight"] + factor * b @ a})


def test_dora(tmp_path: Path) -> None:
    """W' = m (W + s B A) / ||W + s B A||, row by row (arXiv 2402.09353)."""
    magnitude = torch.rand(len(BASE[f"{Q}.weight"]), generator=torch.Generator().manual_seed(5)) + 0.5
    tensors = lora(Q) | {f"base_model.model.{Q}.lora_magnitude_vector": magnitude}
    model = load_pretrained(write_adapter(tmp_path, tensors, use_dora=True), device="cpu")
    a, b = halves(Q)
    turned = BASE[f"{Q}.weight"] + 2 * b @ a
    require(model, {f"{Q}.weight": magnitude[:, None] * turned / turned.square().sum(1, keepdim=True).sqrt()})


def test_embeddings_and_modules_that_are_saved_whole(tmp_path: Path) -> None:
    chance = torch.Generator().manual_seed(3)
    a, b = torch.randn(4, 512, generator=chance), torch.randn(64, 4, generator=chance)
    norm = torch.randn(64, generator=chance)
    tensors = {
        "base_model.model.model.embed_tokens.lora_embedding_A": a, "base_model.model.model.embed_tokens.lora_embedding_B": b,
        "base_model.model.model.norm.modules_to_save.default.weight": norm,
    }  # fmt: skip
    model = load_pretrained(write_adapter(tmp_path, tensors), device="cpu")
    embedding = BASE["model.embed_tokens.weight"] + 2 * (b @ a).T
    require(model, {"model.embed_tokens.weight": embedding, "model.norm.weight": norm})


def test_the_update_is_added_before_rounding_to_the_stored_dtype(tmp_path: Path) -> None:
    place = copied(TIED, tmp_path)
    rewrite(place, {name: tensor.bfloat16() for name, tensor in BASE.items()})
    adapter = write_adapter(
        tmp_path / "adapter", lora(Q), base_model_name_or_path="../checkpoint"
    )  # from the adapter's directory
    a, b = halves(Q)
    expected = (BASE[f"{Q}.weight"].bfloat16().float() + 2 * b @ a).bfloat16().float()
    assert torch.equal(weights(load_pretrained(adapter, device="cpu"))[f"{Q}.weight"], expected)


def published_layout(place: Path) -> tuple[Path, Path, dict[str, Tensor]]:
    """The LoRA of a first stage as the published training writes it: the base has no MemAug, which was trained whole beside the LoRA."""
    base = copied(TIED, place, config={"mm_resampler_type": None, "mm_newline_position": "one_token"})
    rewrite(base, {name: None for name in BASE if "vision_resampler" in name})
    adapter = write_adapter(place / "lora", lora(Q), base_model_name_or_path=str(base))
    shutil.copy(TIED / "config.json", adapter)
    (adapter / "generation_config.json").write_text(json.dumps({"do_sample": True, "temperature": 0.7, "top_p": 0.8}))
    chance = torch.Generator().manual_seed(9)
    whole = {
        name: torch.randn(tensor.shape, generator=chance) * 0.1 for name, tensor in BASE.items()
        if "vision_resampler" in name or "mm_projector" in name or "image_newline" in name
    }  # fmt: skip
    torch.save(
        {f"base_model.model.{name}": tensor for name, tensor in whole.items()}, adapter / "non_lora_trainables.bin"
    )
    return base, adapter, whole


def test_the_published_lora_layout(tmp_path: Path) -> None:
    base, adapter, whole = published_layout(tmp_path)
    a, b = halves(Q)
    model = load_pretrained(adapter, device="cpu")
    assert model.trained
    assert (model.generation.temperature, model.generation.top_p) == (0.7, 0.8)
    require(model, whole | {f"{Q}.weight": BASE[f"{Q}.weight"] + 2 * b @ a})
    with pytest.raises(CheckpointError, match="without MemAug"):
        load_pretrained(base)


def test_non_lora_trainables_are_read_without_running_code(tmp_path: Path) -> None:
    _, adapter, _ = published_layout(tmp_path)

    class Code:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"base_model.model.model.image_newline": Code()}, adapter / "non_lora_trainables.bin")
    with pytest.raises(CheckpointError, match=r"non_lora_trainables\.bin: holds Python objects besides tensors"):
        load_pretrained(adapter)
    assert not (tmp_path / "ran").exists()


def test_a_torch_adapter_is_read(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path, {})
    (adapter / "adapter_model.safetensors").unlink()
    torch.save(lora(Q), adapter / "adapter_model.bin")
    a, b = halves(Q)
    require(load_pretrained(adapter, device="cpu"), {f"{Q}.weight": BASE[f"{Q}.weight"] + 2 * b @ a})


def test_a_preset_file_puts_an_adapter_on_its_checkpoint(tmp_path: Path) -> None:
    write_adapter(tmp_path / "adapter", lora(Q), base_model_name_or_path="/nowhere")
    preset = {"name": "mine", "checkpoint": str(TIED), "adapter": "adapter", "max_new_tokens": 3}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(preset))
    a, b = halves(Q)
    model = load_pretrained(tmp_path / "mine.yaml", device="cpu")
    require(model, {f"{Q}.weight": BASE[f"{Q}.weight"] + 2 * b @ a})
    save_pretrained(model, tmp_path / "whole")
    assert find_preset(tmp_path / "whole").adapter is None
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"name": "mine", "adapter": "adapter", "architecture": None}))
    with pytest.raises(ConfigError):
        find_preset(tmp_path / "mine.yaml")


def test_an_adapter_of_a_saved_model_has_its_preset_and_its_encoders(tmp_path: Path) -> None:
    saved = load_pretrained(write_preset(tmp_path, trained=True, notice=None), device="cpu")
    save_pretrained(saved, tmp_path / "base")
    (a, b), name = (torch.ones(1, 64), torch.ones(64, 1)), "model.layers.0.self_attn.o_proj"
    tensors = {f"base_model.model.{name}.lora_A.weight": a, f"base_model.model.{name}.lora_B.weight": b}
    adapter = write_adapter(tmp_path / "adapter", tensors, base_model_name_or_path="../base")
    model = load_pretrained(adapter, device="cpu")
    assert model.preset.forgetting == saved.preset.forgetting
    assert model.preset.reference == str(adapter.resolve())
    assert load_encoders(adapter, device="cpu").feature_spec == model.encoders.feature_spec
    before = weights(saved)[f"{name}.weight"]
    torch.testing.assert_close(weights(model)[f"{name}.weight"], before + 8)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"base_model_name_or_path": ""},
            "names no base_model_name_or_path; write a preset file with `checkpoint: BASE`",
        ),
        (
            {"base_model_name_or_path": "/mnt/base"},
            "base_model_name_or_path '/mnt/base' is not there; mount it; or write a preset",
        ),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights 'pissa_niter_4' changed the base as well"),
        ({"layer_replication": [[0, 2]]}, "layer_replication is not supported"),
        ({"peft_type": None}, r"adapter_config\.json: peft_type"),
        ({"peft_type": "PROMPT_TUNING"}, "an adapter of type PROMPT_TUNING changes no weights"),
    ],
)
def test_adapters_that_cannot_be_merged_name_the_key(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(write_adapter(tmp_path / "adapter", lora(Q), **config), device="cpu")


def test_adapters_of_another_model_are_refused(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path, lora(Q), base_model_name_or_path=str(UNTIED))
    with pytest.raises(
        TensorMismatch, match=r"its update of .*q_proj is \[64, 4\] times \[4, 64\], but the weight in .* is \[96, 96\]"
    ):
        load_pretrained(adapter)
    deep = {name.replace("layers.0", "layers.30"): tensor for name, tensor in lora(Q).items()}
    with pytest.raises(TensorMismatch, match=r"changes model\.layers\.30\.self_attn\.q_proj, which .* does not have"):
        load_pretrained(write_adapter(tmp_path, deep))
    half = {name: tensor for name, tensor in lora(Q).items() if "lora_A" in name}
    with pytest.raises(DamagedCheckpoint, match="only one half of the update"):
        load_pretrained(write_adapter(tmp_path, half))


def test_whole_weights_beside_an_adapter_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = copied(TIED, tmp_path)
    write_adapter(place, lora(Q))
    require(load_pretrained(place, device="cpu"), {})
    assert "holds whole weights and an adapter; the weights are taken, and the adapter is not applied" in caplog.text


def test_another_kind_of_adapter_needs_the_extra_peft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(UsageError, match=r"an adapter of type LOHA: .*pip install '\.\[peft\]'"):
        load_pretrained(write_adapter(tmp_path, {}, peft_type="LOHA"), device="cpu")


@pytest.mark.parametrize("kind", ["lora", "dora", "rslora", "loha"])
def test_adapters_that_peft_made_are_merged_as_peft_merges_them(tmp_path: Path, kind: str) -> None:
    peft = pytest.importorskip("peft", reason="the extra peft is not installed")
    decoder = load_pretrained(TIED, device="cpu").video_language.language.decoder
    options = {"target_modules": ["q_proj", "up_proj"], "task_type": "CAUSAL_LM"}
    config = (
        peft.LoHaConfig(r=4, alpha=8, init_weights=False, **options) if kind == "loha"
        else peft.LoraConfig(r=4, lora_alpha=8, init_lora_weights=False, use_dora=kind == "dora", use_rslora=kind == "rslora", **options)
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(1)
        wrapped = peft.get_peft_model(decoder, config)
    wrapped.save_pretrained(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": str(TIED)}))
    expected = {name: value.clone() for name, value in wrapped.merge_and_unload().state_dict().items()}
    own = load_pretrained(tmp_path / "adapter", device="cpu").video_language.language.decoder.state_dict()
    assert own.keys() == expected.keys()
    for name, value in own.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)
    assert not torch.equal(own[f"{Q}.weight"], BASE[f"{Q}.weight"])


def cached(cache: Path, name: str, source: Path) -> None:
    """Put a directory into the cache of the hub's client, as `hf download` does."""
    place = cache / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("abc")
    shutil.copytree(source, place / "snapshots" / "abc")


def test_adapter_and_base_of_the_hub_are_found_in_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    tower = json.loads((TIED / "vision_tower" / "config.json").read_text())
    monkeypatch.setitem(KNOWN_TOWERS, "maker/tower", tower)
    cached(tmp_path / "cache", "maker/base", copied(TIED, tmp_path, config={"mm_vision_tower": "maker/tower"}))
    adapter = write_adapter(tmp_path / "adapter", lora(Q), base_model_name_or_path="maker/base")
    cached(tmp_path / "cache", "me/adapter", adapter)
    model = load_pretrained("me/adapter", device="cpu")
    a, b = halves(Q)
    require(model, {f"{Q}.weight": BASE[f"{Q}.weight"] + 2 * b @ a})
    assert model.preset.reference == "me/adapter"
    assert "taken to have none, because the cache has none: non_lora_trainables.bin" in caplog.text
    write_adapter(tmp_path / "other", lora(Q), base_model_name_or_path="maker/elsewhere")
    with pytest.raises(
        HubUnreachable,
        match=r"other: adapter_config\.json: base_model_name_or_path 'maker/elsewhere' .*checkpoint: BASE",
    ):
        load_pretrained(tmp_path / "other", device="cpu")
