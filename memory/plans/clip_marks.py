"""Marks of clips: which frames were compressed together, so that a question takes whole clips and no part of one. Pure.

The rows of a clip's frames are its tokens in order, and no row means anything alone. So each frame carries a mark: its place
in its clip and the number of frames of the clip. A clip of fewer frames than the encoder takes was closed early.

Legend: R rows (frames), C clips.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOOSE = 0  # the mark of a frame whose tokens belong to no clip: it was removed, or a part of its clip was
_SIZE = 16  # a mark is size * _SIZE + place


@dataclass(frozen=True)
class Clips:
    """The whole clips among ascending frames. rows: those of each clip are consecutive, from `starts` on."""

    starts: NDArray[np.int64]  # [C]
    sizes: NDArray[np.int64]  # [C]

    def __len__(self) -> int:
        return len(self.starts)

    def rows(self, clips: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Rows of these clips (None: of all), ascending if the clips are: int64 [R]."""
        starts, sizes = (self.starts, self.sizes) if clips is None else (self.starts[clips], self.sizes[clips])
        ends = np.cumsum(sizes)
        return np.repeat(starts - (ends - sizes), sizes) + np.arange(ends[-1] if len(ends) else 0)


def marks_of(frames: int, size: int) -> NDArray[np.uint8]:
    """Marks of consecutive frames in clips of `size`; the last clip may be short."""
    places = np.arange(frames) % size
    sizes = np.minimum(size, frames - (np.arange(frames) - places))
    return (sizes * _SIZE + places).astype(np.uint8)


def ends_clip(mark: int) -> bool:
    """Whether no further frame of the same clip follows."""
    return mark == LOOSE or mark % _SIZE == mark // _SIZE - 1


def begins_clip(mark: int) -> bool:
    """Whether the frame is the first one of a clip."""
    return mark != LOOSE and mark % _SIZE == 0


def whole_clips(ids: NDArray[np.int64], marks: NDArray[np.uint8]) -> Clips:
    """The clips all of whose frames are among these: ascending frame ids [R] and their marks."""
    sizes, places = marks.astype(np.int64) // _SIZE, marks.astype(np.int64) % _SIZE
    starts = np.flatnonzero((sizes > 0) & (places == 0))
    whole = np.ones(len(starts), dtype=bool)
    for place in range(1, int(sizes.max(initial=1))):
        row = starts + place
        inside = np.minimum(row, len(ids) - 1)
        follows = (ids[inside] == ids[starts] + place) & (places[inside] == place) & (sizes[inside] == sizes[starts])
        whole &= (place >= sizes[starts]) | ((row < len(ids)) & follows)
    return Clips(starts[whole], sizes[starts[whole]])


def without_parts(marks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same marks of consecutive frames, LOOSE where a clip is not whole."""
    kept = np.full_like(marks, LOOSE)
    rows = whole_clips(np.arange(len(marks)), marks).rows()
    kept[rows] = marks[rows]
    return kept


def with_whole_clips(chosen: NDArray[np.bool_], ids: NDArray[np.int64], marks: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which frames to remove so that nothing of the chosen ones is left: their clips, as far as they are among `ids`. bool [R]."""
    first = ids - marks.astype(np.int64) % _SIZE
    of_clip = (marks != LOOSE) & np.isin(first, np.unique(first[chosen & (marks != LOOSE)]))
    return chosen | of_clip


def torn_frames(marks: Sequence[int]) -> int:
    """How many of the newest frames belong to a clip whose last frame is missing. marks: of the newest frames, oldest first."""
    if not marks or ends_clip(marks[-1]):
        return 0
    return min(len(marks), marks[-1] % _SIZE + 1)


def runs_without_gap(ids: Sequence[int], after_gap: Collection[int]) -> list[tuple[int, int]]:
    """Ranges [first, end) of rows whose frames are neighbours. ids: ascending frame ids. after_gap: ids that a gap stands before."""
    cuts = [row for row in range(1, len(ids)) if ids[row] != ids[row - 1] + 1 or ids[row] in after_gap]
    return list(zip([0, *cuts], [*cuts, len(ids)], strict=True)) if len(ids) else []
