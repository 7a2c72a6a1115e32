"""Cuts pictures into tiles of the tower's size (anyres). Uses only PIL and numpy.

A picture is fitted into the best grid of tiles and padded with black. The first tile is the whole picture, resized; the
grid's tiles follow row by row. If a prompt has several pictures, each is one tile, padded to a square with grey.

Legend: S pixels per side of a tile, H and W pixels of a picture.
"""

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from afterview.model.base.errors import CheckpointError
from afterview.model.vision.preprocess import to_square

GREY = 127  # padding of several pictures: mid-range, zero after normalisation
PUBLISHED_GRIDS = "(1x1),...,(6x6)"  # image_grid_pinpoints of the published weights
PUBLISHED_SHAPE = "anyres_max_9"  # their image_aspect_ratio: a grid with more patches than nine tiles is scaled down


@dataclass(frozen=True)
class Tiling:
    """Into which grids a checkpoint cuts a picture. Grids are (columns, rows), or (width, height) in pixels, in the checkpoint's order."""

    grids: tuple[tuple[int, int], ...] = tuple(product(range(1, 7), range(1, 7)))
    in_pixels: bool = False
    most_tiles: int | None = 9  # a grid with more patches than this many tiles is scaled down; None: never

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Tiling":
        """That of a checkpoint's config.json; the published one where it says nothing. Raises CheckpointError for what is not known."""
        shape = config.get("image_aspect_ratio") or PUBLISHED_SHAPE
        most = re.fullmatch(r"anyres(?:_nopad|_max_(\d+))?", str(shape))
        if most is None:
            raise CheckpointError(
                f"config.json: image_aspect_ratio '{shape}' is not supported for pictures; only anyres and anyres_max_N are"
            )
        grids, in_pixels = _grids(config.get("image_grid_pinpoints") or PUBLISHED_GRIDS)
        return cls(grids, in_pixels, None if most[1] is None else int(most[1]))

    def sizes(self, side: int) -> list[tuple[int, int]]:
        """Rows and columns of each grid of tiles of side x side pixels. Raises CheckpointError for sizes that tiles do not fill."""
        unit = side if self.in_pixels else 1
        if odd := [size for grid in self.grids for size in grid if size < 1 or size % unit]:
            raise CheckpointError(
                f"config.json: image_grid_pinpoints has {odd[0]} pixels, which tiles of {side} pixels do not fill"
            )
        return [(height // unit, width // unit) for width, height in self.grids]


def _grids(pinpoints: Any) -> tuple[tuple[tuple[int, int], ...], bool]:
    """The grids that image_grid_pinpoints names: a range "(1x1),...,(6x6)", or a list of sizes in pixels."""
    if isinstance(pinpoints, str) and (ends := re.findall(r"\((\d+)x(\d+)\)", pinpoints)):
        (wide, high), (widest, highest) = ([int(size) for size in end] for end in (ends[0], ends[-1]))
        return tuple(product(range(wide, widest + 1), range(high, highest + 1))), False
    try:
        listed = ast.literal_eval(pinpoints) if isinstance(pinpoints, str) else pinpoints
        return tuple((int(width), int(height)) for width, height in listed), True
    except (TypeError, ValueError, SyntaxError):
        raise CheckpointError(
            f"config.json: image_grid_pinpoints {pinpoints!r} is neither a range like '{PUBLISHED_GRIDS}' nor a list of [width, height]"
        ) from None


PUBLISHED = Tiling()


@dataclass(frozen=True)
class Tiles:
    """One picture, cut into tiles."""

    pixels: NDArray[np.uint8]  # [1 + rows * columns, S, S, 3]; tile 0 is the whole picture
    rows: int
    columns: int
    height: int  # of the picture
    width: int


def tile_picture(rgb: NDArray[np.uint8], side: int, tiling: Tiling = PUBLISHED) -> Tiles:
    """Cut a picture [H, W, 3] into tiles of side x side pixels."""
    height, width = rgb.shape[:2]
    rows, columns = best_grid(height, width, side, tiling)
    canvas = np.zeros((rows * side, columns * side, 3), dtype=np.uint8)
    fitted = np.asarray(Image.fromarray(rgb).resize(_fitted(height, width, rows * side, columns * side)))
    top, left = (canvas.shape[0] - fitted.shape[0]) // 2, (canvas.shape[1] - fitted.shape[1]) // 2
    canvas[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    cut = canvas.reshape(rows, side, columns, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    return Tiles(np.concatenate([to_square(rgb, side)[None], cut]), rows, columns, height, width)


def stretched_tiles(rgb: NDArray[np.uint8], side: int, tiling: Tiling) -> tuple[NDArray[np.uint8], int, int]:
    """The same without padding, as `anyres_nopad` cuts: pixels [1 + rows * columns, S, S, 3], rows, columns."""
    height, width = rgb.shape[:2]
    rows, columns = best_grid(height, width, side, tiling)
    fitted = np.asarray(Image.fromarray(rgb).resize((columns * side, rows * side), Image.Resampling.BICUBIC))
    cut = fitted.reshape(rows, side, columns, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    return np.concatenate([to_square(rgb, side)[None], cut]), rows, columns


def best_grid(height: int, width: int, side: int, tiling: Tiling = PUBLISHED) -> tuple[int, int]:
    """Rows and columns of the grid that shows the most pixels of the picture; among equals, the one with the least padding."""

    def worth(grid: tuple[int, int]) -> tuple[int, int]:
        rows, columns = grid
        scale = min(columns * side / width, rows * side / height)
        effective = min(int(width * scale) * int(height * scale), width * height)
        return effective, effective - rows * columns * side * side

    return max(tiling.sizes(side), key=worth)


def pad_to_square(rgb: NDArray[np.uint8], side: int, colour: int | tuple[int, int, int] = GREY) -> NDArray[np.uint8]:
    """A picture centred in a square of one colour, resized to [S, S, 3]."""
    height, width = rgb.shape[:2]
    longer = max(height, width)
    square = np.full((longer, longer, 3), colour, dtype=np.uint8)
    top, left = (longer - height) // 2, (longer - width) // 2
    square[top : top + height, left : left + width] = rgb
    return to_square(square, side)


def _fitted(height: int, width: int, most_high: int, most_wide: int) -> tuple[int, int]:
    """(width, height), in PIL's order, of the picture scaled to fit the canvas."""
    if most_wide / width < most_high / height:
        return most_wide, min(math.ceil(height * (most_wide / width)), most_high)
    return min(math.ceil(width * (most_high / height)), most_wide), most_high
