"""Presets: what a model is and how it is run, and how a user's name or path finds one. Needs no torch.

A model is named by a preset ("tiny"), a preset file, a directory in the published layout, or a hub id ("owner/name").
"""

import json
import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from afterview.configs import Schema, load, preset_names, preset_path
from afterview.configs.suggestions import did_you_mean
from afterview.memory.base.feature_spec import Storage
from afterview.memory.plans.clip_sampling import ClipSampling
from afterview.memory.plans.positions import TRAINED_FRAMES, Policy
from afterview.memory.plans.published_sampling import ShortVideos
from afterview.memory.plans.recall import RecallConfig
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.base.errors import ModelNotFound
from afterview.model.base.generation import DEFAULT_MAX_NEW_TOKENS
from afterview.model.base.settings import (
    FRAMES_PER_CLIP,
    POOLED_TOKENS,
    EmbeddingKind,
    NewPart,
    TokenMergingConfig,
    TowerName,
    VisualDropoutConfig,
)
from afterview.model.language.looks import LookWordings
from afterview.model.language.scope import Scope

PRESET_FILE = "preset.yaml"  # written beside a checkpoint by save_pretrained
DEFAULT_INDEX_ENCODER = "google/siglip-base-patch16-224"

_EARLIER_NAMES = {"vision": "encoder", "language": "decoder"}  # keys of preset files that were written before
_OF_FINDING = {
    "name",
    "finds_only",
    "index_encoder",
    "trained",
    "notice",
    "short_videos",
}  # keys of a model that finds only
_GENERAL_QUESTION = "What happened?"  # suggested for a model without a scope

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[A-Za-z0-9][\w.-]*)?", re.ASCII)


class TowerGeometry(Schema):
    """A SigLIP vision tower."""

    width: int
    layers: int  # layers that run; the published layout counts one more, which is never run
    heads: int
    mlp_width: int
    image_size: int  # pixels
    patch_size: int  # pixels


class TextGeometry(Schema):
    """A SigLIP text tower."""

    width: int
    layers: int
    heads: int
    mlp_width: int
    positions: int  # tokens; longer texts are truncated


class LanguageGeometry(Schema):
    """A Qwen2 decoder."""

    width: int
    layers: int
    heads: int
    key_value_heads: int
    mlp_width: int
    positions: int = 32768
    rope_theta: float = 1e6


class Architecture(Schema):
    """A whole model built from a seed instead of loaded. Has a byte-level tokenizer unless `tokenizer` names another."""

    vision: TowerGeometry
    language: LanguageGeometry
    index_vision: TowerGeometry
    index_text: TextGeometry
    tokenizer: str | None = None  # directory of a tokenizer
    tied: bool = True  # lm_head is the embedding
    memory_marks: tuple[EmbeddingKind, ...] = ()  # embeddings added to memory tokens; see model.memaug.token_embeddings
    augmented_question: bool = False  # the decoder receives the question as augmented by MemAug


