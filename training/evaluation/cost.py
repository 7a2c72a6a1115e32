"""Tokens, FLOPs and bytes of both papers' recipes, computed from their geometry without running them (`afterview evaluate cost`).

Counted: every matrix product, to the first token of an answer, as torch's counter does (tests/bench/test_cost.py compares them).
By formula: what VideoChat-Flash's paper uses for a decoder, 4 P L + 6 D n L^2 (arXiv 2501.00574), about twice the count per token.

Legend: T frames, M memory tokens, V visual tokens that the decoder sees, t text tokens, Q = V + t queries of MemAug, L
= V + t tokens of the decoder, q tokens of the question, D width, g key/value width, Dv vision width, I width of the
decoder's MLP, N MemAug blocks, n decoder layers, W vocabulary, P parameters of the decoder with its head, without the embedding.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

from afterview.memory.plans.clip_sampling import ClipSampling, frames_wanted
from afterview.memory.plans.positions import plan_layout
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.base.settings import (
    FRAMES_PER_CLIP,
    NO_DROPOUT,
    POOLED_TOKENS,
    TOKENS_PER_CLIP,
    VisualDropoutConfig,
)

FRAMES: Final = (64, 256, 1000, 3600, 10_000)
TEXT, QUESTION = 60, 12  # tokens: the published prompt around a short question, and the question itself

# Table 1 of VideoChat-Flash: its own 7B, TFLOPs of inference by number of frames.
PUBLISHED: Final = {64: 29.6, 256: 113.3, 1000: 519.7, 10_000: 15786.0}
# Of the same table: GB of memory while it answers.
PUBLISHED_GB: Final = {64: 15.5, 256: 16.1, 1000: 18.5, 10_000: 47.4}
# The settings of its table, for 28 layers, and those of its evaluations.
DROPOUT: Final = VisualDropoutConfig(kind="uniform0_attention", layers=(4, 18), ratios=(1.0, 0.75, 0.25))
RELEASED_DROPOUT: Final = VisualDropoutConfig(kind="attention", layers=(24,), ratios=(1.0, 0.5))

FORMULA = """MemAug = M (2 Dv D + 2 D^2)  projector over the memory, likewise over V
  + N M 4 D g                    keys and values
  + N Q (2 D (D + 2 g) + 6 D^2 + 16 D^2)   projections and MLP
  + N (4 Q^2 D + 4 Q M D)        self- and cross-attention
  + (N - 1) 2 q M D              evidence
