"""Where subtitles stand in a prompt that has them by time. Pure.

LongVideoBench's harness puts each subtitle between the frames around its middle, and leaves out those during which no frame is seen
(longvideobench/longvideobench_dataset.py, insert_subtitles_into_frames). A decoder that reads the frames of a video, clip by clip, is given
the same: the unit that a subtitle can stand between is a clip. Where a memory is read, a video has one place: there each subtitle stands
before the question, with its time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from afterview.stream.ask.shown_subtitles import ShownSubtitles
from afterview.stream.ask.subtitles import Subtitle

SHORTEST_S: Final = 1.0  # as published: a shorter subtitle counts as shown for so long around its middle


BETWEEN: Final = "between the clips"
TIMED: Final = "before the question, each with its time"


@dataclass(frozen=True)
class SeenFrames:
    """The frames that a decoder reads. times [R]: ascending, in the same seconds as those of subtitles. sizes: frames of each clip."""

    times: NDArray[np.float64]
    sizes: tuple[int, ...]


def by_time(shown: ShownSubtitles, begins: float, seen: SeenFrames | None) -> ShownSubtitles:
    """The same lines at their times. seen: None where a memory is read; then times count from `begins`, the first frame of the span."""
    if seen is None:
        return replace(shown, lines=tuple(with_times(shown.lines, begins)), form=TIMED)
    texts, parts = between_clips(shown.lines, seen)
    kept = tuple(line for line in shown.lines if is_seen(line, seen.times))
    return replace(
        shown, lines=kept, form=BETWEEN, no_frame=len(shown.lines) - len(kept), between=texts, parts=parts
    )  # fmt: skip


def between_clips(lines: Sequence[Subtitle], seen: SeenFrames) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The texts before the first part of a video, between its parts, and after the last; and the frames of each part.

    lines: in order. Those without a frame are left out. A line stands after the clips whose middle is not later than its own.
    """
    ends = np.cumsum(np.asarray(seen.sizes, dtype=np.int64))
    middles = (seen.times[ends - np.asarray(seen.sizes)] + seen.times[ends - 1]) / 2
    after: list[list[str]] = [[] for _ in range(len(ends) + 1)]  # texts after so many clips
    place = 0
    for line in lines:
        place = max(place, int(np.searchsorted(middles, (line.start + line.end) / 2, side="right")))  # never back
        if is_seen(line, seen.times):
            after[place].append(line.text)
    cuts = [number for number in range(1, len(ends)) if after[number]]
    texts = tuple("\n".join(after[number]) for number in (0, *cuts, len(ends)))
    edges = [0, *(int(ends[cut - 1]) for cut in cuts), int(ends[-1])]
    return texts, tuple(np.diff(edges).tolist())


def is_seen(line: Subtitle, times: NDArray[np.float64]) -> bool:
    """Whether a frame lies within a subtitle's time, its first and last moment excluded."""
    start, end = line.start, line.end
    if end - start < SHORTEST_S:
        middle = (start + end) / 2
        start, end = middle - SHORTEST_S / 2, middle + SHORTEST_S / 2
    return bool(np.searchsorted(times, start, side="right") < np.searchsorted(times, end, side="left"))


def with_times(lines: Sequence[Subtitle], begins: float) -> list[Subtitle]:
    """Each subtitle with the time at which it begins in its text, counted from `begins`: `[00:01:05] text`."""
    return [replace(line, text=f"[{_clock(line.start - begins)}] {line.text}") for line in lines]


def _clock(seconds: float) -> str:
    minutes, second = divmod(max(0, int(seconds)), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}"
