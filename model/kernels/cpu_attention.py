"""Attention for training on a CPU in 16 bits. Such a training spends most of its time here.

On a CPU, PyTorch's fused kernel multiplies 16-bit numbers at about the rate of 32-bit ones. Plain matrix products are
several times faster on processors with bfloat16 instructions. For few tokens, two products and a softmax are enough.
For many tokens, the scores of a few hundred query rows are computed at a time, used while they are in the processor's
cache, and recomputed in the backward pass, because storing them would cost more.

Legend: N pairs of batch and head, R query rows, M memory tokens, d dimensions of a head.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

ROWS = 256  # query rows at once: their scores over 4,000 tokens are 2 MB


def attention_by_products(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Like scaled_dot_product_attention, by plain bfloat16 products: all scores at once, for up to a few hundred keys."""
    scores = (q * q.shape[-1] ** -0.5).bfloat16() @ k.bfloat16().transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    # Under autocast, softmax would convert the scores to float32. The blockwise version also keeps 16 bits.
    with torch.autocast("cpu", enabled=False):
        return scores.softmax(-1) @ v.bfloat16()


def blockwise_attention(q_NRd: Tensor, k_NMd: Tensor, v_NMd: Tensor) -> Tensor:
    """softmax(q k' / sqrt(d)) v, [N, R, d] bfloat16; differentiable once."""
    scaled = (q_NRd * q_NRd.shape[-1] ** -0.5).bfloat16()
    read: Tensor = _Blockwise.apply(scaled.contiguous(), k_NMd.bfloat16().contiguous(), v_NMd.bfloat16().contiguous())
    return read


class _Blockwise(Function):
    @staticmethod
    def forward(ctx: Any, q_NRd: Tensor, k_NMd: Tensor, v_NMd: Tensor) -> Tensor:
        out = torch.empty_like(q_NRd)
        scores, shares = _scratch(q_NRd, k_NMd)
        for q, k, v, o in zip(q_NRd, k_NMd, v_NMd, out, strict=True):
            for q_rows, o_rows in zip(q.split(ROWS), o.split(ROWS), strict=True):
                p = _attention(q_rows, k, scores, shares)
                torch.mm(p, v, out=o_rows)
        ctx.save_for_backward(q_NRd, k_NMd, v_NMd, out)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q_NRd, k_NMd, v_NMd, out = ctx.saved_tensors
        given = gradients[0].to(q_NRd.dtype).contiguous()
        # The softmax gradient subtracts this from every score of a row.
        mean_NR1 = (given.float() * out.float()).sum(-1, keepdim=True).to(q_NRd.dtype)
        dq, dk, dv = torch.empty_like(q_NRd), *(torch.zeros_like(k_NMd, dtype=torch.float32) for _ in range(2))
        scores, shares = _scratch(q_NRd, k_NMd)
        for pair, (k, v) in enumerate(zip(k_NMd, v_NMd, strict=True)):
            for start in range(0, q_NRd.shape[1], ROWS):
                rows = slice(start, start + ROWS)
                q, g = q_NRd[pair, rows], given[pair, rows]
                p = _attention(q, k, scores, shares)
                s = torch.mm(g, v.t(), out=scores[: len(g)]).sub_(mean_NR1[pair, rows]).mul_(p)
                torch.mm(s, k, out=dq[pair, rows])
                dk[pair] += s.t() @ q
                dv[pair] += p.t() @ g
        return dq, dk.to(k_NMd.dtype), dv.to(v_NMd.dtype)


def _scratch(q_NRd: Tensor, k_NMd: Tensor) -> tuple[Tensor, Tensor]:
    """Buffers for the scores of a block and for their softmax."""
    shape = min(ROWS, q_NRd.shape[1]), k_NMd.shape[1]
    return q_NRd.new_empty(shape), q_NRd.new_empty(shape)


def _attention(q: Tensor, k: Tensor, scores: Tensor, shares: Tensor) -> Tensor:
    raw = torch.mm(q, k.t(), out=scores[: len(q)])
    return torch.softmax(raw, -1, out=shares[: len(q)])
