"""Checkpoints in the published layouts at their full width, with two layers in every stack and random weights."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from afterview.model.checkpoint.loading import build_network, load_pretrained
from afterview.model.checkpoint.preset import ModelPreset
from afterview.model.checkpoint.published import parse_config
from afterview.model.checkpoint.saving import save_pretrained
from afterview.model.checkpoint.sources import Sources
from afterview.model.vision.tower import KNOWN_TOWERS
from tests.support.checkpoints import UNTIED
from tests.support.flash import DECODERS, TOKENIZER, language_shapes, published_config, tower_shapes
from tests.support.presets import write_preset

LAYERS = 2
SIGLIP = "google/siglip-so400m-patch14-384"
HOUR_LLAVA_3B = {  # Qwen2.5-3B
    "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": LAYERS, "num_attention_heads": 16,
    "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True, "mm_hidden_size": 1152,
    "memaug_depth": LAYERS, "rope_theta": 1e6, "torch_dtype": "bfloat16",
}  # fmt: skip


def hour_llava_3b(directory: Path) -> Path:
    """A preset file of an Hour-LLaVA 3B."""
    raw = json.loads((UNTIED / "config.json").read_text()) | HOUR_LLAVA_3B
    tower = dict(KNOWN_TOWERS[SIGLIP]) | {"num_hidden_layers": LAYERS + 1}  # the last layer is not stored
    sources = Sources("3b", raw, parse_config(raw, name="3b"), tower, {}, (), 0, lambda: None)
    slots = build_network(sources, ModelPreset(name="3b", checkpoint="3b")).slots
    place = _written(directory / "checkpoint", raw, {name: slot.shape for name, slot in slots.items()})
    (place / "vision_tower").mkdir()
    (place / "vision_tower" / "config.json").write_text(json.dumps(tower))
    forgetting = {
        "spatial": "random",
        "max_frames": 8,
        "min_frames": 2,
    }  # published are 32 at least: a short video is repeated
    return _preset(directory, "hour-llava-3b-two", forgetting=forgetting)


def videochat_flash_7b(directory: Path) -> Path:
    """A preset file of a VideoChat-Flash 7B at 224 pixels."""
    raw = published_config("7b", "umt-large") | {
        "num_hidden_layers": LAYERS, "mm_vision_select_layer": LAYERS - 25, "torch_dtype": "bfloat16",
    }  # fmt: skip
    shapes = tower_shapes(1024, LAYERS) | language_shapes(**(DECODERS["7b"] | {"num_hidden_layers": LAYERS}))
    _written(directory / "checkpoint", raw, shapes)
    return _preset(directory, "videochat-flash-7b-two")


def _preset(directory: Path, name: str, **more: Any) -> Path:
    """With a small tokenizer, whose tokens are among the vocabulary, and a small random index encoder."""
    for file in TOKENIZER.iterdir():
        shutil.copy(file, directory / "checkpoint")
    small = load_pretrained(write_preset(directory), device="cpu", dtype="float32")
    save_pretrained(small, directory / "other")
    path = directory / f"{name}.yaml"
    keys = {"name": name, "checkpoint": "checkpoint", "index_encoder": "other/index_encoder", "max_new_tokens": 1}
    path.write_text(yaml.safe_dump(keys | more))
    return path


def _written(place: Path, raw: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Path:
    """A checkpoint in bfloat16, one file a tensor, so that never more than one of them is in memory."""
    place.mkdir(parents=True)
    (place / "config.json").write_text(json.dumps({name: value for name, value in raw.items() if value is not None}))
    noise = (torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)) * 0.02).bfloat16()
    names = {}
    for number, (name, shape) in enumerate(shapes.items(), 1):
        file = f"model-{number:05d}-of-{len(shapes):05d}.safetensors"
        save_file({name: _values(name, shape, noise)}, place / file)
        names[name] = file
    index = {"metadata": {}, "weight_map": names}
    (place / "model.safetensors.index.json").write_text(json.dumps(index))
    return place


def _values(name: str, shape: tuple[int, ...], noise: Tensor) -> Tensor:
    if name.endswith("bias"):
        return torch.zeros(shape, dtype=torch.bfloat16)
    if "norm" in name.split(".")[-2]:
        return torch.ones(shape, dtype=torch.bfloat16)
    values = torch.empty(shape, dtype=torch.bfloat16)
    flat = values.view(-1)
    for start in range(0, len(flat), len(noise)):
        flat[start : start + len(noise)] = noise[: len(flat) - start]
    return values
