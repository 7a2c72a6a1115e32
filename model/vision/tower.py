"""The vision tower: a SigLIP or SigLIP 2 vision model of transformers without its last layer, then compression to a few tokens.

Features are the output of the last kept layer, before post_layernorm. (Hour-LLaVA deletes SigLIP's last layer. Its
checkpoints store post_layernorm, which nothing uses.) Frames are pooled to 8x8 tokens, bilinearly as in the published
code, which the weights are trained with (the paper says average). If the preset says so, similar tokens are merged
instead (model.vision.token_merging).

Legend: B frames, S pixels per side, P tokens per frame (pooled: a grid x grid, row-major), N patches, Dv width.
"""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel, Siglip2VisionConfig, Siglip2VisionModel, SiglipVisionConfig, SiglipVisionModel

from afterview.memory.base.feature_spec import TokenSpec
from afterview.model.base.errors import CheckpointError, InputMismatch
from afterview.model.base.settings import POOLED_TOKENS, TokenMergingConfig
from afterview.model.vision.token_merging import merge_frames
from afterview.model.vision.umt import UMT, UmtTower, build_umt

Tower: TypeAlias = PreTrainedModel | UmtTower

GRID = math.isqrt(POOLED_TOKENS)  # tokens per side of a pooled frame

# Geometry of the towers that published checkpoints name: a local copy of such a checkpoint then needs no network.
KNOWN_TOWERS: dict[str, dict[str, Any]] = {
    "google/siglip-so400m-patch14-384": {
        "model_type": "siglip_vision_model",
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "image_size": 384,
        "patch_size": 14,
    },
}


def build_tower(config: Mapping[str, Any]) -> Tower:
    """The tower of a SigLIP configuration (both towers or vision only) without last layer and head; parameters on the meta device.

    For model_type `umt` (model.vision.umt) it is that one. Raises CheckpointError for another model type, or if no layer would remain.
    """
    if config.get("model_type") == UMT:
        return build_umt(config)
    values = dict(config.get("vision_config") or config)
    kind = values.pop("model_type", config.get("model_type", "siglip_vision_model"))
    values = {**values, "vision_use_head": False}
    naflex = str(kind).startswith("siglip2")
    if not str(kind).startswith("siglip"):
        raise CheckpointError(f"vision tower of type '{kind}' is not supported; use a SigLIP or SigLIP 2 checkpoint")
    settings = Siglip2VisionConfig(**values) if naflex else SiglipVisionConfig(**values)
    if settings.num_hidden_layers < 2:
        raise CheckpointError(
            f"a vision tower of {settings.num_hidden_layers} layer(s) has no layer left without its last one"
        )
    settings.num_hidden_layers -= 1
    with torch.device("meta"):
        tower = Siglip2VisionModel(settings) if naflex else SiglipVisionModel(settings)
    if not naflex:
        tower.embeddings.position_ids = torch.arange(tower.embeddings.num_positions)[None]
    return tower.eval()


