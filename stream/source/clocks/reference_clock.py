"""The clock in the prft boxes of a fragmented recording: whether it is plausible, and the time of each packet by it.

A box refers to a media time; packets have presentation times, which edit lists and FFmpeg shift. So a reference is assigned to the packet
at the beginning of its fragment. The clock was read at that packet's frame, unless the media times vary within their fragments: some
encoders read the clock at any frame, while FFmpeg's muxer writes the first frame's time with another origin than its fragments have.
"""

import statistics
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime

from afterview.stream.source.clocks.fragments import Fragment, FragmentReader, Reference

_LOOK_AHEAD_S = 10.0  # seconds of the recording whose references are checked before the clock is accepted ...
_LOOK_AHEAD = 512  # ... and fragments at most
_APART_S = 1.0  # seconds of the recording between two references that are compared for the clock's rate
_PACE = (0.5, 2.0)  # plausible seconds of the clock per second of the recording
EARLIEST = 365 * 86_400.0  # Unix seconds: a time before 1971 means that the clock was never set
DAY_S = 86_400.0
_LONGEST_S = 60.0  # seconds; the longest fragment, and the longest time before the first reference
_JUMP_S = 10.0  # seconds; a reference that differs by more from those before and after it counts as damaged


class ReferenceClock:
    """Call `passed` for every packet and `due` for every frame. known: there are references, and they are plausible."""

    def __init__(self, fragments: FragmentReader, unit: float, *, now: float) -> None:
        """unit: seconds per unit of the track's time. now: Unix seconds; no recording can be newer."""
        self._reader, self._unit, self._ignored = fragments, unit, 0
        self._fragments = self._without_outliers(iter(fragments))
        self._ahead: deque[Fragment] = deque()
        self._look_ahead()
        self._waiting: deque[tuple[int, Reference]] = deque()  # where their fragments begin, and their references
        self._begun = False  # the first reference was due
        references = [fragment.reference for fragment in self._ahead if fragment.reference]
        self._refused = _doubt(references, unit, now) if references else None
        self.known = bool(references) and not self._refused
        self.first = references[0] if self.known else None  # reference
        leads = {f.reference.media_time - f.first for f in self._ahead if f.reference and f.first is not None}
        self._anywhere = len(leads) > 1  # the clock may have been read at any frame of a fragment

    def _look_ahead(self) -> None:
        began: int | None = None
        while len(self._ahead) < _LOOK_AHEAD and self._read_on():
            reference = self._ahead[-1].reference
            if reference:
                began = reference.media_time if began is None else began
                if (reference.media_time - began) * self._unit >= _LOOK_AHEAD_S:
                    return

    def passed(self, position: int | None, pts: int) -> None:
        """A packet was read: at byte `position`, with presentation time `pts` in units of the track."""
        fragment = None
        while position is not None and self._ahead and self._ahead[0].position < position:
            fragment = self._ahead.popleft()
            self._read_on()
        if fragment is None:
            return
        if fragment.reference:
            self._waiting.append((pts, Reference(pts + self._lead(fragment), fragment.reference.unix_s)))
            return
        # Only the first fragment may have no reference: the next reference is as far ahead as its fragment is.
        following = self._ahead[0] if self._ahead else None
        if following and following.reference and following.first is not None and fragment.first is not None:
            ahead = following.first - fragment.first
            if 0 <= ahead * self._unit <= _LONGEST_S:
                self._waiting.append((pts, Reference(pts + ahead + self._lead(following), following.reference.unix_s)))

    def due(self, pts: int) -> Reference | None:
        """The reference that takes effect at the frame with presentation time `pts`; None if there is no new one.

        The decoder returns frames after packets of the next fragment went in, so a reference waits for its fragment's frames.
        """
        due = None
        while self._waiting and (self._waiting[0][0] <= pts or not self._begun):
            self._begun = True
            _, due = self._waiting.popleft()
        return due

    def warnings(self) -> list[str]:
        """What is wrong with the prft boxes that were read, for people."""
        ignored, words = self._ignored + self._reader.damaged, []
        if ignored:
            words.append(f"{ignored} damaged prft box{'es' * (ignored > 1)} ignored")
        if self._refused:
            words.append(f"its own clock (prft) is not plausible: {self._refused}")
        return words

    def _lead(self, fragment: Fragment) -> int:
        return _lead_of(fragment, self._unit) if self._anywhere else 0

    def _read_on(self) -> bool:
        try:
            self._ahead.append(next(self._fragments))
        except (StopIteration, OSError):
            return False
        return True

    def _without_outliers(self, fragments: Iterator[Fragment]) -> Iterator[Fragment]:
        # Seconds that the clock lies ahead of media time, by the reference before the held one.
        before: float | None = None
        held: tuple[Fragment, float] | None = None
        for fragment in fragments:
            after = None
            if fragment.reference:
                after = fragment.reference.unix_s - fragment.reference.media_time * self._unit
            if held and not _is_outlier(before, held[1], after):
                before = held[1]
                yield held[0]
            elif held:
                self._ignored += 1
            if after is None:
                yield fragment
            held = None if after is None else (fragment, after)
        if held and not _is_outlier(before, held[1], None):
            yield held[0]
        elif held:
            self._ignored += 1


def _lead_of(fragment: Fragment, unit: float) -> int:
    """By how much the reference's frame is later than its fragment's first frame, in units of the track."""
    if fragment.reference is None or fragment.first is None:
        return 0
    lead = fragment.reference.media_time - fragment.first
    return lead if 0 <= lead * unit <= _LONGEST_S else 0


def _is_outlier(before: float | None, at: float, after: float | None) -> bool:
    """Whether the clock would jump there and back. A lasting jump ahead is no outlier: a recording may leave time out."""
    if before is None:
        return after is not None and at > after + _JUMP_S
    if after is None:
        return abs(at - before) > _JUMP_S
    return at > max(before, after) + _JUMP_S or at < min(before, after) - _JUMP_S


def _doubt(references: list[Reference], unit: float, now: float) -> str | None:
    """Why these references cannot be the times at which the pictures were taken; None if they can."""
    first = references[0]
    if not EARLIEST < first.unix_s < now + DAY_S:
        return f"it says {datetime.fromtimestamp(first.unix_s, UTC):%Y-%m-%d %H:%M} UTC"
    paces: list[float] = []
    last = first
    for reference in references:
        video_s = (reference.media_time - last.media_time) * unit
        if video_s >= _APART_S:
            paces.append((reference.unix_s - last.unix_s) / video_s)
            last = reference
    if paces and not _PACE[0] <= statistics.median(paces) <= _PACE[1]:
        return f"it runs {statistics.median(paces):.2g} s per second of the video"
    return None
