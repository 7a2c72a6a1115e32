"""Settings for optional parts of a model: compression of VideoChat-Flash (arXiv 2501.00574) and token embeddings. Needs no torch."""

from typing import Literal

from pydantic import model_validator

from afterview.configs import Schema

FRAMES_PER_CLIP = 4  # frames of a clip of VideoChat-Flash
POOLED_TOKENS = 64  # tokens of a frame that is pooled to an 8x8 grid (Hour-LLaVA)
TOKENS_PER_CLIP = 64  # a clip of 4 frames keeps 16 tokens per frame; a single frame keeps all 64


TowerName = Literal["umt-large", "umt-hd-large"]
"""Towers of VideoChat-Flash: UMT-L for pictures of 224 or 448 pixels."""
NewPart = Literal["projector", "memaug"]
"""What may be newly initialised beside trained weights. The newline and token embeddings count with the projector."""
EmbeddingKind = Literal["place", "time", "order", "summary"]
"""What model.memaug.token_embeddings can add to memory tokens."""


class TokenMergingConfig(Schema):
    """Clip-level compression: similar tokens are merged during encoding, instead of pooling. See model.vision.token_merging."""

    frames_per_clip: Literal[1, 4] = 1  # frames whose tokens are merged together, into one row of features

    @property
    def tokens_per_frame(self) -> int:
        """Tokens that remain of each frame."""
        return TOKENS_PER_CLIP // self.frames_per_clip


class VisualDropoutConfig(Schema):
    """Video-level compression: after which layers the decoder drops visual tokens, how many remain, and which ones.

    See model.language.visual_dropout.
    """

    kind: Literal["uniform", "attention", "uniform0_attention", "uniform1_attention"] = "attention"
    layers: tuple[int, ...] = (24,)  # drop after this many layers
    ratios: tuple[float, ...] = (1.0, 0.5)  # share of the original visual tokens from each drop on; first 1

    @model_validator(mode="after")
    def _consistent(self) -> "VisualDropoutConfig":
        if len(self.ratios) != len(self.layers) + 1 or self.ratios[0] != 1:
            raise ValueError(f"{len(self.layers)} layers need {len(self.layers) + 1} ratios, the first of them 1")
        if list(self.layers) != sorted(set(self.layers)) or (self.layers and self.layers[0] < 1):
            raise ValueError("layers must ascend from 1")
        if list(self.ratios) != sorted(self.ratios, reverse=True) or self.ratios[-1] < 0:
            raise ValueError("ratios must fall, and none below 0")
        return self

    def by_attention(self, stage: int) -> bool:
        """Whether drop number `stage` (from 0) keeps the tokens with most attention. Otherwise it keeps evenly spaced ones."""
        even = {"uniform": len(self.layers), "attention": 0, "uniform0_attention": 1, "uniform1_attention": 2}
        return stage >= even[self.kind]


NO_DROPOUT = VisualDropoutConfig(layers=(), ratios=(1.0,))
