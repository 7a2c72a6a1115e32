"""Which stretches of a recording its pictures cover, and whether its file ends where a whole one would.

A picture of a variable rate may be shown for minutes, as its packet says. A hole is a stretch that no picture covers.
"""

import os
from collections import deque
from statistics import median

import av

_HOLE_S = 1.0  # a shorter stretch is no hole
_HOLE_STEPS = 2.5  # nor is one of fewer usual steps: some containers do not say how long a picture is shown
_STEPS = 9  # the latest ones, whose median is the usual one
_MOST_HOLES = 1000
_EARLY_END_S = 2.0  # a recording that stops this much before its stated length is reported as cut off
_TRANSPORT = ((188, 0), (192, 4))  # bytes of a packet of MPEG-TS, and where in it the sync byte is
_SYNC = 0x47


class Coverage:
    """Of one recording, picture by picture in the order in which they are shown. end_s: where the newest picture ends, seconds."""

    def __init__(self) -> None:
        self.end_s = 0.0
        self.holes: list[tuple[float, float]] = []
        self._latest: float | None = None
        self._steps: deque[float] = deque(maxlen=_STEPS)

    def picture(self, pts_s: float, lasts_s: float) -> None:
        """A picture at pts_s, seconds since the first one, that is shown for lasts_s (0: unknown)."""
        if self._latest is not None:
            usual = median(self._steps) if self._steps else 0.0
            if pts_s - self.end_s > max(_HOLE_S, _HOLE_STEPS * usual) and len(self.holes) < _MOST_HOLES:
                self.holes.append((self.end_s, pts_s))
            self._steps.append(pts_s - self._latest)
        self._latest, self.end_s = pts_s, max(self.end_s, pts_s + lasts_s)

    def missing_s(self, stated_s: float, begins_s: tuple[float, float], latest_wrong_s: float) -> float:
        """Seconds by which the recording stops before its stated length; 0 if it does not.

        For Matroska, and for DASH by its index (sidx), FFmpeg states the time of the end on the file's own clock, not the length. begins_s:
        where its first picture is on that clock, and where the index begins. latest_wrong_s: the container may count that as its end.
        """
        missing, wrong_s = stated_s - self.end_s, latest_wrong_s - self.end_s
        excused = *begins_s, wrong_s, wrong_s - begins_s[0]
        whole = missing <= _EARLY_END_S or any(abs(missing - excuse_s) < _EARLY_END_S for excuse_s in excused)
        return 0.0 if whole else missing


def stated_by_frames(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """Seconds that the head of an AVI states; 0 for others. FFmpeg shortens the duration to what the file holds."""
    rate = stream.average_rate
    return float(stream.frames / rate) if container.format.name == "avi" and rate else 0.0


def ends_within_packet(path: str, container: str) -> bool:
    """Whether a file of MPEG-TS was cut: it does not end with a whole packet. container: FFmpeg's name of the format."""
    if container != "mpegts":
        return False
    try:
        size = os.stat(path).st_size
        with open(path, "rb") as file:
            head = file.read(2 * max(packet for packet, _ in _TRANSPORT))
    except OSError:
        return False
    for packet, sync in _TRANSPORT:
        if len(head) > packet + sync and head[sync] == head[packet + sync] == _SYNC:
            return size % packet != 0
    return False
