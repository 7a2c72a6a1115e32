"""Decayed tokens in training: which recalled frames stay visible, and which of their cells, under every rule of forgetting.

Uniform and random frames come with the story (training.tiny.stories). `keyframe` and `question-guided` choose among the frames
that the story recalls, where an answer chooses among all frames of the span: a training step knows no others.

Legend: S stories, B questions, R readers (S, or B if each question sees its own frames), N frames of a story, V visible
frames, P tokens per frame, C kept cells with the newline, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from afterview.memory.plans.visibility import NEIGHBOURS_EACH_SIDE, ForgettingConfig, uniform_cells
from afterview.model.video_language import VideoLanguageModel
from afterview.training.tiny.device_batch import DeviceBatch


@dataclass(frozen=True)
class Decayed:
    """visible int64 [R, V]: ascending indices among a story's frames. cells int64 [R, V, C]. story int64 [R]: whose frames."""

    visible: Tensor
    cells: Tensor
    story: Tensor

    @property
    def readers(self) -> int:
        """R."""
        return len(self.story)

    def tokens(self, memory_SNPD: Tensor) -> Tensor:
        """The decayed tokens, [R, V * C, D]."""
        return memory_SNPD[self.story[:, None, None], self.visible[..., None], self.cells].flatten(1, 2)

    def spots(self, numbers_SN: Tensor, tokens_per_frame: int) -> Tensor:
        """Their position ids, int64 [R, V * C]. numbers_SN: of the frames."""
        numbers_RV = numbers_SN[self.story].gather(1, self.visible)
        return (numbers_RV[..., None] * tokens_per_frame + self.cells).flatten(1)


class DecayedPlan:
    """A rule of forgetting, for batches."""

    def __init__(self, forgetting: ForgettingConfig, grid: int) -> None:
        self._config, self._newline = forgetting, grid * grid
        self._uniform = torch.from_numpy(uniform_cells(grid, grid, forgetting.spatial_ratio).copy())

    def alone(self, batch: DeviceBatch) -> bool:
        """Whether the repository holds nothing but the decayed tokens (see memory.plans.positions)."""
        small = self._config.repository_scale < 1 / self._config.temporal_ratio
        return small and batch.numbers.shape[1] == batch.visible.shape[1]

    def choose(self, batch: DeviceBatch, model: VideoLanguageModel, after_BLD: Tensor) -> Decayed:
        """The decayed tokens of a batch. after_BLD: embedded text after the video."""
        visible = batch.visible
        story = torch.arange(len(visible), device=visible.device)
        if self._config.temporal == "keyframe":
            visible = least_like_neighbours(batch.features.float().mean(2), visible.shape[1])
        elif self._config.temporal == "question-guided":
            visible = most_like_question(batch, model, after_BLD)
            story = story.repeat_interleave(batch.each)
        return Decayed(visible, self._cells(visible), story)

    def _cells(self, visible: Tensor) -> Tensor:
        count = len(self._uniform)
        if self._config.spatial == "uniform":
            cells = self._uniform.to(visible.device).expand(*visible.shape, -1)
        else:
            drawn = torch.rand(*visible.shape, self._newline, device=visible.device)
            cells = drawn.topk(count, dim=-1).indices.sort(-1).values
        newline = torch.full_like(cells[..., :1], self._newline)
        return torch.cat([cells, newline], -1)


def least_like_neighbours(vectors_SNW: Tensor, count: int) -> Tensor:
    """The `count` frames least like their neighbours, as memory.plans.visibility.neighbour_similarity: int64 [S, count], ascending."""
    units = functional.normalize(vectors_SNW.float(), dim=-1)
    frames = units.shape[1]
    total, number = units.new_zeros(units.shape[:2]), units.new_zeros(frames)
    for step in range(1, min(NEIGHBOURS_EACH_SIDE, frames - 1) + 1):
        alike = (units[:, step:] * units[:, :-step]).sum(-1)
        total[:, step:] += alike
        total[:, :-step] += alike
        number[step:] += 1
        number[:-step] += 1
    likeness = total / number.clamp(min=1)
    return (-likeness).topk(count, dim=1).indices.sort(1).values


@torch.no_grad()
def most_like_question(batch: DeviceBatch, model: VideoLanguageModel, after_BLD: Tensor) -> Tensor:
    """For each question the frames of its story whose mean token is most similar to it: int64 [B, V], ascending."""
    features = batch.features.to(next(model.projector.parameters()).dtype)
    frames = functional.normalize(model.projector(features).mean(2).float(), dim=-1)
    asked_BL1 = batch.asked[..., None]
    question = functional.normalize((after_BLD.float() * asked_BL1).sum(1) / asked_BL1.sum(1), dim=-1)
    alike = (frames.repeat_interleave(batch.each, 0) * question[:, None]).sum(-1)
    return alike.topk(batch.visible.shape[1], dim=1).indices.sort(1).values
