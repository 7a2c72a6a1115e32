"""Any SigLIP with any Qwen: what is loaded, what is said of it, and which pairs are refused by what they are."""

from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from afterview.memory.plans.positions import plan_layout
from afterview.model.base.checkpoint_files import SINGLE_FILE
from afterview.model.base.errors import CheckpointError, DamagedCheckpoint, TensorMismatch, TokenizerMissing
from afterview.model.catalogue.pair_sizes import pair_sizes
from afterview.model.checkpoint.loading import load_encoders, load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.checkpoint.pair import require_decoder, require_encoder
from afterview.model.checkpoint.preset import find_preset
from afterview.model.checkpoint.saving import save_pretrained
from tests.support.checkpoints import TIED
from tests.support.pairs import change_config, in_shards_by_tower, qwen, siglip, vision_alone, write_pair

QWEN = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 96, "vocab_size": 259}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    siglip(tmp_path / "siglip"), qwen(tmp_path / "qwen")
    return write_pair(tmp_path)


def load(path: Path, **options: Any) -> AfterviewModel:
    return load_pretrained(path, device="cpu", dtype="float32", **options)


def logits(model: AfterviewModel) -> torch.Tensor:
    """Of a question about a few frames of noise."""
    side = model.vision.spec.resolution
    frames = np.random.default_rng(0).integers(0, 256, (6, side, side, 3), dtype=np.uint8)
    layout = plan_layout(6, config=model.preset.forgetting)
    inputs = model.video_language.inputs_embeds(
        model.vision.encode(frames), layout, model.prompt("Where?", frames=6, seconds=6.0)
    )
    assert abs(float(inputs.frame_weights.sum()) - 1) < 1e-6 if inputs.frame_weights is not None else True
    return model.video_language.first_token_logits(inputs)


def test_a_pair_is_complete_seeded_and_says_that_it_is_untrained(pair: Path, tmp_path: Path) -> None:
    model, again = load(pair), load(pair)
    assert model.weights_hash == again.weights_hash
    assert load(write_pair(tmp_path, name="other", seed=1)).weights_hash != model.weights_hash
    assert not model.trained
    assert model.notice is not None
    assert model.notice.startswith(
        "untrained: the projector and MemAug of pair are newly initialised, so its answers mean nothing (search does not use them); "
    )
    assert f"`model: {pair}`" in model.notice
    assert find_preset(pair).caution == load_encoders(pair, device="cpu").notice == model.notice
    assert model.config["architectures"] == ["HourLlavaQwenForCausalLM"]
    stored = load_file(tmp_path / "siglip" / SINGLE_FILE)
    for name, value in model.vision.tower.named_parameters():
        assert torch.equal(value, stored[f"vision_model.{name}"]), name
    assert torch.isfinite(logits(model)).all()


