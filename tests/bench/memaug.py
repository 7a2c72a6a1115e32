"""MemAug over ten minutes and an hour of video: latency and peak memory of a small geometry, against plain materialised attention.

tests/bench/gpu.py measures the published geometries.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from afterview.memory.plans.positions import VideoLayout, plan_layout
from afterview.memory.plans.visibility import ForgettingConfig
from afterview.model.language.prompt import Prompt
from afterview.model.memaug.attention import Heads
from afterview.model.memaug.memaug import MemAug
from afterview.model.video_language import VideoLanguageModel
from afterview.model.vision.projector import Projector
from tests.bench.table import Table
from tests.support.live_bytes import LiveBytes

HEADS, VISION_WIDTH = Heads(64, 8, 1), 96  # the 3B model's ratio of query to key heads
FRAMES = (600, 3600)  # ten minutes and an hour at 1 FPS
VISIBLE, TEXT = 8, 60  # frames, tokens

T = TypeVar("T")


class Words(nn.Module):
    """The part of a language model that embedding needs."""

    def __init__(self, width: int, tokens: int = TEXT) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(tokens, width))

    def embed(self, ids: np.ndarray) -> Tensor:
        return self.table[torch.from_numpy(ids).to(self.table.device)]


def run() -> list[Table]:
    """Takes half a minute, on one thread."""
    torch.set_num_threads(1)
    table = Table(
        f"MemAug: width {HEADS.width}, {HEADS.query} query heads on {HEADS.key_value}, 4 blocks, float32, one thread",
        [
            "frames",
            "keys",
            "queries",
            "attention",
            "memory /s",
            "question /s",
            "peak /MB",
            "of keys + queries + outputs",
        ],
        "memory: projecting all frames and making keys and values of all blocks; question: MemAug alone with that memory at hand. Peak: "
        "tensors alive at once, without weights and stored features. keys: keys and values of four blocks. materialised: key heads copied, "
        "scores and their softmax whole, as a plain implementation has it.",
    )
    for frames in FRAMES:
        for plain in (False, True):
            _measure(table, frames, plain)
    return [table]


@torch.inference_mode()
def _measure(table: Table, frames: int, plain: bool) -> None:
    model, layout = _model(), _layout(frames)
    features = np.resize(
        np.random.default_rng(0).standard_normal((64, 64, VISION_WIDTH)).astype(np.float16), (frames, 64, VISION_WIDTH)
    )
    prompt = Prompt(np.arange(20), np.arange(20, TEXT), slice(30, 45))

    def ask(key_values: Any = None) -> Any:
        return model.inputs_embeds(features, layout, prompt, want_evidence=False, key_values=key_values)

    with _attention(plain):
        key_values, remember_s = timed(lambda: model.remember(features, layout))
        _, question_s = timed(partial(ask, key_values))
        keys = sum(part.nbytes for block in key_values.blocks for part in block)
        del key_values
        with LiveBytes() as live:
            ask()
    queries = len(layout.query_tokens()) + TEXT
    rows = 2 * queries * HEADS.width * 4
    table.add(
        f"{frames:,}", f"{len(layout.key_tokens()):,}", queries, "materialised" if plain else "blockwise",
        remember_s, question_s, f"{live.peak / 1e6:,.0f}", f"{live.peak / (keys + rows):.2f}",
    )  # fmt: skip


def _attention(plain: bool) -> AbstractContextManager[Any]:
    return patch("afterview.model.kernels.attention.grouped_attention", _materialised) if plain else nullcontext()


def _materialised(q_BQHd: Tensor, k_BGMd: Tensor, v_BGMd: Tensor, valid_BM: Tensor | None = None) -> Tensor:
    share = q_BQHd.shape[2] // k_BGMd.shape[1]
    keys, values = k_BGMd.repeat_interleave(share, 1), v_BGMd.repeat_interleave(share, 1)
    weights = (q_BQHd.transpose(1, 2) @ keys.transpose(2, 3) * q_BQHd.shape[-1] ** -0.5).softmax(-1)
    return (weights @ values).transpose(1, 2).flatten(2)


def _layout(frames: int) -> VideoLayout:
    return plan_layout(frames, config=ForgettingConfig(spatial="uniform", min_frames=8, max_frames=VISIBLE))


def _model() -> VideoLanguageModel:
    language: Any = Words(HEADS.width)
    memaug = MemAug(HEADS, depth=4, rope_theta=1e6)
    newline = nn.Parameter(torch.randn(HEADS.width))
    return VideoLanguageModel(Projector(VISION_WIDTH, HEADS.width), memaug, newline, language).eval()


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """The result, and the seconds it took (on a GPU, too)."""
    began = time.perf_counter()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result, time.perf_counter() - began
