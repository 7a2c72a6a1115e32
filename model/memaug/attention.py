"""Grouped-query attention of MemAug, not causal. Parameter names are the published ones (Wqkv, Wq, Wkv, Wo).

Key and value heads are never copied for the query heads that share them: these are folded into the sequence instead, which is
exact without a causal mask and works on every backend of scaled_dot_product_attention. Where only the backend that materialises the
scores can serve (forced, or no fused kernel for the device and dtype), a few query rows go at a time.

Legend: B batch, Q query tokens, M memory tokens, D width, H query heads, G key/value heads, d dimensions of a head.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend
from torch.nn.functional import scaled_dot_product_attention

from afterview.model.base.errors import CheckpointError
from afterview.model.kernels.cpu_attention import attention_by_products, blockwise_attention
from afterview.model.memaug.rope import Rotation, rotate

LONG_MEMORY = 512  # tokens from which a CPU that learns in 16 bits no longer makes all scores at once
SCORE_COPIES = (
    8  # float32 scores, their softmax and a cast that the materialising backend holds at once, against 16-bit keys
)


@dataclass(frozen=True)
class Heads:
    """Geometry shared by both attentions: the language model's head counts over the language model's width."""

    width: int  # D
    query: int  # H
    key_value: int  # G

    def __post_init__(self) -> None:
        if self.width % self.query or self.query % self.key_value:
            raise CheckpointError(
                f"width {self.width}, {self.query} query heads and {self.key_value} key/value heads do not divide; "
                "check num_attention_heads and num_key_value_heads in config.json"
            )

    @property
    def dim(self) -> int:
        """Dimensions of one head, d."""
        return self.width // self.query

    @property
    def key_value_width(self) -> int:
        """Width of all keys, and of all values, of one token."""
        return self.key_value * self.dim


class SelfAttention(nn.Module):
    """Every query token attends to every other."""

    def __init__(self, heads: Heads) -> None:
        super().__init__()
        self.heads = heads
        self.Wqkv = nn.Linear(heads.width, heads.width + 2 * heads.key_value_width)
        self.Wo = nn.Linear(heads.width, heads.width)

    def forward(self, x_BQD: Tensor, rotary: Rotation, valid_BQ: Tensor | None = None) -> Tensor:
        """[B, Q, D] -> [B, Q, D]; rows where `valid_BQ` is False are attended to by none."""
        widths = [self.heads.width, self.heads.key_value_width, self.heads.key_value_width]
        q, k, v = (split_heads(part, self.heads.dim) for part in self.Wqkv(x_BQD).split(widths, dim=-1))
        q, k = rotate(q, rotary), rotate(k, rotary)
        return self.Wo(grouped_attention(q, k.transpose(1, 2), v.transpose(1, 2), valid_BQ))


class CrossAttention(nn.Module):
    """Query tokens attend to the memory, whose keys and values do not depend on the question and are made once."""

    def __init__(self, heads: Heads) -> None:
        super().__init__()
        self.heads = heads
        self.Wq = nn.Linear(heads.width, heads.width)
        self.Wkv = nn.Linear(heads.width, 2 * heads.key_value_width)
        self.Wo = nn.Linear(heads.width, heads.width)

    def keys_values(self, memory_BMD: Tensor, rotary: Rotation) -> tuple[Tensor, Tensor]:
        """Rotated keys and values of memory tokens, [B, G, M, d] each."""
        k, v = (split_heads(part, self.heads.dim) for part in self.Wkv(memory_BMD).chunk(2, dim=-1))
        return rotate(k, rotary).transpose(1, 2), v.transpose(1, 2)

    def queries(self, x_BQD: Tensor, rotary: Rotation) -> Tensor:
        """Rotated queries [B, Q, H, d]."""
        return rotate(split_heads(self.Wq(x_BQD), self.heads.dim), rotary)

    def forward(self, q_BQHd: Tensor, k_BGMd: Tensor, v_BGMd: Tensor, valid_BM: Tensor | None = None) -> Tensor:
        """What the queries read from the memory, [B, Q, D]."""
        return self.Wo(grouped_attention(q_BQHd, k_BGMd, v_BGMd, valid_BM))


def split_heads(x_BLD: Tensor, head_dim: int) -> Tensor:
    """[B, L, heads * d] -> [B, L, heads, d]."""
    return x_BLD.unflatten(-1, (-1, head_dim))


def fold_groups(q_BQHd: Tensor, groups: int) -> Tensor:
    """[B, Q, H, d] -> [B, G, (H/G) * Q, d]: the query heads that share a key head, one after another along the sequence."""
    return q_BQHd.unflatten(2, (groups, -1)).permute(0, 2, 3, 1, 4).flatten(2, 3)


def grouped_attention(q_BQHd: Tensor, k_BGMd: Tensor, v_BGMd: Tensor, valid_BM: Tensor | None = None) -> Tensor:
    """Softmax attention with scale 1/sqrt(d); keys where `valid_BM` is False count for nothing. Returns [B, Q, H * d]."""
    queries, groups = q_BQHd.shape[1], k_BGMd.shape[1]
    mask = None if valid_BM is None else valid_BM[:, None, None, :]
    q_BGRd = fold_groups(q_BQHd, groups)
    if _trains_on_cpu(q_BGRd):
        if k_BGMd.shape[2] < LONG_MEMORY:
            return _unfold_groups(attention_by_products(q_BGRd, k_BGMd, v_BGMd, mask), queries)
        if mask is None:
            read_NRd = blockwise_attention(*(x.flatten(0, 1) for x in (q_BGRd, k_BGMd, v_BGMd)))
            return _unfold_groups(read_NRd.view_as(q_BGRd), queries)
    rows = _rows_at_once(q_BGRd, k_BGMd, v_BGMd, mask)
    parts = [scaled_dot_product_attention(part, k_BGMd, v_BGMd, attn_mask=mask) for part in q_BGRd.split(rows, dim=2)]
    return _unfold_groups(parts[0] if len(parts) == 1 else torch.cat(parts, dim=2), queries)


def _unfold_groups(x_BGRd: Tensor, queries: int) -> Tensor:
    """What fold_groups folded, heads side by side: [B, Q, H * d]."""
    return x_BGRd.unflatten(2, (-1, queries)).permute(0, 3, 1, 2, 4).flatten(2)


def _trains_on_cpu(q_BGRd: Tensor) -> bool:
    """Whether a CPU is learning in 16 bits."""
    if q_BGRd.device.type != "cpu" or not torch.is_grad_enabled():
        return False
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else q_BGRd.dtype
    return dtype == torch.bfloat16


def _rows_at_once(q_BGRd: Tensor, k_BGMd: Tensor, v_BGMd: Tensor, mask: Tensor | None) -> int:
    """Query rows to give the backend in one call: all of them to a fused kernel; otherwise as many as keep the scores smaller than K."""
    total = max(1, q_BGRd.shape[2])
    if torch.is_grad_enabled():  # training keeps every score for the way back: pieces would save nothing
        return total
    if torch._fused_sdp_choice(q_BGRd, k_BGMd, v_BGMd, mask) != SDPBackend.MATH.value:
        return total
    return min(total, max(1, k_BGMd.shape[-1] // SCORE_COPIES))


def frame_attention(
    q_BnHd: Tensor,
    k_BGMd: Tensor,
    tokens_per_frame: int,
    *,
    valid_Bn: Tensor | None = None,
    valid_BM: Tensor | None = None,
    frames_per_block: int = 256,
) -> Tensor:
    """Attention mass on each frame, mean over heads and (valid) query rows: float32 [B, M / tokens_per_frame], summing to 1.

    Exact and blockwise over the keys: a block of scores is reduced to its frames' log masses before the next is made, so that
    nothing of size [H, n, M] ever exists. Differentiable.
    """
    rows, groups = q_BnHd.shape[1], k_BGMd.shape[1]
    q_BGRd = fold_groups(q_BnHd, groups).float() * q_BnHd.shape[-1] ** -0.5
    log_masses = [
        (q_BGRd @ keys.float().transpose(-1, -2)).unflatten(-1, (-1, tokens_per_frame)).logsumexp(-1)
        for keys in k_BGMd.split(frames_per_block * tokens_per_frame, dim=2)
    ]
    log_mass_BGRF = torch.cat(log_masses, dim=-1)
    if valid_BM is not None:
        padding_BF = ~valid_BM[:, ::tokens_per_frame]  # batches are padded by whole frames
        log_mass_BGRF = log_mass_BGRF.masked_fill(padding_BF[:, None, None], -torch.inf)
    mass_BnF = log_mass_BGRF.softmax(-1).unflatten(2, (-1, rows)).mean(dim=(1, 2))
    if valid_Bn is None:
        return mass_BnF.mean(1)
    weights_Bn = valid_Bn / valid_Bn.sum(1, keepdim=True).clamp(min=1)
    return torch.einsum("bn,bnf->bf", weights_Bn.float(), mass_BnF)
