"""Loading and saving: the published layout bit by bit, every kind of damaged checkpoint, and the other two sources."""

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from afterview.configs import ConfigError
from afterview.memory.base.durable import unfinished_files
from afterview.memory.plans.positions import plan_layout
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.base.checkpoint_files import INDEX_FILE, SINGLE_FILE
from afterview.model.base.errors import (
    BackendUnavailable,
    CheckpointError,
    DamagedCheckpoint,
    HubUnreachable,
    ModelNotFound,
    TensorMismatch,
    TokenizerMissing,
)
from afterview.model.checkpoint.loading import build_network, load_encoders, load_pretrained
from afterview.model.checkpoint.preset import ModelPreset
from afterview.model.checkpoint.published import parse_config
from afterview.model.checkpoint.saving import save_pretrained
from afterview.model.checkpoint.sources import Sources
from afterview.model.language.prompt import Prompt
from afterview.model.vision.tower import KNOWN_TOWERS
from tests.support.checkpoints import TIED, UNTIED, copied, rewrite
from tests.support.loading import make_checkpoint, measure_loading
from tests.support.pairs import qwen, siglip
from tests.support.presets import write_preset


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test of this file may use the network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def sharded(place: Path) -> list[Path]:
    """Split a copied checkpoint into three shards. The vision tower is only in the last one."""
    tensors = load_file(place / SINGLE_FILE)
    tower = sorted(name for name in tensors if ".vision_tower." in name)
    rest = sorted(name for name in tensors if ".vision_tower." not in name)
    files = [place / f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    parts = [rest[: len(rest) // 2], rest[len(rest) // 2 :], tower]
    for file, names in zip(files, parts, strict=True):
        save_file({name: tensors[name] for name in names}, file)
    weight_map = {name: file.name for file, names in zip(files, parts, strict=True) for name in names}
    (place / INDEX_FILE).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (place / SINGLE_FILE).unlink()
    return files


@pytest.mark.parametrize("source", [TIED, UNTIED], ids=["tied", "untied"])
def test_saving_writes_back_what_was_loaded_bit_for_bit(source: Path, tmp_path: Path) -> None:
    model = load_pretrained(source, device="cpu")
    save_pretrained(model, tmp_path / "copy")
    before, after = load_file(source / SINGLE_FILE), load_file(tmp_path / "copy" / SINGLE_FILE)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) and before[name].dtype == after[name].dtype for name in before)
    assert json.loads((source / "config.json").read_text()) == json.loads(
        (tmp_path / "copy" / "config.json").read_text()
    )
    again = load_pretrained(tmp_path / "copy", device="cpu")
    assert again.weights_hash == model.weights_hash
    assert again.vision.spec.weights == model.vision.spec.weights
    assert again.preset.forgetting == model.preset.forgetting
    assert not unfinished_files(tmp_path / "copy")


def test_large_models_are_saved_in_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_pretrained(TIED, device="cpu")
    monkeypatch.setattr("afterview.model.checkpoint.saving.SHARD_SIZE", "500KB")
    save_pretrained(model, tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    assert load_pretrained(tmp_path, device="cpu").weights_hash == model.weights_hash
    monkeypatch.undo()
    save_pretrained(model, tmp_path)
    assert not (tmp_path / INDEX_FILE).exists()
    assert load_pretrained(tmp_path, device="cpu").weights_hash == model.weights_hash


def test_shards_load_like_one_file(tmp_path: Path) -> None:
    place = copied(UNTIED, tmp_path)
    sharded(place)
    assert load_pretrained(place, device="cpu").weights_hash == load_pretrained(UNTIED, device="cpu").weights_hash


def test_a_truncated_shard_is_named(tmp_path: Path) -> None:
    place = copied(UNTIED, tmp_path)
    shard = sharded(place)[1]
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(DamagedCheckpoint, match=r"model-00002-of-00003\.safetensors: truncated"):
        load_pretrained(place)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    place = copied(UNTIED, tmp_path)
    sharded(place)[0].unlink()
    with pytest.raises(DamagedCheckpoint, match=r"model-00001-of-00003\.safetensors is missing"):
        load_pretrained(place)


def test_an_index_that_promises_too_much_is_named(tmp_path: Path) -> None:
    place = copied(UNTIED, tmp_path)
    sharded(place)
    index = json.loads((place / INDEX_FILE).read_text())
    index["weight_map"]["model.norm.weight"] = "model-00001-of-00003.safetensors"
    index["weight_map"]["model.image_newline"] = "model-00003-of-00003.safetensors"
    (place / INDEX_FILE).write_text(json.dumps(index))
    with pytest.raises(DamagedCheckpoint, match=r"lacks 'model\.\w+"):
        load_pretrained(place)


def test_encoders_open_only_the_towers_shards(tmp_path: Path) -> None:
    place = copied(UNTIED, tmp_path)
    for file in sharded(place)[:2]:
        file.write_bytes(b"not safetensors")
    with pytest.raises(DamagedCheckpoint):
        load_pretrained(place)
    encoders = load_encoders(place, device="cpu", index_encoder=str(siglip(tmp_path / "index")))
    whole = load_pretrained(UNTIED, device="cpu")
    assert encoders.vision.spec.weights == whole.vision.spec.weights
    frames = np.zeros((2, 384, 384, 3), dtype=np.uint8)
    np.testing.assert_array_equal(encoders.vision.encode(frames), whole.vision.encode(frames))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.norm.weight": None}, r"1 missing \(model\.norm\.weight\)"),
        ({"model.extra": torch.zeros(2)}, r"1 unexpected \(model\.extra\)"),
        ({"model.norm.weight": torch.zeros(5)}, r"1 of another shape \(model\.norm\.weight: \[5\], not \[64\]\)"),
        (
            {f"model.layers.{i}.self_attn.k_proj.bias": None for i in range(3)} | {"model.image_newline": None},
            "4 missing .* and 1 more",
        ),
    ],
)
def test_names_and_shapes_that_do_not_fit_are_fatal(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    place = copied(TIED, tmp_path)
    rewrite(place, change)
    with pytest.raises(TensorMismatch, match=message):
        load_pretrained(place)


def test_a_stored_head_that_equals_the_tied_embedding_is_quiet(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    place = copied(TIED, tmp_path)
    embedding = load_file(place / SINGLE_FILE)["model.embed_tokens.weight"]
    rewrite(place, {"lm_head.weight": embedding.clone()})
    decoder = load_pretrained(place, device="cpu").video_language.language.decoder
    assert decoder.lm_head.weight is decoder.model.embed_tokens.weight
    assert not [w for w in recwarn if "tied" in str(w.message)]


def test_a_stored_head_that_differs_from_the_tied_embedding_warns(tmp_path: Path) -> None:
    place = copied(TIED, tmp_path)
    rewrite(place, {"lm_head.weight": torch.zeros(512, 64)})
    with pytest.warns(UserWarning, match="tied .* but they differ"):
        model = load_pretrained(place, device="cpu")
    assert model.video_language.language.decoder.lm_head.weight.abs().sum() > 0


def test_the_vocabulary_is_the_files_not_the_configs(tmp_path: Path) -> None:
    model = load_pretrained(copied(TIED, tmp_path, config={"vocab_size": 151936}), device="cpu")
    assert model.video_language.language.decoder.config.vocab_size == 512


def test_a_llava_without_memaug_says_so_and_can_be_given_one(tmp_path: Path) -> None:
    place = copied(TIED, tmp_path, config={"mm_resampler_type": None})
    rewrite(place, {name: None for name in load_file(place / SINGLE_FILE) if "vision_resampler" in name})
    with pytest.raises(CheckpointError, match=r"without MemAug \(mm_resampler_type is null\); pass init_memaug=True"):
        load_pretrained(place)
    first, second = (load_pretrained(place, device="cpu", init_memaug=True) for _ in range(2))
    assert not first.trained
    assert "newly initialised" in (first.notice or "")
    assert first.weights_hash == second.weights_hash
    wq = first.video_language.memaug.layers[0].cross_attn.Wq
    assert 0.015 < wq.weight.std() < 0.025
    assert not wq.bias.any()
    save_pretrained(first, tmp_path / "saved")
    assert load_pretrained(tmp_path / "saved", device="cpu").weights_hash == first.weights_hash


def test_a_llava_without_memaug_runs_without_where_the_preset_says_so(tmp_path: Path) -> None:
    place = copied(TIED, tmp_path, config={"mm_resampler_type": None})
    rewrite(place, {name: None for name in load_file(place / SINGLE_FILE) if "vision_resampler" in name})
    path = tmp_path / "plain.yaml"
    path.write_text(yaml.safe_dump({"name": "plain", "checkpoint": str(place), "use_memaug": False}))
    model = load_pretrained(path, device="cpu")
    assert model.trained
    assert model.notice is None
    assert list(model.video_language.memaug.parameters()) == []
    layout = plan_layout(9, config=model.preset.forgetting)
    features = np.random.default_rng(0).standard_normal((9, 64, model.video_language.projector.vision_width))
    inputs = model.video_language.inputs_embeds(
        features.astype(np.float16), layout, Prompt(np.arange(3), np.arange(5, 9))
    )
    assert inputs.frame_weights is None
    assert len(list(model.video_language.generate(inputs, max_new_tokens=3))) == 3
    save_pretrained(model, tmp_path / "saved")
    assert load_pretrained(tmp_path / "saved", device="cpu").weights_hash == model.weights_hash
    with pytest.raises(CheckpointError, match="use_memaug: false in a preset file runs it without"):
        load_pretrained(place)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mm_vision_tower": None}, "names no mm_vision_tower"),
        ({"hidden_size": None}, "hidden_size: is missing"),
        ({"mm_projector_type": "linear"}, "mm_projector_type 'linear' is not supported, only mlp2x_gelu"),
        ({"num_attention_heads": 5}, "64, 5 query heads"),
    ],
)
def test_configurations_that_cannot_be_run_are_refused(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(copied(TIED, tmp_path, config=config))


def test_a_directory_that_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{broken")
    with pytest.raises(DamagedCheckpoint, match=r"config\.json: cannot be read \(not JSON: line"):
        load_pretrained(tmp_path)
    shutil.copy(TIED / "config.json", tmp_path)
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_pretrained(tmp_path)


def test_names_that_are_no_model() -> None:
    with pytest.raises(ModelNotFound, match="did you mean 'hour-llava-3b'"):
        load_pretrained("hour-lava-3b")
    with pytest.raises(HubUnreachable, match="'jylins/hourllava-qwen25-3b-s3': the hub cannot be reached"):
        load_pretrained("hour-llava-3b")


def test_devices_and_dtypes_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendUnavailable, match="device=cuda needs a CUDA device"):
        load_pretrained("tiny", device="cuda")
    with pytest.raises(BackendUnavailable, match="device 'gpu7'"):
        load_pretrained("tiny", device="gpu7")
    with pytest.raises(BackendUnavailable, match="dtype 'int8' cannot hold weights"):
        load_pretrained("tiny", dtype="int8")


def test_weights_go_straight_to_the_dtype_asked_for() -> None:
    model = load_pretrained(TIED, device="cpu", dtype="bfloat16")
    kinds = {p.dtype for p in [*model.video_language.parameters(), *model.vision.tower.parameters()]}
    assert kinds == {torch.bfloat16}
    assert model.video_language.language.decoder.model.rotary_emb.inv_freq.dtype == torch.float32
    exact = load_pretrained(TIED, device="cpu")
    assert model.weights_hash == exact.weights_hash  # the hash is of the stored tensors
    features = torch.randn(8, 64, 48, generator=torch.Generator().manual_seed(0))
    layout = plan_layout(8, config=ForgettingConfig(spatial="uniform"))
    prompt = Prompt(np.arange(3), np.arange(4))
    coarse, fine = (m.video_language.inputs_embeds(features, layout, prompt).inputs_embeds for m in (model, exact))
    assert (coarse.float() - fine).abs().mean() < 0.05 * fine.abs().mean()


def test_a_checkpoint_without_tokenizer_answers_ids_and_names_the_remedy_for_questions() -> None:
    model = load_pretrained(TIED, device="cpu")
    assert model.tokenizer is None
    with pytest.raises(TokenizerMissing, match=r"copy tokenizer\.json"):
        model.prompt("what?", frames=1, seconds=1.0)


def test_evidence_blocks_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(yaml.safe_dump({"name": "x", "checkpoint": str(TIED), "evidence_blocks": [4]}))
    with pytest.raises(CheckpointError, match="names block 4, but MemAug has 4"):
        load_pretrained(file)


def test_answers_end_where_generation_config_says_and_it_is_saved(tmp_path: Path) -> None:
    place = copied(TIED, tmp_path)
    free = load_pretrained(place, device="cpu").video_language.language
    (place / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 9], "temperature": 0.7}))
    model = load_pretrained(place, device="cpu")
    assert model.video_language.language.stop_ids == free.stop_ids | {7, 9}
    save_pretrained(model, tmp_path / "saved")
    assert load_pretrained(tmp_path / "saved", device="cpu").video_language.language.stop_ids == free.stop_ids | {7, 9}