def test_what_is_saved_untrained_stays_untrained_and_what_is_said_is_not_lost(pair: Path, tmp_path: Path) -> None:
    write_pair(tmp_path, notice="For the porch alone.")
    model = load(pair)
    assert model.notice is not None
    assert model.notice.endswith("(docs/training.md). For the porch alone.")
    save_pretrained(model, tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert (again.trained, again.preset.new_parts) == (False, ("projector", "memaug"))
    assert again.notice == model.notice.replace(str(pair), str(tmp_path / "saved"))
    assert again.weights_hash == model.weights_hash
    assert again.vision.spec.weights == model.vision.spec.weights


def test_without_memaug_the_projector_alone_is_new(pair: Path, tmp_path: Path) -> None:
    model = load(write_pair(tmp_path, use_memaug=False))
    assert model.preset.new_parts == ("projector",)
    assert not len(model.video_language.memaug.layers)
    assert torch.isfinite(logits(model)).all()
    save_pretrained(model, tmp_path / "saved")
    assert load(tmp_path / "saved").weights_hash == model.weights_hash


@pytest.mark.parametrize(("side", "patch", "width"), [(224, 16, 32), (384, 14, 48), (512, 16, 32), (96, 32, 64)])
def test_encoders_of_any_resolution_patch_and_width(tmp_path: Path, side: int, patch: int, width: int) -> None:
    siglip(tmp_path / "siglip", side=side, patch=patch, width=width), qwen(tmp_path / "qwen")
    encoder = load_encoders(write_pair(tmp_path), device="cpu", with_index=False).vision
    assert (encoder.spec.resolution, encoder.spec.tokens_per_frame, encoder.spec.width) == (side, 64, width)
    frames = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    assert np.isfinite(encoder.encode(frames).astype(float)).all()


@pytest.mark.parametrize(
    "decoder", [{"tied": False}, {"rows": 320, "dtype": torch.bfloat16}, {"qwen3": True, "tied": False}]
)
def test_decoders_tied_and_untied_padded_and_in_bfloat16(tmp_path: Path, decoder: dict[str, Any]) -> None:
    siglip(tmp_path / "siglip"), qwen(tmp_path / "qwen", **decoder)
    model = load(write_pair(tmp_path))
    assert logits(model).shape == (decoder.get("rows", 259),)
    save_pretrained(model, tmp_path / "saved")
    assert torch.equal(logits(load(tmp_path / "saved")), logits(model))


def test_a_vision_tower_alone_and_shards_are_read_too(pair: Path, tmp_path: Path) -> None:
    write_pair(tmp_path, index_encoder=None)
    whole = load_encoders(pair, device="cpu", with_index=False).vision.spec
    text, _ = in_shards_by_tower(tmp_path / "siglip")
    (tmp_path / "siglip" / text).unlink()  # of the text tower alone
    assert load_encoders(pair, device="cpu", with_index=False).vision.spec == whole
    siglip(tmp_path / "alone"), vision_alone(tmp_path / "alone")
    alone = write_pair(tmp_path, name="alone", encoder="alone", index_encoder=None)
    assert load_encoders(alone, device="cpu", with_index=False).vision.spec.weights == whole.weights


def test_keys_that_the_base_models_config_leaves_out_are_known(tmp_path: Path) -> None:
    place = change_config(tmp_path / "base", model_type="siglip", vision_config={"model_type": "siglip_vision_model"})
    qwen(tmp_path / "qwen")
    need = pair_sizes(find_preset(write_pair(tmp_path, encoder=str(place))), bytes_per_parameter=4)
    assert need is not None
    assert need.disk_per_hour == 3600 * (64 * 768 * 2 + 768 * 4), "tokens, and embeddings of the default index"
    with pytest.raises(CheckpointError, match=r"^encoder: .*holds no weights"):
        load(tmp_path / "pair.yaml")


@pytest.mark.parametrize("decoder", [{"tied": True}, {"tied": False}, {"qwen3": True}])
def test_the_computed_number_of_parameters_is_the_real_one(tmp_path: Path, decoder: dict[str, Any]) -> None:
    siglip(tmp_path / "siglip"), qwen(tmp_path / "qwen", **decoder)
    path = write_pair(tmp_path)
    model, need = load(path), pair_sizes(find_preset(path), bytes_per_parameter=4)
    every = {id(p): p.numel() for part in (model.video_language, model.vision.tower) for p in part.parameters()}
    assert need is not None
    assert need.parameters == sum(every.values())


CLIP = {"model_type": "clip", "vision_config": {"model_type": "clip_vision_model"}}
WRONG_ENCODERS: dict[str, tuple[dict[str, Any], str]] = {
    "clip": (CLIP, "is a model of type clip, not a SigLIP or SigLIP 2; give one, such as google/"),
    "dino": ({"model_type": "dinov2"}, "is a model of type dinov2, not a SigLIP"),
    "naflex": ({"model_type": "siglip2", "vision_config": {}}, r"\(NaFlex\): it has no fixed grid"),
    "untyped naflex": ({"vision_config": {"model_type": "siglip2_vision_model"}}, r"\(NaFlex\)"),
    "qwen": ({"model_type": "qwen2"}, r"is a language model \(qwen2\); are encoder and decoder mixed up\?"),
    "mixed": (
        {"model_type": "siglip", "vision_config": {"model_type": "clip_vision_model"}},
        "of type clip_vision_model",
    ),
    "odd": ({"model_type": "siglip", "vision_config": [1]}, "no set of keys"),
    "empty": ({}, "is of no type that its config.json names"),
    "wrong type": ({"model_type": 5}, "is of no type that its config.json names"),
}
WRONG_DECODERS: dict[str, tuple[dict[str, Any], str]] = {
    "llama": ({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, "is a model of type llama, not a Qwen2, Qwen2.5 or Qwen3"),
    "vl": ({"model_type": "qwen2_5_vl", "vision_config": {}}, r"is a vision-language model \(qwen2_5_vl\)"),
    "qwen3 vl": ({"model_type": "qwen3_vl", "text_config": {}}, r"is a vision-language model \(qwen3_vl\)"),
    "moe": ({"model_type": "qwen2_moe"}, "is a model of type qwen2_moe, not"),
    "siglip": ({"model_type": "siglip"}, r"is an image encoder \(siglip\); are encoder and decoder mixed up\?"),
    "llava": ({"model_type": "qwen2", "mm_vision_tower": "x"}, "is a LLaVA, which has a vision tower already; .* as `checkpoint`"),
    "reward": ({"model_type": "qwen2", "architectures": ["Qwen2ForRewardModel"]}, "is a model of type Qwen2ForRewardModel, not"),
    "awq": ({"model_type": "qwen2", "quantization_config": {"quant_method": "awq"}}, "has quantised weights"),
    "empty": ({}, "is of no type that its config.json names"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_ENCODERS)
def test_what_is_no_siglip_is_refused_by_name(case: str) -> None:
    config, message = WRONG_ENCODERS[case]
    with pytest.raises(CheckpointError, match=f"^encoder: owner/wrong .*{message}"):
        require_encoder(config, name="owner/wrong")


@pytest.mark.parametrize("case", WRONG_DECODERS)
def test_what_is_no_qwen_is_refused_by_name(case: str) -> None:
    config, message = WRONG_DECODERS[case]
    with pytest.raises(CheckpointError, match=f"^decoder: owner/wrong .*{message}"):
        require_decoder(config, name="owner/wrong")


KEYS = {"siglip": ("image_size", "num_hidden_layers"), "qwen": ("num_hidden_layers", "head_dim", "vocab_size")}


@pytest.mark.parametrize("part", KEYS)
@pytest.mark.parametrize(
    "value", ["wide", [1], True, -1, 0, 10**400, 1e308, float("inf"), 1.5], ids=lambda value: str(value)[:8]
)
def test_numbers_that_no_model_has_are_refused_and_give_no_sizes(tmp_path: Path, part: str, value: Any) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "siglip": {"model_type": "siglip_vision_model"},
        "qwen": {"model_type": "qwen2", **QWEN},
    }
    require, label = (require_encoder, "encoder") if part == "siglip" else (require_decoder, "decoder")
    for key in KEYS[part]:
        wrong = kinds | {part: kinds[part] | {key: value}}
        for name, config in wrong.items():
            change_config(tmp_path / name, **config)
        with pytest.raises(CheckpointError, match=f"^{label}: x has a config.json whose {key} is no number"):
            require(wrong[part], name="x")
        assert pair_sizes(find_preset(write_pair(tmp_path)), bytes_per_parameter=4) is None


@pytest.mark.parametrize("text", ["[" * 100_000, "null", "\x00", '{"a":' * 5000])
def test_a_config_that_is_no_json_object_is_damaged(pair: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "siglip" / "config.json").write_text(text)
    with pytest.raises(DamagedCheckpoint, match=r"^encoder: .*siglip/config\.json"):
        load(pair)
    assert pair_sizes(find_preset(pair), bytes_per_parameter=4) is None


def test_types_that_only_the_architecture_names_are_accepted() -> None:
    require_decoder({"architectures": ["Qwen3ForCausalLM"]}, name="x")
    require_encoder({"vision_config": {"model_type": "siglip_vision_model"}}, name="x")


def test_places_that_hold_no_such_checkpoint(pair: Path, tmp_path: Path) -> None:
    def refused(error: type[Exception], message: str, **changes: Any) -> None:
        with pytest.raises(error, match=message):
            load(write_pair(tmp_path, name="wrong", **changes))

    (tmp_path / "empty").mkdir()
    refused(CheckpointError, "^encoder: .*empty: no config.json, so this is not a checkpoint", encoder="empty")
    refused(CheckpointError, "^decoder: .*empty: no config.json", decoder="empty")
    refused(CheckpointError, "^decoder: ./nowhere: no such directory; .* or a hub id", decoder="./nowhere")
    refused(CheckpointError, "^encoder: /nowhere/siglip: no such directory", encoder="/nowhere/siglip")
    refused(
        CheckpointError, "^encoder: .* is a file; give the directory", encoder=str(tmp_path / "siglip" / SINGLE_FILE)
    )
    refused(CheckpointError, "mixed up", encoder="qwen", decoder="siglip")
    refused(CheckpointError, "^decoder: .*is a LLaVA", decoder=str(TIED))
    refused(CheckpointError, "^encoder: 'siglip2' is neither a directory, .* write owner/name", encoder="siglip2")


def test_damaged_parts_say_which_one(pair: Path, tmp_path: Path) -> None:
    (tmp_path / "qwen" / "tokenizer.json").rename(tmp_path / "kept.json")
    with pytest.raises(TokenizerMissing, match=r"^decoder: .*qwen: this checkpoint has no tokenizer"):
        load(pair)
    (tmp_path / "kept.json").rename(tmp_path / "qwen" / "tokenizer.json")
    file = tmp_path / "siglip" / SINGLE_FILE
    tensors = {name: value.clone() for name, value in load_file(file).items()}
    file.unlink()
    save_file({name: value for name, value in tensors.items() if "layers.0." not in name}, file)
    with pytest.raises(TensorMismatch, match=r"siglip with .*qwen: .*missing \(model.vision_tower"):
        load(pair)
    file.unlink()
    save_file({name: value for name, value in tensors.items() if name.startswith("text_model.")}, file)
    with pytest.raises(DamagedCheckpoint, match=r"^encoder: .*has no vision tower among its tensors"):
        load(pair)
    (tmp_path / "qwen" / SINGLE_FILE).write_bytes(b"\x00" * 100)
    with pytest.raises(DamagedCheckpoint, match=r"qwen/model\.safetensors: truncated"):
        load(pair)
    change_config(tmp_path / "qwen", hidden_size="wide")
    with pytest.raises(CheckpointError, match="hidden_size"):
        load(pair)
