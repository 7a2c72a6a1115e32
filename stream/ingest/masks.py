"""Privacy masks: polygons of the picture that are blacked out before anything is computed or stored."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Polygon = tuple[tuple[float, float], ...]


def apply_masks(rgb: NDArray[np.uint8], masks: Sequence[Polygon]) -> NDArray[np.uint8]:
    """`rgb` [H, W, 3] with every polygon black; the same array if there is no polygon. Corners are fractions of the picture."""
    if not masks:
        return rgb
    hidden = _hidden(tuple(masks), rgb.shape[0], rgb.shape[1])
    return np.where(hidden[:, :, None], np.uint8(0), rgb)


@lru_cache(maxsize=64)
def _hidden(masks: tuple[Polygon, ...], height: int, width: int) -> NDArray[np.bool_]:
    """True where the picture is blacked out, bool [H, W]; edges included."""
    image = Image.new("1", (width, height))
    for polygon in masks:
        ImageDraw.Draw(image).polygon([(x * (width - 1), y * (height - 1)) for x, y in polygon], fill=1, outline=1)
    return np.asarray(image, dtype=bool)
