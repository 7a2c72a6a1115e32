"""VideoChat-Flash checkpoints for tests: the golden ones, and the full published layouts by name and shape alone."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml

from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.saving import save_pretrained
from afterview.model.checkpoint.weights import TensorSource
from tests.support.checkpoints import copied
from tests.support.presets import write_preset

GOLDEN = Path(__file__).parents[1] / "golden" / "videochat_flash"
TOKENIZER = Path(__file__).parents[1] / "golden" / "prompts" / "tokenizer"
TIED, LARGE = GOLDEN / "model_umt224_tied_resize", GOLDEN / "model_umt448"

DECODERS = {
    "7b": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    },
    "2b": {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
    },
}
PREFIX = "model.vision_tower.vision_tower.encoder."


def published_config(decoder: str, tower: str) -> dict[str, Any]:
    """config.json of a released model."""
    raw = json.loads((LARGE / "config.json").read_text()) | DECODERS[decoder]
    side = 448 if "hd" in tower else 224
    grids = [[side * i, side * j] for i in range(1, 7) for j in range(1, 7)]
    return raw | {"mm_vision_tower": tower, "mm_hidden_size": 1024, "image_grid_pinpoints": grids}


def published_shapes(decoder: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of its tensors, as the facts of the published checkpoints list them."""
    sizes = DECODERS[decoder]
    return tower_shapes(1024, 23) | language_shapes(**sizes)


def tower_shapes(width: int, blocks: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        f"{PREFIX}patch_embed.proj.weight": (width, 3, 1, 16, 16),
        f"{PREFIX}patch_embed.proj.bias": (width,),
        f"{PREFIX}vision_layernorm.weight": (width,),
        f"{PREFIX}vision_layernorm.bias": (width,),
    }
    for number in range(blocks):
        block = f"{PREFIX}blocks.{number}."
        shapes |= {f"{block}{norm}.{part}": (width,) for norm in ("norm1", "norm2") for part in ("weight", "bias")}
        shapes |= {f"{block}attn.{name}": (width,) for name in ("q_bias", "v_bias", "proj.bias")}
        shapes |= {f"{block}attn.qkv.weight": (3 * width, width), f"{block}attn.proj.weight": (width, width)}
        shapes |= {f"{block}mlp.fc1.weight": (4 * width, width), f"{block}mlp.fc1.bias": (4 * width,)}
        shapes |= {f"{block}mlp.fc2.weight": (width, 4 * width), f"{block}mlp.fc2.bias": (width,)}
    return shapes


def language_shapes(**sizes: int) -> dict[str, tuple[int, ...]]:
    width, wide, words = sizes["hidden_size"], sizes["intermediate_size"], sizes["vocab_size"]
    keys = width // sizes["num_attention_heads"] * sizes["num_key_value_heads"]
    shapes: dict[str, tuple[int, ...]] = {
        "model.mm_projector.mlp.0.weight": (width, 1024),
        "model.mm_projector.mlp.0.bias": (width,),
        "model.mm_projector.mlp.2.weight": (width, width),
        "model.mm_projector.mlp.2.bias": (width,),
        "model.embed_tokens.weight": (words, width),
        "model.norm.weight": (width,),
        "lm_head.weight": (words, width),
    }
    for number in range(sizes["num_hidden_layers"]):
        layer = f"model.layers.{number}."
        for name, rows in (("q", width), ("k", keys), ("v", keys)):
            shapes |= {
                f"{layer}self_attn.{name}_proj.weight": (rows, width),
                f"{layer}self_attn.{name}_proj.bias": (rows,),
            }
        shapes[f"{layer}self_attn.o_proj.weight"] = (width, width)
        shapes |= {f"{layer}mlp.{name}_proj.weight": (wide, width) for name in ("gate", "up")}
        shapes[f"{layer}mlp.down_proj.weight"] = (width, wide)
        shapes |= {f"{layer}{name}.weight": (width,) for name in ("input_layernorm", "post_attention_layernorm")}
    return shapes


def without_values(shapes: dict[str, tuple[int, ...]]) -> dict[str, TensorSource]:
    """Sources that have shapes alone."""
    return {
        name: TensorSource(shape=lambda shape=shape: shape, pieces=lambda: iter([torch.empty(0)]))
        for name, shape in shapes.items()
    }


def flash_preset(directory: Path, **keys: Any) -> Path:
    """A preset file of the small golden model, with a tokenizer, visual dropout and a random index encoder, all under `directory`."""
    place = copied(TIED, directory, config={"mm_llm_compress": True})
    for file in TOKENIZER.iterdir():
        shutil.copy(file, place)
    other = load_pretrained(write_preset(directory), device="cpu", dtype="float32")
    save_pretrained(other, directory / "other")
    preset = {"name": "flash", "checkpoint": "checkpoint", "index_encoder": "other/index_encoder", "max_new_tokens": 5}
    path = directory / "flash.yaml"
    path.write_text(yaml.safe_dump(preset | keys))
    return path
