"""Stands for the index encoder where nothing is searched, so that none has to be loaded or fetched: `afterview extract`."""

import numpy as np
from numpy.typing import NDArray

from afterview.memory.base.feature_spec import IndexSpec
from afterview.model.base.errors import InputMismatch
from afterview.model.vision.index_encoder import IndexEncoder

NO_INDEX = "none"


class NoIndex(IndexEncoder):
    """Gives every frame the same unit vector, of width 1. Texts cannot be embedded."""

    def __init__(self) -> None:
        self.tokenizer = None
        self.spec = IndexSpec(encoder=NO_INDEX, weights=NO_INDEX, resolution=1, width=1)

    def encode_images(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Ones, [B, 1]."""
        return np.ones((len(frames), 1), dtype=np.float32)

    def encode_texts(self, texts: list[str]) -> NDArray[np.float32]:
        """Raises InputMismatch."""
        raise InputMismatch(
            "the encoders were loaded without an index encoder, so texts cannot be compared with frames"
        )
