"""Clip-level compression of VideoChat-Flash (arXiv 2501.00574, HiCo): similar tokens of a clip are merged, then projected.

A clip of 4 frames becomes 64 tokens (16 per frame), a single image or frame 64. Bipartite merging in rounds, without
parameters.

Legend: B clips, N tokens, C vision width, H heads that the similarity is averaged over, D language width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from afterview.model.base.errors import InputMismatch
from afterview.model.base.settings import FRAMES_PER_CLIP, TOKENS_PER_CLIP
from afterview.model.vision.projector import Projector


class ClipCompressor(nn.Module):
    """Merging, then the projector, as one module: VideoChat-Flash's projector under its published names (mlp.0 and mlp.2).

    Afterview itself merges before it stores (`merge_frames`) and projects when it answers. This module loads published weights; the golden
    cases use it.
    """

    def __init__(self, vision_width: int, width: int, *, heads: int) -> None:
        """heads: attention heads of the vision tower; token similarity is averaged over them."""
        super().__init__()
        self.mlp = Projector(vision_width, width)
        self.heads = heads

    def forward(self, frames_FPC: Tensor, frames_per_clip: int = FRAMES_PER_CLIP) -> Tensor:
        """Tokens of frames [clips * frames, P, C], clip by clip, to [clips, 64, D]."""
        return self.mlp(merge_clips(frames_FPC, frames_per_clip, heads=self.heads))


def merge_clips(frames_FPC: Tensor, frames_per_clip: int, *, heads: int, target: int = TOKENS_PER_CLIP) -> Tensor:
    """Tokens of frames [clips * frames, P, C], clip by clip, to [clips, target, C]. Raises InputMismatch for an incomplete clip."""
    frames = len(frames_FPC)
    if frames % frames_per_clip:
        raise InputMismatch(f"{frames} frames do not make whole clips of {frames_per_clip}")
    clips_BNC = frames_FPC.unflatten(0, (-1, frames_per_clip)).flatten(1, 2)
    return merge_tokens(clips_BNC, target, heads=heads)


def merge_frames(frames_FPC: Tensor, frames_per_clip: int, *, heads: int) -> Tensor:
    """Consecutive frames [F, P, C] to one row per frame, [F, 64 / frames_per_clip, C]. The last clip may be short.

    Merging keeps the order of the remaining tokens, and a clip is flattened frame by frame. So each frame's row holds
    its share of the clip, and a memory can store frame by frame.
    """
    share = TOKENS_PER_CLIP // frames_per_clip
    whole = len(frames_FPC) - len(frames_FPC) % frames_per_clip
    parts = [(frames_FPC[:whole], frames_per_clip), (frames_FPC[whole:], len(frames_FPC) - whole)]
    rows = [
        merge_clips(part, frames, heads=heads, target=share * frames).unflatten(1, (frames, share)).flatten(0, 1)
        for part, frames in parts
        if len(part)
    ]
    return torch.cat(rows) if rows else frames_FPC[:, :share]


def merge_schedule(tokens: int, target: int) -> list[int]:
    """How many tokens each round removes: at most half, until `target` remain. 1024 to 64: 512, 256, 128, 64."""
    if tokens < target:
        raise InputMismatch(f"{tokens} tokens cannot be merged to {target}")
    rounds = []
    while tokens > target:
        rounds.append(min(tokens - target, tokens // 2))
        tokens -= rounds[-1]
    return rounds


def merge_tokens(x_BNC: Tensor, target: int, *, heads: int) -> Tensor:
    """Merge similar tokens until `target` remain: [B, N, C] -> [B, target, C]. Means are weighted by the number of merged tokens."""
    sizes_BN1 = x_BNC.new_ones(*x_BNC.shape[:2], 1)
    for removed in merge_schedule(x_BNC.shape[1], target):
        x_BNC, sizes_BN1 = _merge_round(x_BNC, sizes_BN1, removed, heads)
    return x_BNC


def _merge_round(x_BNC: Tensor, sizes_BN1: Tensor, removed: int, heads: int) -> tuple[Tensor, Tensor]:
    """Pair each even token with its most similar odd token and merge the `removed` best pairs. Several tokens may merge into one."""
    order_BA, partner_BA = _pairs(x_BNC, heads)
    merged_BR, alone_BU = order_BA[:, :removed, None], order_BA[:, removed:, None]
    into_BR = partner_BA.gather(1, order_BA[:, :removed])[..., None]

    def regroup(values_BNX: Tensor) -> Tensor:
        even, odd = values_BNX[:, ::2], values_BNX[:, 1::2]
        width = values_BNX.shape[-1]
        added = odd.scatter_add(1, into_BR.expand(-1, -1, width), even.gather(1, merged_BR.expand(-1, -1, width)))
        return torch.cat([even.gather(1, alone_BU.expand(-1, -1, width)), added], dim=1)

    sizes = regroup(sizes_BN1)
    return regroup(x_BNC * sizes_BN1) / sizes, sizes


@torch.no_grad()
def _pairs(x_BNC: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Even tokens by descending similarity to their best odd token [B, N/2 rounded up], and that odd token."""
    metric = functional.normalize(x_BNC.unflatten(-1, (heads, -1)).mean(2), dim=-1, eps=0.0)
    similarity_BAO = metric[:, ::2] @ metric[:, 1::2].transpose(1, 2)
    best_BA, partner_BA = similarity_BAO.max(-1)
    return best_BA.argsort(dim=-1, descending=True), partner_BA
