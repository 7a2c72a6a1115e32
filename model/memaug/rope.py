"""Rotary positions of MemAug: the first half of each head's dimensions, non-interleaved, angles in float32.

Legend: B batch, L tokens, H heads, d dimensions of a head, r = d // 2 rotated dimensions.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Rotation(NamedTuple):
    """Cosines and sines for the positions of some tokens, float32 [B, L, 1, r / 2] each."""

    cos: Tensor
    sin: Tensor

    def __getitem__(self, rows: slice) -> "Rotation":  # type: ignore[override]
        """The rotation of a slice of the tokens."""
        return Rotation(self.cos[:, rows], self.sin[:, rows])


def rotation(positions_BL: Tensor, head_dim: int, theta: float) -> Rotation:
    """Rotation for positions (any real numbers) and heads of `head_dim` dimensions. theta: base of the wavelengths."""
    rotated = head_dim // 2
    exponents = torch.arange(0, rotated, 2, dtype=torch.float32, device=positions_BL.device) / rotated
    angles = positions_BL.to(torch.float32)[..., None, None] * (1.0 / theta**exponents)
    return Rotation(angles.cos(), angles.sin())


def rotate(x_BLHd: Tensor, by: Rotation) -> Tensor:
    """Rotate each pair (i, i + r/2) of the first r dimensions. The other half of the head is unchanged."""
    half = by.cos.shape[-1]
    first, second, rest = x_BLHd.split([half, half, x_BLHd.shape[-1] - 2 * half], dim=-1)
    turned = (first * by.cos - second * by.sin, second * by.cos + first * by.sin)
    return torch.cat([part.to(x_BLHd.dtype) for part in turned] + [rest], dim=-1)