def test_what_is_loaded_does_not_hang_on_its_file(tmp_path: Path) -> None:
    """Replacing a checkpoint while the model runs has no effect."""
    place = copied(TIED, tmp_path)
    model = load_pretrained(place, device="cpu")
    before = model.video_language.newline.clone()
    with open(place / SINGLE_FILE, "r+b") as file:
        file.write(b"\0" * (place / SINGLE_FILE).stat().st_size)
    assert torch.equal(model.video_language.newline, before)
    assert model.video_language.language.decoder.model.norm.weight.abs().sum() > 0


def test_loading_takes_no_second_copy_of_the_weights(tmp_path: Path) -> None:
    """Convert a sharded bfloat16 checkpoint to float32 in a separate process, and watch its resident memory."""
    make_checkpoint(tmp_path, megabytes=120, shard="30MB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 3
    loaded = measure_loading(tmp_path, "float32")
    assert loaded.weights > 240e6
    assert 0.9 < loaded.growth <= 1.15  # mapped files would stay resident beside the weights: 1.5


# --- a model drawn from a seed, and the one that ships ---


def test_a_seed_draws_the_same_weights_everywhere_and_says_that_they_are_random(tmp_path: Path) -> None:
    path = write_preset(tmp_path)
    state = torch.get_rng_state()
    model, encoders = load_pretrained(path, device="cpu"), load_encoders(path, device="cpu")
    assert torch.equal(torch.get_rng_state(), state)
    assert encoders.feature_spec == model.encoders.feature_spec
    assert model.weights_hash == load_pretrained(path, device="cpu").weights_hash
    assert model.weights_hash != load_pretrained(write_preset(tmp_path, seed=4), device="cpu").weights_hash
    assert not model.trained
    assert model.notice == "random weights"
    spec = encoders.feature_spec
    assert (spec.tokens.resolution, spec.tokens.tokens_per_frame, spec.tokens.width) == (72, 64, 48)


def test_the_shipped_model_loads_and_says_what_it_is() -> None:
    model = load_pretrained("tiny", device="cpu")
    assert model.trained == model.preset.trained
    assert model.notice
    assert model.encoders.feature_spec == load_encoders("tiny", device="cpu").feature_spec


@pytest.mark.parametrize("drawn", [True, False], ids=["drawn from a seed", "shipped"])
def test_a_model_survives_saving_with_its_index_and_tokenizer(drawn: bool, tmp_path: Path) -> None:
    model = load_pretrained(
        write_preset(tmp_path) if drawn else "tiny", device="cpu", dtype="float32" if drawn else None
    )
    save_pretrained(model, tmp_path / "saved")
    again = load_pretrained(tmp_path / "saved", device="cpu")
    saved = again.video_language.state_dict()
    for name, tensor in model.video_language.state_dict().items():
        assert torch.equal(saved[name], tensor), name
    sources = {"checkpoint", "architecture", "index_encoder", "seed", "memaug_depth"}
    assert again.preset.model_dump(exclude=sources) == model.preset.model_dump(exclude=sources)
    texts = ["a red circle", "Ein Ü?"]
    np.testing.assert_array_equal(again.encoders.index.encode_texts(texts), model.encoders.index.encode_texts(texts))
    one, two = (m.prompt("Where?", frames=3, seconds=3.0) for m in (model, again))
    np.testing.assert_array_equal(one.after, two.after)


# --- a SigLIP and a Qwen with a new MemAug ---


@pytest.mark.parametrize("qwen3", [False, True])
def test_any_siglip_and_qwen_pair(tmp_path: Path, qwen3: bool) -> None:
    siglip(tmp_path / "siglip"), qwen(tmp_path / "qwen", qwen3=qwen3, tied=qwen3)
    values = {"name": "pair", "vision": "siglip", "language": "qwen", "index_encoder": "siglip", "init_memaug": True}
    (tmp_path / "pair.yaml").write_text(yaml.safe_dump(values))
    model = load_pretrained(tmp_path / "pair.yaml", device="cpu", dtype="float32")
    assert not model.trained
    assert model.vision.spec.tokens_per_frame == 64
    frames = np.random.default_rng(0).integers(0, 256, (20, 48, 48, 3), dtype=np.uint8)
    features = model.encoders.vision.encode(frames)
    assert features.shape == (20, 64, 32)
    inputs = model.video_language.inputs_embeds(
        features, plan_layout(20, config=model.preset.forgetting), model.prompt("Where?", frames=20, seconds=20.0)
    )
    logits = model.video_language.first_token_logits(inputs)
    assert logits.shape == (259,)
    assert torch.isfinite(logits).all()
    assert load_encoders(tmp_path / "pair.yaml", device="cpu").feature_spec == model.encoders.feature_spec
    save_pretrained(model, tmp_path / "saved")
    assert load_pretrained(tmp_path / "saved", device="cpu").weights_hash == model.weights_hash


def test_half_a_pair_is_refused(tmp_path: Path) -> None:
    (tmp_path / "half.yaml").write_text(yaml.safe_dump({"name": "half", "vision": "siglip"}))
    with pytest.raises(ConfigError, match="encoder and decoder come together"):
        load_pretrained(tmp_path / "half.yaml")


# --- the published geometries, on the meta device ---

PUBLISHED = {
    "3b": {
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
    },
    "7b": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    },
}
TOWER = "google/siglip-so400m-patch14-384"