class ModelPreset(Schema):
    """Where the weights come from (exactly one of four ways), and how the model is run."""

    name: str
    checkpoint: str | None = None  # published layout: a directory (relative to this file) or a hub id
    adapter: str | None = None  # a PEFT adapter (LoRA, ...) of `checkpoint`: directory or hub id; merged while loading
    # A SigLIP checkpoint, directory or hub id, with `decoder`: projector and MemAug are newly initialised (model.checkpoint.pair)
    encoder: str | None = None
    tower: TowerName | None = None  # `encoder` is a UMT-L alone (its file, or where it lies), for a VideoChat-Flash
    decoder: str | None = None  # a Qwen2, Qwen2.5 or Qwen3 checkpoint, directory or hub id
    architecture: Architecture | None = None  # built from `seed`
    finds_only: bool = False  # `index_encoder` alone, without a language model: it finds frames and does not answer
    init_memaug: bool = False  # accept a LLaVA checkpoint without MemAug, and initialise one from `seed`
    index_encoder: str | None = DEFAULT_INDEX_ENCODER  # a SigLIP checkpoint with both towers
    # What the index is asked for a question: a caption that a rule makes of it (SigLIP was trained with captions), or the question. null:
    # captions for an index encoder by hub id, questions for a directory, whose encoder may have been trained with them.
    index_queries: Literal["captions", "questions"] | None = None
    # Which text after the video joins MemAug's queries: all, as published; or, of what the user wrote, only what says what to find, without
    # options and instructions. A small model would look for the options in the memory.
    memory_queries: Literal["prompt", "question"] = "prompt"
    memaug_depth: int = Field(
        default=4, ge=1
    )  # blocks of a newly initialised MemAug; if given, also how many of a checkpoint's are used
    seed: int = 0  # of newly initialised weights
    trained: bool = True
    untrained: tuple[
        NewPart, ...
    ] = ()  # parts of `checkpoint` that nothing was learnt in yet; written when a model is saved
    notice: str | None = None  # warning shown with every answer of a model that is not trained
    scope: Scope | None = None  # the questions that the model knows; it declines all others. null: it declines none
    looks: LookWordings = LookWordings()  # of a model whose answers ask for further looks
    forgetting: ForgettingConfig = ForgettingConfig()
    recall: RecallConfig = RecallConfig()
    positions: Policy = "interpolate"  # for more frames than the weights were trained with
    trained_frames: int = Field(default=TRAINED_FRAMES, ge=2)
    # How a recording of less than 128 s is sampled. A published checkpoint without this key: published. Live video is never sampled so.
    short_videos: ShortVideos = "per-second"
    evidence_blocks: tuple[int, ...] | None = None  # MemAug blocks; null: all but the last
    token_storage: Storage = "float16"  # for new cameras; a camera never changes its storage
    rotary: bool = True  # false: MemAug without rotary positions (ablation)
    use_memaug: bool = True  # false: the decoder receives the decayed tokens as they are, without evidence (ablation)
    token_merging: TokenMergingConfig | None = None  # instead of pooling; the features of the two are incompatible
    visual_dropout: VisualDropoutConfig | None = None
    clip_sampling: ClipSampling = ClipSampling()  # how many frames a VideoChat-Flash sees
    max_new_tokens: int = Field(default=DEFAULT_MAX_NEW_TOKENS, ge=1)  # takes precedence over generation_config.json

    _found: str | None = PrivateAttr(default=None)

    @property
    def tokens_per_frame(self) -> int:
        """Tokens that a memory stores per frame."""
        return POOLED_TOKENS if self.token_merging is None else self.token_merging.tokens_per_frame

    @property
    def sees_clips(self) -> bool:
        """Whether the decoder receives merged clips as VideoChat-Flash does: all tokens of the chosen frames (memory.plans.clips)."""
        merging = self.token_merging
        return merging is not None and merging.frames_per_clip == FRAMES_PER_CLIP and not self.use_memaug

    @property
    def new_parts(self) -> tuple[NewPart, ...]:
        """The parts in use that nothing was learnt in yet. (That a checkpoint has no MemAug shows only when it is loaded.)"""
        found = self.untrained
        if self.encoder is not None:
            found = ("projector", "memaug") if self.tower is None or self.init_memaug else ("projector",)
        return tuple(part for part in found if part != "memaug" or self.use_memaug)

    @property
    def caution(self) -> str | None:
        """What a person must know before believing an answer: what was never trained, and the notice."""
        if not self.new_parts:
            return self.notice
        what = " and ".join({"projector": "the projector", "memaug": "MemAug"}[part] for part in self.new_parts)
        are = "are" if len(self.new_parts) > 1 else "is"
        said = (
            f"untrained: {what} of {self.name} {are} newly initialised, so its answers mean nothing (search does not use them); "
            f"`afterview train STAGE.yaml --out DIR` with `model: {self.reference}` trains it (docs/training.md)"
        )
        return said if self.notice is None else f"{said}. {self.notice}"

    @property
    def asks_captions(self) -> bool:
        """Whether questions become captions before the index is asked."""
        if self.index_queries is not None:
            return self.index_queries == "captions"
        return self.architecture is None and self.index_encoder is not None and is_hub_id(self.index_encoder)

    @property
    def suggestion(self) -> str:
        """A question that this model can answer, to suggest to a user."""
        return _GENERAL_QUESTION if self.scope is None else self.scope.examples[-1]

    @property
    def reference(self) -> str:
        """A name that finds this preset from anywhere: a shipped preset's name or a hub id, otherwise an absolute path."""
        return self._found or self.name

    def found_at(self, reference: str | Path) -> "ModelPreset":
        """The same preset with `reference` as its name."""
        copy = self.model_copy()
        copy._found = str(reference)
        return copy

    @field_validator("positions", mode="before")
    @classmethod
    def _true_is_a_word(cls, positions: object) -> object:
        return "true" if positions is True else positions  # YAML reads it as a truth value

    @model_validator(mode="before")
    @classmethod
    def _earlier_names(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        for earlier, name in _EARLIER_NAMES.items():
            if earlier in values and name in values:
                raise ValueError(f"{earlier} is the earlier name of {name}; give {name} alone")
            values = {name if key == earlier else key: value for key, value in values.items()}
        return values

    def _require_finding(self) -> None:
        """Raise ValueError for keys that mean nothing without a language model."""
        if self.index_encoder is None:
            raise ValueError("finds_only needs an index_encoder: nothing else finds frames")
        if unused := sorted(self.model_fields_set - _OF_FINDING):
            raise ValueError(f"finds_only has no language model, so {unused[0]} means nothing; remove it")

    @model_validator(mode="after")
    def _one_source(self) -> "ModelPreset":
        if (self.encoder is None) != (self.decoder is None):
            lone, other = ("encoder", "decoder") if self.decoder is None else ("decoder", "encoder")
            raise ValueError(f"encoder and decoder come together: {lone} was given without {other}")
        sources = [self.checkpoint, self.encoder, self.architecture, self.finds_only or None]
        if sum(source is not None for source in sources) != 1:
            raise ValueError("give exactly one of: checkpoint, encoder with decoder, architecture, finds_only")
        if self.finds_only:
            self._require_finding()
        if self.tower is not None and self.encoder is None:
            raise ValueError("tower names what lies at `encoder`, which is missing")
        alone = self.encoder is not None and self.tower is None
        if alone and "init_memaug" in self.model_fields_set and not self.init_memaug and self.use_memaug:
            raise ValueError(
                "encoder with decoder has no MemAug of its own; leave init_memaug out, or set use_memaug: false"
            )
        if self.untrained and self.checkpoint is None:
            raise ValueError("untrained names parts of a checkpoint, which is missing")
        if self.adapter is not None and self.checkpoint is None:
            raise ValueError("adapter needs a checkpoint, whose weights it changes")
        if not self.trained and not self.notice and not self.new_parts:
            raise ValueError("a model that is not trained needs a notice that says so")
        return self


def find_preset(name_or_path: str | Path) -> ModelPreset:
    """Find a preset by name: a shipped preset, a preset file, a directory in the published layout, or a hub id.

    Raises ModelNotFound with the most similar preset name if it is none of these, ConfigError for an invalid preset
    file.
    """
    text = str(name_or_path)
    if not text:
        raise ModelNotFound(f"the model's name is empty; presets: {', '.join(preset_names())}")
    if text in preset_names():
        return read_preset(preset_path(text)).found_at(text)
    path = Path(os.path.expanduser(text))  # os.path takes any text, where pathlib raises for a name that is too long
    if os.path.isfile(path) and path.suffix in (".yaml", ".yml"):
        return read_preset(path).found_at(path.resolve())
    if os.path.isfile(path / PRESET_FILE):
        return read_preset(path / PRESET_FILE).found_at(path.resolve())
    if os.path.isdir(path):
        if (base := _preset_of_base(path)) is not None:
            update = {"name": text, "adapter": str(path.resolve())}
            return base.model_copy(update=update).found_at(path.resolve())
        return ModelPreset(name=text, checkpoint=str(path.resolve()), short_videos="published").found_at(path.resolve())
    if os.path.isfile(path):
        raise ModelNotFound(
            f"model '{text}': this file is neither a preset (.yaml) nor a model; a checkpoint is named by the directory that holds its "
            "config.json and safetensors"
        )
    if is_hub_id(text):
        return ModelPreset(name=text, checkpoint=text, short_videos="published")
    hint = did_you_mean(text, preset_names()) or f"; presets: {', '.join(preset_names())}"
    raise ModelNotFound(f"model '{text}': no preset, preset file, directory or hub id (owner/name) of that name{hint}")


def chosen_index(preset: ModelPreset, given: str | None, recorded: str | None) -> str | None:
    """The index encoder to use: the given one, else the preset's own, else the one that a memory was recorded with, else the default."""
    if given is None and recorded is not None and "index_encoder" not in preset.model_fields_set:
        given = recorded if os.path.isdir(recorded) or is_hub_id(recorded) else None
    if given is None:
        return preset.index_encoder
    here = os.path.isdir(os.path.expanduser(given))  # absolute: a memory keeps the name
    return os.path.abspath(os.path.expanduser(given)) if here else given


def is_hub_id(text: str) -> bool:
    """Whether a text has the form owner/name, or owner/name@revision."""
    return not text.startswith((".", "/", "~")) and _HUB_ID.fullmatch(text) is not None


def _preset_of_base(adapter: Path) -> ModelPreset | None:
    """The preset file beside the weights that a PEFT adapter changes; None if this is no adapter, or its base has none."""
    try:
        named = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"]
        places = [place / PRESET_FILE for place in (adapter / Path(named).expanduser(), Path(named).expanduser())]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # loading it reports what is wrong
    found = next((read_preset(place) for place in places if os.path.isfile(place)), None)
    return found if found is not None and found.checkpoint is not None and found.adapter is None else None


def read_preset(path: Path) -> ModelPreset:
    """Read a preset file and make its directories absolute. A directory beside the file takes precedence over a hub id of the same name."""
    preset = load(path, ModelPreset)
    places: dict[str, str] = {}
    if preset.checkpoint is not None and path.name != PRESET_FILE and "short_videos" not in preset.model_fields_set:
        places["short_videos"] = (
            "published"  # what this package saved itself has the key, or learnt from one frame per second
        )
    for key in ("checkpoint", "adapter", "encoder", "decoder", "index_encoder"):
        value = getattr(preset, key)
        if value is None:
            continue
        place = path.parent / Path(value).expanduser()
        if place.is_dir() or (key == "encoder" and preset.tower is not None and place.is_file()):
            places[key] = str(place.resolve())
    return preset.model_copy(update=places)
