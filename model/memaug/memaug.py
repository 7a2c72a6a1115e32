"""MemAug: decayed tokens and the question attend to the memory repository (Hour-LLaVA, arXiv 2506.05332, section 3).

Legend: B batch, Q query tokens, M memory tokens, D width, G key/value heads, d dimensions of a head.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from afterview.model.memaug.attention import CrossAttention, Heads, SelfAttention
from afterview.model.memaug.evidence import frame_attention
from afterview.model.memaug.rope import Rotation, rotation

# Query tokens whose 4D-wide hidden activations exist at a time; bounds memory, does not change the result.
MLP_ROWS = 2048


class KeysValues(NamedTuple):
    """Keys and values of one block, [B, G, M, d] each."""

    keys: Tensor
    values: Tensor


@dataclass(frozen=True)
class MemoryKeyValues:
    """Keys and values of one memory for every block. They do not depend on the question, so they can be reused."""

    blocks: list[KeysValues]
    valid_BM: Tensor | None = None  # False on padding


@dataclass(frozen=True)
class EvidenceRequest:
    """For which query rows and blocks to report attention (blocks None: all but the last)."""

    rows_Bn: Tensor  # int64, indices among the queries
    tokens_per_frame: int
    blocks: Sequence[int] | None = None
    valid_Bn: Tensor | None = None  # False on padding


class MemAugBlock(nn.Module):
    """x = LN1(x + SelfAttn(x)); x = LN2(x + CrossAttn(x, memory)); x = LN3(x + MLP(x))."""

    def __init__(self, heads: Heads) -> None:
        super().__init__()
        width = heads.width
        self.self_attn = SelfAttention(heads)
        self.cross_attn = CrossAttention(heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width, eps=1e-5) for _ in range(3))

    def gather(self, x_BQD: Tensor, rotary: Rotation, valid_BQ: Tensor | None) -> Tensor:
        """Step 1: query tokens attend to each other."""
        return self.norm1(x_BQD + self.self_attn(x_BQD, rotary, valid_BQ))

    def read(self, x_BQD: Tensor, q_BQHd: Tensor, memory: KeysValues, valid_BM: Tensor | None) -> Tensor:
        """Step 2: query tokens attend to the memory."""
        return self.norm2(x_BQD + self.cross_attn(q_BQHd, memory.keys, memory.values, valid_BM))

    def digest(self, x_BQD: Tensor) -> Tensor:
        """Step 3: the MLP, row by row."""
        rows = x_BQD.shape[1] if torch.is_grad_enabled() else MLP_ROWS
        return torch.cat([self.norm3(x + self.mlp(x)) for x in x_BQD.split(rows, dim=1)], dim=1)


class MemAug(nn.Module):
    """N post-norm blocks of self-attention, cross-attention to the memory, and MLP."""

    def __init__(self, heads: Heads, *, depth: int, rope_theta: float) -> None:
        super().__init__()
        self.heads, self.rope_theta = heads, rope_theta
        self.layers = nn.ModuleList(MemAugBlock(heads) for _ in range(depth))

    def remember(
        self, chunks: Iterable[tuple[Tensor, Tensor]], total: int, valid_BM: Tensor | None = None
    ) -> MemoryKeyValues:
        """Keys and values of all blocks, computed in chunks, so that not all memory tokens exist at once.

        chunks: (tokens [B, m, D], positions [B, m]) in order; `total` = M of all chunks. A single chunk stays
        differentiable and is not copied; several chunks are written into preallocated buffers.
        """
        buffers: list[KeysValues] = []
        done = 0
        for tokens_BmD, positions_Bm in chunks:
            rotary = rotation(positions_Bm, self.heads.dim, self.rope_theta)
            made = [KeysValues(*block.cross_attn.keys_values(tokens_BmD, rotary)) for block in self._blocks()]
            size = tokens_BmD.shape[1]
            if size == total:
                return MemoryKeyValues(made, valid_BM)
            buffers = buffers or [KeysValues(*(_empty(part, total) for part in pair)) for pair in made]
            for buffer, pair in zip(buffers, made, strict=True):
                buffer.keys[:, :, done : done + size] = pair.keys
                buffer.values[:, :, done : done + size] = pair.values
            done += size
        return MemoryKeyValues(buffers, valid_BM)

    def forward(
        self,
        queries_BQD: Tensor,
        positions_BQ: Tensor,
        memory: MemoryKeyValues,
        *,
        valid_BQ: Tensor | None = None,
        evidence: EvidenceRequest | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Augmented queries [B, Q, D]; if requested, also the evidence: float32 [B, frames], mean over its blocks, summing to 1."""
        rotary = rotation(positions_BQ, self.heads.dim, self.rope_theta)
        x_BQD = queries_BQD
        masses = []
        for number, (block, kept) in enumerate(zip(self._blocks(), memory.blocks, strict=True)):
            x_BQD = block.gather(x_BQD, rotary, valid_BQ)
            q_BQHd = block.cross_attn.queries(x_BQD, rotary)
            if evidence is not None and number in self.evidence_blocks(evidence.blocks):
                masses.append(_evidence_of(q_BQHd, kept.keys, evidence, memory.valid_BM))
            x_BQD = block.read(x_BQD, q_BQHd, kept, memory.valid_BM)
            x_BQD = block.digest(x_BQD)
        return x_BQD, torch.stack(masses).mean(0) if masses else None

    def evidence_blocks(self, named: Sequence[int] | None) -> Sequence[int]:
        """Blocks to read evidence from: the named ones, else all but the last, whose question rows affect nothing."""
        return range(max(1, len(self.layers) - 1)) if named is None else named

    def _blocks(self) -> list[MemAugBlock]:
        return list(self.layers)  # type: ignore[arg-type]


def _evidence_of(q_BQHd: Tensor, k_BGMd: Tensor, request: EvidenceRequest, valid_BM: Tensor | None) -> Tensor:
    """One block's attention mass per frame, [B, frames]."""
    batch = torch.arange(len(q_BQHd), device=q_BQHd.device)[:, None]
    rows_BnHd = q_BQHd[batch, request.rows_Bn]
    return frame_attention(rows_BnHd, k_BGMd, request.tokens_per_frame, valid_Bn=request.valid_Bn, valid_BM=valid_BM)


def _empty(like_BGmd: Tensor, total: int) -> Tensor:
    batch, groups, _, dim = like_BGmd.shape
    return like_BGmd.new_empty(batch, groups, total, dim)
