"""VideoChat-Flash checkpoints: the full published layouts, saving, and errors that name what is wrong and the remedy."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from afterview.configs import ConfigError, preset_names
from afterview.memory.plans.clips import ClipLayout
from afterview.memory.plans.positions import plan_layout
from afterview.model.base.errors import CheckpointError, InputMismatch, TensorMismatch
from afterview.model.base.settings import VisualDropoutConfig
from afterview.model.checkpoint import sources
from afterview.model.checkpoint.config_keys import MEMAUG
from afterview.model.checkpoint.loading import build_network, load_encoders, load_pretrained
from afterview.model.checkpoint.preset import ModelPreset, find_preset
from afterview.model.checkpoint.saving import save_pretrained
from afterview.model.checkpoint.sources import find_sources
from afterview.model.checkpoint.tensor_check import check
from afterview.model.language.prompt import from_ids
from tests.support.checkpoints import UNTIED as HOUR
from tests.support.checkpoints import copied, rewrite
from tests.support.flash import LARGE, PREFIX, TIED, published_config, published_shapes, without_values

IDS = from_ids(np.array([5, 6, -200, 7, 8, 9]))
COMPRESSING = {"mm_llm_compress": True}


def write_config(place: Path, raw: dict[str, Any]) -> Path:
    place.mkdir(exist_ok=True)
    (place / "config.json").write_text(json.dumps({key: value for key, value in raw.items() if value is not None}))
    return place


def stored(place: Path) -> dict[str, Tensor]:
    return {name: tensor for file in place.glob("model*.safetensors") for name, tensor in load_file(file).items()}


@pytest.mark.parametrize(
    ("decoder", "tower", "side", "parameters"),
    [
        ("7b", "umt-large", 224, 7_922_617_856),
        ("7b", "umt-hd-large", 448, 7_922_617_856),
        ("2b", "umt-hd-large", 448, 2_071_502_336),
    ],
)
def test_the_full_published_layouts(
    decoder: str, tower: str, side: int, parameters: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = published_shapes(decoder)
    monkeypatch.setattr(sources, "open_tensors", lambda location: without_values(shapes))
    place = write_config(tmp_path, published_config(decoder, tower))
    preset = ModelPreset(name="full", checkpoint=str(place))
    found = find_sources(preset)
    network = build_network(found, preset.model_copy(update=dict(found.implied)))
    check(network.slots, found.tensors, where="full")
    assert len(network.slots) == 646
    assert {name: slot.shape for name, slot in network.slots.items()} == shapes
    assert sum(math.prod(slot.shape) for slot in network.slots.values()) == parameters
    assert all(slot.value.is_meta for slot in network.slots.values())
    of_tower = [slot.shape for name, slot in network.slots.items() if name.startswith(PREFIX)]
    assert (len(of_tower), sum(map(math.prod, of_tower))) == (303, 290_479_104)
    assert network.tower.config.image_size == side
    assert len(network.tower.positions) == 4 * (side // 16) ** 2


@pytest.mark.parametrize("name", ["videochat-flash-7b", "videochat-flash-7b-448", "videochat-flash-2b"])
def test_presets_name_the_hub_and_leave_the_model_to_its_files(name: str) -> None:
    assert name in preset_names()
    preset = find_preset(name)
    assert str(preset.checkpoint).startswith("OpenGVLab/VideoChat-Flash-Qwen2")
    assert not {"visual_dropout", "token_merging", "use_memaug"} & preset.model_fields_set


@pytest.mark.parametrize("source", [TIED, LARGE], ids=["tied bfloat16 shards", "untied"])
def test_saving_writes_back_what_was_loaded_bit_for_bit(source: Path, tmp_path: Path) -> None:
    before = stored(source)
    dtype = before["model.norm.weight"].dtype
    model = load_pretrained(source, device="cpu", dtype=dtype)
    save_pretrained(model, tmp_path / "copy")
    after = stored(tmp_path / "copy")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) and before[name].dtype == after[name].dtype for name in before)
    saved = json.loads((tmp_path / "copy" / "config.json").read_text())
    assert saved == json.loads((source / "config.json").read_text())
    assert not (tmp_path / "copy" / "vision_tower").exists()
    again = load_pretrained(tmp_path / "copy", device="cpu", dtype=dtype)
    assert again.weights_hash == model.weights_hash
    assert again.vision.spec == model.vision.spec
    assert again.preset.visual_dropout is None
    assert load_encoders(tmp_path / "copy", device="cpu", with_index=False).vision.spec == model.vision.spec


def test_a_sharded_checkpoint_is_saved_in_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_pretrained(LARGE, device="cpu")
    monkeypatch.setattr("afterview.model.checkpoint.saving.SHARD_SIZE", "500KB")
    save_pretrained(model, tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    assert load_pretrained(tmp_path, device="cpu").weights_hash == model.weights_hash


def test_what_decides_is_what_the_files_say(tmp_path: Path) -> None:
    for model_type in ("qwen2", "llava_qwen"):
        place = copied(LARGE, tmp_path / model_type, config={"model_type": model_type, "architectures": ["LlavaQwen"]})
        model = load_pretrained(place, device="cpu")
        assert (model.vision.spec.resolution, model.vision.spec.tokens_per_frame) == (448, 16)
        assert model.vision.spec.frames_per_record == 4
        assert model.vision.spec.preprocessing == "square-bicubic-imagenet"
        assert not model.preset.use_memaug


def test_a_stored_head_is_used_unless_the_configuration_ties_it(tmp_path: Path) -> None:
    place = copied(LARGE, tmp_path, config={"tie_word_embeddings": True})
    with pytest.warns(UserWarning, match="but they differ; the embedding is used for both"):
        model = load_pretrained(place, device="cpu")
    decoder = model.video_language.language.decoder
    assert torch.equal(decoder.lm_head.weight, decoder.model.embed_tokens.weight)
    decoder = load_pretrained(LARGE, device="cpu").video_language.language.decoder
    assert not torch.equal(decoder.lm_head.weight, decoder.model.embed_tokens.weight)


def test_dropout_is_what_the_checkpoint_says_unless_the_preset_says_otherwise(tmp_path: Path) -> None:
    assert load_pretrained(TIED, device="cpu").preset.visual_dropout is None
    place = copied(TIED, tmp_path, config=COMPRESSING)
    wanted = VisualDropoutConfig(kind="uniform0_attention", layers=(1, 2), ratios=(1, 0.75, 0.25))
    model = load_pretrained(place, device="cpu")
    assert model.preset.visual_dropout == wanted
    assert model.video_language.language.dropping is not None
    preset = tmp_path / "without.yaml"
    preset.write_text(f"name: without\ncheckpoint: {place}\nvisual_dropout: null\n")
    off = load_pretrained(preset, device="cpu")
    assert off.video_language.language.dropping is None
    for number, kept in enumerate((model, off)):
        save_pretrained(kept, tmp_path / str(number))
        again = load_pretrained(tmp_path / str(number), device="cpu")
        assert again.preset.visual_dropout == kept.preset.visual_dropout
    assert "visual_dropout" not in (tmp_path / "0" / "preset.yaml").read_text()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mm_vision_tower": "internvideo2"}, "'internvideo2': the tower InternVideo2-1B is not built; it would need"),
        ({"mm_vision_tower": "google/siglip-so400m-patch14-384"}, "only towers whose name contains umt"),
        ({"mm_vision_tower": "umt-large", "mm_hidden_size": 1024}, "mm_hidden_size is 1024, but the stored tower has width 96"),
        ({"mm_vision_tower": None}, "names no mm_vision_tower"),
        ({"mm_projector_type": "tome32_mlp_hd64"}, "mm_projector_type 'tome32_mlp_hd64' is not supported, only tome16_mlp_hd64"),
        ({"mm_projector_type": "mlp2x_gelu"}, "mm_projector_type is 'mlp2x_gelu', but the tower 'umt-hd-large' is one of VideoChat-Flash"),
        ({"mm_projector_type": None}, "mm_projector_type is missing, but the tower 'umt-hd-large' is one of"),
        ({"vision_encode_type": "image"}, "vision_encode_type 'image' is not supported, only video_image"),
        ({"mm_local_num_frames": 8}, "mm_local_num_frames 8 is not supported, only 4"),
        ({"mm_newline_position": "grid"}, "mm_newline_position 'grid' is not supported, only nothing; such a checkpoint holds newline"),
        ({"mm_patch_merge_type": "spatial_unpad"}, "mm_patch_merge_type 'spatial_unpad' is not supported, only spatial_nopad"),
        ({"frame_aspect_ratio": "anyres"}, "frame_aspect_ratio 'anyres' is not supported, only square"),
        ({"image_aspect_ratio": "pad"}, "image_aspect_ratio 'pad' is not supported, only anyres_nopad; videos do not"),
        ({"image_grid_pinpoints": [[224, 224]]}, "has 224 pixels, which tiles of 448 pixels do not fill; videos do not"),
        (COMPRESSING | {"llm_compress_layer_list": None}, "it lacks llm_compress_layer_list; add what is missing .* or set mm_llm_"),
        (COMPRESSING | {"llm_image_token_ratio_list": None}, "it lacks llm_image_token_ratio_list; add"),
        (COMPRESSING | {"llm_compress_type": None}, "it lacks llm_compress_type; add"),
        (COMPRESSING | {"llm_compress_type": "random"}, "llm_compress_type: .*; correct them, or set mm_llm_compress to false"),
        (COMPRESSING | {"llm_compress_layer_list": [1, 2]}, "2 layers need 3 ratios.*; correct them, or set"),
        (COMPRESSING | {"llm_compress_layer_list": [24]}, "drops after layer 24 of a decoder of 3 layers; name one below 3"),
    ],
)  # fmt: skip
def test_configurations_that_cannot_be_run_are_refused(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(copied(LARGE, tmp_path, config=config), device="cpu")


def test_tensors_of_another_tower_are_refused_by_name(tmp_path: Path) -> None:
    place = copied(LARGE, tmp_path)
    tower = {name for name in stored(place) if name.startswith(PREFIX)}
    other = load_file(HOUR / "model.safetensors")
    rewrite(place, dict.fromkeys(tower) | {n: t for n, t in other.items() if ".vision_tower." in n})
    with pytest.raises(
        TensorMismatch, match=r"'umt-hd-large', but the checkpoint holds tensors of another one .*vision_model"
    ):
        load_pretrained(place, device="cpu")


def test_a_tower_of_other_patches_or_with_more_is_refused(tmp_path: Path) -> None:
    place = copied(LARGE, tmp_path)
    weight = stored(place)[f"{PREFIX}patch_embed.proj.weight"]
    rewrite(place, {f"{PREFIX}patch_embed.proj.weight": torch.zeros(len(weight), 3, 1, 14, 14)})
    with pytest.raises(TensorMismatch, match=r"is \[96, 3, 1, 14, 14\]; that of a UMT-L is .* another tower"):
        load_encoders(place, device="cpu", with_index=False)
    rewrite(place, {f"{PREFIX}patch_embed.proj.weight": weight, f"{PREFIX}blocks.0.ls1.gamma": torch.zeros(96)})
    with pytest.raises(TensorMismatch, match=r"1 unexpected \(.*blocks.0.ls1.gamma\)"):
        load_pretrained(place, device="cpu")


def test_a_tower_that_lacks_blocks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = {name: shape for name, shape in published_shapes("2b").items() if ".blocks.22." not in name}
    monkeypatch.setattr(sources, "open_tensors", lambda location: without_values(shapes))
    place = write_config(tmp_path, published_config("2b", "umt-hd-large"))
    with pytest.raises(TensorMismatch, match="its tower has 22 blocks; a UMT-L with mm_vision_select_layer -2 has 23"):
        find_sources(ModelPreset(name="cut", checkpoint=str(place)))


def test_a_projector_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    place = copied(LARGE, tmp_path)
    tensors = {name: tensor for name, tensor in stored(place).items() if ".mm_projector." in name}
    rewrite(place, dict.fromkeys(tensors) | {name.replace(".mlp.", "."): tensor for name, tensor in tensors.items()})
    with pytest.raises(
        TensorMismatch,
        match=r"the stored projector is of another kind \(model.mm_projector.0.bias, not .*correct mm_projector_type",
    ):
        load_pretrained(place, device="cpu")


def test_missing_and_misshapen_tensors_are_reported_by_name_and_shape(tmp_path: Path) -> None:
    place = copied(LARGE, tmp_path)
    rewrite(place, {"model.mm_projector.mlp.2.bias": torch.zeros(7), "model.norm.weight": None})
    with pytest.raises(
        TensorMismatch, match=r"1 missing \(model.norm.weight\), 1 of another shape \(.*mlp.2.bias: \[7\], not \[64\]\)"
    ):
        load_pretrained(place, device="cpu")


def test_memaug_can_be_added_saved_and_left_out_again(tmp_path: Path) -> None:
    model = load_pretrained(LARGE, device="cpu", init_memaug=True)
    assert model.preset.use_memaug
    assert not model.trained
    network = model.video_language
    features = np.random.default_rng(0).standard_normal((64, 16, 96), dtype=np.float32)
    layout = plan_layout(64, config=model.preset.forgetting, grid=4)
    inputs = network.inputs_embeds(features, layout, IDS)
    assert inputs.frame_weights is not None
    assert inputs.frame_weights.sum() == pytest.approx(1)
    with pytest.raises(
        InputMismatch, match="a ClipLayout was given to a model with MemAug; plan its memory with `plan_layout`"
    ):
        network.inputs_embeds(features, ClipLayout(64, 16), IDS)
    save_pretrained(model, tmp_path / "both")
    assert json.loads((tmp_path / "both" / "config.json").read_text())["mm_resampler_type"] == MEMAUG
    again = load_pretrained(tmp_path / "both", device="cpu")
    assert again.preset.use_memaug
    torch.testing.assert_close(
        again.video_language.inputs_embeds(features, layout, IDS).inputs_embeds, inputs.inputs_embeds
    )


def test_memaug_that_is_not_there_cannot_be_used(tmp_path: Path) -> None:
    preset = tmp_path / "with.yaml"
    preset.write_text(f"name: with\ncheckpoint: {LARGE}\nuse_memaug: true\n")
    with pytest.raises(CheckpointError, match="without MemAug, but the preset says use_memaug: true; remove the key"):
        load_pretrained(preset, device="cpu")
    preset.write_text(f"name: with\ncheckpoint: {LARGE}\ntoken_merging: {{frames_per_clip: 1}}\n")
    with pytest.raises(CheckpointError, match="merges clips of 4 frames; remove the key"):
        load_pretrained(preset, device="cpu")


def test_a_layout_with_newlines_is_refused() -> None:
    network = load_pretrained(LARGE, device="cpu").video_language
    features = np.zeros((64, 16, 96), dtype=np.float32)
    with pytest.raises(InputMismatch, match="no newline token; give a ClipLayout"):
        network.inputs_embeds(
            features, plan_layout(64, config=find_preset("videochat-flash-2b").forgetting, grid=4), IDS
        )


def test_unknown_and_idle_keys_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = {
        "mm_resampler_type": "spatial_pool",
        "mm_strange": 1,
        "vision_encode_type": None,
        "rope_scaling": {"type": "yarn"},
    }
    load_pretrained(copied(LARGE, tmp_path, config=config), device="cpu")
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "mm_resampler_type 'spatial_pool' has no effect in a VideoChat-Flash" in said
    assert "unknown keys are ignored: mm_strange" in said
    assert "config.json lacks vision_encode_type (video_image)" in said
    assert "rope_scaling (yarn) is ignored" in said
    caplog.clear()
    load_pretrained(LARGE, device="cpu")
    assert not caplog.records


# --- a UMT-L alone and a Qwen, before the training ---


def raw_tower(place: Path) -> Path:
    """The golden tower as it is published for training: with another last norm, a block that never runs, and other parts."""
    prefix = "model.vision_tower.vision_tower."
    tower = {n.removeprefix(prefix): t for n, t in stored(TIED).items() if n.startswith(prefix)}
    tower = {name.replace("encoder.vision_layernorm", "encoder.norm"): tensor for name, tensor in tower.items()}
    last = {n.replace("blocks.0", "blocks.23"): t for n, t in tower.items() if ".blocks.0." in n}
    torch.save(tower | last | {"text_encoder.weight": torch.zeros(3), "epoch": 7}, place)
    return place


def decoder_alone(place: Path) -> Path:
    """The golden decoder as a plain Qwen2 checkpoint."""
    place.mkdir()
    tensors = {n: t for n, t in stored(TIED).items() if "vision_tower" not in n and "mm_projector" not in n}
    save_file(tensors, place / "model.safetensors")
    raw = json.loads((TIED / "config.json").read_text())
    kept = {key: value for key, value in raw.items() if not key.startswith(("mm_", "image_", "frame_"))}
    return write_config(place, kept | {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]})


def write_pair(directory: Path, **keys: str) -> Path:
    raw_tower(directory / "umt.pt"), decoder_alone(directory / "qwen")
    values = {"name": "pair", "vision": "umt.pt", "tower": "umt-large", "language": "qwen"} | keys
    path = directory / "pair.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in values.items()))
    return path


@pytest.mark.parametrize("memaug", [False, True], ids=["alone", "with MemAug"])
def test_a_tower_alone_and_a_qwen_make_an_untrained_model(memaug: bool, tmp_path: Path) -> None:
    path = write_pair(tmp_path, **({"init_memaug": "true"} if memaug else {}))
    model, whole = load_pretrained(path, device="cpu"), load_pretrained(TIED, device="cpu")
    assert not model.trained
    assert model.preset.new_parts == (("projector", "memaug") if memaug else ("projector",))
    assert str(model.notice).startswith(f"untrained: the projector {'and MemAug ' if memaug else ''}of pair")
    assert (model.preset.use_memaug, model.preset.sees_clips) == (memaug, not memaug)
    frames = np.random.default_rng(0).integers(0, 256, (4, 224, 224, 3), dtype=np.uint8)
    np.testing.assert_array_equal(model.vision.encode(frames), whole.vision.encode(frames))
    assert load_encoders(path, device="cpu", with_index=False).vision.spec == model.vision.spec
    save_pretrained(model, tmp_path / "saved")
    again = load_pretrained(tmp_path / "saved", device="cpu")
    for one, other in [(again.video_language, model.video_language), (again.vision.tower, model.vision.tower)]:
        values = other.state_dict()
        assert all(torch.equal(values.pop(name), value) for name, value in one.state_dict().items())
        assert not values
    assert again.config["mm_projector_type"] == "tome16_mlp_hd64"
    assert again.preset.use_memaug == memaug
    assert not again.trained


def test_what_is_no_raw_tower_is_refused(tmp_path: Path) -> None:
    path = write_pair(tmp_path)
    torch.save({"visual.weight": torch.zeros(3)}, tmp_path / "umt.pt")
    with pytest.raises(CheckpointError, match=r"umt.pt: holds no tensors of a UMT-L .* give UMT-L_f4_vision.pt"):
        load_pretrained(path, device="cpu")
    (tmp_path / "umt.pt").unlink()
    (tmp_path / "umt.pt").mkdir()
    with pytest.raises(
        CheckpointError, match=r"umt.pt: holds no UMT-L: none of UMT-L_f4_vision.pt, model.safetensors is there"
    ):
        load_pretrained(path, device="cpu")
    (tmp_path / "alone.yaml").write_text(f"name: alone\ncheckpoint: {TIED}\ntower: umt-large\n")
    with pytest.raises(ConfigError, match="tower names what lies at `encoder`, which is missing"):
        load_pretrained(tmp_path / "alone.yaml", device="cpu")
