"""Small SigLIP and Qwen checkpoints in the layouts in which the real ones are published, and preset files that name two of them."""

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
)

from afterview.model.base.checkpoint_files import INDEX_FILE, SINGLE_FILE
from afterview.model.language.tokenizer import BYTE_VOCABULARY, byte_tokenizer

VISION = "vision_model."


def siglip(place: Path, *, side: int = 48, patch: int = 4, width: int = 32, layers: int = 3) -> Path:
    """A SigLIP with both towers and a tokenizer, in float32."""
    geometry = {"hidden_size": width, "intermediate_size": 48, "num_hidden_layers": layers, "num_attention_heads": 2}
    text = {"vocab_size": BYTE_VOCABULARY, "projection_size": width, "max_position_embeddings": 16}
    config = SiglipConfig(
        vision_config=SiglipVisionConfig(**geometry, image_size=side, patch_size=patch).to_dict(),
        text_config={**geometry, **text, "bos_token_id": None, "eos_token_id": None},
    )
    _save(SiglipModel, config, place, seed=1)
    byte_tokenizer().save_pretrained(place)
    return place


def qwen(
    place: Path,
    *,
    qwen3: bool = False,
    tied: bool = True,
    rows: int = BYTE_VOCABULARY,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """A Qwen2 or Qwen3 with a tokenizer of bytes. rows: of its embedding; the real ones have more than the tokenizer has tokens."""
    geometry: dict[str, Any] = {
        "vocab_size": rows, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "tie_word_embeddings": tied,
    }  # fmt: skip
    if qwen3:
        _save(Qwen3ForCausalLM, Qwen3Config(**geometry, head_dim=32), place, seed=2, dtype=dtype)
    else:
        _save(Qwen2ForCausalLM, Qwen2Config(**geometry), place, seed=2, dtype=dtype)
    byte_tokenizer().save_pretrained(place)
    return place


def write_pair(root: Path, *, name: str = "pair", **changes: Any) -> Path:
    """A preset file whose `encoder` and index encoder is the SigLIP `siglip` beside it, and whose `decoder` is the Qwen `qwen`."""
    values = {
        "name": name,
        "encoder": "siglip",
        "decoder": "qwen",
        "index_encoder": "siglip",
        "memaug_depth": 2,
    } | changes
    (root / f"{name}.yaml").write_text(yaml.safe_dump(values))
    return root / f"{name}.yaml"


def change_config(place: Path, **changes: Any) -> Path:
    """Replace keys of a config.json; None removes one."""
    file = place / "config.json"
    values = (json.loads(file.read_text()) if file.exists() else {}) | changes
    place.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    return place


def vision_alone(place: Path) -> Path:
    """Turn a SigLIP into its vision tower alone, as newer versions of transformers save one: names without prefix."""
    tensors = _taken(place)
    save_file(
        {name.removeprefix(VISION): t for name, t in tensors.items() if name.startswith(VISION)}, place / SINGLE_FILE
    )
    config = json.loads((place / "config.json").read_text())["vision_config"] | {"model_type": "siglip_vision_model"}
    (place / "config.json").write_text(json.dumps(config))
    return place


def in_shards_by_tower(place: Path) -> tuple[str, str]:
    """Split a SigLIP into a shard of its text tower and one of its vision tower. Returns their names."""
    tensors = _taken(place)
    text, vision = (f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
    where = {name: vision if name.startswith(VISION) else text for name in tensors}
    for shard in (text, vision):
        save_file({name: tensor for name, tensor in tensors.items() if where[name] == shard}, place / shard)
    (place / INDEX_FILE).write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return text, vision


def files_of(place: Path) -> dict[str, bytes]:
    """The files of a checkpoint, as a hub serves them."""
    return {path.name: path.read_bytes() for path in sorted(place.iterdir())}


def _taken(place: Path) -> dict[str, Tensor]:
    tensors = {name: tensor.clone() for name, tensor in load_file(place / SINGLE_FILE).items()}
    (place / SINGLE_FILE).unlink()
    return tensors


def _save(
    kind: type[PreTrainedModel], config: Any, place: Path, *, seed: int, dtype: torch.dtype = torch.float32
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        kind(config).to(dtype).save_pretrained(place)
