"""Which silences between key frames are no gaps, where the sampling follows the key frames. Pure."""

from afterview.memory.base.records import HOLE_STEPS
from afterview.stream.ingest.items import Pace
from afterview.stream.ingest.sampler import Chosen


class KeyFramePace:
    """Of one camera. A step between two key frames is no gap, however long, if pictures came all the time between them."""

    def __init__(self, fps: float) -> None:
        self._longest_s = HOLE_STEPS / fps  # between two pictures without a hole
        self._last_s: float | None = None  # time of the latest picture on the stream's clock
        self._hole = True  # since the latest chosen frame
        self._paces: dict[int, Pace] = {}  # by the slot of a chosen frame
        self._chosen_s = 0.0

    def opened(self) -> None:
        """A new connection."""
        self._last_s, self._hole = None, True

    def picture(self, pts_s: float | None) -> None:
        """A picture came, decoded or not."""
        if pts_s is None:
            return
        if self._last_s is not None and abs(pts_s - self._last_s) > self._longest_s:
            self._hole = True
        self._last_s = pts_s

    def chosen(self, chosen: Chosen) -> None:
        """The latest picture is remembered."""
        if not (self._hole or chosen.discontinuity):
            self._paces[chosen.slot] = Pace(chosen.pts_s - self._chosen_s)
        self._hole, self._chosen_s = False, chosen.pts_s

    def before(self, chosen: Chosen) -> list[Pace]:
        """What is to be queued before this frame."""
        pace = self._paces.pop(chosen.slot, None)
        return [] if pace is None else [pace]
