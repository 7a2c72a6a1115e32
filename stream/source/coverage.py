"""Which stretches of a recording its pictures cover, and how long it states to be.

A picture of a variable rate may be shown for minutes, as its packet says. A hole is a stretch that no picture covers.
"""

import re
from collections import deque
from statistics import median

import av

_HOLE_S = 1.0  # a shorter stretch is no hole
_HOLE_STEPS = 2.5  # nor is one of fewer usual steps: some containers do not say how long a picture is shown
_STEPS = 9  # the latest ones, whose median is the usual one
_MOST_HOLES = 1000
_EARLY_END_S = 2.0  # a recording that stops this much before its stated length is reported as cut off
_TIME = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")


class Coverage:
    """Of one recording, picture by picture in the order in which they are shown.

    end_s: where the newest picture ends, seconds. packets: that were given to the decoder, or passed.
    """

    def __init__(self) -> None:
        self.end_s = 0.0
        self.holes: list[tuple[float, float]] = []
        self.packets = self._pictures = 0
        self._latest: float | None = None
        self._steps: deque[float] = deque(maxlen=_STEPS)

    def picture(self, pts_s: float, lasts_s: float) -> None:
        """A picture at pts_s, seconds since the first one, that is shown for lasts_s (0: unknown)."""
        self._pictures += 1
        if self._latest is not None:
            if self._is_hole(pts_s - self.end_s) and len(self.holes) < _MOST_HOLES:
                self.holes.append((self.end_s, pts_s))
            self._steps.append(pts_s - self._latest)
            first_was_usual = len(self._steps) == 2 and self._steps[0] <= _HOLE_STEPS * self._steps[1]
            if first_was_usual and self.holes and self.holes[0][1] == self._latest:
                del self.holes[0]
        self._latest, self.end_s = pts_s, max(self.end_s, pts_s + lasts_s)

    def _is_hole(self, stretch_s: float) -> bool:
        usual = median(self._steps) if self._steps else 0.0
        return stretch_s > max(_HOLE_S, _HOLE_STEPS * usual)

    def real_holes(self, *, indexed: bool) -> tuple[tuple[float, float], ...]:
        """Stretches whose pictures are missing. indexed: the container lists all its packets, as MP4 does.

        Then a stretch without pictures is meant so, unless packets gave none. (With reordered pictures, an MP4 says of another one that it
        is shown so long.)
        """
        without = self.packets - self._pictures
        if indexed and without <= sum(end - start for start, end in self.holes):
            return ()
        return tuple(self.holes)

    def missing_s(self, stated_s: float, begins_s: tuple[float, float], wrong_s: tuple[float, float]) -> float:
        """Seconds by which the recording stops before its stated length; 0 if it does not.

        For Matroska, and for DASH by its index (sidx), FFmpeg states the time of the end on the file's own clock, not the length. begins_s:
        where its first picture is on that clock, and where the index begins. wrong_s: the earliest and the latest wrong time; the container
        may count them as its beginning and its end.
        """
        missing, late_s = stated_s - self.end_s, wrong_s[1] - self.end_s
        excused = *begins_s, late_s, late_s - begins_s[0], begins_s[0] - wrong_s[0]
        whole = missing <= _EARLY_END_S or any(abs(missing - excuse_s) < _EARLY_END_S for excuse_s in excused)
        return 0.0 if whole else missing


def stated_s(container: av.container.InputContainer, stream: av.VideoStream, described_s: float) -> float:
    """Seconds that a file states for its video; 0 if it does not. described_s: what FFmpeg says."""
    rate, name = stream.average_rate, container.format.name
    if name == "avi" and rate:  # FFmpeg shortens it to what the file holds
        return max(described_s, float(stream.frames / rate))
    if name == "mpegts":  # FFmpeg measures what is there, sound included
        return 0.0
    tag = _TIME.fullmatch(stream.metadata.get("DURATION", ""))
    if tag and "matroska" in name:  # of the video alone; FFmpeg takes that of the whole file, whose sound may be longer
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
    return described_s
