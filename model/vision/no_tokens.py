"""Stands for the vision tower of a model that only finds frames: no tower is loaded, and a memory stores nothing of one.

A memory has a row of tokens for each frame. Here it is one value, 2 bytes, so that every reader, check and copy of a memory works as usual.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from afterview.memory.base.feature_spec import NO_TOKENS, TokenSpec
from afterview.model.base.errors import InputMismatch
from afterview.model.vision.tower import VisionEncoder


class NoTokens(VisionEncoder):
    """Gives every frame one token of width 1, which is 0."""

    def __init__(self, resolution: int) -> None:
        """resolution: pixels that the index encoder takes, so that a frame is resized once."""
        self.tower, self.merging, self.naflex, self.patch = None, None, False, resolution
        self.spec = TokenSpec(
            encoder=NO_TOKENS, weights=NO_TOKENS, resolution=resolution, tokens_per_frame=1, width=1, pooling=NO_TOKENS
        )

    def encode(self, frames: NDArray[np.uint8]) -> NDArray[np.floating]:
        """Zeros, [B, 1, 1]."""
        return np.zeros((len(frames), 1, 1), dtype=self.spec.dtype)

    def patches(self, frames: NDArray[np.uint8]) -> Tensor:
        """Raises InputMismatch."""
        raise InputMismatch("this model has no vision tower: it finds frames and does not answer")
