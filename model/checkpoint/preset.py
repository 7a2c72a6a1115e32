"""What a model is and how it is run: presets, and the name or path that a user gives. No torch here.

A model is named by a preset ("tiny"), a preset file, a directory in the published layout, or a hub id ("owner/name").
"""

import difflib
import re
from pathlib import Path

from pydantic import Field, PrivateAttr, model_validator

from afterview.configs import Schema, load, preset_names, preset_path
from afterview.memory.base.spec import Storage
from afterview.memory.plans.positions import TRAINED_FRAMES, Policy
from afterview.memory.plans.recall import RecallConfig
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.base.errors import ModelNotFound
from afterview.model.base.settings import POOLED_TOKENS, EmbeddingKind, TokenMergingConfig, VisualDropoutConfig

PRESET_FILE = "preset.yaml"  # beside a checkpoint that this project saved
DEFAULT_INDEX_ENCODER = "google/siglip-base-patch16-224"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class TowerGeometry(Schema):
    """A SigLIP vision tower."""

    width: int
    layers: int  # layers that run; the published layout counts one more, which is dropped
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
    positions: int  # tokens; longer texts are cut


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
    """A whole model that is built from a seed rather than loaded, with a byte-level tokenizer unless `tokenizer` names another."""

    vision: TowerGeometry
    language: LanguageGeometry
    index_vision: TowerGeometry
    index_text: TextGeometry
    tokenizer: str | None = None  # a directory that holds one
    tied: bool = True  # lm_head is the embedding
    memory_marks: tuple[EmbeddingKind, ...] = ()  # what is added to memory tokens; see model.memaug.token_embeddings
    augmented_question: bool = False  # the decoder takes the question as MemAug left it


class ModelPreset(Schema):
    """Where the weights come from (exactly one of three ways), and how questions are put to them."""

    name: str
    checkpoint: str | None = None  # published layout: a directory (relative to this file) or a hub id
    vision: str | None = None  # with `language`: a SigLIP checkpoint, directory or hub id, under a fresh MemAug
    language: str | None = None  # a Qwen2, Qwen2.5 or Qwen3 checkpoint, directory or hub id
    architecture: Architecture | None = None  # built from `seed`
    init_memaug: bool = False  # allow a LLaVA checkpoint without MemAug; it is initialised from `seed`
    index_encoder: str | None = DEFAULT_INDEX_ENCODER  # a SigLIP checkpoint with both towers
    memaug_depth: int = Field(default=4, ge=1)  # blocks of a freshly initialised MemAug
    seed: int = 0  # of freshly initialised weights
    trained: bool = True
    notice: str | None = None  # shown with every answer of a model that is not trained
    forgetting: ForgettingConfig = ForgettingConfig()
    recall: RecallConfig = RecallConfig()
    positions: Policy = "interpolate"  # beyond the frames that the weights have seen
    trained_frames: int = Field(default=TRAINED_FRAMES, ge=2)
    evidence_blocks: tuple[int, ...] | None = None  # MemAug blocks; null: all but the last
    token_storage: Storage = (
        "float16"  # of a camera that is recorded with this model first; it keeps its own ever after
    )
    use_memaug: bool = True  # false: decayed tokens reach the decoder as they are, without evidence (ablation)
    token_merging: TokenMergingConfig | None = None  # instead of pooling; features of the two do not mix
    visual_dropout: VisualDropoutConfig | None = None
    max_new_tokens: int = Field(default=256, ge=1)

    _found: str | None = PrivateAttr(default=None)

    @property
    def tokens_per_frame(self) -> int:
        """Tokens that a memory keeps of each frame."""
        return POOLED_TOKENS if self.token_merging is None else self.token_merging.tokens_per_frame

    @property
    def reference(self) -> str:
        """What finds this preset again from anywhere: a shipped preset's name or a hub id, else an absolute path."""
        return self._found or self.name

    def found_at(self, reference: str | Path) -> "ModelPreset":
        """The same preset, to be found again under `reference`."""
        copy = self.model_copy()
        copy._found = str(reference)
        return copy

    @model_validator(mode="after")
    def _one_source(self) -> "ModelPreset":
        if (self.vision is None) != (self.language is None):
            raise ValueError("vision and language come together: one was given without the other")
        sources = [self.checkpoint, self.vision, self.architecture]
        if sum(source is not None for source in sources) != 1:
            raise ValueError("give exactly one of: checkpoint, vision with language, architecture")
        if self.vision is not None and not self.init_memaug:
            raise ValueError("vision with language has no MemAug of its own; set init_memaug: true")
        if not self.trained and not self.notice:
            raise ValueError("a model that is not trained needs a notice that says so")
        return self


def find_preset(name_or_path: str | Path) -> ModelPreset:
    """The preset that a name stands for: a shipped preset, a preset file, a directory in the published layout, or a hub id.

    Raises ModelNotFound naming the nearest preset when it is none of these, ConfigError when a preset file is wrong.
    """
    text = str(name_or_path)
    if not text:
        raise ModelNotFound(f"the model's name is empty; presets: {', '.join(preset_names())}")
    if text in preset_names():
        return read_preset(preset_path(text)).found_at(text)
    path = Path(text).expanduser()
    if path.is_file() and path.suffix in (".yaml", ".yml"):
        return read_preset(path).found_at(path.resolve())
    if (path / PRESET_FILE).is_file():
        return read_preset(path / PRESET_FILE).found_at(path.resolve())
    if path.is_dir():
        return ModelPreset(name=text, checkpoint=str(path.resolve())).found_at(path.resolve())
    if path.is_file():
        raise ModelNotFound(
            f"model '{text}': this file is neither a preset (.yaml) nor a model; a checkpoint is named by the directory that holds its "
            "config.json and safetensors"
        )
    if not text.startswith((".", "/", "~")) and _HUB_ID.fullmatch(text):
        return ModelPreset(name=text, checkpoint=text)
    near = difflib.get_close_matches(text, preset_names(), n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"presets: {', '.join(preset_names())}"
    raise ModelNotFound(
        f"model '{text}': no preset, preset file, directory or hub id (owner/name) of that name; {hint}"
    )


def read_preset(path: Path) -> ModelPreset:
    """A preset file with its directories made absolute: those that lie beside the file win over hub ids of the same spelling."""
    preset = load(path, ModelPreset)
    places = {}
    for key in ("checkpoint", "vision", "language", "index_encoder"):
        value = getattr(preset, key)
        if value is not None and (path.parent / Path(value).expanduser()).is_dir():
            places[key] = str((path.parent / Path(value).expanduser()).resolve())
    return preset.model_copy(update=places)
