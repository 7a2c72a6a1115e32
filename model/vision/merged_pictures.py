"""Pictures for VideoChat-Flash: each view is merged to 64 tokens.

One picture: the tokens of the whole picture, then those of its tiles (`anyres_nopad`). The tokens of a tile are read as
an 8 x 8 grid, and the grids of all tiles are joined and read row by row. Several pictures: each is padded to a square with
the mean colour, and is one view.

Legend: V views, T tokens, D language width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from afterview.memory.plans.clips import AllTokens
from afterview.model.base.settings import TOKENS_PER_CLIP
from afterview.model.vision.clip_encoder import MEAN, ClipEncoder
from afterview.model.vision.projector import Projector
from afterview.model.vision.tiles import Tiling, pad_to_square, stretched_tiles

MEAN_COLOUR = (int(MEAN[0] * 255), int(MEAN[1] * 255), int(MEAN[2] * 255))
GRID = math.isqrt(TOKENS_PER_CLIP)  # tokens per side of a view


@dataclass(frozen=True)
class MergedPictures(AllTokens):
    """All tokens of one picture or several are visible."""

    groups: tuple[int, ...]  # tokens of each picture

    def query_groups(self) -> tuple[int, ...]:
        """How many tokens each picture has. Each picture stands at its own place of the prompt."""
        return self.groups


def see_merged(
    pictures: Sequence[NDArray[np.uint8]], vision: ClipEncoder, projector: Projector, tiling: Tiling
) -> tuple[Tensor, MergedPictures]:
    """Projected tokens [T, D] of one picture [H, W, 3] or several, and their layout. Differentiable."""
    side = vision.spec.resolution
    if len(pictures) == 1:
        views, rows, columns = stretched_tiles(pictures[0], side, tiling)
        tokens_V64D = projector(vision.images(views))
        joined = tokens_V64D[1:].unflatten(1, (GRID, GRID)).unflatten(0, (rows, columns)).transpose(1, 2)
        return torch.cat([tokens_V64D[0], joined.flatten(0, 3)]), MergedPictures((len(views) * TOKENS_PER_CLIP,))
    squares = np.stack([pad_to_square(rgb, side, MEAN_COLOUR) for rgb in pictures])
    return projector(vision.images(squares)).flatten(0, 1), MergedPictures((TOKENS_PER_CLIP,) * len(pictures))