decoder = n L (4 D^2 + 4 D g + 6 D I) + n 4 L^2 D + 2 D W   prefill, to the first token
Attention is counted whole, as torch's counter does; causal kernels skip half of the decoder's."""


# Parameters of the towers: SigLIP so400m without its last layer, and UMT-L.
SIGLIP: Final = 26 * (4 * 1152 * 1153 + 2 * 1152 * 4304 + 4304 + 5 * 1152) + 1152 * (3 * 14**2 + 1 + 729 + 2)
UMT: Final = 24 * 12 * 1024**2 + 1024 * (3 * 14**2 + 1)
_BYTES: Final = 2  # of a parameter or an activation: bfloat16


@dataclass(frozen=True)
class Geometry:
    """What the figures depend on."""

    name: str
    width: int
    kv_width: int
    mlp_width: int
    layers: int
    vocabulary: int
    blocks: int = 4
    vision_width: int = 1152
    tower: int = SIGLIP  # parameters of the vision tower
    tied: bool = False  # the head is the embedding


GEOMETRIES: Final = (
    Geometry("3B", 2048, 256, 11008, 36, 151_936, tied=True),
    Geometry("7B", 3584, 512, 18944, 28, 152_064),
)


class Cost(NamedTuple):
    """FLOPs of one question."""

    memaug: float
    decoder: float


@dataclass(frozen=True)
class Recipe:
    """A model with its way from frames to tokens. clips: tokens of VideoChat-Flash; otherwise MemAug of Hour-LLaVA. most: frames that it
    is asked about at most; None: all that there are, as Table 1 counts."""

    name: str
    geometry: Geometry
    clips: bool
    dropout: VisualDropoutConfig = NO_DROPOUT
    most: int | None = None


_HEAD: Final = (
    "recipe", "frames", "stored tokens a frame", "in the decoder", "in its last layer", "projector, MemAug /TFLOP", "decoder /TFLOP",
    "by formula", "published /TFLOP", "caches /GB", "in all /GB", "published /GB", "GB an hour",
)  # fmt: skip
_UMT: Final = 1024  # width of the tower of VideoChat-Flash
_FLASH_7B: Final = Geometry("7B", 3584, 512, 18944, 28, 152_064, blocks=0, vision_width=_UMT, tower=UMT)
_FLASH_2B: Final = Geometry("2B", 1536, 256, 8960, 28, 151_936, blocks=0, vision_width=_UMT, tower=UMT, tied=True)
RECIPES: Final = (
    Recipe("Hour-LLaVA 3B", GEOMETRIES[0], clips=False),
    Recipe("Hour-LLaVA 7B", GEOMETRIES[1], clips=False),
    Recipe("VideoChat-Flash 7B, every frame", _FLASH_7B, clips=True),
    Recipe("VideoChat-Flash 7B, every frame, dropout of its table", _FLASH_7B, clips=True, dropout=DROPOUT),
    Recipe("VideoChat-Flash 7B, at most 512 frames", _FLASH_7B, clips=True, most=512),
    Recipe(
        "VideoChat-Flash 7B, at most 512 frames, dropout of its evaluations",
        _FLASH_7B,
        clips=True,
        dropout=RELEASED_DROPOUT,
        most=512,
    ),
    Recipe("VideoChat-Flash 2B, at most 512 frames", _FLASH_2B, clips=True, most=512),
)


@dataclass(frozen=True)
class RecipeCost:
    """Figures of one question about a video of `frames` frames, one a second, to the first token of the answer.

    Tokens per frame are those of a frame of the video, on average: below a model's own number if it does not see every frame.
    """

    recipe: str
    frames: int
    stored_tokens_per_frame: int  # in a memory, the newline of a frame not counted: it is computed
    decoder_tokens_per_frame: float  # visual tokens that enter the decoder
    last_layer_tokens_per_frame: float  # after visual dropout
    memory_tokens: int  # that MemAug attends to
    decoder_tokens: int  # text included
    memaug_tflop: float  # counted, projector included
    decoder_tflop: float  # counted
    formula_tflop: float  # of the decoder, by the paper's formula
    published_tflop: float | None
    cache_bytes: int  # keys and values of MemAug and decoder, in bfloat16
    inference_bytes: (
        int  # weights, caches, and the activations of one layer while the prompt is read: see `inference_bytes`
    )
    published_gb: float | None
    bytes_per_hour: int  # tokens of one camera at one frame a second, in float16

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def recipe_costs(frames: Sequence[int] = FRAMES, recipes: Sequence[Recipe] = RECIPES) -> list[RecipeCost]:
    """The figures of every recipe for every number of frames. Takes no time: nothing runs."""
    return [_cost(recipe, count) for recipe in recipes for count in frames]


def _cost(recipe: Recipe, frames: int) -> RecipeCost:
    geometry = recipe.geometry
    memory, visual = (0, flash_tokens(frames, recipe.most)) if recipe.clips else tokens(frames)
    lengths = layer_lengths(geometry, visual, recipe.dropout)
    remembered = memaug_flops(geometry, memory, visual, text=TEXT, question=QUESTION) if geometry.blocks else 0.0
    per_frame = TOKENS_PER_CLIP // FRAMES_PER_CLIP if recipe.clips else POOLED_TOKENS
    whole_table = recipe.clips and recipe.most is None and geometry is _FLASH_7B and recipe.dropout is NO_DROPOUT
    return RecipeCost(
        recipe=recipe.name,
        frames=frames,
        stored_tokens_per_frame=per_frame,
        decoder_tokens_per_frame=visual / frames,
        last_layer_tokens_per_frame=(lengths[-1] - TEXT) / frames,
        memory_tokens=memory,
        decoder_tokens=visual + TEXT,
        memaug_tflop=(
            remember_flops(geometry, memory) + remembered if geometry.blocks else _projector(geometry, visual)
        )
        / 1e12,
        decoder_tflop=decoder_flops(geometry, lengths) / 1e12,
        formula_tflop=formula_flops(geometry, lengths) / 1e12,
        published_tflop=PUBLISHED.get(frames) if whole_table else None,
        cache_bytes=cache_bytes(geometry, memory, lengths),
        inference_bytes=inference_bytes(geometry, memory, lengths),
        published_gb=PUBLISHED_GB.get(frames) if whole_table else None,
        bytes_per_hour=3600 * per_frame * geometry.vision_width * 2,
    )


def markdown(costs: Sequence[RecipeCost]) -> str:
    """A table for people."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (_HEAD, ("---",) * len(_HEAD), *map(_row, costs)))


def _row(cost: RecipeCost) -> tuple[str, ...]:
    published = "-" if cost.published_tflop is None else f"{cost.published_tflop:,.4g}"
    return (
        cost.recipe, f"{cost.frames:,}", str(cost.stored_tokens_per_frame), f"{cost.decoder_tokens_per_frame:.3g}",
        f"{cost.last_layer_tokens_per_frame:.3g}", f"{cost.memaug_tflop:.3g}", f"{cost.decoder_tflop:,.4g}",
        f"{cost.formula_tflop:,.4g}", published, f"{cost.cache_bytes / 1e9:.3g}", f"{cost.inference_bytes / 1e9:.3g}",
        "-" if cost.published_gb is None else f"{cost.published_gb:.3g}", f"{cost.bytes_per_hour / 1e9:.3g}",
    )  # fmt: skip


