"""Grouped-query attention, not causal.

Key and value heads are not copied for the query heads that share them. Instead, the query heads are folded into the
sequence. Without a causal mask this is exact, and it works with every backend of scaled_dot_product_attention. If only
the backend that materialises the scores is available (forced, or no fused kernel for the device and dtype), a few query
rows run at a time.

Legend: B batch, Q query tokens, M memory tokens, H query heads, G key/value heads, d dimensions of a head.
"""

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend
from torch.nn.functional import scaled_dot_product_attention

from afterview.model.kernels.cpu_attention import attention_by_products, blockwise_attention

LONG_MEMORY = 512  # from this many tokens on, training on a CPU in 16 bits computes the scores blockwise
# The materialising backend holds float32 scores, their softmax and a cast at once: the size of 8 16-bit values per score.
SCORE_COPIES = 8


def fold_groups(q_BQHd: Tensor, groups: int) -> Tensor:
    """[B, Q, H, d] -> [B, G, (H/G) * Q, d]: query heads that share a key head follow each other along the sequence."""
    return q_BQHd.unflatten(2, (groups, -1)).permute(0, 2, 3, 1, 4).flatten(2, 3)


def grouped_attention(q_BQHd: Tensor, k_BGMd: Tensor, v_BGMd: Tensor, valid_BM: Tensor | None = None) -> Tensor:
    """Softmax attention with scale 1/sqrt(d). Keys where `valid_BM` is False are ignored. Returns [B, Q, H * d]."""
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
    """The inverse of fold_groups, with heads side by side: [B, Q, H * d]."""
    return x_BGRd.unflatten(2, (-1, queries)).permute(0, 3, 1, 2, 4).flatten(2)


def _trains_on_cpu(q_BGRd: Tensor) -> bool:
    """Whether this is training on a CPU in 16 bits."""
    if q_BGRd.device.type != "cpu" or not torch.is_grad_enabled():
        return False
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else q_BGRd.dtype
    return dtype == torch.bfloat16


def _rows_at_once(q_BGRd: Tensor, k_BGMd: Tensor, v_BGMd: Tensor, mask: Tensor | None) -> int:
    """Query rows per call: all of them for a fused kernel, otherwise as many as keep the scores smaller than the keys."""
    total = max(1, q_BGRd.shape[2])
    if torch.is_grad_enabled():  # training keeps all scores for the backward pass, so splitting would save nothing
        return total
    if torch._fused_sdp_choice(q_BGRd, k_BGMd, v_BGMd, mask) != SDPBackend.MATH.value:
        return total
    return min(total, max(1, k_BGMd.shape[-1] // SCORE_COPIES))
