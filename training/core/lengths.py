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
from afterview.model.base.settings import FRAMES_PER_CLIP, TOKENS_PER_CLIP
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.language.prompt import Prompt
from afterview.model.vision.clip_encoder import ClipEncoder
from afterview.model.vision.pictures import join_tiles
from afterview.model.vision.tiles import Tiles, Tiling, best_grid
from afterview.training.base.errors import DataError
from afterview.training.core.stages import StageConfig
from afterview.training.data.clip_rows import clip_rows
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
        self._sampling = config.sampling
        # A VideoChat-Flash: 64 tokens of a clip or view. With MemAug, the decayed tokens of videos.
        self._merges = isinstance(model.vision, ClipEncoder)
        self._forgets = model.video_language.use_memaug or not self._merges

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
            frames, seconds = self._frames(bank, item)
            seen = self._of_video(frames)
            about = {"frames": frames, "seconds": seconds} if self._states_length else {}
        elif annotation.pictures:
            seen = self._of_pictures([item.picture(pictures, name) for name in annotation.pictures])
        prompt, _ = self._text(annotation, **about)
        length = len(prompt.before) + len(prompt.after) + seen
        return too_long(annotation.name, length, self._most) if length > self._most else None

    def _most_seen(self, annotation: Annotation) -> int:
        """A bound of the visible tokens of the media, whatever their sizes."""
        if annotation.video is not None and not self._forgets:
            return self._most if self._sampling is None else _completed(self._sampling.max_frames) * self._grid**2
        if annotation.video is not None:
            return self._forgetting.max_frames * (kept_cells(self._grid, self._grid, self._forgetting) + 1)
        tiles = (
            max(rows * columns for rows, columns in self._tiling.sizes(self._resolution)) if annotation.pictures else 0
        )
        if self._merges:
            return len(annotation.pictures) * (1 + tiles) * TOKENS_PER_CLIP
        return len(annotation.pictures) * (1 + tiles) * (self._side * self._side + self._side)

    def _frames(self, bank: FeatureBank | FrameBank, item: Item) -> tuple[int, float]:
        """Frames that are seen of a video, and seconds."""
        rows = bank.rows(*item.video)
        if not self._merges:
            return rows, float(rows)
        seen = clip_rows(rows, float(rows), self._sampling, merged=isinstance(bank, FeatureBank))
        return len(seen.rows), float(rows)

    def _of_video(self, frames: int) -> int:
        if not self._forgets:
            return frames * self._grid**2
        forgetting = self._forgetting
        slots = len(plan_repetition(frames, shortest=forgetting.shortest))
        visible = visible_count(slots, forgetting.temporal_ratio, forgetting.max_frames)
        return visible * (kept_cells(self._grid, self._grid, forgetting) + 1)

    def _of_pictures(self, files: Sequence[Path]) -> int:
        if self._merges and len(files) > 1:
            return len(files) * TOKENS_PER_CLIP
        if self._merges:
            rows, columns = best_grid(*_size(files[0]), self._resolution, self._tiling)
            return (1 + rows * columns) * TOKENS_PER_CLIP
        whole = kept_cells(self._side, self._side, self._forgetting)
        if len(files) > 1:
            return len(files) * (whole + 1)
        rows, columns = self._grid_of(files[0])
        return whole + kept_cells(rows, columns, self._forgetting) + rows

    def _grid_of(self, path: Path) -> tuple[int, int]:
        """Rows and columns of the patches of a picture that is cut into tiles."""
        height, width = _size(path)
        rows, columns = best_grid(height, width, self._resolution, self._tiling)
        patches = torch.empty(rows * columns, self._side * self._side, 1, device="meta")
        no_pixels = np.empty((0, 0, 0, 3), dtype=np.uint8)
        joined = join_tiles(patches, Tiles(no_pixels, rows, columns, height, width), self._tiling.most_tiles)
        return joined.shape[0], joined.shape[1]


def _completed(frames: int) -> int:
    """With the last frame repeated up to whole clips."""
    return frames + -frames % FRAMES_PER_CLIP


def _size(path: Path) -> tuple[int, int]:
    """Height and width of a picture."""
    try:
        with Image.open(path) as image:  # reads only the header
            return image.height, image.width
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        why = getattr(error, "strerror", None) or "damaged, or of a format that is not known"
        raise DataError(f"{path}: cannot be read as a picture ({why})") from None


def kept_cells(rows: int, columns: int, forgetting: ForgettingConfig) -> int:
    """How many cells of a grid stay visible."""
    if forgetting.spatial == "uniform":
        return len(uniform_cells(rows, columns, forgetting.spatial_ratio))
    return -(-(rows * columns) // forgetting.spatial_ratio)
