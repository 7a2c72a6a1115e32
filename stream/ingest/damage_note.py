"""Says once that pictures arrive damaged, and once that they are whole again. Pure, but for the state that it sets.

Threads: belongs to the decode thread.
"""

from afterview.stream.ingest.status import IngestStats

WHOLE_AFTER_S = 30.0  # without a damaged picture
_DAMAGED = (
    "pictures are damaged: data is lost on the way; whole ones of the same slot are recorded where there are any, others are marked; "
    "use TCP, or a shorter key frame interval (GOP) in the camera"
)


class DamageNote:
    """Of one camera."""

    def __init__(self, stats: IngestStats) -> None:
        self._stats = stats
        self._damaged_at: float | None = None  # while pictures are damaged: the latest of them

    def picture(self, arrival_time: float, *, damaged: bool) -> None:
        """The first picture of a slot came. arrival_time: Unix seconds."""
        if damaged:
            if self._damaged_at is None:
                self._stats.set_source("online", _DAMAGED)
            self._damaged_at = arrival_time
        elif self._damaged_at is not None and arrival_time - self._damaged_at >= WHOLE_AFTER_S:
            self._damaged_at = None
            self._stats.set_source("online", "pictures are whole again")
