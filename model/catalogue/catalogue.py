"""The shipped presets as a person chooses among them. Sizes are computed from the published geometry; nothing is fetched or loaded.

Legend: D width of the decoder, g its key/value width, I width of its MLP, V vocabulary, W width of the vision tower.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from pydantic import Field

from afterview.configs import Schema, load_mapping, preset_names, read_yaml
from afterview.configs.loader import CATALOGUE
from afterview.model.base.settings import FRAMES_PER_CLIP, POOLED_TOKENS, TOKENS_PER_CLIP
from afterview.model.catalogue.index_size import FRAMES_PER_HOUR, index_bytes_per_hour

Kind = Literal["hour-llava", "videochat-flash", "search"]

INDEX_PARAMETERS: Final = 203_155_970  # google/siglip-base-patch16-224, published in float32
PUBLISHED_BYTES: Final = 2  # per parameter: the checkpoints are bfloat16
_SEEN_FRAMES: Final = 512  # at most, by both families' defaults
_RECALLED_FRAMES: Final = 3600  # that MemAug attends to at most
_BLOCKS: Final = 4  # of MemAug


class LanguageShape(Schema):
    """A published decoder. tied: no lm_head of its own."""

    width: int
    layers: int
    heads: int
    key_value_heads: int
    mlp_width: int
    vocabulary: int
    tied: bool

    @property
    def kv_width(self) -> int:
        """g."""
        return self.width // self.heads * self.key_value_heads

    @property
    def parameters(self) -> int:
        """Of a Qwen2: embedding, layers, last norm, and lm_head unless it is tied."""
        d, g = self.width, self.kv_width
        layer = 2 * d * d + d + 2 * (d * g + g) + 3 * d * self.mlp_width + 2 * d
        return (1 if self.tied else 2) * self.vocabulary * d + self.layers * layer + d


class EncoderShape(Schema):
    """A published SigLIP of a fixed resolution: two towers of one width."""

    width: int
    layers: int
    mlp_width: int
    resolution: int  # pixels
    patch: int  # pixels
    vocabulary: int
    positions: int  # tokens that the text tower reads

    @property
    def parameters(self) -> int:
        """Of both towers, the head that pools the patches, and scale and bias of the similarity."""
        w, m = self.width, self.mlp_width
        mlp, norm, attention = 2 * w * m + m + w, 2 * w, 4 * (w * w + w)
        layers = self.layers * (attention + mlp + 2 * norm) + norm
        patches = (self.resolution // self.patch) ** 2
        vision = 3 * self.patch**2 * w + w + patches * w + layers + (w + attention + norm + mlp)
        text = (self.vocabulary + self.positions) * w + layers + w * w + w
        return vision + text + 2


class Entry(Schema):
    """One shipped preset. wants: without a GPU such a model is too slow for live video; `cpu`: it was made for machines without."""

    good_for: str
    kind: Kind
    bundled: bool = False
    wants: Literal["gpu", "cpu"] = "gpu"
    resolution: Literal[224, 448] | None = Field(default=None, description="pixels of VideoChat-Flash's tower")
    language: LanguageShape | None = None
    encoder: EncoderShape | None = Field(default=None, description="of `search`, which has nothing else")


@dataclass(frozen=True)
class Sizes:
    """Computed, in bytes. memory: weights in the dtype of this machine, the decoder's cache, and an hour in MemAug; working room comes
    on top. disk_per_hour: features of one camera at one frame a second, those of the index among them, without images. parameters:
    without the index encoder, except of `search`, which has nothing else."""

    parameters: int
    download: int
    memory: int
    disk_per_hour: int


class _Catalogue(Schema):
    presets: dict[str, Entry]


@cache
def catalogue() -> dict[str, Entry]:
    """Every shipped preset's entry, in the order of the file. Raises ConfigError for an invalid file."""
    found = load_mapping({"presets": read_yaml(CATALOGUE)}, _Catalogue, source=CATALOGUE.name).presets
    return {name: entry for name, entry in found.items() if name in preset_names()}


