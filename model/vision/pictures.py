"""Pictures for MemAug: one picture in tiles, several pictures, or none (image stage of Hour-LLaVA; geometry of the published code).

One picture: the memory holds the patches of the whole picture (without newline), then the joint grid of the tiles, h x
w patches with a newline after every row. Patches of the whole picture have the positions of the nearest grid patches,
corners on corners. Every newline has position h * w. A random quarter of each part is visible, and the newline of each
row that keeps a patch. Several pictures: each has its patches and one newline. Positions continue over all patches; all
newlines share the next position.

Legend: T tiles, N = g * g patches of one tile, D language width, h x w patches of the joint grid, n pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from afterview.memory.plans.positions import NEWLINE
from afterview.memory.plans.visibility import ForgettingConfig, random_cells, uniform_cells
from afterview.model.vision.projector import Projector
from afterview.model.vision.tiles import PUBLISHED, Tiles, Tiling, pad_to_square, tile_picture
from afterview.model.vision.tower import VisionEncoder

LEAST_SCALING = 1.1  # no scaling below this factor


@dataclass(frozen=True)
class ImageLayout:
    """Which tokens are keys and queries. Indices refer to the tokens of `one_picture` or `several_pictures`."""

    keys: NDArray[np.int64]
    key_ids: NDArray[np.float64]
    queries: NDArray[np.int64]
    query_ids: NDArray[np.float64]
    groups: tuple[int, ...]  # visible tokens of each picture

    def key_tokens(self) -> NDArray[np.int64]:
        """Indices of the memory's tokens, including NEWLINE."""
        return self.keys

    def key_position_ids(self) -> NDArray[np.float64]:
        """Rotary positions of the memory's tokens."""
        return self.key_ids

    def query_tokens(self) -> NDArray[np.int64]:
        """Indices of the visible tokens, including NEWLINE."""
        return self.queries

    def query_position_ids(self) -> NDArray[np.float64]:
        """Rotary positions of the visible tokens."""
        return self.query_ids

    def query_groups(self) -> tuple[int, ...]:
        """How many visible tokens each picture has. Each picture stands at its own place of the prompt."""
        return self.groups


def see_pictures(
    pictures: Sequence[NDArray[np.uint8]],
    vision: VisionEncoder,
    projector: Projector,
    config: ForgettingConfig,
    tiling: Tiling = PUBLISHED,
    *,
    seed: int = 0,
) -> tuple[Tensor, ImageLayout]:
    """Projected tokens of one picture or several, and their layout: what asking and training share. Differentiable."""
    if len(pictures) == 1:
        return one_picture(pictures[0], vision, projector, config, tiling, seed=seed)
    return several_pictures(pictures, vision, projector, config, seed=seed)


def one_picture(
    rgb: NDArray[np.uint8],
    vision: VisionEncoder,
    projector: Projector,
    config: ForgettingConfig,
    tiling: Tiling = PUBLISHED,
    *,
    seed: int = 0,
) -> tuple[Tensor, ImageLayout]:
    """Projected tokens [N + h * w, D] of a picture [H, W, 3], and their layout. Differentiable."""
    tiles = tile_picture(rgb, vision.spec.resolution, tiling)
    tokens_TND = projector(vision.patches(tiles.pixels))
    grid_hwD = join_tiles(tokens_TND[1:], tiles, tiling.most_tiles)
    height, width = grid_hwD.shape[:2]
    layout = plan_picture(_side(tokens_TND), height, width, config, seed=seed)
    return torch.cat([tokens_TND[0], grid_hwD.flatten(0, 1)]), layout


def several_pictures(
    pictures: Sequence[NDArray[np.uint8]],
    vision: VisionEncoder,
    projector: Projector,
    config: ForgettingConfig,
    *,
    seed: int = 0,
) -> tuple[Tensor, ImageLayout]:
    """Projected tokens [n * N, D] of several pictures, and their layout. Differentiable."""
    frames = np.stack([pad_to_square(rgb, vision.spec.resolution) for rgb in pictures])
    tokens_nND = projector(vision.patches(frames))
    return tokens_nND.flatten(0, 1), plan_pictures(len(pictures), _side(tokens_nND), config, seed=seed)


