"""What becomes of chosen frames that still wait for their times when their stream's clock is found to be wrong, and refusals of clocks."""

import time
from collections.abc import Sequence
from dataclasses import replace

from afterview.configs import UsageError
from afterview.memory.base.camera import CameraInfo
from afterview.memory.writing.repository import Repository
from afterview.stream.ingest.sampler import TOLERANCE_S, Chosen
from afterview.stream.source.events import Frame, Passed

_MOST_AHEAD_S = 60.0  # seconds that a camera's newest frame may lie ahead of the clock when a live source resumes it


def dated_by_arrival(
    held: Sequence[tuple[Chosen, Frame | Passed]], event: Frame | Passed, period_s: float
) -> list[tuple[Chosen, Frame | Passed]]:
    """The held frames, with presentation times by their arrival before that of `event`, the first frame that is dated so.

    Of a clock that ran fast more frames were chosen than one per `period_s`; those too many are left out. Of one that ran slow they lie
    closer together than they came; their times stay, and the line of time makes good the rest (packet_times.py).
    """
    if event.pts_s is None:
        return list(held)
    kept: list[tuple[Chosen, Frame | Passed]] = []
    for chosen, frame in held:
        if kept and frame.arrival_time < kept[-1][1].arrival_time + period_s - TOLERANCE_S:
            continue
        pts_s = max(chosen.pts_s, event.pts_s - (event.arrival_time - frame.arrival_time))
        kept.append((replace(chosen, pts_s=pts_s), frame))
    return kept


def require_not_ahead(repository: Repository) -> None:
    """Live frames follow the newest one. If that one lay far ahead of the clock, the times of all of them would be wrong: UsageError."""
    last, info = repository.last_time, repository.info
    if last is not None and last > time.time() + _MOST_AHEAD_S:
        raise UsageError(
            f"camera '{info.id}': its newest frame lies in the future, at {info.show(last)} (a recording, "
            "or a clock that was wrong); use another --camera, or set this machine's clock"
        )


def describe_rejected(info: CameraInfo, arrival: float, ahead_s: float) -> str:
    """A source's clock that is not believed, for people. arrival: Unix seconds of the frame that was dated by it, ahead_s too late."""
    return (
        f"source clock rejected: it shows {info.show(arrival + ahead_s)} when this machine's clock shows "
        f"{info.show(arrival)}; frames are dated by arrival until it is right; synchronise the camera's clock (NTP)"
    )
