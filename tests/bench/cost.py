"""Tokens and FLOPs of one question, computed from the geometry without running it. tests/bench/test_cost.py compares with torch's count.

Legend: T frames, M memory tokens, V visual tokens that the decoder sees, t text tokens, Q = V + t queries of MemAug, L
= V + t tokens of the decoder, q tokens of the question, D width, g key/value width, Dv vision width, I width of the
decoder's MLP, N MemAug blocks, n decoder layers, W vocabulary.
"""

from dataclasses import dataclass
from typing import NamedTuple

from afterview.memory.plans.positions import plan_layout
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.base.settings import VisualDropoutConfig
from tests.bench.table import Table

FRAMES = (64, 256, 1000, 3600, 10_000)
TEXT, QUESTION = 60, 12  # tokens: the published prompt around a short question, and the question itself

# VideoChat-Flash (arXiv 2501.00574), Table 1: its own 7B, 16 tokens per frame. TFLOPs of inference; 3,600 frames are not in it.
VIDEOCHAT_FLASH = {64: 29.6, 256: 113.3, 1000: 519.7, 10_000: 15786.0}
# The settings of its table, for 28 layers.
DROPOUT = VisualDropoutConfig(kind="uniform0_attention", layers=(4, 18), ratios=(1.0, 0.75, 0.25))

FORMULA = """MemAug = M (2 Dv D + 2 D^2)  projector over the memory, likewise over V
  + N M 4 D g                    keys and values
  + N Q (2 D (D + 2 g) + 6 D^2 + 16 D^2)   projections and MLP
  + N (4 Q^2 D + 4 Q M D)        self- and cross-attention
  + (N - 1) 2 q M D              evidence
decoder = n L (4 D^2 + 4 D g + 6 D I) + n 4 L^2 D + 2 D W   prefill, to the first token
Attention is counted whole, as torch's counter does; causal kernels skip half of the decoder's."""


@dataclass(frozen=True)
class Geometry:
    name: str
    width: int
    kv_width: int
    mlp_width: int
    layers: int
    vocabulary: int
    blocks: int = 4
    vision_width: int = 1152


GEOMETRIES = (
    Geometry("3B", 2048, 256, 11008, 36, 151_936),
    Geometry("7B", 3584, 512, 18944, 28, 152_064),
)


class Cost(NamedTuple):
    """FLOPs of one question."""

    memaug: float
    decoder: float


def run() -> list[Table]:
    """Takes no time: nothing runs."""
    return [_tokens_and_flops(), _reused_memory()]


def _tokens_and_flops() -> Table:
    columns = ["frames", "memory tokens", "decoder tokens"]
    for geometry in GEOMETRIES:
        columns += [f"{geometry.name} MemAug /TFLOP", f"{geometry.name} decoder /TFLOP"]
    columns += [
        "7B decoder with dropout /TFLOP",
        "VideoChat-Flash 7B tokens",
        "its TFLOP, counted as here",
        "published",
    ]
    table = Table(
        "Tokens and FLOPs of a question, to the first token",
        columns,
        "Counted, not measured, for the published layout (64 + 1 tokens per frame in memory, 16 + 1 of at most 512 frames visible) and "
        f"{TEXT} text tokens. All of the memory is recalled; with the presets' budget of 3,600 frames, 10,000 frames cost what 3,600 do. "
        f"Dropout: {DROPOUT.kind}, after layers {DROPOUT.layers}, ratios {DROPOUT.ratios}. VideoChat-Flash (16 tokens per frame, the same "
        "7B decoder) is counted without dropout; its paper counts 4 P L + 6 d n L^2, about twice this count per token, and publishes "
        f"Table 1. \n\n```\n{FORMULA}\n```",
    )
    for frames in FRAMES:
        memory, visual = tokens(frames)
        cells: list[object] = [f"{frames:,}", f"{memory:,}", f"{visual + TEXT:,}"]
        for geometry in GEOMETRIES:
            cost = question_cost(geometry, memory, visual)
            cells += [cost.memaug / 1e12, cost.decoder / 1e12]
        cells.append(decoder_flops(GEOMETRIES[1], layer_lengths(GEOMETRIES[1], visual, DROPOUT)) / 1e12)
        published = VIDEOCHAT_FLASH.get(frames)
        theirs = decoder_flops(GEOMETRIES[1], [16 * frames + TEXT] * GEOMETRIES[1].layers)
        table.add(*cells, f"{16 * frames:,}", theirs / 1e12, published if published else "-")
    return table


def _reused_memory() -> Table:
    table = Table(
        "A further question to the same memory at 3,600 frames",
        ["geometry", "first question /TFLOP", "further question /TFLOP", "of the first"],
        "Keys and values of the memory do not depend on the question (model.video_language.remember).",
    )
    memory, visual = tokens(3600)
    for geometry in GEOMETRIES:
        first = sum(question_cost(geometry, memory, visual))
        further = first - remember_flops(geometry, memory)
        table.add(geometry.name, first / 1e12, further / 1e12, f"{further / first:.0%}")
    return table


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
