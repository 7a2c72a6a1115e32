"""Evidence: how much of MemAug's cross-attention goes to each frame.

Legend: B batch, M memory tokens, H query heads, G key/value heads, d dimensions of a head, n query rows, F frames, R
folded rows.
"""

from typing import Final

import torch
from torch import Tensor

from afterview.model.kernels.attention import fold_groups

ROWS_AT_ONCE: Final = 1024  # query rows: a question with subtitles has some 16,000, whose scores would be gigabytes


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

    Exact and blockwise over rows and keys: each block of scores is reduced to log masses per frame before the next block is
    computed, so nothing of size [H, n, M] exists. Differentiable.
    """
    rows, groups = q_BnHd.shape[1], k_BGMd.shape[1]
    if rows > ROWS_AT_ONCE:
        counted_Bn = torch.ones(q_BnHd.shape[:2], device=q_BnHd.device) if valid_Bn is None else valid_Bn.float()
        share_Bn = counted_Bn / counted_Bn.sum(1, keepdim=True).clamp(min=1)
        blocks = [slice(first, first + ROWS_AT_ONCE) for first in range(0, rows, ROWS_AT_ONCE)]
        masses = [
            share_Bn[:, block].sum(1, keepdim=True)
            * frame_attention(
                q_BnHd[:, block], k_BGMd, tokens_per_frame, valid_Bn=None if valid_Bn is None else valid_Bn[:, block],
                valid_BM=valid_BM, frames_per_block=frames_per_block,
            )
            for block in blocks
        ]  # fmt: skip
        return torch.stack(masses).sum(0)
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
