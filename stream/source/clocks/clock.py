"""Converts the raw timestamps of one connection to seconds since its first frame, and to the camera's wall clock. Pure."""

from collections import deque
from fractions import Fraction

# FFmpeg counts RTSP time from the RTP time in the server's answer to PLAY, else from the first packet, and its parser loses the first
# picture's timestamp. So that timestamp was 0, unless the next one is further away than this (the camera waited for its next key frame).
_RTSP_START_S = 5.0
_AGREE_S = 0.1  # seconds within which two reports agree
# Reports that contradict each other: so many changes, so far apart, within so many seconds. Believed again after as many without one.
_CHANGES, _APART_S, _WITHIN_S = 3, 1.0, 60.0
_JUMP_S = 10.0  # after a larger jump the stream has another clock, and old reports no longer apply ...
_BACK_S = 1.0  # ... nor after a larger step back: pictures are out of order by less


class SourceClock:
    """Timestamps of one connection. `rate` is the frame rate the stream states (None: unknown); rtsp: see _RTSP_START_S."""

    def __init__(self, time_base: Fraction, *, rate: float | None = None, rtsp: bool = False) -> None:
        self._unit = float(time_base)
        self._step = 1.0 / rate if rate else 0.04  # seconds per frame
        self._rtsp = rtsp
        self._start: float | None = None
        self._leading = 0  # frames before the first that has a time
        self._has_pts = False
        self._wall_offset: float | None = None  # Unix seconds at time 0 of the stream's clock
        self._reported: float | None = None  # the same by the latest report, which is not confirmed yet
        self._changes: deque[tuple[float, float]] = deque(
            maxlen=_CHANGES + 1
        )  # where reports changed, and to which offset
        self.waited_s = 0.0  # between the arrivals of the first packet and the first one with a time; see _RTSP_START_S
        self.note = ""  # what users should know of the reports, for people
        self._wall_at: float | None = None  # where on the stream's clock that was last used

    def seconds(self, pts: int | None, dts: int | None) -> float | None:
        """Seconds since the first frame. `dts` stands in for streams that have no presentation times at all (AVI); else None."""
        self._has_pts = self._has_pts or pts is not None
        raw = pts if self._has_pts else dts
        if raw is None:
            if self._start is not None:
                return None
            self._leading += 1
            return (self._leading - 1) * self._step
        time = raw * self._unit
        if self._start is None:
            self._start = self._start_before(time)
        return time - self._start

    def _start_before(self, time: float) -> float:
        """The first frame's time, given the first known one."""
        if self._leading and self._rtsp and 0 < time < _RTSP_START_S:
            return 0.0
        if (
            self._leading == 1 and self._rtsp and time == 0
        ):  # FFmpeg counts from the second picture if the first has RTP time 0
            return -max(self._step, self.waited_s)
        return time - self._leading * self._step

    def learn_wall_clock(self, pts: int | None, unix_us: int) -> None:
        """Learn the source's own wall clock (Unix microseconds) at a packet's presentation time."""
        if pts is not None:
            self._wall_offset, self._wall_at = unix_us / 1e6 - pts * self._unit, None

    def forget_wall_clock(self) -> None:
        """The times of packets lie on another line from here on."""
        self._wall_offset = self._reported = self._wall_at = None
        self._changes.clear()

    def hear_report(self, pts: int | None, unix_us: int) -> None:
        """The same, reported packet by packet (RTCP sender reports). A report is accepted when two in a row agree.

        FFmpeg's parser attaches the first report to the packet before the one that it is about.
        """
        if pts is None:
            return
        reported, self._reported = self._reported, unix_us / 1e6 - pts * self._unit
        agree = reported is not None and abs(self._reported - reported) < _AGREE_S
        if not agree:
            self._changes.append((pts * self._unit, self._reported))
        self._judge_reports(pts * self._unit)
        if agree and not self.note:
            self.learn_wall_clock(pts, unix_us)

    def _judge_reports(self, time: float) -> None:
        """Whether they contradict each other: the reported clock stands still, or runs at another rate than the stream's."""
        offsets = [offset for _, offset in self._changes]
        began, latest = self._changes[0][0], self._changes[-1][0]
        if self.note:
            self.note = self.note if abs(time - latest) < _WITHIN_S else ""
            return
        recent = len(offsets) > _CHANGES and abs(time - began) <= _WITHIN_S
        if recent and max(offsets) - min(offsets) >= _APART_S:
            self.note = "the camera's reports of its clock (RTCP) contradict each other; frames are dated by arrival"
            self._wall_offset = self._wall_at = None

    def position(self, pts: int) -> float | None:
        """Seconds since the first frame, of any packet; None before the first frame's time is known."""
        return None if self._start is None else pts * self._unit - self._start

    @property
    def start_time(self) -> float | None:
        """The source's wall clock at the first frame, Unix seconds, as known now."""
        return None if self._start is None or self._wall_offset is None else self._start + self._wall_offset

    def wall(self, pts: int | None) -> float | None:
        """The source's wall clock at `pts`, Unix seconds; None while unknown, and after the stream's own clock has jumped."""
        if pts is None or self._wall_offset is None:
            return None
        time = pts * self._unit
        if self._wall_at is not None and not -_BACK_S <= time - self._wall_at <= _JUMP_S:
            self._wall_offset = None
            return None
        self._wall_at = time
        return time + self._wall_offset
