"""Keys and values of sequences during decoding. A cache grows by one token at a time; caches can be joined, and finished sequences removed.

Legend: B sequences, G key/value heads, H query heads, d dimensions of a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from afterview.model.kernels.attention import grouped_attention

CACHE_STEP = 128  # tokens by which a cache grows while decoding


@dataclass
class LayerCache:
    """Keys and values [B, G, capacity, d] of one layer, and the length of each sequence."""

    keys: Tensor
    values: Tensor
    lengths: tuple[int, ...]  # [B]; on the host, so that decoding never waits for the device

    @property
    def even(self) -> bool:
        """Whether all sequences have the same length. True for a single sequence."""
        return len(set(self.lengths)) == 1

    def append(self, k_BG1d: Tensor, v_BG1d: Tensor) -> None:
        """Append one token to each sequence. The capacity grows in steps."""
        if max(self.lengths) == self.keys.shape[2]:
            self.keys, self.values = (pad(part, (0, 0, 0, CACHE_STEP)) for part in (self.keys, self.values))
        for row, place in [(slice(None), self.lengths[0])] if self.even else list(enumerate(self.lengths)):
            self.keys[row, ..., place, :] = k_BG1d[row, ..., 0, :]
            self.values[row, ..., place, :] = v_BG1d[row, ..., 0, :]
        self.lengths = tuple(length + 1 for length in self.lengths)

    def read(self, q_B1Hd: Tensor) -> Tensor:
        """Attention of one token of each sequence to its own sequence, [B, 1, H * d]."""
        taken = max(self.lengths)
        keys, values = self.keys[:, :, :taken], self.values[:, :, :taken]
        if self.even:  # no mask, so that the fastest kernels can run
            return grouped_attention(q_B1Hd, keys, values)
        places = torch.arange(taken, device=q_B1Hd.device)
        valid_BL = places < torch.tensor(self.lengths, device=q_B1Hd.device)[:, None]
        return grouped_attention(q_B1Hd, keys, values, valid_BL)

    def select(self, rows: Sequence[int]) -> "LayerCache":
        """The cache of these sequences only."""
        lengths = tuple(self.lengths[row] for row in rows)
        kept = torch.tensor(rows, device=self.keys.device)
        return LayerCache(self.keys[kept, :, : max(lengths)], self.values[kept, :, : max(lengths)], lengths)


def join(parts: Sequence[LayerCache]) -> LayerCache:
    """Join caches of separately processed sequences into one batch."""
    if len(parts) == 1:
        return parts[0]
    lengths = tuple(length for part in parts for length in part.lengths)
    room = max(lengths) + CACHE_STEP
    return LayerCache(
        _stack([part.keys for part in parts], room), _stack([part.values for part in parts], room), lengths
    )


def _stack(parts: Sequence[Tensor], room: int) -> Tensor:
    batch = sum(len(part) for part in parts)
    joined = parts[0].new_zeros(batch, parts[0].shape[1], room, parts[0].shape[3])
    row = 0
    for part in parts:
        size = min(room, part.shape[2])
        joined[row : row + len(part), :, :size] = part[:, :, :size]
        row += len(part)
    return joined
