"""Embeddings that are added to memory tokens: their place, time and order. Small models need them; published checkpoints have none.

Hour-LLaVA (arXiv 2506.05332, section 3) encodes place and time by rotary positions only. These rotate queries and keys
but do not reach the values. A model of a few million parameters that is trained from scratch therefore cannot answer
*where* or *when*. The configuration key `memory_marks` switches each kind on. They are added after the projector, to
memory tokens and to decayed tokens:

    place    a learned vector per cell. Without it, "where" stayed at chance in a trial on the synthetic world
    time     digits of the frame's clock time in the span, sines of it, and its age. Without it no answer can give a time
    order    position of the frame in the span, and among the recalled frames, on linear scales. "Which came first" is then a
             subtraction; clock digits do not allow that
    summary  for a frame's newline only: the content of the previous, this and the next frame, so that one token can tell where
             an event starts. Counting and order need it

Legend: N key frames, P tokens per frame, n tokens, D width, Dv vision width, S time features.
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

_CLOCK = ((36_000, 10), (3_600, 10), (600, 6), (60, 10), (10, 6), (1, 10))  # seconds per digit, values of the digit
_PERIODS = 15  # sines with periods of 4 s, 8 s, ... 18 hours
_STEPS = 48  # steps of each order scale
ORDER_FEATURES: Final = 2 * _STEPS
_AGES = 36  # age bins, two per octave; the last starts at 51 hours
TIME_FEATURES: Final = sum(count for _, count in _CLOCK) + 2 * _PERIODS + _AGES


@dataclass(frozen=True)
class FrameEmbeddings:
    """Embeddings of each key frame, [..., N, D]. None if the kind is off."""

    time: Tensor | None  # and order
    summary: Tensor | None


class TokenEmbeddings(nn.Module):
    """The embeddings that the configuration switches on. Without any, it adds nothing and has no parameters."""

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
        """Whether every kind is off."""
        return self.place is None and not self._of_frames

    @property
    def _of_frames(self) -> bool:
        return any(part is not None for part in (self.time, self.order, self.summary))

    def of_frames(self, means_NV: Tensor, numbers_N: Tensor, span_frames: Tensor) -> FrameEmbeddings:
        """Embeddings of key frames.

        means [..., N, Dv]: mean feature of each frame. numbers [..., N]: frame numbers in a span of span_frames [...,
        1] frames.
        """
        time = None if self.time is None else self.time(time_features(numbers_N, span_frames).to(means_NV.dtype))
        if self.order is not None:
            order = self.order(order_features(numbers_N, span_frames).to(means_NV.dtype))
            time = order if time is None else time + order
        summary = None if self.summary is None else self.summary(_with_neighbours(means_NV))
        return FrameEmbeddings(time, summary)

    def of_layout(self, features_RPV: Tensor, layout: VideoLayout) -> FrameEmbeddings | None:
        """The same for the recalled features [R, P, Dv] of one video. Raises InputMismatch if the layout lacks frame numbers."""
        if not self._of_frames:
            return None
        if layout.key_frames is None:
            raise InputMismatch("this model needs layouts with frame numbers; make them with plan_layout")
        device = features_RPV.device
        means_NV = features_RPV.mean(1)[torch.from_numpy(layout.key_rows).to(device)]
        span = torch.tensor([layout.span_frames], device=device)
        return self.of_frames(means_NV, torch.from_numpy(layout.key_frames).to(device), span)

    def add(self, tokens_nD: Tensor, frames_n: Tensor, cells_n: Tensor, embeddings: FrameEmbeddings | None) -> Tensor:
        """Tokens plus their embeddings. frames [n]: key frame of each token. cells [n]: its cell, P for the newline."""
        if self.place is not None:
            tokens_nD = tokens_nD + self.place[cells_n]
        if embeddings is not None and embeddings.time is not None:
            tokens_nD = tokens_nD + embeddings.time[frames_n]
        if embeddings is not None and embeddings.summary is not None:
            newline_n1 = (cells_n == self.tokens_per_frame)[:, None]
            tokens_nD = tokens_nD + torch.where(newline_n1, embeddings.summary[frames_n], 0)
        return tokens_nD

    def cells_of(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The cell of each token, by its index in the layout. P for a newline."""
        return np.where(places == NEWLINE, self.tokens_per_frame, places % self.tokens_per_frame)


def time_features(numbers: Tensor, span_frames: Tensor) -> Tensor:
    """Time as features, float32 [..., S]: one-hot clock digits, sines, one-hot age. One frame counts as one second (1 FPS)."""
    numbers = numbers.long()
    digits = [nn.functional.one_hot(numbers // unit % count, count) for unit, count in _CLOCK]
    turns = numbers.float()[..., None] * (2 * torch.pi / 4 / 2 ** torch.arange(_PERIODS, device=numbers.device))
    age = (span_frames.long() - 1 - numbers).clamp(min=0).float()
    bins = (2 * (1 + age).log2()).long().clamp(max=_AGES - 1)
    return torch.cat([*digits, turns.sin(), turns.cos(), nn.functional.one_hot(bins, _AGES)], dim=-1).float()


def order_features(numbers: Tensor, span_frames: Tensor) -> Tensor:
    """Order as features, float32 [..., N, 96]: a frame at x of n steps has floor(x) ones, then the fraction of x, then zeros."""
    count = numbers.shape[-1]
    of_span = (numbers + 0.5) / span_frames
    of_recalled = ((torch.arange(count, device=numbers.device) + 0.5) / count).expand_as(of_span)
    steps = torch.arange(_STEPS, device=numbers.device)
    return torch.cat([(scale[..., None] * _STEPS - steps).clamp(0, 1) for scale in (of_span, of_recalled)], -1).float()


def _with_neighbours(means_NV: Tensor) -> Tensor:
    """[..., N, Dv] -> [..., N, 3 Dv]: previous frame, frame, next frame. At the ends the frame itself is repeated."""
    before = torch.cat([means_NV[..., :1, :], means_NV[..., :-1, :]], dim=-2)
    after = torch.cat([means_NV[..., 1:, :], means_NV[..., -1:, :]], dim=-2)
    return torch.cat([before, means_NV, after], dim=-1)
