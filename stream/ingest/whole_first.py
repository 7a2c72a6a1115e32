"""Prefers a whole picture: if the first one of a slot is damaged, a later whole one of the same slot takes its place.

The damaged one waits meanwhile, alone, until a whole one comes, the slot ends, or so much time has passed. It is never lost.

Threads: belongs to the decode thread.
"""

from dataclasses import replace

from afterview.stream.ingest.sampler import Chosen, Sampler
from afterview.stream.source.events import Frame, Passed


class WholeFirst:
    """Of one camera."""

    def __init__(self, sampler: Sampler) -> None:
        """sampler: that chooses the frames."""
        self._sampler = sampler
        self._waiting: tuple[Chosen, Frame] | None = None

    def wanted_instead(self, pts_s: float | None) -> bool:
        """Whether a whole picture at this time would take the place of the damaged one that waits."""
        if self._waiting is None or pts_s is None:
            return False
        return pts_s > self._waiting[0].pts_s and self._sampler.is_same_slot(pts_s)

    def hold(self, chosen: Chosen, frame: Frame) -> None:
        """A chosen picture is damaged. None may be waiting."""
        self._waiting = chosen, frame

    def replacement(self, frame: Frame) -> Chosen | None:
        """The slot, with the time of this frame, if it takes the place of the one that waits."""
        if frame.picture_damaged or frame.pts_s is None or not self.wanted_instead(frame.pts_s):
            return None
        assert self._waiting is not None
        (chosen, _), self._waiting = self._waiting, None
        return replace(chosen, pts_s=frame.pts_s)

    def is_late(self, event: Frame | Passed) -> bool:
        """Whether the damaged picture has waited long enough."""
        if self._waiting is None:
            return False
        return abs(event.arrival_time - self._waiting[1].arrival_time) * self._sampler.fps > 1.0

    def give_up(self) -> list[tuple[Chosen, Frame]]:
        """The damaged picture that waits, if there is one: it is taken after all."""
        waiting, self._waiting = self._waiting, None
        return [] if waiting is None else [waiting]