def flash_tokens(frames: int, most: int | None = None) -> int:
    """Visual tokens that VideoChat-Flash sees of a video: 16 a frame, of the frames that its chat samples if `most` limits them."""
    seen = frames if most is None else frames_wanted(frames, float(frames), ClipSampling(max_frames=most))
    return TOKENS_PER_CLIP // FRAMES_PER_CLIP * seen


def formula_flops(geometry: Geometry, lengths: Sequence[int]) -> float:
    """4 P L + 6 D n L^2, layer by layer, so that dropout counts. P: parameters of all layers and the head."""
    width = geometry.width
    layer = 2 * width**2 + 2 * width * geometry.kv_width + 3 * width * geometry.mlp_width
    head = width * geometry.vocabulary / geometry.layers
    return sum(4 * (layer + head) * length + 6 * width * length**2 for length in lengths)


def parameters(geometry: Geometry) -> int:
    """Of the whole model, without biases of the decoder and norms: tower, projector, MemAug, decoder with embedding and head."""
    width = geometry.width
    layer = 2 * width**2 + 2 * width * geometry.kv_width + 3 * width * geometry.mlp_width
    block = 4 * width**2 + 4 * width * geometry.kv_width + 8 * width**2
    tables = (1 if geometry.tied else 2) * geometry.vocabulary * width
    projector = geometry.vision_width * width + width**2
    return geometry.tower + projector + geometry.blocks * block + geometry.layers * layer + tables


def cache_bytes(geometry: Geometry, memory: int, lengths: Sequence[int]) -> int:
    """Keys and values: of the memory in every block of MemAug, and of the tokens that each layer of the decoder sees."""
    return 2 * geometry.kv_width * _BYTES * (geometry.blocks * memory + sum(lengths))


def inference_bytes(geometry: Geometry, memory: int, lengths: Sequence[int]) -> int:
    """Weights, caches, and what one layer holds while the whole prompt is read: three rows of its MLP and four of its width a token.

    An estimate: kernels and allocators differ. It is 1.01 to 1.04 times the memory in the paper's table.
    """
    row = 3 * geometry.mlp_width + 4 * geometry.width
    return _BYTES * parameters(geometry) + cache_bytes(geometry, memory, lengths) + _BYTES * row * max(lengths)


def tokens(frames: int) -> tuple[int, int]:
    """Memory tokens, and visual tokens that the decoder sees, under the published settings."""
    layout = plan_layout(frames, config=ForgettingConfig(spatial="uniform"), policy="true")
    return len(layout.key_rows) * layout.key_tokens_per_frame, len(layout.query_tokens())


def question_cost(geometry: Geometry, memory: int, visual: int, *, text: int = TEXT, question: int = QUESTION) -> Cost:
    """FLOPs of one question over a memory of this size."""
    lengths = [visual + text] * geometry.layers
    read = memaug_flops(geometry, memory, visual, text=text, question=question)
    return Cost(remember_flops(geometry, memory) + read, decoder_flops(geometry, lengths))


def remember_flops(geometry: Geometry, memory: int) -> float:
    """Projecting the memory, and computing the keys and values of all blocks."""
    return _projector(geometry, memory) + geometry.blocks * memory * 4 * geometry.width * geometry.kv_width


def memaug_flops(geometry: Geometry, memory: int, visual: int, *, text: int, question: int) -> float:
    """The queries through all blocks, evidence included."""
    width, queries = geometry.width, visual + text
    rows = queries * (2 * width * (width + 2 * geometry.kv_width) + 22 * width**2)
    attention = 4 * queries**2 * width + 4 * queries * memory * width
    evidence = (geometry.blocks - 1) * 2 * question * memory * width
    return _projector(geometry, visual) + geometry.blocks * (rows + attention) + evidence


def decoder_flops(geometry: Geometry, lengths: list[int]) -> float:
    """Prefill through layers with these numbers of tokens, and the first token's logits."""
    width = geometry.width
    per_token = 4 * width**2 + 4 * width * geometry.kv_width + 6 * width * geometry.mlp_width
    return sum(length * per_token + 4 * length**2 * width for length in lengths) + 2 * width * geometry.vocabulary


def layer_lengths(geometry: Geometry, visual: int, dropout: VisualDropoutConfig) -> list[int]:
    """Tokens of each layer under visual dropout. (The score rows, one per drop, are not counted.)"""
    stages = [sum(layer >= drop for drop in dropout.layers) for layer in range(geometry.layers)]
    return [int(visual * dropout.ratios[stage]) + TEXT for stage in stages]


def _projector(geometry: Geometry, rows: int) -> float:
    return rows * 2 * (geometry.vision_width * geometry.width + geometry.width**2)
