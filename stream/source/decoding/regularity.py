"""Whether the times of packets tell in which order a decoder will show their pictures."""

from afterview.stream.source.decoding.held import Held

# More than so many times the last step is a packet that was lost, or a clock that jumped. If pictures were waiting for others then, the
# decoder, which goes by their own numbers, may show them in another order than their times say, or leave some out.
_LONGEST_STEP = 1.5
_LONGEST_LEAD = 4  # the same for the longest lead so far


class Regularity:
    """Of one stream; ask about each packet once, in the order in which they come."""

    def __init__(self) -> None:
        self._dts: int | None = None  # the last
        self._step: int | None = None  # from one decoding time to the next
        self._lead: int | None = None  # the longest from a packet's decoding time to its presentation time

    def of(self, held: Held, waiting: list[Held], passed: int | None, *, skipped: bool) -> bool:
        """Whether its times are known, new and in order. waiting: those whose turn has not come. passed: the latest whose turn came.

        skipped: the decoder was not given all pictures before it.
        """
        packet, closed = held.packet, held.kind.start == "closed"
        if packet.pts is None or packet.dts is None:
            return False
        far_step = self._is_far_step(packet.dts, closed)
        far_lead = self._is_far_lead(packet.pts - packet.dts)
        if packet.is_corrupt or packet.has_sidedata("new_extradata") or packet.dts > packet.pts or far_lead:
            return False
        if closed:
            return True
        repeated = held.shown and any(other.pts == held.pts for other in waiting)
        late = held.shown and passed is not None and held.pts <= passed
        return not (repeated or late or far_step is None or (far_step and (waiting or skipped)))

    def _is_far_step(self, dts: int, closed: bool) -> bool | None:
        """None: not a step forward."""
        step = None if self._dts is None else dts - self._dts
        self._dts = dts
        if step is None or step <= 0:
            return False if step is None else None
        usual = self._step
        far = usual is not None and step > _LONGEST_STEP * usual
        if not closed or usual is None:
            self._step = step if usual is None else min(step, _LONGEST_LEAD * usual)
        return far

    def _is_far_lead(self, lead: int) -> bool:
        usual = self._lead
        if usual is None:
            self._lead = max(0, lead)
            return False
        self._lead = max(usual, min(lead, _LONGEST_LEAD * max(usual, self._step or 0)))
        return lead > _LONGEST_LEAD * usual
