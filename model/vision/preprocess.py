"""Resizes decoded pictures for the towers. Uses only PIL and numpy; decode threads run this."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def to_square(rgb: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize an RGB picture [H, W, 3] to [size, size, 3]: bicubic, aspect ratio ignored, nothing cropped (as published)."""
    if rgb.shape[:2] == (size, size):
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((size, size), Image.Resampling.BICUBIC))
