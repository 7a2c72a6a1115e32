"""Sizes of a preset file that names an encoder and a decoder, from their config.json where these are here. Nothing is fetched or loaded.

Legend: D width of the decoder, Q width of its queries, g of its keys, I of its MLP, W width of the vision tower.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from afterview.model.base.checkpoint_files import CONFIG_FILE
from afterview.model.base.settings import POOLED_TOKENS
from afterview.model.catalogue.index_size import FRAMES_PER_HOUR, index_bytes_per_hour, index_width
from afterview.model.checkpoint.pair import is_plausible, read_json_file
from afterview.model.checkpoint.preset import ModelPreset
from afterview.model.download.cache import CachedModel, cache_directory

# What a SigLIP's config.json leaves out where it is that of the base model.
_BASE_TOWER: Final = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "intermediate_size": 3072,
    "image_size": 224,
    "patch_size": 16,
}


@dataclass(frozen=True)
class PairSizes:
    """Computed. parameters: of vision tower, projector, MemAug, newline and decoder. memory: in bytes, with an hour of video in MemAug."""

    parameters: int
    memory: int
    disk_per_hour: int


def pair_sizes(preset: ModelPreset, *, bytes_per_parameter: int) -> PairSizes | None:
    """What a pair needs; None for another preset, and while a config.json of it is not here or lacks numbers."""
    if preset.encoder is None or preset.decoder is None or preset.tower is not None:
        return None
    try:
        tower, width = _tower(_config(preset.encoder))
        return _sizes(tower, width, _config(preset.decoder), preset, bytes_per_parameter)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError):
        return None  # loading it says what is wrong


def _config(place: str) -> dict[str, Any]:
    path = Path(place).expanduser()
    found = path / CONFIG_FILE if path.is_dir() else CachedModel(place, cache_directory()).find(CONFIG_FILE)
    return {} if found is None else read_json_file(found)


def _number(config: Mapping[str, Any], key: str) -> int:
    """A number of a config.json. Raises KeyError or ValueError if no model can have it."""
    value = config[key]
    if not is_plausible(key, value):
        raise ValueError(key)
    return int(value)


def _tower(config: Mapping[str, Any]) -> tuple[int, int]:
    """Parameters of a vision tower without its last layer and its head, and its width."""
    if not config:
        raise ValueError("its config.json is not here")
    given = _BASE_TOWER | dict(config.get("vision_config") or config)
    width, layers, mlp, side, patch = (_number(given, key) for key in _BASE_TOWER)
    block = 4 * (width * width + width) + 2 * width * mlp + mlp + width + 4 * width
    return 3 * patch * patch * width + width + (side // patch) ** 2 * width + (layers - 1) * block + 2 * width, width


def _sizes(tower: int, tower_width: int, config: Mapping[str, Any], preset: ModelPreset, width_bytes: int) -> PairSizes:
    d, heads, layers = (_number(config, key) for key in ("hidden_size", "num_attention_heads", "num_hidden_layers"))
    groups = heads if config.get("num_key_value_heads") is None else _number(config, "num_key_value_heads")
    mlp = _number(config, "intermediate_size")
    qwen3 = config.get("model_type") == "qwen3"
    head = d // heads if config.get("head_dim") is None else _number(config, "head_dim")
    q, g = heads * head, groups * head
    layer = 2 * d * q + 2 * d * g + (2 * head if qwen3 else q + 2 * g) + 3 * d * mlp + 2 * d
    decoder = (1 if config.get("tie_word_embeddings") else 2) * _number(config, "vocab_size") * d + layers * layer + d
    own = d // heads * groups  # MemAug has the decoder's heads, and divides its width among them
    block = 12 * d * d + 4 * d * own + 15 * d + 4 * own
    memaug = preset.memaug_depth * block if preset.use_memaug else 0
    total = tower + (tower_width * d + d * d + 2 * d) + d + memaug + decoder
    seen = preset.forgetting.max_frames * (POOLED_TOKENS // preset.forgetting.spatial_ratio + 1)
    hour = (
        FRAMES_PER_HOUR * POOLED_TOKENS * 2 * own * preset.memaug_depth if preset.use_memaug else 0
    )  # its keys and values
    return PairSizes(
        parameters=total,
        memory=width_bytes * (total + 2 * layers * g * seen + hour),
        disk_per_hour=FRAMES_PER_HOUR * POOLED_TOKENS * tower_width * (1 if preset.token_storage == "int8" else 2)
        + index_bytes_per_hour(index_width(preset)),
    )