def join_tiles(tokens_TND: Tensor, tiles: Tiles, most_tiles: int | None = PUBLISHED.most_tiles) -> Tensor:
    """The patches of all tiles as one grid [h, w, D], without padding, scaled down if they are more than those of `most_tiles` tiles."""
    side = _side(tokens_TND)
    grid = tokens_TND.unflatten(1, (side, side)).unflatten(0, (tiles.rows, tiles.columns))
    grid_hwD = grid.transpose(1, 2).flatten(0, 1).flatten(1, 2)
    top, left = padding(grid_hwD.shape[0], grid_hwD.shape[1], tiles.height, tiles.width)
    grid_hwD = grid_hwD[top : grid_hwD.shape[0] - top, left : grid_hwD.shape[1] - left]
    height, width = grid_hwD.shape[:2]
    times = 0.0 if most_tiles is None else (height * width / (most_tiles * side * side)) ** 0.5
    if times <= LEAST_SCALING:
        return grid_hwD
    size = (int(height // times), int(width // times))
    return interpolate(grid_hwD.permute(2, 0, 1)[None], size=size, mode="bilinear")[0].permute(1, 2, 0)


def padding(rows: int, columns: int, height: int, width: int) -> tuple[int, int]:
    """How many rows at the top (and bottom) and columns at the left (and right) of a patch grid show only padding."""
    if width / height > columns / rows:
        return (rows - int(height * (columns / width))) // 2, 0
    return 0, (columns - int(width * (rows / height))) // 2


def plan_picture(side: int, height: int, width: int, config: ForgettingConfig, *, seed: int) -> ImageLayout:
    """Layout of one picture: side x side patches of the whole picture, then a grid of height x width."""
    whole, grid = side * side, height * width
    whole_ids = nearest(height, side)[:, None] * width + nearest(width, side)
    places = whole + np.arange(grid).reshape(height, width)
    every_row = np.concatenate([places, np.full((height, 1), NEWLINE)], axis=1)
    seen = _visible(side, side, config, part=0, seed=seed)
    shown = np.isin(np.arange(grid), _visible(height, width, config, part=1, seed=seed)).reshape(height, width)
    visible = np.concatenate([shown, shown.any(axis=1, keepdims=True)], axis=1)
    keys = np.concatenate([np.arange(whole), every_row.reshape(-1)])
    queries = np.concatenate([seen, every_row[visible]])
    # By token index. The last one belongs to the newlines: NEWLINE is -1.
    ids = np.concatenate([whole_ids.reshape(-1), np.arange(grid), [grid]]).astype(np.float64)
    return ImageLayout(keys, ids[keys], queries, ids[queries], (len(queries),))


def nearest(patches: int, side: int) -> NDArray[np.int64]:
    """Which of `patches` grid patches each of `side` evenly spaced ones is: round(linspace(0, patches - 1, side)), halves to even.

    In float32 and from both ends, as torch.linspace on a CPU. In float64 some halves fall to the other side (8 and 54 patches for
    27, among others), and the weights are trained with these.
    """
    last = np.float32(patches - 1)
    step = last / np.float32(max(side - 1, 1))
    places = np.arange(side, dtype=np.float32)
    from_start, from_end = step * places, last - step * places[::-1]
    return np.rint(np.where(np.arange(side) < max(side // 2, 1), from_start, from_end)).astype(np.int64)


def plan_pictures(count: int, side: int, config: ForgettingConfig, *, seed: int) -> ImageLayout:
    """Layout of several pictures of side x side patches."""
    patches = side * side
    ids = np.arange(count * patches + 1, dtype=np.float64)  # the last one belongs to the newlines: NEWLINE is -1
    keys, queries = [], []
    for number in range(count):
        first = number * patches
        keys.append(np.append(np.arange(first, first + patches), NEWLINE))
        queries.append(np.append(first + _visible(side, side, config, part=number, seed=seed), NEWLINE))
    all_keys, all_queries = np.concatenate(keys), np.concatenate(queries)
    return ImageLayout(all_keys, ids[all_keys], all_queries, ids[all_queries], tuple(len(own) for own in queries))


def _visible(height: int, width: int, config: ForgettingConfig, *, part: int, seed: int) -> NDArray[np.int64]:
    """Cells of a grid that stay visible, ascending. `part` and `seed` select the random draw."""
    if config.spatial == "uniform":
        return uniform_cells(height, width, config.spatial_ratio)
    kept = -(-(height * width) // config.spatial_ratio)
    return random_cells(height * width, kept, frame=part, repeat=0, constant=seed)


def _side(tokens_TND: Tensor) -> int:
    """Patches per side of a tile."""
    return round(tokens_TND.shape[1] ** 0.5)
