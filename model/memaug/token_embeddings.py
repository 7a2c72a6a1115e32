"""Marks on memory tokens: switches that a small model needs and published checkpoints do not have. All are off by default.

Hour-LLaVA (arXiv 2506.05332, section 3) tells place and time by rotary positions alone. Those turn queries and keys but never reach
the values, so a model of a few million parameters that is trained from nothing cannot say what it found *where* or *when*. Marks are
added to the memory's tokens, and so to the decayed ones, after the projector:

    place    a learned vector per cell: without it "where" stayed at chance in a trial on the synthetic world
    time     digits of the frame's clock in the span, sines of it, and its age: without it no answer can name a time
    order    how far on in the span a frame stands, and how far on among the recalled frames, both on scales whose differences are
             linear: which of two things came first is then a subtraction, which clock digits do not give
    summary  into each frame's newline: what the frame before, the frame itself and the frame after it show, so that one token knows
             where an event begins: counting and order need that

Legend: N key frames, P tokens per frame, n tokens, D width, Dv vision width, S time signs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from afterview.memory.plans.positions import NEWLINE, VideoLayout
from afterview.model.base.errors import InputMismatch
from afterview.model.base.settings import EmbeddingKind

_CLOCK = (
    (36_000, 10),
    (3_600, 10),
    (600, 6),
    (60, 10),
    (10, 6),
    (1, 10),
)  # seconds of a digit, and how many it counts to
_PERIODS = 15  # sines of periods 4 s, 8 s, ... 18 hours
_STEPS = 48  # of each scale of order
ORDER_FEATURES: Final = 2 * _STEPS
_AGES = 36  # bins of age, two to an octave: the last begins at 51 hours
TIME_FEATURES: Final = sum(count for _, count in _CLOCK) + 2 * _PERIODS + _AGES


@dataclass(frozen=True)
class FrameEmbeddings:
    """What is added to the tokens of each key frame, [..., N, D]; None where the switch is off."""

    time: Tensor | None  # and order
    summary: Tensor | None


class TokenEmbeddings(nn.Module):
    """The marks that a configuration switches on; with none of them it adds nothing and has no parameters."""

    def __init__(self, kinds: Sequence[EmbeddingKind], *, tokens_per_frame: int, vision_width: int, width: int) -> None:
        super().__init__()
        self.tokens_per_frame = tokens_per_frame
        self.place = nn.Parameter(torch.empty(tokens_per_frame + 1, width)) if "place" in kinds else None
        self.time = nn.Linear(TIME_FEATURES, width, bias=False) if "time" in kinds else None
        self.order = nn.Linear(ORDER_FEATURES, width, bias=False) if "order" in kinds else None
        self.summary = (
            nn.Sequential(nn.Linear(3 * vision_width, width), nn.GELU(), nn.Linear(width, width))
            if "summary" in kinds
            else None
        )

    @property
    def empty(self) -> bool:
        """Whether nothing is switched on."""
        return self.place is None and not self._of_frames

    @property
    def _of_frames(self) -> bool:
        return any(part is not None for part in (self.time, self.order, self.summary))

    def of_frames(self, means_NV: Tensor, numbers_N: Tensor, span_frames: Tensor) -> FrameEmbeddings:
        """Marks of key frames. means [..., N, Dv]: each frame's mean feature; numbers [..., N] in a span of so many frames [..., 1]."""
        time = None if self.time is None else self.time(time_features(numbers_N, span_frames).to(means_NV.dtype))
        if self.order is not None:
            order = self.order(order_features(numbers_N, span_frames).to(means_NV.dtype))
            time = order if time is None else time + order
        summary = None if self.summary is None else self.summary(_with_neighbours(means_NV))
        return FrameEmbeddings(time, summary)

    def of_layout(self, features_RPV: Tensor, layout: VideoLayout) -> FrameEmbeddings | None:
        """The same for one video's recalled features [R, P, Dv]. Raises InputMismatch for a layout that does not tell its frames."""
        if not self._of_frames:
            return None
        if layout.key_frames is None:
            raise InputMismatch("this model needs layouts that tell their frames' numbers; make them with plan_layout")
        device = features_RPV.device
        means_NV = features_RPV.mean(1)[torch.from_numpy(layout.key_rows).to(device)]
        span = torch.tensor([layout.span_frames], device=device)
        return self.of_frames(means_NV, torch.from_numpy(layout.key_frames).to(device), span)

    def add(self, tokens_nD: Tensor, frames_n: Tensor, cells_n: Tensor, embeddings: FrameEmbeddings | None) -> Tensor:
        """Tokens with their marks. frames [n]: key frame of each token; cells [n]: its cell, P for the newline."""
        if self.place is not None:
            tokens_nD = tokens_nD + self.place[cells_n]
        if embeddings is not None and embeddings.time is not None:
            tokens_nD = tokens_nD + embeddings.time[frames_n]
        if embeddings is not None and embeddings.summary is not None:
            newline_n1 = (cells_n == self.tokens_per_frame)[:, None]
            tokens_nD = tokens_nD + torch.where(newline_n1, embeddings.summary[frames_n], 0)
        return tokens_nD

    def cells_of(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The cell of each token that a layout names by its place; P for a newline."""
        return np.where(places == NEWLINE, self.tokens_per_frame, places % self.tokens_per_frame)


def time_features(numbers: Tensor, span_frames: Tensor) -> Tensor:
    """Signs of time, float32 [..., S]: one-hot clock digits, sines, one-hot age. Frames count as seconds, as at 1 FPS."""
    numbers = numbers.long()
    digits = [nn.functional.one_hot(numbers // unit % count, count) for unit, count in _CLOCK]
    turns = numbers.float()[..., None] * (2 * torch.pi / 4 / 2 ** torch.arange(_PERIODS, device=numbers.device))
    age = (span_frames.long() - 1 - numbers).clamp(min=0).float()
    bins = (2 * (1 + age).log2()).long().clamp(max=_AGES - 1)
    return torch.cat([*digits, turns.sin(), turns.cos(), nn.functional.one_hot(bins, _AGES)], dim=-1).float()


def order_features(numbers: Tensor, span_frames: Tensor) -> Tensor:
    """Signs of order, float32 [..., N, 96]: of n steps, as many are 1 as the frame is far on, and the next is the rest of it."""
    count = numbers.shape[-1]
    of_span = (numbers + 0.5) / span_frames
    of_recalled = ((torch.arange(count, device=numbers.device) + 0.5) / count).expand_as(of_span)
    steps = torch.arange(_STEPS, device=numbers.device)
    return torch.cat([(scale[..., None] * _STEPS - steps).clamp(0, 1) for scale in (of_span, of_recalled)], -1).float()


def _with_neighbours(means_NV: Tensor) -> Tensor:
    """[..., N, Dv] -> [..., N, 3 Dv]: of the frame before, the frame, the frame after; at the ends the frame itself."""
    before = torch.cat([means_NV[..., :1, :], means_NV[..., :-1, :]], dim=-2)
    after = torch.cat([means_NV[..., 1:, :], means_NV[..., -1:, :]], dim=-2)
    return torch.cat([before, means_NV, after], dim=-1)