@pytest.mark.parametrize(("size", "tied", "count"), [("3b", True, 940), ("3b", False, 941), ("7b", False, 845)])
def test_published_names_and_shapes(size: str, tied: bool, count: int) -> None:
    raw = PUBLISHED[size] | {
        "tie_word_embeddings": tied,
        "rope_theta": 1e6,
        "mm_vision_tower": TOWER,
        "mm_resampler_type": "memaug",
    }
    config = parse_config(raw, name=size)
    sources = Sources(size, raw, config, KNOWN_TOWERS[TOWER], {}, (), 0, lambda: None)
    network = build_network(sources, ModelPreset(name=size, checkpoint=size))
    shapes = {name: slot.shape for name, slot in network.slots.items()}
    assert len(shapes) == count
    assert all(slot.value.is_meta for slot in network.slots.values())
    width, wide = raw["hidden_size"], raw["hidden_size"] // raw["num_attention_heads"] * raw["num_key_value_heads"]
    assert shapes["model.vision_resampler.layers.3.self_attn.Wqkv.weight"] == (width + 2 * wide, width)
    assert shapes["model.vision_resampler.layers.0.cross_attn.Wkv.weight"] == (2 * wide, width)
    assert shapes["model.vision_resampler.layers.0.cross_attn.Wq.bias"] == (width,)
    assert shapes["model.vision_resampler.layers.0.mlp.2.weight"] == (width, 4 * width)
    assert shapes["model.mm_projector.0.weight"] == (width, 1152)
    assert shapes["model.image_newline"] == (width,)
    tower = "model.vision_tower.vision_tower.vision_model."
    assert shapes[f"{tower}embeddings.position_embedding.weight"] == (729, 1152)
    assert f"{tower}encoder.layers.25.mlp.fc2.weight" in shapes
    assert f"{tower}encoder.layers.26.mlp.fc2.weight" not in shapes
    assert f"{tower}post_layernorm.weight" in shapes
    assert not any(".head." in name for name in shapes)
    memaug = sum(int(np.prod(shape)) for name, shape in shapes.items() if "vision_resampler" in name)
    assert round(memaug / 1e6, 1) == {"3b": 209.8, "7b": 646.1}[size]
    if size == "7b":
        assert round(sum(int(np.prod(shape)) for shape in shapes.values()) / 1e9, 3) == 8.676
