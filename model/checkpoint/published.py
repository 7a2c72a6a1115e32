"""The published layouts of Hour-LLaVA and VideoChat-Flash: configuration keys, and which tensor is which parameter.

config.json has flat Qwen2 keys and mm_* keys. `model_type` and nested sections of published files are wrong and are not
read; `mm_resampler_type` identifies a Hour-LLaVA, `mm_projector_type` a VideoChat-Flash (model.checkpoint.flash).
"""

import json
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from afterview.configs import first_problem
from afterview.model.base.errors import CheckpointError
from afterview.model.base.settings import EmbeddingKind
from afterview.model.checkpoint.config_keys import MEMAUG, refuse_key
from afterview.model.checkpoint.hub import Directory, Location
from afterview.model.checkpoint.weights import Slot, read_json, slots_of
from afterview.model.video_language import VideoLanguageModel
from afterview.model.vision.tower import Tower
from afterview.model.vision.umt import UmtTower

NEWLINE = "model.image_newline"
PROJECTOR_PREFIX = "model.mm_projector."
TOKEN_EMBEDDINGS_PREFIX = "model.memory_marks."
MEMAUG_PREFIX = "model.vision_resampler."
TOWER_PREFIX = "model.vision_tower.vision_tower.vision_model."
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


class Family(NamedTuple):
    """What differs between the published families of checkpoints: prefixes of tensor names."""

    name: str
    tower: str
    projector: str


HOUR_LLAVA: Final = Family("Hour-LLaVA", TOWER_PREFIX, PROJECTOR_PREFIX)
VIDEOCHAT_FLASH: Final = Family("VideoChat-Flash", "model.vision_tower.vision_tower.", f"{PROJECTOR_PREFIX}mlp.")

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
    "tie_word_embeddings",
    "use_sliding_window",
    "sliding_window",
    "max_window_layers",
    "attention_bias",
)

# A decoder is another one with another value of these, so it is said which value stands for a missing one.
_SAID_DECODER_KEYS = ("num_key_value_heads", "hidden_act", "rms_norm_eps", "rope_theta", "tie_word_embeddings")


class PublishedConfig(BaseModel):
    """The flat keys of config.json that determine how the model is built. All others are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    hidden_size: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    num_key_value_heads: int | None = Field(default=None, ge=1)
    rope_theta: float | None = Field(default=None, gt=0)
    rope_parameters: dict[str, Any] | None = None
    tie_word_embeddings: bool = False
    eos_token_id: int | list[int] | None = None
    mm_vision_tower: str | None = None
    mm_resampler_type: str | None = None
    memaug_depth: int = Field(default=4, ge=1)
    spatial_sampling_type: Literal["uniform", "random"] = "random"
    add_time_instruction: bool | None = None  # None: as true; stages 2 and 3 of the published training set it
    memory_marks: tuple[EmbeddingKind, ...] = ()  # of this project's small models; see model.memaug.token_embeddings
    augmented_question: bool = False  # likewise

    @property
    def time_instruction(self) -> bool:
        """Whether the prompt of a video says how long it is."""
        return self.add_time_instruction is not False


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
    refuse_key(raw, "mm_resampler_type", name=name)
    if config.mm_resampler_type != MEMAUG and needs_memaug:
        raise CheckpointError(
            f"{name}: a LLaVA checkpoint without MemAug (mm_resampler_type is {json.dumps(config.mm_resampler_type)}); "
            "pass init_memaug=True, or set init_memaug: true in a preset file, to initialise an untrained one; "
            "use_memaug: false in a preset file runs it without"
        )
    return config


def decoder_settings(raw: Mapping[str, Any], vocabulary: int) -> dict[str, Any]:
    """The decoder's settings from the flat keys. The vocabulary is that of the stored embedding; published configs misstate it.

    Scaled rotary positions (rope_scaling) are left out, as the published class does. A base in rope_parameters (newer versions of
    transformers write it there) takes precedence, as in transformers.
    """
    settings = {key: raw[key] for key in _DECODER_KEYS if raw.get(key) is not None}
    base = (raw.get("rope_parameters") or {}).get("rope_theta")
    return settings | {"vocab_size": vocabulary} | ({} if base is None else {"rope_theta": base})


def missing_decoder_keys(raw: Mapping[str, Any], used: Mapping[str, Any]) -> str:
    """Which keys of the decoder config.json lacks, each with the value that is used instead; empty if none. used: transformers' values."""
    lacking = {
        key: used[key]
        for key in _SAID_DECODER_KEYS
        if raw.get(key) is None and not (key == "rope_theta" and "rope_theta" in (raw.get("rope_parameters") or {}))
    }
    return ", ".join(f"{key} ({value})" for key, value in lacking.items())


def published_slots(model: VideoLanguageModel, tower: Tower, *, tied: bool) -> dict[str, Slot]:
    """Every parameter by its published name. A tied lm_head is the embedding and has no name of its own."""
    family = VIDEOCHAT_FLASH if isinstance(tower, UmtTower) else HOUR_LLAVA
    slots = {
        **slots_of(model.language.decoder),
        **slots_of(model.projector, family.projector),
        **slots_of(model.memaug, MEMAUG_PREFIX),
        **slots_of(tower, family.tower),
        **({} if model.newline is None else {NEWLINE: Slot(model, "newline")}),
        **(slots_of(model.token_embeddings, TOKEN_EMBEDDINGS_PREFIX) if model.token_embeddings is not None else {}),
    }
    if tied:
        del slots[HEAD]
    return slots
