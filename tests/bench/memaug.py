"""MemAug over an hour of video (234,000 keys): time and peak memory of the memory, of a question, and of the evidence.

Needs a CUDA device for the published geometries; without one, only the tiny geometry runs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from memory.forgetting import ForgettingConfig
from memory.positions import plan_layout
from model.attention import Heads
from model.memaug import MemAug
from model.projector import Projector
from model.prompt import Prompt
from model.video_language import VideoLanguageModel
from tests.bench.table import Table

FRAMES = 3600  # an hour at 1 FPS
TEXT = 100  # tokens of the prompt


@dataclass(frozen=True)
class Geometry:
    name: str
    heads: Heads
    vision_width: int
    max_frames: int  # visible
    cuda: bool


GEOMETRIES = [
    Geometry("tiny", Heads(128, 2, 2), 96, 16, False),
    Geometry("3B", Heads(2048, 16, 2), 1152, 512, True),
    Geometry("7B", Heads(3584, 28, 4), 1152, 512, True),
]


class Words(nn.Module):
    """As much of a language model as embedding needs."""

    def __init__(self, like: nn.Parameter) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(TEXT, len(like), device=like.device, dtype=like.dtype))

    def embed(self, ids: np.ndarray) -> Tensor:
        return self.table[torch.from_numpy(ids).to(self.table.device)]


def run() -> list[Table]:
    """Seconds for the tiny geometry; a minute or two more with a GPU."""
    table = Table(
        f"MemAug over {FRAMES} frames ({FRAMES * 65:,} keys)",
        [
            "geometry",
            "device",
            "memory /s",
            "question /s",
            "with evidence /s",
            "peak /GiB",
            "of keys + queries + outputs",
        ],
        "memory: projecting all frames and making keys and values of all four blocks; question: MemAug alone with that memory at hand. "
        "Peak counts everything but the weights and the stored features; keys are the keys and values of four blocks.",
    )
    for geometry in GEOMETRIES:
        if torch.cuda.is_available() or not geometry.cuda:
            table.add(*_measure(geometry))
    return [table]


@torch.inference_mode()
def _measure(geometry: Geometry) -> list[Any]:
    device = torch.device("cuda" if geometry.cuda else "cpu")
    model = _model(geometry, device)
    features = np.random.default_rng(0).standard_normal((64, 64, geometry.vision_width)).astype(np.float16)
    features = np.resize(features, (FRAMES, 64, geometry.vision_width))
    layout = plan_layout(
        FRAMES, config=ForgettingConfig(spatial="uniform", min_frames=8, max_frames=geometry.max_frames)
    )
    prompt = Prompt(np.arange(20), np.arange(20, TEXT), slice(30, 60))
    if geometry.cuda:
        model.inputs_embeds(features[:40], plan_layout(40, config=ForgettingConfig()), prompt)  # first-use costs
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if geometry.cuda else 0
    memory, remember_s = _timed(lambda: model.remember(features, layout))
    _, question_s = _timed(lambda: model.inputs_embeds(features, layout, prompt, want_evidence=False, memory=memory))
    _, evidence_s = _timed(lambda: model.inputs_embeds(features, layout, prompt, memory=memory))
    row: list[Any] = [geometry.name, device.type, f"{remember_s:.2f}", f"{question_s:.2f}", f"{evidence_s:.2f}"]
    if not geometry.cuda:
        return [*row, "-", "-"]
    size = model.newline.element_size()
    keys = sum(part.nbytes for block in memory.blocks for part in block)
    rows = 2 * (len(layout.query_tokens()) + TEXT) * geometry.heads.width * size
    peak = torch.cuda.max_memory_allocated() - before
    return [*row, f"{peak / 2**30:.2f}", f"{peak / (keys + rows):.2f}"]


def _model(geometry: Geometry, device: torch.device) -> VideoLanguageModel:
    dtype = torch.bfloat16 if geometry.cuda else torch.float32
    width = geometry.heads.width
    with torch.device(device):
        newline = nn.Parameter(torch.randn(width, dtype=dtype))
        language: Any = Words(newline)
        projector = Projector(geometry.vision_width, width).to(dtype)
        memaug = MemAug(geometry.heads, depth=4, rope_theta=1e6).to(dtype)
    return VideoLanguageModel(projector, memaug, newline, language).eval()


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result, time.perf_counter() - began
