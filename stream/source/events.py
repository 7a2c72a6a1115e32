"""Events of a source, in the order in which they happen. Frozen; texts are redacted.

Opened  Frame Frame ...  Lost  Retry Retry ...  Opened  Frame ...       a live source, until stopped
Opened  Frame Frame ...  Ended                                          a recording

Between frames there may be Passed: pictures that nobody asked for, so they were not decoded. Before Opened there may be Waiting: data
comes, but no picture.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from afterview.stream.source.geometry import Shown, show
from afterview.stream.source.offered import OfferedStream

WHOLE = "end of file"  # the reason of the end of a recording about which there is nothing else to say


class Picture:
    """A decoded frame, as a player shows it. It is converted to RGB on request only, since most frames are not remembered."""

    __slots__ = ("_frame", "_pixel")

    def __init__(self, frame: av.VideoFrame, pixel: Fraction = Fraction(1)) -> None:
        """pixel: the width of a pixel whose height is 1."""
        self._frame, self._pixel = frame, pixel

    @property
    def shown(self) -> Shown:
        """How it is shown."""
        return show(self._frame, self._pixel)

    @property
    def width(self) -> int:
        """Pixels, as shown."""
        return self.shown.size[0]

    @property
    def height(self) -> int:
        """Pixels, as shown."""
        return self.shown.size[1]

    def rgb(self) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] in square pixels, upright and not mirrored. About 1 ms at 640x360."""
        shown = self.shown
        size: dict[str, Any] = {}
        if (shown.width, shown.height) != (self._frame.width, self._frame.height):
            size = {"width": shown.width, "height": shown.height, "interpolation": Interpolation.BICUBIC}
        pixels: NDArray[Any] = self._frame.to_ndarray(format="rgb24", **size)
        return shown.turn(pixels)


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection gave its first picture, which follows. start_time: Unix seconds of a recording's first frame, if it states one.

    own_clock: the recording states its times by the source's own clock; they are the source_time of its frames.
    delay_s: how long after the start of the whole recording (its sound) the first frame comes.
    width, height: pixels, as shown. offered: the source's video streams, this one among them. note: what is not shown as the source says.
    longest_step_s: the pts_s of this source are arrivals, and its first pictures may be so far apart; None for others.
    """

    codec: str
    width: int
    height: int
    rate: float | None
    start_time: float | None = None
    own_clock: bool = False
    delay_s: float = 0.0
    offered: tuple[OfferedStream, ...] = field(default=(), compare=False)
    note: str = ""
    longest_step_s: float | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame.

    pts_s: seconds since the first frame of this connection, on the source's own clock; None if the source gives no time.
    arrival_time: Unix seconds, this machine's clock. source_time: Unix seconds, the source's clock; None if unknown.
    reached_s: the latest time on the clock of pts_s of any packet that had come by then, extrapolated to now: later packets arrive before
    a frame is decoded. damaged: packets of this connection so far that could not be decoded.
    clock_problem: what is wrong with the source's clock, for people; pts_s goes by arrivals meanwhile. Empty: nothing.
    picture_damaged: a part of the picture, or of one that it is predicted from, is missing (stream.source.decoding.damage).
    note: what else users should know of the source from here on, for people.
    """

    pts_s: float | None
    arrival_time: float
    source_time: float | None
    picture: Picture
    damaged: int = 0
    reached_s: float | None = None
    clock_problem: str = ""
    picture_damaged: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Passed:
    """A picture that was not due, and was not decoded. Its times are those that its Frame would have."""

    pts_s: float | None
    arrival_time: float
    source_time: float | None
    damaged: int = 0
    reached_s: float | None = None
    clock_problem: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A connection has given data, but no picture yet. reason: what is missing, for people. notable: the wait has doubled since the last
    notable one, so a log has a few of them only."""

    reason: str
    notable: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """An outage begins. Once per outage; `at` is when it was noticed (Unix seconds)."""

    reason: str
    at: float
    damaged: int = 0


@dataclass(frozen=True, slots=True)
class Retry:
    """The next attempt follows in `delay_s` seconds. attempt: 1 for the first of an outage. reason: why the last one failed."""

    attempt: int
    delay_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Lacking:
    """What is known to be missing of a recording, in seconds. Whole recordings lack nothing.

    start_s: before its first picture, where there are packets that could not be decoded. end_s: up to its stated length.
    holes: stretches [from, to] after the first picture in which nothing is shown. cut: the file ends within one: packet, box.
    """

    start_s: float = 0.0
    end_s: float = 0.0
    holes: tuple[tuple[float, float], ...] = ()
    cut: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """The recording is over. Not sent when the reader was told to stop."""

    reason: str
    frames: int = 0
    damaged: int = 0
    lacking: Lacking = Lacking()


Event = Opened | Frame | Passed | Waiting | Lost | Retry | Ended
