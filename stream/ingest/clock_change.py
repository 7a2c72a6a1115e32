"""What becomes of chosen frames that still wait for their times when their stream's clock is found to be wrong. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from afterview.stream.ingest.sampler import TOLERANCE_S, Chosen
from afterview.stream.source.events import Frame, Passed


def dated_by_arrival(
    held: Sequence[tuple[Chosen, Frame | Passed]], event: Frame | Passed, period_s: float
) -> list[tuple[Chosen, Frame | Passed]]:
    """The held frames, with presentation times by their arrival before that of `event`, the first frame that is dated so.

    Of a clock that ran fast more frames were chosen than one per `period_s`; those too many are left out.
    """
    if event.pts_s is None:
        return list(held)
    kept: list[tuple[Chosen, Frame | Passed]] = []
    for chosen, frame in held:
        if kept and frame.arrival_time < kept[-1][1].arrival_time + period_s - TOLERANCE_S:
            continue
        pts_s = event.pts_s - (event.arrival_time - frame.arrival_time)
        kept.append((replace(chosen, pts_s=pts_s), frame))
    return kept
