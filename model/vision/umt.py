"""UMT-L, the vision tower of VideoChat-Flash: a video transformer over clips of four frames, or single images.

A pre-norm ViT with joint attention over all patches of a clip. Positions come from a fixed sinusoid table that runs over
the patches of all frames; it is computed, not stored. Of a published tower the last layer is missing, and
`vision_layernorm` ends it. Parameters have their published names.

Legend: B clips, T frames (4 or 1), S pixels per side, g = S / 16 patches per side, N = T * g * g tokens, C width, H heads.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear, scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from afterview.model.base.errors import InputMismatch
from afterview.model.base.settings import FRAMES_PER_CLIP

UMT: Final = "umt"  # model_type of its configuration here; published checkpoints store none
PATCH: Final = 16  # pixels
HEADS: Final = 16
MLP_RATIO: Final = 4
TABLE_SIDE: Final = 14  # patches per side of the sinusoid table: 224 pixels
_NORM_EPS, _LAST_NORM_EPS = 1e-6, 1e-12


@dataclass(frozen=True)
class UmtGeometry:
    """What differs between checkpoints. All else is fixed in the published code."""

    hidden_size: int
    num_hidden_layers: int  # blocks that are stored; all of them run
    image_size: int  # pixels: 224 or 448
    num_attention_heads: int = HEADS
    patch_size: int = PATCH

    @property
    def side(self) -> int:
        """Patches per side of a frame."""
        return self.image_size // self.patch_size

    def document(self) -> dict[str, Any]:
        """As a configuration, for `build_umt`."""
        return {
            "model_type": UMT,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_hidden_layers,
            "image_size": self.image_size,
        }


def build_umt(config: Mapping[str, Any]) -> "UmtTower":
    """The tower of a configuration, with parameters on the meta device."""
    geometry = UmtGeometry(
        int(config["hidden_size"]), int(config["num_hidden_layers"]), image_size=int(config["image_size"])
    )
    with torch.device("meta"):
        tower = UmtTower(geometry)
    tower.positions = position_table(geometry)
    return tower.eval()


class UmtTower(nn.Module):
    """Pixels of clips or images to tokens after the last norm."""

    positions: Tensor  # float32 [4 * g * g, C]

    def __init__(self, geometry: UmtGeometry) -> None:
        super().__init__()
        self.config = geometry
        self.encoder = UmtEncoder(geometry)
        self.register_buffer("positions", None, persistent=False)
        self._checkpointing = False

    def activation_checkpointing_enable(self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None) -> None:
        """Compute the activations of blocks again in the backward pass. As in transformers; the argument has no effect."""
        self._checkpointing = True

    def forward(self, pixels_B3TSS: Tensor) -> Tensor:
        """Tokens [B, N, C], frame by frame, row by row. Raises InputMismatch unless T is 4 or 1."""
        frames, side = pixels_B3TSS.shape[2], pixels_B3TSS.shape[-1]
        if frames not in (1, FRAMES_PER_CLIP) or side != self.config.image_size:
            raise InputMismatch(
                f"{frames} frames of {side} pixels were given to a tower that takes clips of {FRAMES_PER_CLIP} frames, or 1 image, "
                f"of {self.config.image_size} pixels"
            )
        x_BNC = self.encoder.patch_embed(pixels_B3TSS)
        x_BNC = x_BNC + self.positions[: x_BNC.shape[1]].to(x_BNC.dtype)
        checkpointing = self._checkpointing and torch.is_grad_enabled()
        for block in self.encoder.blocks:
            x_BNC = checkpoint(block, x_BNC, use_reentrant=False) if checkpointing else block(x_BNC)
        return self.encoder.vision_layernorm(x_BNC)


class UmtEncoder(nn.Module):
    """The stored parameters, under their published names."""

    def __init__(self, geometry: UmtGeometry) -> None:
        super().__init__()
        width = geometry.hidden_size
        self.patch_embed = PatchEmbedding(width)
        self.blocks = nn.ModuleList(
            Block(width, geometry.num_attention_heads) for _ in range(geometry.num_hidden_layers)
        )
        self.vision_layernorm = nn.LayerNorm(width, eps=_LAST_NORM_EPS)


class PatchEmbedding(nn.Module):
    """Patches of single frames to tokens: [B, 3, T, S, S] -> [B, N, C]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        size = (1, PATCH, PATCH)
        self.proj = nn.Conv3d(3, width, kernel_size=size, stride=size)

    def forward(self, pixels_B3TSS: Tensor) -> Tensor:
        """Frame by frame, row by row."""
        return self.proj(pixels_B3TSS).flatten(2).transpose(1, 2)


class Block(nn.Module):
    """x + attention(norm1(x)), then x + mlp(norm2(x))."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_NORM_EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=_NORM_EPS)
        self.mlp = Mlp(width)

    def forward(self, x_BNC: Tensor) -> Tensor:
        """[B, N, C] -> [B, N, C]."""
        x_BNC = x_BNC + self.attn(self.norm1(x_BNC))
        return x_BNC + self.mlp(self.norm2(x_BNC))


class Attention(nn.Module):
    """Joint attention over all tokens of a clip. Keys have no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x_BNC: Tensor) -> Tensor:
        """[B, N, C] -> [B, N, C]."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        qkv = linear(x_BNC, self.qkv.weight, bias).unflatten(-1, (3, self.heads, -1))
        q_BHNd, k_BHNd, v_BHNd = qkv.permute(2, 0, 3, 1, 4)
        return self.proj(scaled_dot_product_attention(q_BHNd, k_BHNd, v_BHNd).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = (
            nn.Linear(width, MLP_RATIO * width),
            nn.GELU(),
            nn.Linear(MLP_RATIO * width, width),
        )

    def forward(self, x_BNC: Tensor) -> Tensor:
        """For each token."""
        return self.fc2(self.act(self.fc1(x_BNC)))


def position_table(geometry: UmtGeometry) -> Tensor:
    """Positions of the patches of a clip, float32 [4 * g * g, C]. A single image has those of the first frame.

    The table is made for 14 x 14 patches: sine and cosine of one index that runs over all four frames. For another size,
    each frame's part is resized, bicubic.
    """
    width, cells = geometry.hidden_size, TABLE_SIDE * TABLE_SIDE
    places = np.arange(FRAMES_PER_CLIP * cells)[:, None]
    angles = places / np.power(10000, 2 * (np.arange(width) // 2) / width)
    angles[:, 0::2], angles[:, 1::2] = np.sin(angles[:, 0::2]), np.cos(angles[:, 1::2])
    table = torch.from_numpy(angles).float()
    if geometry.side == TABLE_SIDE:
        return table
    grids = table.reshape(FRAMES_PER_CLIP, TABLE_SIDE, TABLE_SIDE, width).permute(0, 3, 1, 2)
    resized = interpolate(grids, size=(geometry.side, geometry.side), mode="bicubic", align_corners=False)
    return resized.permute(0, 2, 3, 1).reshape(-1, width)
