"""The clock that the prft boxes of a live stream show: which of its packets each of them is about. Pure.

As in a recording (`stream.source.reference_clock`), a reference is put to the packet that its fragment begins with, if the clock was read when
that was taken. FFmpeg's `write_prft=wallclock` and others read it when a fragment is finished, which is when the next one begins: a
fragment earlier, by which times would be late. Live, arrivals tell the two apart: a fragment comes when it is finished, and then what the
clock showed is as old as the fragment is long in the one case, and new in the other.
"""

from collections import deque

from afterview.stream.source.fragments import Fragment, FragmentHead, Reference
from afterview.stream.source.reference_clock import LONGEST_S, lead_of

_LATEST = 16  # fragments by which the two are told apart: delays make some of them look alike


class LiveReferenceClock:
    """Tell it of every packet of the track (`passed`), and it says what that teaches. Whether to believe it is for others to say."""

    def __init__(self, heads: deque[FragmentHead], track: int, unit: float) -> None:
        """heads: of the fragments, as they come; they are taken away here. unit: seconds per unit of the track's time."""
        self._heads, self._track, self._unit = heads, track, unit
        self._latest: tuple[Fragment, float, int] | None = None  # when it arrived, and where its first packet is shown
        self._ages: deque[tuple[float, float]] = deque(
            maxlen=_LATEST
        )  # of fragments, seconds: length, age of what its clock showed
        self._leads: set[int] = set()  # of which two say that any frame of its fragment may be the reference's

    def passed(self, position: int | None, pts: int) -> Reference | None:
        """A packet has come: at byte `position`, to be shown at `pts`, in units of the track.

        What a fragment teaches is known when the next one begins.
        """
        begun: tuple[Fragment, float, int] | None = None
        while position is not None and self._heads and self._heads[0].position < position:
            head = self._heads.popleft()
            fragment = head.fragment(self._track)
            begun = begun if fragment is None else (fragment, head.arrived, pts)
        if begun is None:
            return None
        ended, self._latest = self._latest, begun
        return None if ended is None else self._reference(*ended, pts)

    def _reference(self, fragment: Fragment, arrived: float, first: int, following: int) -> Reference | None:
        """What a fragment says, whose packets begin at `first`, and those of the next one at `following`."""
        length_s = (following - first) * self._unit
        if fragment.reference is None or not 0 < length_s <= LONGEST_S:
            return None
        self._ages.append((length_s, arrived - fragment.reference.unix_s))
        if fragment.first is not None and len(self._leads) < 2:
            self._leads.add(fragment.reference.media_time - fragment.first)
        if len(self._leads) > 1:
            return Reference(first + lead_of(fragment, self._unit), fragment.reference.unix_s)
        return Reference(following if self._read_when_finished() else first, fragment.reference.unix_s)

    def _read_when_finished(self) -> bool:
        longest_s = max(
            length_s for length_s, _ in self._ages
        )  # in short ones, clocks that differ a little count too much
        return any(abs(age_s) < length_s / 2 for length_s, age_s in self._ages if length_s > longest_s / 2)