def tower_parameters(entry: Entry) -> tuple[int, int]:
    """Parameters of the vision tower, and its width."""
    if entry.kind == "videochat-flash":  # UMT-L: 23 blocks, no bias of k
        width, blocks = 1024, 23
        block = 3 * width * width + 2 * width + width * width + width + 8 * width * width + 5 * width + 4 * width
        return 3 * 16 * 16 * width + width + blocks * block + 2 * width, width
    width, blocks, mlp, patches = 1152, 26, 4304, 27 * 27  # SigLIP SO400M without its last layer and its head
    block = 4 * (width * width + width) + 2 * width * mlp + mlp + width + 4 * width
    return 3 * 14 * 14 * width + width + patches * width + blocks * block + 2 * width, width


def memaug_parameters(shape: LanguageShape) -> int:
    """Of MemAug's blocks: self-attention, cross-attention, MLP, norms."""
    d, g = shape.width, shape.kv_width
    return _BLOCKS * (d * (d + 2 * g) + 3 * d * d + 2 * g * d + 8 * d * d + 3 * d)


def sizes(entry: Entry, *, bytes_per_parameter: int) -> Sizes | None:
    """What a preset needs. bytes_per_parameter: 2 on a GPU (bfloat16), 4 on a CPU (float32). None for one that is bundled."""
    shape = entry.language
    if entry.encoder is not None:
        return _search_sizes(entry.encoder, bytes_per_parameter)
    if shape is None:
        return None
    tower, width = tower_parameters(entry)
    own = tower + shape.parameters + width * shape.width + shape.width**2 + 2 * shape.width
    clips = entry.kind == "videochat-flash"
    if not clips:
        own += memaug_parameters(shape) + shape.width  # and the newline
    stored = TOKENS_PER_CLIP // FRAMES_PER_CLIP if clips else POOLED_TOKENS
    seen = _SEEN_FRAMES * (stored if clips else stored // 4 + 1)
    cache_rows = 2 * shape.layers * shape.kv_width * seen
    hour = 0 if clips else _RECALLED_FRAMES * stored * (shape.width + 2 * shape.kv_width)
    return Sizes(
        parameters=own,
        download=PUBLISHED_BYTES * own + 4 * INDEX_PARAMETERS,
        memory=bytes_per_parameter * (own + INDEX_PARAMETERS + cache_rows + hour),
        disk_per_hour=FRAMES_PER_HOUR * stored * width * 2 + index_bytes_per_hour(),
    )


def _search_sizes(encoder: EncoderShape, bytes_per_parameter: int) -> Sizes:
    """Of an index encoder alone: a frame is one embedding in float32, and one float16 in the place of tokens."""
    return Sizes(
        parameters=encoder.parameters,
        download=4 * encoder.parameters,  # published in float32
        memory=bytes_per_parameter * encoder.parameters,
        disk_per_hour=index_bytes_per_hour(encoder.width) + FRAMES_PER_HOUR * 2,
    )


def fitting(gpu_bytes: int | None, memory_bytes: int) -> tuple[str | None, str | None]:
    """The preset that suits a machine, and the one that only fits its memory although it wants a GPU. Pure.

    gpu_bytes: memory of its largest GPU; None without one.
    """
    rows = [
        (name, entry, sizes(entry, bytes_per_parameter=2 if gpu_bytes else 4)) for name, entry in catalogue().items()
    ]
    known = [(name, entry, need) for name, entry, need in rows if need is not None and entry.kind != "videochat-flash"]
    room = 0.9 * (gpu_bytes or memory_bytes)
    fit = [(need.memory, name, entry.wants) for name, entry, need in known if need.memory <= room]
    suits = [(need, name) for need, name, wants in fit if gpu_bytes or wants == "cpu"]
    only = [(need, name) for need, name, wants in fit if not gpu_bytes and wants == "gpu"]
    return (max(suits)[1] if suits else None), (min(only)[1] if only else None)
