"""From decoded pictures to what the towers see. PIL and numpy only: decode threads run this."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def to_square(rgb: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Squash an RGB picture [H, W, 3] to [size, size, 3]: bicubic, aspect ratio ignored, nothing cropped (as published)."""
    if rgb.shape[:2] == (size, size):
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((size, size), Image.Resampling.BICUBIC))
