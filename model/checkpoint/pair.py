"""What may stand in a preset file as `encoder` and `decoder`: a SigLIP or SigLIP 2, and a Qwen2, Qwen2.5 or Qwen3. Needs no torch.

config.json decides. What is none of these is refused by what it is, before its weights are fetched or read.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from afterview.model.base.errors import CheckpointError, DamagedCheckpoint
from afterview.model.checkpoint.preset import is_hub_id

ENCODER, DECODER = "encoder", "decoder"
TOWER_NAMES: Final = "vision_model."  # before the names of a vision tower, in a checkpoint with both towers
_EXAMPLES: Final = {ENCODER: "google/siglip2-so400m-patch14-384", DECODER: "Qwen/Qwen2.5-1.5B-Instruct"}
_SUPPORTED: Final = {ENCODER: "a SigLIP or SigLIP 2", DECODER: "a Qwen2, Qwen2.5 or Qwen3"}
_SIGLIP: Final = ("siglip", "siglip_vision_model")
_NAFLEX: Final = ("siglip2", "siglip2_vision_model")
_QWEN: Final = {"qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
# The largest values of numbers in a config.json. Beyond them it is damaged or hostile: building such a model would not end.
_MOST: Final = {
    "hidden_size": 10**6, "num_hidden_layers": 1000, "intermediate_size": 10**7, "num_attention_heads": 10**4, "num_key_value_heads": 10**4,
    "head_dim": 10**5, "vocab_size": 10**7, "image_size": 10**4, "patch_size": 10**4,
}  # fmt: skip
_FIXED_TOWER = "vision_model.embeddings.patch_embedding.weight"


def require_encoder(config: Mapping[str, Any], *, name: str) -> None:
    """Raise CheckpointError, which says what it is instead, unless config.json is that of a SigLIP with pictures of one size."""
    kind = _kind(config)
    if kind in _NAFLEX:
        raise _refusal(
            ENCODER, name, "is a SigLIP 2 for pictures of any shape (NaFlex): it has no fixed grid of patches, which the features of a "
            f"memory need; give one with a fixed resolution, such as {_EXAMPLES[ENCODER]}",
        )  # fmt: skip
    if kind in _QWEN:
        raise _refusal(ENCODER, name, f"is a language model ({kind}); are encoder and decoder mixed up?")
    if kind not in _SIGLIP:
        raise _refusal(ENCODER, name, _is_another(kind, ENCODER))
    vision = config.get("vision_config", {}) if kind == "siglip" else config
    if not isinstance(vision, Mapping):
        raise _refusal(ENCODER, name, "has a config.json whose vision_config is no set of keys; copy it again")
    _require_numbers(ENCODER, vision, name)
    inner = vision.get("model_type", _SIGLIP[1])
    if inner != _SIGLIP[1]:
        raise _refusal(ENCODER, name, _is_another(f"{kind} with a vision tower of type {inner}", ENCODER))


def require_decoder(config: Mapping[str, Any], *, name: str) -> None:
    """Raise CheckpointError, which says what it is instead, unless config.json is that of a Qwen that reads text alone."""
    kind, made = _kind(config), config.get("architectures")
    made = [one for one in made if isinstance(one, str)] if isinstance(made, list) else []
    if kind in (*_SIGLIP, *_NAFLEX):
        raise _refusal(DECODER, name, f"is an image encoder ({kind}); are encoder and decoder mixed up?")
    if config.get("mm_vision_tower") is not None or config.get("mm_projector_type") is not None:
        raise _refusal(
            DECODER, name, "is a LLaVA, which has a vision tower already; a preset file names it as `checkpoint`, with "
            "`init_memaug: true` for a new MemAug",
        )  # fmt: skip
    if "vision_config" in config or "_vl" in kind or "omni" in kind:
        raise _refusal(
            DECODER, name, f"is a vision-language model ({kind}), whose decoder is bound to a tower of its own; give "
            f"{_SUPPORTED[DECODER]} language model, such as {_EXAMPLES[DECODER]}",
        )  # fmt: skip
    if kind not in _QWEN:
        raise _refusal(DECODER, name, _is_another(kind, DECODER))
    if made and _QWEN[kind] not in made:
        raise _refusal(DECODER, name, _is_another(", ".join(made), DECODER))
    if config.get("quantization_config") is not None:
        raise _refusal(DECODER, name, "has quantised weights (quantization_config); give the checkpoint in bfloat16")
    _require_numbers(DECODER, config, name)


def require_part(part: str, config: Mapping[str, Any], *, name: str) -> None:
    """The same for the part of that name; every other part may be anything."""
    if part == ENCODER:
        require_encoder(config, name=name)
    elif part == DECODER:
        require_decoder(config, name=name)


def tower_names(stored: Iterable[str]) -> dict[str, str]:
    """The tensors of a vision tower: their names in the tower, and in the checkpoint.

    With both towers they begin with `vision_model.`. So do those of a vision tower alone, unless a newer version of transformers saved it.
    """
    names = list(stored)
    if any(name.startswith(TOWER_NAMES) for name in names):
        return {name.removeprefix(TOWER_NAMES): name for name in names if name.startswith(TOWER_NAMES)}
    alone = any(name == _FIXED_TOWER.removeprefix(TOWER_NAMES) for name in names)
    return {name: name for name in names} if alone else {}


def tower_shards(weight_map: Mapping[str, str]) -> set[str]:
    """Of the shards of an encoder, those that hold a part of its vision tower. The others are never read."""
    return {weight_map[name] for name in tower_names(weight_map).values()}


def require_beside(place: str, key: str) -> None:
    """Raise CheckpointError, which names the key, for a place that is a path and leads nowhere."""
    path = Path(place).expanduser()
    if path.is_file():
        raise CheckpointError(f"{key}: {place} is a file; give the directory that holds config.json and the weights")
    if (path.is_absolute() or place.startswith((".", "~"))) and not path.is_dir():
        raise CheckpointError(
            f"{key}: {place}: no such directory; give one that holds config.json and the weights, or a hub id"
        )
    if not path.is_dir() and not is_hub_id(place):
        raise CheckpointError(
            f"{key}: '{place}' is neither a directory, from the preset file's, nor a hub id; write owner/name"
        )


def read_json_file(path: Path) -> dict[str, Any]:
    """A JSON object; empty if the file holds none. What is wrong with it, loading says."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def is_plausible(key: str, value: object) -> bool:
    """Whether a number of a config.json is one that a model can have."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST[key]


def _require_numbers(part: str, config: Mapping[str, Any], name: str) -> None:
    wrong = next((key for key in _MOST if config.get(key) is not None and not is_plausible(key, config[key])), None)
    if wrong is not None:
        raise _refusal(part, name, f"has a config.json whose {wrong} is no number that such a model has; copy it again")


def _kind(config: Mapping[str, Any]) -> str:
    """What a configuration says that it is. Without model_type, what is in it decides."""
    kind = config.get("model_type")
    if isinstance(kind, str) and kind:
        return kind
    made = config.get("architectures")
    for name, architecture in _QWEN.items():
        if isinstance(made, list) and architecture in made:
            return name
    inner = config.get("vision_config")
    if isinstance(inner, Mapping) and str(inner.get("model_type", "")).startswith("siglip"):
        return "siglip2" if str(inner["model_type"]).startswith("siglip2") else "siglip"
    return "of no type that its config.json names"


def _is_another(kind: str, part: str) -> str:
    return f"is {kind if ' ' in kind else f'a model of type {kind}'}, not {_SUPPORTED[part]}; give one, such as {_EXAMPLES[part]}"


def _refusal(part: str, name: str, what: str) -> CheckpointError:
    return CheckpointError(f"{part}: {name} {what}")


def damaged(part: str, name: str, what: str) -> DamagedCheckpoint:
    """The error for a part that is of the right kind, and lacks something."""
    return DamagedCheckpoint(f"{part}: {name} {what}")
