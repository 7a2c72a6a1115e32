"""Cuts pictures into tiles of the tower's size (anyres). Uses only PIL and numpy.

A picture is fitted into the best grid of tiles and padded with black. The first tile is the whole picture, resized; the
grid's tiles follow row by row. If a prompt has several pictures, each is one tile, padded to a square with grey.

Legend: S pixels per side of a tile, H and W pixels of a picture.
"""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from afterview.model.vision.preprocess import to_square

MOST_TILES = 6  # per side; the published grids are all sizes from 1x1 to 6x6
GREY = 127  # padding of several pictures: mid-range, zero after normalisation


@dataclass(frozen=True)
class Tiles:
    """One picture, cut into tiles."""

    pixels: NDArray[np.uint8]  # [1 + rows * columns, S, S, 3]; tile 0 is the whole picture
    rows: int
    columns: int
    height: int  # of the picture
    width: int


def tile_picture(rgb: NDArray[np.uint8], side: int) -> Tiles:
    """Cut a picture [H, W, 3] into tiles of side x side pixels."""
    height, width = rgb.shape[:2]
    rows, columns = best_grid(height, width, side)
    canvas = np.zeros((rows * side, columns * side, 3), dtype=np.uint8)
    fitted = np.asarray(Image.fromarray(rgb).resize(_fitted(height, width, rows * side, columns * side)))
    top, left = (canvas.shape[0] - fitted.shape[0]) // 2, (canvas.shape[1] - fitted.shape[1]) // 2
    canvas[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    cut = canvas.reshape(rows, side, columns, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    return Tiles(np.concatenate([to_square(rgb, side)[None], cut]), rows, columns, height, width)


def best_grid(height: int, width: int, side: int) -> tuple[int, int]:
    """Rows and columns of the grid that shows the most pixels of the picture; among equals, the one with the least padding."""

    def worth(grid: tuple[int, int]) -> tuple[int, int]:
        rows, columns = grid
        scale = min(columns * side / width, rows * side / height)
        effective = min(int(width * scale) * int(height * scale), width * height)
        return effective, effective - rows * columns * side * side

    per_side = range(1, MOST_TILES + 1)
    return max(product(per_side, per_side), key=worth)


def pad_to_square(rgb: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A picture centred in a grey square, resized to [S, S, 3]."""
    height, width = rgb.shape[:2]
    longer = max(height, width)
    square = np.full((longer, longer, 3), GREY, dtype=np.uint8)
    top, left = (longer - height) // 2, (longer - width) // 2
    square[top : top + height, left : left + width] = rgb
    return to_square(square, side)


def _fitted(height: int, width: int, most_high: int, most_wide: int) -> tuple[int, int]:
    """(width, height), in PIL's order, of the picture scaled to fit the canvas."""
    if most_wide / width < most_high / height:
        return most_wide, min(math.ceil(height * (most_wide / width)), most_high)
    return min(math.ceil(width * (most_high / height)), most_wide), most_high
