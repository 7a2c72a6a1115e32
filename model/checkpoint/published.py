"""The published layout of a Hour-LLaVA checkpoint: configuration keys, and which tensor is which parameter.

config.json has flat Qwen2 keys and mm_* keys. `model_type` and nested sections of published files are wrong and are not
read; `mm_resampler_type` identifies the checkpoint.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from transformers import PreTrainedModel

from afterview.configs import first_problem
from afterview.model.base.errors import CheckpointError
from afterview.model.base.settings import EmbeddingKind
from afterview.model.checkpoint.hub import Directory, Location, locate
from afterview.model.checkpoint.init import MEMAUG
from afterview.model.checkpoint.weights import Slot, read_json, slots_of
from afterview.model.memaug.attention import Heads
from afterview.model.video_language import VideoLanguageModel
from afterview.model.vision.tower import KNOWN_TOWERS

NEWLINE = "model.image_newline"
PROJECTOR_PREFIX = "model.mm_projector."
TOKEN_EMBEDDINGS_PREFIX = "model.memory_marks."
MEMAUG_PREFIX = "model.vision_resampler."
TOWER_PREFIX = "model.vision_tower.vision_tower.vision_model."
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
GENERATION_FILE = "generation_config.json"
TOWER_DIRECTORY = "vision_tower"  # holds config.json of a tower that has no hub id

# Options of the published code that published weights do not use.
_SUPPORTED = {"mm_projector_type": ("mlp2x_gelu",), "mm_spatial_pool_mode": ("bilinear",)}

_DECODER_KEYS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "tie_word_embeddings",
    "use_sliding_window",
    "sliding_window",
    "max_window_layers",
    "attention_bias",
)


class PublishedConfig(BaseModel):
    """The flat keys of config.json that determine how the model is built. All others are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    hidden_size: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    num_key_value_heads: int | None = Field(default=None, ge=1)
    rope_theta: float = Field(default=1e6, gt=0)
    rope_parameters: dict[str, Any] | None = None
    tie_word_embeddings: bool = False
    eos_token_id: int | list[int] | None = None
    mm_vision_tower: str | None = None
    mm_resampler_type: str | None = None
    memaug_depth: int = Field(default=4, ge=1)
    spatial_sampling_type: Literal["uniform", "random"] = "random"
    memory_marks: tuple[EmbeddingKind, ...] = ()  # of this project's small models; see model.memaug.token_embeddings
    augmented_question: bool = False  # likewise

    @property
    def heads(self) -> Heads:
        """MemAug's heads: width and head counts of the language model."""
        return Heads(self.hidden_size, self.num_attention_heads, self.num_key_value_heads or self.num_attention_heads)

    @property
    def memaug_theta(self) -> float:
        """Base of MemAug's rotary wavelengths, equal to the language model's."""
        return float((self.rope_parameters or {}).get("rope_theta", self.rope_theta))


def read_config(location: Location) -> dict[str, Any]:
    """config.json, unchanged. Raises CheckpointError if there is none."""
    path = location.find("config.json")
    if path is None:
        raise CheckpointError(
            f"{location.name}: no config.json, so this is not a checkpoint; {instead_of(location) or 'give the directory that holds one'}"
        )
    return read_json(path)


def instead_of(location: Location) -> str:
    """The remedy for a directory that lies above the checkpoint, such as the --out of `train`; empty if none lies below it."""
    if not isinstance(location, Directory):
        return ""
    below = sorted(path.parent for path in location.path.glob("*/config.json"))
    found = [path for path in below if next(path.glob("*.safetensors*"), None) is not None]
    return f"did you mean {' or '.join(map(str, found[:3]))}?" if found else ""


def parse_config(raw: Mapping[str, Any], *, name: str, needs_memaug: bool = True, instead: str = "") -> PublishedConfig:
    """Check that the configuration can be run. Decides by the configured parts, never by `model_type`.

    instead: the remedy to name for a configuration of something else. Raises CheckpointError unless it is a LLaVA on Qwen; also for
    a LLaVA without MemAug if `needs_memaug`.
    """
    if raw.get("mm_vision_tower") is None:
        raise CheckpointError(
            f"{name}: config.json names no mm_vision_tower, so this is not a LLaVA checkpoint; "
            f"{instead or 'give the directory of one, or a preset'}"
        )
    try:
        config = PublishedConfig.model_validate(dict(raw))
    except ValidationError as error:
        raise CheckpointError(f"{name}: config.json: {first_problem(error)}; copy the checkpoint again") from None
    for key, known in _SUPPORTED.items():
        if raw.get(key, known[0]) not in known:
            raise CheckpointError(f"{name}: config.json: {key} '{raw[key]}' is not supported, only {', '.join(known)}")
    if config.mm_resampler_type != MEMAUG and needs_memaug:
        raise CheckpointError(
            f"{name}: a LLaVA checkpoint without MemAug (mm_resampler_type is {json.dumps(config.mm_resampler_type)}); "
            "pass init_memaug=True, or set init_memaug: true in a preset file, to initialise an untrained one; "
            "use_memaug: false in a preset file runs it without"
        )
    return config


def generation_stops(location: Location) -> tuple[int, ...]:
    """Tokens that end an answer, from generation_config.json. Instruction-tuned models keep it beside config.json."""
    path = location.find(GENERATION_FILE)
    stops = None if path is None else read_json(path).get("eos_token_id")
    return tuple(stops) if isinstance(stops, list) else (stops,) if stops is not None else ()


def decoder_settings(raw: Mapping[str, Any], vocabulary: int) -> dict[str, Any]:
    """The decoder's settings from the flat keys. The vocabulary is that of the stored embedding; published configs misstate it."""
    settings = {key: raw[key] for key in _DECODER_KEYS if raw.get(key) is not None}
    return settings | {"vocab_size": vocabulary}


def tower_config(location: Location, tower: str) -> Mapping[str, Any]:
    """Configuration of the vision tower named by `mm_vision_tower`: a directory in the checkpoint, a known tower, or a hub id."""
    if isinstance(location, Directory) and (location.path / tower).is_dir():
        return read_config(Directory(location.path / tower))
    if tower.startswith("."):
        raise CheckpointError(
            f"{location.name}: lacks the directory {tower} of its vision tower; copy the whole checkpoint"
        )
    return KNOWN_TOWERS[tower] if tower in KNOWN_TOWERS else read_config(locate(tower))


def published_slots(model: VideoLanguageModel, tower: PreTrainedModel, *, tied: bool) -> dict[str, Slot]:
    """Every parameter by its published name. A tied lm_head is the embedding and has no name of its own."""
    slots = {
        **slots_of(model.language.decoder),
        **slots_of(model.projector, PROJECTOR_PREFIX),
        **slots_of(model.memaug, MEMAUG_PREFIX),
        **slots_of(tower, TOWER_PREFIX),
        NEWLINE: Slot(model, "newline"),
        **(slots_of(model.token_embeddings, TOKEN_EMBEDDINGS_PREFIX) if model.token_embeddings is not None else {}),
    }
    if tied:
        del slots[HEAD]
    return slots