class VisionEncoder:
    """Maps frames to the tokens that a memory stores."""

    tower: Any  # typed by what it is built from
    returns: torch.dtype | None = None  # of patches, where the tower runs in another dtype than the model around it
    merging: TokenMergingConfig | None

    def __init__(
        self, tower: PreTrainedModel, *, name: str, weights: str, merging: TokenMergingConfig | None = None
    ) -> None:
        """name: for people. weights: hash of the tower's tensors as stored in its checkpoint. merging: None for pooling."""
        self.tower, self.merging = tower, merging
        config = tower.config
        self.naflex = config.model_type == "siglip2_vision_model"
        self.patch = int(config.patch_size)
        side = round(config.num_patches**0.5) * self.patch if self.naflex else int(config.image_size)
        self.spec = TokenSpec(
            encoder=name,
            weights=weights,
            resolution=side,
            tokens_per_frame=POOLED_TOKENS if merging is None else merging.tokens_per_frame,
            width=int(config.hidden_size),
            pooling="bilinear" if merging is None else "merged",
            frames_per_record=1 if merging is None else merging.frames_per_clip,
            clip_marks=merging is not None and merging.frames_per_clip > 1,
        )

    @torch.inference_mode()
    def encode(self, frames: NDArray[np.uint8]) -> NDArray[np.floating]:
        """uint8 RGB [B, S, S, 3] to [B, P, Dv] in the spec's dtype. S is the spec's resolution; B is up to the caller.

        If clips are merged (frames_per_record above 1), the frames must be consecutive, clip by clip; only the last
        clip may be short.
        """
        return self.features(frames).float().cpu().numpy().astype(self.spec.dtype)

    def features(self, frames: NDArray[np.uint8]) -> Tensor:
        """The same as a tensor [B, P, Dv] in the tower's dtype, on its device; differentiable."""
        return self.compress(self.patches(frames))

    def compress(self, x_BND: Tensor) -> Tensor:
        """Patches [B, N, Dv] to the tokens that a memory stores, [B, P, Dv]."""
        if self.merging is None:
            return pool(x_BND, GRID)
        heads = int(self.tower.config.num_attention_heads)
        return merge_frames(x_BND, self.merging.frames_per_clip, heads=heads)

    def patches(self, frames: NDArray[np.uint8]) -> Tensor:
        """Output of the last kept layer [B, N, Dv], not pooled. Single pictures use it."""
        side = self.spec.resolution
        if frames.ndim != 4 or frames.shape[1:] != (side, side, 3):
            raise InputMismatch(
                f"frames of shape {frames.shape} were given to a tower that takes [B, {side}, {side}, 3]"
            )
        x_BND = self.run(pixels(frames, next(self.tower.parameters())))
        return x_BND if self.returns is None else x_BND.to(self.returns)

    def run(self, pixels_B3SS: Tensor) -> Tensor:
        """Output of the last kept layer [B, N, Dv] for pixels in [-1, 1] that are already on the device. Training uses it."""
        x_BND = self._embed(pixels_B3SS)
        for layer in self.tower.encoder.layers:
            x_BND = layer(x_BND, None)
        return x_BND

    def _embed(self, pixels_B3SS: Tensor) -> Tensor:
        if not self.naflex:
            return self.tower.embeddings(pixels_B3SS)
        side = pixels_B3SS.shape[-1] // self.patch
        # [B, 3, rows, columns, p, p]
        tiles = pixels_B3SS.unfold(2, self.patch, self.patch).unfold(3, self.patch, self.patch)
        flat = tiles.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)
        shapes = torch.full((len(flat), 2), side, dtype=torch.long, device=flat.device)
        return self.tower.embeddings(flat, shapes)


def pixels(frames: NDArray[np.uint8], like: Tensor) -> Tensor:
    """uint8 [B, S, S, 3] to values in [-1, 1], [B, 3, S, S], on the device and in the dtype of `like`."""
    raw = torch.from_numpy(np.ascontiguousarray(frames)).to(like.device).permute(0, 3, 1, 2)
    return ((raw.float() / 255 - 0.5) / 0.5).to(like.dtype)


def pool(x_BND: Tensor, grid: int) -> Tensor:
    """Square patch grids [B, N, Dv] to [B, grid * grid, Dv]: bilinear, corners not aligned, no antialiasing."""
    side = round(x_BND.shape[1] ** 0.5)
    if side * side != x_BND.shape[1]:
        raise InputMismatch(f"{x_BND.shape[1]} patches do not form a square grid")
    if side == grid:
        return x_BND
    image = x_BND.unflatten(1, (side, side)).permute(0, 3, 1, 2)
    pooled = functional.interpolate(image, size=(grid, grid), mode="bilinear", align_corners=False)
    return pooled.flatten(2).transpose(1, 2)
