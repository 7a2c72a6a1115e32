"""Self- and cross-attention of MemAug, not causal. Parameter names are the published ones (Wqkv, Wq, Wkv, Wo).

Legend: B batch, Q query tokens, M memory tokens, D width, H query heads, G key/value heads, d dimensions of a head.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from afterview.model.base.errors import CheckpointError
from afterview.model.kernels.attention import grouped_attention
from afterview.model.memaug.rope import Rotation, rotate


@dataclass(frozen=True)
class Heads:
    """Geometry of both attentions: the language model's width and head counts."""

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
        """Width of all keys (or all values) of one token."""
        return self.key_value * self.dim


class SelfAttention(nn.Module):
    """Query tokens attend to each other."""

    def __init__(self, heads: Heads) -> None:
        super().__init__()
        self.heads = heads
        self.Wqkv = nn.Linear(heads.width, heads.width + 2 * heads.key_value_width)
        self.Wo = nn.Linear(heads.width, heads.width)

    def forward(self, x_BQD: Tensor, rotary: Rotation, valid_BQ: Tensor | None = None) -> Tensor:
        """[B, Q, D] -> [B, Q, D]. No token attends to rows where `valid_BQ` is False."""
        widths = [self.heads.width, self.heads.key_value_width, self.heads.key_value_width]
        q, k, v = (split_heads(part, self.heads.dim) for part in self.Wqkv(x_BQD).split(widths, dim=-1))
        q, k = rotate(q, rotary), rotate(k, rotary)
        return self.Wo(grouped_attention(q, k.transpose(1, 2), v.transpose(1, 2), valid_BQ))


class CrossAttention(nn.Module):
    """Query tokens attend to the memory. Its keys and values do not depend on the question and are computed once."""

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
        """Attention of the queries to the memory, [B, Q, D]."""
        return self.Wo(grouped_attention(q_BQHd, k_BGMd, v_BGMd, valid_BM))


def split_heads(x_BLD: Tensor, head_dim: int) -> Tensor:
    """[B, L, heads * d] -> [B, L, heads, d]."""
    return x_BLD.unflatten(-1, (-1, head_dim))
