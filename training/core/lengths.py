"""How many tokens an item gives the decoder, before it is read: its text by the tokenizer, its media by their sizes.

Most items are so far below the limit that the number of their characters shows it; only others are tokenized and measured.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from afterview.memory.plans.visibility import ForgettingConfig, plan_repetition, uniform_cells, visible_count
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.prompt import Prompt
from afterview.model.vision.pictures import join_tiles
from afterview.model.vision.tiles import Tiles, Tiling, best_grid
from afterview.training.base.errors import DataError
from afterview.training.core.stages import StageConfig
from afterview.training.data.conversations import Annotation
from afterview.training.data.examples import too_long
from afterview.training.data.features import FeatureBank, FrameBank
from afterview.training.data.items import Item

_TEMPLATE = 200  # tokens of the template around the first turn, at most, and the sentence about the video
_TURN = 16  # and around each further turn

ReadText = Callable[..., tuple[Prompt, NDArray[np.int64]]]


class Lengths:
    """Lengths of the items of one stage."""

    def __init__(self, config: StageConfig, model: AfterviewModel, text: ReadText) -> None:
        """text: an annotation, and `frames` and `seconds` of its video -> its prompt."""
        self._forgetting, self._most, self._text = config.forgetting, config.max_length, text
        self._resolution = model.vision.spec.resolution
        self._side = model.vision.spec.resolution // model.vision.patch
        self._states_length = model.time_instruction
        self._tiling = Tiling.of(model.config)
        self._grid = math.isqrt(model.vision.spec.tokens_per_frame)

    def fault(self, item: Item, bank: FeatureBank | FrameBank | None, pictures: Path | None) -> str | None:
        """Why the item is too long; None if it is not. Raises DataError if its media cannot be read."""
        annotation = item.annotation
        turns = annotation.conversations
        # A tokenizer that knows bytes makes at most one token of each.
        words = sum(len(turn.value.encode()) for turn in turns) + _TURN * len(turns) + _TEMPLATE
        if words + self._most_seen(annotation) <= self._most:
            return None
        about: dict[str, float] = {}
        seen = 0
        if annotation.video is not None:
            assert bank is not None, "checked by read_streams"
            frames = bank.rows(*item.video)
            seen = self._of_video(frames)
            about = {"frames": frames, "seconds": float(frames)} if self._states_length else {}
        elif annotation.pictures:
            seen = self._of_pictures([item.picture(pictures, name) for name in annotation.pictures])
        prompt, _ = self._text(annotation, **about)
        length = len(prompt.before) + len(prompt.after) + seen
        return too_long(annotation.name, length, self._most) if length > self._most else None

    def _most_seen(self, annotation: Annotation) -> int:
        """A bound of the visible tokens of the media, whatever their sizes."""
        if annotation.video is not None:
            return self._forgetting.max_frames * (kept_cells(self._grid, self._grid, self._forgetting) + 1)
        tiles = (
            max(rows * columns for rows, columns in self._tiling.sizes(self._resolution)) if annotation.pictures else 0
        )
        return len(annotation.pictures) * (1 + tiles) * (self._side * self._side + self._side)

    def _of_video(self, frames: int) -> int:
        forgetting = self._forgetting
        slots = len(plan_repetition(frames, shortest=forgetting.shortest))
        visible = visible_count(slots, forgetting.temporal_ratio, forgetting.max_frames)
        return visible * (kept_cells(self._grid, self._grid, forgetting) + 1)

    def _of_pictures(self, files: Sequence[Path]) -> int:
        whole = kept_cells(self._side, self._side, self._forgetting)
        if len(files) > 1:
            return len(files) * (whole + 1)
        rows, columns = self._grid_of(files[0])
        return whole + kept_cells(rows, columns, self._forgetting) + rows

    def _grid_of(self, path: Path) -> tuple[int, int]:
        """Rows and columns of the patches of a picture that is cut into tiles."""
        try:
            with Image.open(path) as image:  # reads only the header
                width, height = image.size
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            why = getattr(error, "strerror", None) or "damaged, or of a format that is not known"
            raise DataError(f"{path}: cannot be read as a picture ({why})") from None
        rows, columns = best_grid(height, width, self._resolution, self._tiling)
        patches = torch.empty(rows * columns, self._side * self._side, 1, device="meta")
        no_pixels = np.empty((0, 0, 0, 3), dtype=np.uint8)
        joined = join_tiles(patches, Tiles(no_pixels, rows, columns, height, width), self._tiling.most_tiles)
        return joined.shape[0], joined.shape[1]


def kept_cells(rows: int, columns: int, forgetting: ForgettingConfig) -> int:
    """How many cells of a grid stay visible."""
    if forgetting.spatial == "uniform":
        return len(uniform_cells(rows, columns, forgetting.spatial_ratio))
    return -(-(rows * columns) // forgetting.spatial_ratio)
